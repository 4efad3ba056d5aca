"""Records and tables: what is missing, and what was changed."""

from __future__ import annotations

from audioprune.records import read_csv, read_record, read_rows


def test_beside_a_file_of_collected_runs_there_is_nothing(tmp_path, caplog):
    (tmp_path / "rows.jsonl").write_text("")
    folder = tmp_path / "rows.jsonl" / "run"
    assert read_csv(folder / "groups.csv") == [] and not caplog.text
    assert read_record(folder / "run.json") == {} and read_rows(folder / "results.jsonl") == []
