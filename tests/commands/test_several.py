"""A command line in several processes: which verbs run where, and what is refused."""

from __future__ import annotations

import pytest

from audioprune.commands import several
from audioprune.commands.several import as_one

SET = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def _ran(verb: str, arguments: list[str]) -> int:
    return 7


@pytest.fixture
def rank_1(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_one_process_runs_every_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert as_one("train", ["-m"], _ran) == as_one("report", [], _ran) == 7


def test_verbs_without_an_experiment_run_in_the_first_process(
    rank_1: pytest.MonkeyPatch,
) -> None:
    assert as_one("report", [], _ran) == 0
    rank_1.setenv("RANK", "0")
    assert as_one("report", [], _ran) == 7


def test_a_sweep_is_refused_in_one_line(
    rank_1: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_one("train", ["seed=0,1", "-m"], _ran) == 2
    assert capsys.readouterr().err == ""
    rank_1.setenv("RANK", "0")
    assert as_one("train", ["seed=0,1", "--multirun"], _ran) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: -m: expected one configuration for 2 processes")
    assert said.count("\n") == 1


def test_a_failure_before_the_processes_met_is_told_by_one_that_is_left(
    rank_1: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    rank_1.setattr(several.os, "_exit", left.append)
    rank_1.setattr(several, "_YIELD_S", 0.0)

    def failing(verb: str, arguments: list[str]) -> int:
        several.say("error: no such option")
        return 2

    as_one("train", [], failing)
    assert left == [2] and capfd.readouterr().err == "error: no such option (rank 1)\n"
