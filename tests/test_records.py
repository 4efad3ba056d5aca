"""Records, rows and tables: as they were written, or told."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.errors import CheckpointError
from audioprune.records import (
    read_csv,
    read_record,
    read_rows,
    rows_and_damage,
    write_csv,
    write_record,
    write_rows,
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run.json", {"a": (1, 2), "b": None})
    assert read_record(path) == {"a": [1, 2], "b": None}
    assert read_record(tmp_path / "none.json") == {}
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(CheckpointError, match="run.json: expected the record .* runtime.force"):
        read_record(path)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [{"n": 1}, {"n": 2}])
    assert read_rows(path) == [{"n": 1}, {"n": 2}] and read_rows(tmp_path / "none") == []
    path.write_text(path.read_text().replace('"n": 2', '"n": 3'))
    assert rows_and_damage(path)[0] == [{"n": 1}]
    with pytest.raises(CheckpointError, match="got line 2 damaged or moved; restore"):
        read_rows(path)
    path.write_text("")
    with pytest.raises(CheckpointError, match="an empty file"):
        read_rows(path)
    assert "cannot be read" in rows_and_damage(tmp_path)[1]


def test_tables_keep_names_that_look_like_formulas(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["=1+1", "-5", "-x", "'q", "@a", "plain, name", "'-x"]
    path = write_csv(tmp_path / "t.csv", ("id", "n"), [(name, 0.5) for name in names])
    assert [row["id"] for row in read_csv(path)] == names and read_csv(tmp_path / "none") == []
    cells = [line.split(",")[0] for line in path.read_text().splitlines()]
    assert cells[1:4] == ["'=1+1", "-5", "'-x"]
    path.write_text(path.read_text().replace("0.5", "0.7", 1))
    assert read_csv(path) == [] and "t.csv is left out: expected the table" in caplog.text


def test_a_table_of_an_older_version_is_believed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert read_csv(tmp_path / "t.csv") == [{"a": "1", "b": "2"}]
    for text in ("a,a\n1,2\n", "a,b\n1\n", "a,chock\n1,2\n", 'a,b\n"1,2\n'):
        (tmp_path / "t.csv").write_text(text)
        assert read_csv(tmp_path / "t.csv") == []


def test_beside_a_file_of_collected_runs_there_is_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    folder = tmp_path / "rows.jsonl" / "run"
    assert read_csv(folder / "groups.csv") == [] and not caplog.text
    assert read_record(folder / "run.json") == {} and read_rows(folder / "results.jsonl") == []
