"""The short table: sizes with units, scores beside what needs no model, a verdict, all of JSON."""

from __future__ import annotations

import json

import pytest

from audioprune.report import short_table
from audioprune.report.shown.printing import show, show_written
from audioprune.report.tables import from_json, to_csv, to_json, write_table
from audioprune.terminal import streams


def _run(make_run, name: str = "a"):
    run = make_run(name).scores("mixture", 0.5, 1.4)
    run.scores("uncompressed", 0.7, 1.8).size("uncompressed", 4_000_000)
    return run.scores("compressed", 0.69, 1.79).size("compressed", 40_000)


def test_a_model_is_compared_with_its_input_and_the_uncompressed_one(make_run) -> None:
    table = short_table(_run(make_run).folder)
    rows = {str(row["title"]): row for row in table.rows}
    small = rows["FDNN compressed"]
    assert small["change:stoi"].mean == pytest.approx(0.19)
    assert small["verdict"] == "1.00 below uncompressed"
    assert rows["FDNN uncompressed"]["verdict"] == "better than input"
    assert rows["Mixture"]["verdict"] == rows["Mixture"]["change:stoi"] == "-"
    assert any(note.startswith("Scale: ") for note in table.notes)


def test_a_model_that_is_worth_nothing_is_named(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("compressed", 0.4, 1.3)
    (row,) = [row for row in short_table(run.folder).rows if row["title"] == "FDNN compressed"]
    assert row["verdict"] == "no better than mixture"
    assert row["change:stoi"].mean == pytest.approx(-0.1)


def test_a_table_in_a_terminal_fits_and_has_no_markdown(
    make_run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = short_table(_run(make_run).folder)
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        show([table], ["format=csv prints all columns"])
        found = capsys.readouterr().out
        assert max(map(len, found.splitlines())) <= width
        assert "|" not in found and "**" not in found and "38.1 KB" not in found.split()
        assert "FDNN" in found and "Verdict" in found
    monkeypatch.setenv("COLUMNS", "60")
    show([table], ["format=csv prints all columns"])
    found = " ".join(capsys.readouterr().out.split())
    assert "not shown for want of width: " in found and "format=csv prints all columns" in found


def test_json_and_csv_hold_nothing_else(
    make_run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = short_table(_run(make_run).folder)
    monkeypatch.setenv(streams.SHOWN, "json")
    show([table])
    assert json.loads(capsys.readouterr().out) == json.loads(to_json(table))
    show([table, table])
    assert len(json.loads(capsys.readouterr().out)) == 2
    monkeypatch.setenv(streams.SHOWN, "csv")
    show([table])
    assert capsys.readouterr().out == to_csv(table)


def test_a_written_table_is_read_again(make_run, tmp_path, capsys) -> None:
    table = short_table(_run(make_run).folder)
    assert to_json(from_json(to_json(table))) == to_json(table)
    files = write_table(table, tmp_path)
    show_written(files)
    assert "sizes, scores, verdicts" in capsys.readouterr().out
    show_written(files, but=(table.name,))
    assert capsys.readouterr().out == ""


def test_hostile_names_show_as_text(make_run, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4)
    run.scores("compressed", 0.7, 1.8, label="\x1b[31m<b>|x\n=1")
    show([short_table(run.folder)])
    found = capsys.readouterr().out
    assert "\x1b" not in found and "\\x1b[31m<b>|x" in found
