"""Records are printed as a table, as JSON or as CSV; names cannot become formulas."""

from __future__ import annotations

import csv
import io
import json

import pytest

from audioprune.terminal.records import Field, csv_text, show_records

ROWS = [{"name": 'a,b\n"c"', "n": 12345, "more": [1]}, {"name": "=1+1", "n": None, "more": {}}]
FIELDS = (Field("name", "Name"), Field("n", "Number", right=True))


def test_a_table_has_a_line_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    show_records("table", ROWS, FIELDS, title="all", notes=["n"])
    found = capsys.readouterr().out.splitlines()
    assert found[0] == "all" and found[-1] == "n"
    assert found[3].split() == ['a,b\\n"c"', "12,345"] and found[4].split() == ["=1+1", "-"]


def test_json_is_one_value(capsys: pytest.CaptureFixture[str]) -> None:
    show_records("json", ROWS, FIELDS)
    assert json.loads(capsys.readouterr().out) == ROWS
    show_records("json", ROWS, FIELDS, whole={"all": ROWS})
    assert json.loads(capsys.readouterr().out) == {"all": ROWS}


def test_csv_keeps_every_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_records("csv", ROWS, FIELDS)
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert found[0] == {"name": ROWS[0]["name"], "n": "12345"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_what_a_spreadsheet_would_compute_stays_a_text(start: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text([{"a": f"{start}1", "b": -1.5}], ["a", "b"]))))
    shown = "\\r" if start == "\r" else start
    assert rows[1] == [f"'{shown}1", "-1.5"]
