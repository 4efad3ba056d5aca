"""The original of a run: what it is, that it never changes, and that it is found again."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import config, in_child, open_run, rows, signal_at_write, start, step

from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.config_hash import config_hash
from audioprune.experiment.model_io import load_model_file
from audioprune.files import sha256_file
from audioprune.model_header import read_facts

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = {
    "name": "imitate",
    "_target_": "audioprune.tasks.foreign.imitate.Imitate",
    "input": "magnitude",
    "frame_length": 32,
    "hop_length": 16,
}
STEPS = {
    "uncompressed": step("Evaluate", variant="uncompressed", file="uncompressed.safetensors"),
    "prune": step("Prune", sparsity=0.7),
    "pruned": step("Evaluate", variant="pruned", file="pruned.safetensors"),
    "finetune": step("Train", epochs=3, learning_rate=0.02),
    "quantize": step("Quantize", levels=16),
    "compressed": step("Evaluate", variant="compressed", file="model.apz"),
}


def _config(original: Path, cache: Path, **changes: Any) -> dict[str, Any]:
    plain = config(STEPS, cache, checkpoint=str(original), **changes)
    plain["task"] = dict(TASK, **changes.get("task", {}))
    return plain


def _errors(folder: Path) -> dict[str, float]:
    found = [row for row in rows(folder) if row.get("condition") == "white_0dB"]
    return {row["variant"]: row["metrics"]["relative_error"] for row in found}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained enhancer."""
    folder = tmp_path_factory.mktemp("original")
    steps = {"train": step("Train"), "score": step("Evaluate", variant="u", file="m.safetensors")}
    start(folder / "run", config(steps, folder / "cache"))
    return folder / "run" / "m.safetensors"


@pytest.fixture(scope="module")
def imitated(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole imitation of it."""
    folder = tmp_path_factory.mktemp("imitated")
    start(folder / "run", _config(original, folder / "cache"), ("task=imitate",))
    return folder / "run"


def test_imitation_mends_what_pruning_broke(original: Path, imitated: Path) -> None:
    errors = _errors(imitated)
    assert errors["uncompressed"] == 0
    assert errors["compressed"] < 0.8 * errors["pruned"]
    task = read_facts(imitated / "model.apz")["task"]
    assert task["teacher_sha256"] == sha256_file(original) and task["teacher"] == str(original)


def test_a_killed_imitation_ends_in_the_same_bits(
    original: Path, imitated: Path, tmp_path: Path
) -> None:
    plain = _config(original, tmp_path / "cache")

    def killed() -> None:
        signal_at_write(9)
        start(tmp_path / "run", plain, ("task=imitate",))

    assert in_child(killed) == -signal.SIGKILL
    start(tmp_path / "run", plain, ("task=imitate",))
    one, other = (load_model_file(each / "model.apz") for each in (imitated, tmp_path / "run"))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert _errors(imitated) == _errors(tmp_path / "run")


def test_the_original_is_found_again_or_named(
    original: Path, imitated: Path, tmp_path: Path
) -> None:
    """A compressed file is evaluated against the original, not against itself."""
    model = tmp_path / "model.apz"
    shutil.copyfile(imitated / "model.apz", model)
    moved = tmp_path / "moved.safetensors"
    shutil.copyfile(original, moved)
    facts = read_facts(model)["task"]
    gone = {**facts, "teacher": str(tmp_path / "gone.safetensors")}

    def evaluated(name: str, task: dict[str, Any], cache: Path) -> dict[str, float]:
        steps = {"evaluate": step("Evaluate", variant="file")}
        plain = config(steps, cache, checkpoint=str(model))
        plain["task"] = task
        start(tmp_path / name, plain, ("task=imitate",))
        return _errors(tmp_path / name)

    known = _errors(imitated)["compressed"]
    assert evaluated("a", facts, tmp_path / "c")["file"] == pytest.approx(known)
    assert len(list((tmp_path / "c" / "originals").iterdir())) == 1
    # again an imitation of it, named by nobody: the original of the file is meant
    assert evaluated("b", TASK, tmp_path / "d")["file"] == pytest.approx(known)
    # the file has moved: the copy in the cache folder is the same
    assert evaluated("e", gone, tmp_path / "c")["file"] == pytest.approx(known)
    # or it lies beside the checkpoint
    shutil.copyfile(original, tmp_path / "gone2.safetensors")
    beside = {**gone, "teacher": "/nowhere/gone2.safetensors"}
    assert evaluated("f", beside, tmp_path / "empty")["file"] == pytest.approx(known)
    wanted = facts["teacher_sha256"][:12]
    with pytest.raises(CheckpointError, match=rf"gone.safetensors: expected .*{wanted}.*no such"):
        evaluated("g", gone, tmp_path / "empty2")
    other = {**facts, "teacher": str(model)}
    with pytest.raises(CheckpointError, match="got another file; give it with task.teacher="):
        evaluated("h", other, tmp_path / "empty3")
    named = {**TASK, "teacher": str(moved)}
    assert evaluated("i", named, tmp_path / "d")["file"] == pytest.approx(known)


def test_a_run_without_an_original_is_refused(tmp_path: Path) -> None:
    plain = config({}, tmp_path / "c")
    plain["task"] = TASK
    with pytest.raises(ConfigError, match="expected an original to imitate, got no checkpoint"):
        open_run(tmp_path / "r", plain)


def test_a_branch_has_the_original_too(original: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", _config(original, tmp_path / "c"), ("task=imitate",))
    with run.branch(run.model, "x", new_task=True) as side:
        assert side.task is not run.task and side.task.teacher is run.task.teacher
    with run.branch(run.model, "x") as side:
        assert side.task.teacher is run.task.teacher


def test_another_original_is_another_run(original: Path, tmp_path: Path) -> None:
    plain = _config(original, tmp_path)
    named = _config(original, tmp_path, task={"teacher": str(tmp_path / "t.safetensors")})
    (tmp_path / "t.safetensors").write_bytes(b"one")
    first = config_hash(named)
    (tmp_path / "t.safetensors").write_bytes(b"two")
    assert len({config_hash(plain), first, config_hash(named)}) == 3


def test_group_sparse_training_imitates_and_is_trimmed(original: Path, tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "learning_rate": 0.1}
    steps = {
        "train": step("TrainSparse", method="hspg", lmbda=0.3, settings=settings),
        "pruned": step("Evaluate", variant="pruned", file="pruned.safetensors"),
        "trim": step("TrimGroups"),
        "trimmed": step("Evaluate", variant="trimmed", file="model.safetensors"),
    }
    plain = _config(original, tmp_path / "c", pipeline={"name": "sparse", "steps": steps})
    start(tmp_path / "r", plain, ("task=imitate",))
    errors, sizes = _errors(tmp_path / "r"), rows(tmp_path / "r")
    params = {row["variant"]: row["params"] for row in sizes if row["kind"] == "size"}
    assert params["trimmed"] < params["pruned"]
    assert errors["trimmed"] == pytest.approx(errors["pruned"], rel=1e-3)
