"""Branches: the run keeps every bit, and a killed branch ends in the bits of a whole one."""

from __future__ import annotations

import ast
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TinySet, TinySpeech, config, in_child, open_run, rows, start, step

import audioprune
from audioprune import checkpoint
from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.steps import FitBudget, Prune, SameSizeBaseline, Train

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = {
    "name": "dcae",
    "_target_": "audioprune.models.dcae.DCAE",
    "channels": [16, 16, 16],
    "width": 0.5,
    "kernel_size": 5,
}
JUDGE = {"channels": [4, 4, 4], "kernel_size": 5}
SMALL = {"width": 0.25}
BUDGET = {
    "metric": "loss",
    "max_drop": 1.0,
    "candidates": 2,
    "betas": [0.0, 0.5],
    "levels": [2, 16],
    "finetune_epochs": 1,
}


class Short(TinySet):
    """Items of 900 samples at the level of files."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        return {**item, "noisy": 0.1 * item["noisy"][:900], "clean": 0.1 * item["clean"][:900]}


class Coded(TinySpeech):
    """A corpus of them."""

    def train(self) -> TinySet:
        return Short(4, 0, 10.0)

    def valid(self) -> TinySet:
        return Short(2, 1, 10.0)

    def tests(self) -> dict[str, TinySet]:
        return {"aac-24k": Short(2, 2, 10.0)}


def _config(folder: Path, steps: dict[str, Any]) -> dict[str, Any]:
    plain = config(
        steps,
        folder / "cache",
        model=MODEL,
        data={"_target_": "test_branch.Coded"},
        training={"epochs": 1, "batch_size": 2},
    )
    target = "audioprune.tasks.adversarial.Adversarial"
    plain["task"] = {
        "name": "gan",
        "_target_": target,
        "frame_length": 256,
        "hop_length": 128,
        "discriminator": JUDGE,
    }
    plain["scoring"]["metrics"], plain["scoring"]["audio_items"] = ["l1"], 0
    return plain


def _trained(folder: Path) -> Run:
    run = open_run(folder / "run", _config(folder, {}))
    Train().run(run, "train")
    return run


def _tensors(run: Run) -> dict[str, torch.Tensor]:
    """Return a copy of every tensor of a run: model, task, mask and generator."""
    found = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    found |= {f"task/{name}": value for name, value in run.task.state_dict().items()}
    found |= {f"mask/{name}": value for name, value in (run.mask or {}).items()}
    found |= {f"rng/{name}": value for name, value in checkpoint.rng_state().items()}
    return {name: value.clone() for name, value in found.items()}


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_a_baseline_leaves_every_tensor_of_the_run(tmp_path: Path) -> None:
    run = _trained(tmp_path)
    Prune(0.5).run(run, "prune")
    before = _tensors(run)
    assert len([name for name in before if name.startswith("task/discriminator")]) > 10
    SameSizeBaseline(**SMALL).run(run, "baseline")
    assert _same(before, _tensors(run)) and run.completed == set() and run.findings.iterations == 1


def test_candidates_of_a_budget_begin_with_the_task_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _trained(tmp_path)
    before, found = _tensors(run), []
    true_run = Train.run

    def watched(self: Train, side: Run, path: str) -> None:
        found.append({name: value.clone() for name, value in side.task.state_dict().items()})
        true_run(self, side, path)

    monkeypatch.setattr(Train, "run", watched)
    FitBudget(**BUDGET).run(run, "budget")
    after = _tensors(run)
    kept = [name for name in before if name.startswith("task/")]
    assert len(found) == 2 and all(torch.equal(before[name], after[name]) for name in kept)
    for each in found:
        assert all(torch.equal(before[f"task/{name}"], value) for name, value in each.items())


def test_rows_of_a_branch_join_those_of_the_run_at_its_end(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", _config(tmp_path, {}))
    run.results.put({"key": "a", "kind": "x", "value": 1})
    with run.branch(run.model, "side") as side:
        side.results.put({"key": "a", "kind": "x", "value": 2}, {"key": "side/b", "kind": "x"})
        side.finish("side/b", changed=True)
        assert side.results.rows["a"]["value"] == 2 and [
            row["key"] for row in rows(run.folder)
        ] == ["a"]
    assert [(row["key"], row.get("value")) for row in rows(run.folder)] == [
        ("a", 1),
        ("side/a", 2),
        ("side/b", None),
    ]
    assert not (run.folder / "state.safetensors").exists()
    with pytest.raises(ConfigError), run.branch(run.model, "bad") as side:
        side.results.put({"key": "bad/c", "kind": "x"})
        raise ConfigError("on purpose")
    assert "bad/c" not in run.results.rows


def _kill_at(count: int, part: str) -> None:
    """Send this process SIGKILL at its count-th atomic write of a path that holds ``part``."""
    true_replace, seen = os.replace, [0]

    def replace(source: Any, target: Any) -> None:
        seen[0] += part in str(target)
        if seen[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        true_replace(source, target)

    os.replace = replace


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("side", "SameSizeBaseline", SMALL),
        pytest.param("budget", "FitBudget", BUDGET, marks=pytest.mark.slow),
    ],
)
def test_a_branch_killed_anywhere_ends_in_the_same_bits(
    tmp_path: Path, name: str, kind: str, options: dict[str, Any]
) -> None:
    steps = {"train": step("Train"), name: step(kind, **options), "again": step("Train", epochs=1)}
    steps["done"] = step("Evaluate", variant="pruned", file="model.apz")
    plain = _config(tmp_path, steps)
    start(tmp_path / "whole", plain)
    part = f"{tmp_path}/killed/training/{name}"
    for count in (2, 4):
        code = in_child(
            lambda count=count: (_kill_at(count, part), start(tmp_path / "killed", plain))
        )
        assert code == -signal.SIGKILL, count
    start(tmp_path / "killed", plain)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    first, second = (
        checkpoint.read(tmp_path / each / "state.safetensors") for each in ("whole", "killed")
    )
    assert _same(first[0], second[0]) and first[1] == second[1]
    for file in [*(tmp_path / "whole").glob("*.safetensors"), tmp_path / "whole" / "model.apz"]:
        assert (tmp_path / "killed" / file.name).read_bytes() == file.read_bytes(), file.name


def test_nothing_but_a_branch_copies_a_run() -> None:
    copies = re.compile(r"(replace|copy)\(\s*(run|side)\b")  # few files are worth parsing
    for path in sorted(Path(audioprune.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not copies.search(text):
            continue
        runs = {"run", "side"} if path.parent.name == "steps" else {"run"}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(
                node.func, "id", getattr(node.func, "attr", "")
            ) in ("replace", "copy", "deepcopy"):
                named = [
                    argument.id for argument in node.args[:1] if isinstance(argument, ast.Name)
                ]
                assert not runs & set(named), f"{path}:{node.lineno}"
