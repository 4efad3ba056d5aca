"""The frame of scripts/benchmarks/: turns, goals, records, and the page that they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import bench, performance_page  # noqa: E402
from scripts.benchmarks import frame, records  # noqa: E402
from scripts.benchmarks.frame import Item, Peer, Row, Run, Taken, at_least, at_most  # noqa: E402


def told(cpu: float, result: object = None) -> Taken:
    return Taken(cpu, 2 * cpu, result)


def test_the_page_is_written_from_the_records() -> None:
    written = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert written == performance_page.page(), "run: python scripts/performance_page.py"


def test_every_record_has_its_item() -> None:
    assert set(records.read()) <= set(bench.items())


def test_candidates_take_turns_and_pairs_are_compared() -> None:
    order: list[str] = []

    def candidate(name: str, seconds: Iterator[float]) -> object:
        def run() -> Taken:
            order.append(name)
            return told(next(seconds), name)

        return run

    ours, theirs = (
        candidate("a", iter([9.0, 1.0, 2.0, 4.0])),
        candidate("b", iter([3.0, 4.0, 9.0])),
    )
    slow = candidate("c", iter([8.0]))
    peers = {"b": Peer(theirs, at_least(3)), "c": Peer(slow, at_most(0.25), turns=1)}
    fast, once = Run().against("x", ours, peers, turns=3, check=lambda a, b: a + b)
    assert order == ["a", "a", "b", "c", "a", "b", "a", "b"]  # the first call compiles
    assert (fast.ours, fast.theirs, fast.note) == (2.0, 4.0, "ab")
    # the turns' own ratios are 3, 2 and 9/4
    assert (fast.low, fast.ratio, fast.high, fast.met) == (2.0, 2.25, 3.0, False)
    # one turn of theirs stands beside all of ours: 8/1, 8/2 and 8/4
    assert (once.low, once.ratio, once.high, once.turns) == (2.0, 4.0, 8.0, 1)


def test_a_cost_is_ours_over_theirs_and_a_rate_is_work_over_time() -> None:
    pair = {"b": Peer(lambda: told(2.0), at_most(1.5))}
    (cost,) = Run().against("x", lambda: told(3.0), pair, turns=1, cost=True, unit="ms")
    assert (cost.ratio, cost.wall, cost.met, cost.ours) == (1.5, 1.5, True, 3000.0)
    rate, against = Run().against(
        "x", lambda: told(4.0), pair, work=8.0, unit="M/s", goal=at_least(3, "ours"), turns=1
    )
    assert (rate.ours, rate.met, rate.peer) == (2.0, False, "")
    assert (against.theirs, against.ratio) == (4.0, 0.5)


def test_other_work_keeps_no_goal() -> None:
    def refuse(mine: object, other: object) -> str:
        raise frame.Unequal("3 weights")

    pair = {"b": Peer(lambda: told(2.0), at_least(1))}
    (row,) = Run().against("x", lambda: told(1.0), pair, check=refuse)
    assert row.met is False and row.note == "NOT the same work: 3 weights"
    assert records.distance(row.said()) == "at least 1.00: not met, other work"


def test_sizes_are_compared_as_they_are() -> None:
    small, large = Run().figure("x", 10.0, {"b": (8.0, at_most(1.3)), "c": (5.0, None)}, unit="B")
    assert (small.ratio, small.met, large.ratio, large.met) == (1.25, True, 2.0, None)
    (alone,) = Run().figure("x", 10.0, unit="B", goal=at_most(9, "ours"))
    assert records.distance(alone.said()) == "at most 9.00: missed, 1.11 of it"


def test_a_missing_peer_is_remembered_once() -> None:
    run = Run()
    assert run.peer("no_such_module_at_all", "its-package") is None
    assert run.peer("no_such_module_at_all", "its-package") is None
    assert run.missing == ["its-package"] and run.peer("json") is not None


def test_only_a_ratio_that_became_much_worse_is_marked() -> None:
    old = {"rows": [{"name": n, "peer": "b", "ratio": 6.0} for n in ("fast", "slow", "cost")]}
    rows = [
        Row("fast", "b", "s", 1.0, ratio=4.1),
        Row("slow", "b", "s", 1.0, ratio=3.9),
        Row("cost", "b", "s", 1.0, ratio=9.1, cost=True),
        Row("new", "b", "s", 1.0, ratio=0.1),
    ]
    records.mark(rows, old)
    assert [row.was for row in rows] == [None, 6.0, 6.0, None]
    assert "WORSE, was 6.00" in records.table([rows[1].said()])


def test_a_record_becomes_a_section(tmp_path: Path) -> None:
    def rows(run: Run) -> Iterator[Row]:
        peers = {"the peer": Peer(lambda: told(2.0), at_least(5))}
        yield from run.against("a row", lambda: told(1.0), peers, check=lambda a, b: "same")
        run.profile("a row", {"whole": lambda: told(4.0), "half": lambda: told(2.0)})
        run.peer("no_such_module_at_all")

    item, run = Item("A title", "About it.", rows, "Because.", 1), Run(quick=True)
    found = records.record(item, run, list(rows(run)), 3.0)
    (tmp_path / "made.json").write_text(json.dumps(found))
    page = performance_page.page(tmp_path)
    row = "| a row | the peer | 1.00 s | 2.00 s | 2.00x | 2.00 - 2.00 | 2.00 |"
    assert f"{row} at least 5.00: missed, 0.4 of it | same |" in page
    assert "0 of 1 are met" in page and "Not installed: no_such_module_at_all." in page
    assert "Profile, a row: whole 4e+03 ms (100%), half 2e+03 ms (50%)." in page
    assert "Because." in page and "quick form" in page


def test_items_are_found_by_what_they_hold() -> None:
    assert {"kmeans", "optim"} <= set(bench.items())
    assert "frame" not in bench.items()


@pytest.mark.parametrize("name", bench.items())
def test_an_item_can_be_loaded(name: str) -> None:
    assert bench.load(name).title


def test_rows_that_came_in_time_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(run: Run) -> Iterator[Row]:
        yield from run.figure("first", 1.0, unit="B")
        while True:
            sum(range(1000))

    monkeypatch.setattr(bench, "load", lambda name: Item("T", "A.", rows))
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    assert bench.measure("made", True, 0.05, True)
    assert [row["name"] for row in json.loads((tmp_path / "made.json").read_text())["rows"]] == [
        "first"
    ]
    assert "stopped after" in capsys.readouterr().out


def test_what_one_item_saves_goes_to_the_others() -> None:
    assert bench.share(540, 10) == 54 and bench.share(530, 9) > 54
    assert bench.share(540, 1) == bench.MOST and bench.share(0, 3) == 10


def test_rows_before_a_failure_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(run: Run) -> Iterator[Row]:
        yield from run.figure("first", 1.0, unit="B")
        raise ValueError("broken")

    monkeypatch.setattr(bench, "load", lambda name: Item("T", "A.", rows))
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    assert not bench.measure("made", True, 10, True)
    assert len(json.loads((tmp_path / "made.json").read_text())["rows"]) == 1
    assert "ValueError: broken" in capsys.readouterr().err
