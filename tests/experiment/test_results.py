"""Rows of results: replaced rather than doubled, never half-written, without NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from audioprune.errors import OutputError
from audioprune.experiment.results import Results, ScoredItems, clean, read_items
from audioprune.records import read_rows, write_csv


def test_a_row_is_replaced_and_keeps_its_place(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.jsonl")
    results.put({"key": "a", "kind": "score", "x": 1}, {"key": "b", "kind": "size", "x": 2})
    results.put({"key": "a", "kind": "score", "x": 3})
    assert read_rows(results.path) == [
        {"key": "a", "kind": "score", "x": 3},
        {"key": "b", "kind": "size", "x": 2},
    ]
    assert results.of_kind("size") == [{"key": "b", "kind": "size", "x": 2}]


def test_a_later_process_goes_on(tmp_path: Path) -> None:
    Results(tmp_path / "r.jsonl").put({"key": "a", "kind": "k"})
    again = Results(tmp_path / "r.jsonl")
    again.put({"key": "b", "kind": "k"})
    assert [json.loads(line)["key"] for line in again.path.read_text().splitlines()] == ["a", "b"]


def test_a_failed_write_leaves_the_rows_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    results = Results(tmp_path / "r.jsonl")
    results.put({"key": "a", "kind": "k"})
    before = results.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk full"):
        results.put({"key": "b", "kind": "k"})
    assert results.path.read_bytes() == before and [
        entry.name for entry in tmp_path.iterdir()
    ] == ["r.jsonl"]


def test_what_json_cannot_hold_becomes_null() -> None:
    assert clean({"a": math.nan, 1: [math.inf, (1, 2.5)], "c": {"d": -math.inf}}) == {
        "a": None,
        "1": [None, [1, 2.5]],
        "c": {"d": None},
    }


def test_tables_have_the_same_bytes_again(tmp_path: Path) -> None:
    made = [
        write_csv(tmp_path / name, ("a", "b"), [(1, 0.5), ("x,y", None)]).read_bytes()
        for name in ("1.csv", "2.csv")
    ]
    assert (
        made[0] == made[1] == (b'a,b,check\n1,0.5,xb66b1d50421ef965\n"x,y",,x2835b71f1d73f5fc\n')
    )


def test_scores_of_items_come_back_and_a_broken_file_tells_nothing(tmp_path: Path) -> None:
    items = ScoredItems(tmp_path, "a/1/b")
    items.add("a/1/b/test", {"id": ["x, y", "z"], "stoi": [1 / 3, None], "hit": [1, 0]})
    items.add("nothing", None)
    items.write()
    assert read_items(tmp_path) == {
        "a/1/b/test": {"id": ["x, y", "z"], "stoi": [0.333333, None], "hit": [1.0, 0.0]}
    }
    (tmp_path / "items-other.csv").write_bytes(b"\xff\xfe")
    (tmp_path / "items-third.csv").write_text("no,header\n1,2\n")
    assert set(read_items(tmp_path)) == {"a/1/b/test"}
    ScoredItems(tmp_path, "empty").write()
    assert not (tmp_path / "items-empty.csv").exists()
