"""Repetition: how often, when it ends, and how it goes on after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import config, open_run, step

from audioprune.errors import ConfigError
from audioprune.experiment.pipeline import execute
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Repetition
from audioprune.steps import Repeat
from audioprune.steps.control import say_enough


class Note:
    """Writes down its path; asks to stop at the n-th call, softly or at once."""

    changes_state = True

    def __init__(self, log: list[str], stop_at: int = 0, now: bool = False) -> None:
        self.log, self.stop_at, self.now, self.calls = log, stop_at, now, 0

    def run(self, run: Any, path: str) -> None:
        self.calls += 1
        self.log.append(path)
        if self.calls == self.stop_at:
            say_enough(run, path, "enough", at_once=self.now)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "r", config({}, tmp_path / "c"))


def test_the_body_is_repeated_under_numbers(run: Run) -> None:
    log: list[str] = []
    execute(run, {"loop": Repeat({"a": Note(log), "b": Note(log)}, most=2)})
    assert log == ["loop/0/a", "loop/0/b", "loop/1/a", "loop/1/b"]
    assert run.states.of("loop", Repetition).ended == "2 repetitions done"


@pytest.mark.parametrize(
    ("now", "expected"), [(False, ["loop/1/a", "loop/1/b"]), (True, ["loop/1/a"])]
)
def test_a_stop_ends_after_or_within_the_pass(run: Run, now: bool, expected: list[str]) -> None:
    log: list[str] = []
    execute(
        run,
        {
            "loop": Repeat({"a": Note(log, stop_at=2, now=now), "b": Note(log)}, most=9),
            "next": Note(log),
        },
    )
    assert log == ["loop/0/a", "loop/0/b", *expected, "next"]
    assert run.states.of("loop", Repetition).ended == "enough"


def test_a_second_repetition_is_not_stopped_by_the_first(run: Run) -> None:
    log: list[str] = []
    execute(
        run,
        {"x": Repeat({"a": Note(log, stop_at=1)}, most=5), "y": Repeat({"a": Note(log)}, most=3)},
    )
    assert log == ["x/0/a", "y/0/a", "y/1/a", "y/2/a"]


def test_an_interrupted_pass_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    class Broken:
        def run(self, run: Any, path: str) -> None:
            raise ConfigError("on purpose")

    log: list[str] = []
    with pytest.raises(ConfigError):
        execute(
            run,
            {
                "loop": Repeat({"a": Note(log, stop_at=3), "b": Note(log)}, most=3),
                "next": Broken(),
            },
        )
    whole = list(log)
    for broken_at in range(3):
        log.clear()
        folder = tmp_path / str(broken_at)
        first = open_run(folder, config({}, tmp_path / "c"))
        second = Broken()
        passes = Note(log)

        def b(
            run: Any, path: str, at: int = broken_at, note: Note = passes, broken: Broken = second
        ) -> None:
            broken.run(run, path) if path == f"loop/{at}/b" else note.run(run, path)

        body = {"a": Note(log, stop_at=3), "b": type("B", (), {"run": staticmethod(b)})()}
        with pytest.raises(ConfigError):
            execute(first, {"loop": Repeat(body, most=3)})
        again = open_run(folder, config({}, tmp_path / "c"))
        execute(again, {"loop": Repeat({"a": Note(log), "b": Note(log)}, most=3)})
        assert log == whole


def test_bodies_are_built_from_their_configuration() -> None:
    assert Repeat({"a": step("Prune", sparsity=0.5)}).steps["a"].sparsity == 0.5
    for bad in ({"steps": {}}, {"steps": {"a": 1}, "most": 0}):
        with pytest.raises(ConfigError, match="needs most >= 1 and steps"):
            Repeat(**bad)
