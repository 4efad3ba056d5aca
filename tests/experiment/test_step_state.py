"""What steps remember: each its own, over repetitions and interruptions."""

from __future__ import annotations

import ast
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import config, in_child, open_run, rows, signal_at_write, start, step

import audioprune
from audioprune import checkpoint
from audioprune.compress.schedule import Cubic
from audioprune.errors import CheckpointError
from audioprune.experiment.step_state import (
    Draw,
    Findings,
    Lottery,
    Repetition,
    SparseTraining,
    StepStates,
    repetition_of,
    state_path,
)


@dataclass
class Count:
    done: int = 0
    names: list[str] = field(default_factory=list)


def test_paths_of_repetitions() -> None:
    assert state_path("iterate/0/prune") == state_path("iterate/12/prune") == "iterate/prune"
    assert (
        state_path("a/0/b/3/c") == "a/b/c"
        and state_path("prune") == "prune"
        and state_path("a1/b2") == "a1/b2"
    )
    assert (
        repetition_of("a/0/b/3/c") == ("a/0/b", 3)
        and repetition_of("a/7/c/trim") == ("a", 7)
        and repetition_of("a/b") is None
    )


def test_states_are_told_apart_and_restored() -> None:
    states = StepStates()
    states.of("a", Count).done = 3
    states.of("b", Count).names.append("x")
    assert states.of("a", Count) is states.of("a", Count) and states.of("b", Count).done == 0
    again = StepStates(states.as_dict())
    assert again.of("a", Count) == Count(3) and again.as_dict() == states.as_dict()
    with pytest.raises(
        CheckpointError,
        match="state of b: expected a Repetition with .*got done, names.*runtime.force=true",
    ):
        StepStates(states.as_dict()).of("b", Repetition)


def test_findings_come_back_typed() -> None:
    lottery = Lottery(
        round=2,
        kept={"a": [0, 2]},
        draw=Draw("trim", "local", "magnitude", "max", "units", 0.3, 3, 0.05, None),
    )
    found = Findings(7, 2, SparseTraining("hspg", "units", 0.1, 0.2, {"a": [1.0]}), lottery)
    assert Findings.from_dict(asdict(found)) == found and Findings.from_dict({}) == Findings()


def _gradual(rounds: int, sparsity: float) -> dict[str, Any]:
    return step(
        "Repeat",
        most=rounds,
        steps={
            "prune": step("Prune", sparsity=sparsity, rounds=rounds),
            "fit": step("Train", epochs=1),
        },
    )


def _asked(folder: Path, name: str) -> list[float]:
    return [
        row["sparsity"]
        for row in rows(folder)
        if row["kind"] == "iteration" and row["key"].startswith(f"{name}/")
    ]


def _cubic(rounds: int, sparsity: float) -> list[float]:
    return [Cubic(0, rounds + 1, 1, 0.0, sparsity).sparsity(place + 1) for place in range(rounds)]


def test_two_gradual_prunings_in_one_pipeline_never_meet(tmp_path: Path) -> None:
    plain = config(
        {"first": _gradual(2, 0.3), "second": _gradual(2, 0.8)},
        tmp_path / "c",
        runtime={"save_every_s": 60.0},
    )
    start(tmp_path / "whole", plain)
    assert _asked(tmp_path / "whole", "first") == _cubic(2, 0.3) and _asked(
        tmp_path / "whole", "second"
    ) == _cubic(2, 0.8)
    found = [row["iteration"] for row in rows(tmp_path / "whole") if row["kind"] == "iteration"]
    assert found == [1, 2, 3, 4]
    for count in (9, 9):
        assert (
            in_child(
                lambda count=count: (signal_at_write(count), start(tmp_path / "killed", plain))
            )
            == -9
        )
    start(tmp_path / "killed", plain)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_a_state_file_of_an_older_version_is_refused_in_one_line(tmp_path: Path) -> None:
    plain = config({"train": step("Train", epochs=1)}, tmp_path / "c")
    run = open_run(tmp_path / "r", plain)
    run.save_state()
    tensors, meta = checkpoint.read(run.folder / "state.safetensors")
    old = {"facts": {"round": 2}, "completed": [], "model_config": meta["model_config"]}
    checkpoint.write(run.folder / "state.safetensors", tensors, old)
    with pytest.raises(
        CheckpointError, match="written by an older version, run again with runtime.force=true"
    ) as caught:
        open_run(tmp_path / "r", plain)
    assert "\n" not in str(caught.value)
    start(tmp_path / "r", {**plain, "runtime": {**plain["runtime"], "force": True}})


def test_no_step_keeps_untyped_facts() -> None:
    for path in sorted((Path(audioprune.__file__).parent / "steps").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("run", "side")
            )
            assert not (named and node.attr == "facts"), f"{path}:{node.lineno}"
            subscript = isinstance(node, ast.Subscript) and ast.unparse(node.value) == "run.config"
            assert not (subscript and ast.unparse(node.slice) == "'pipeline'"), (
                f"{path}:{node.lineno}: ask the steps"
            )
