"""Runs that begin with the same training do it once, and end in the same bits."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_runs import config, in_child, open_run, rows, signal_at_write, start, step

from audioprune import checkpoint
from audioprune.files import read_lines
from audioprune.steps import shared_training
from audioprune.steps.shared_training import STARTED
from audioprune.training.loop import Fit


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles of the trainings that really ran."""
    found: list[str] = []
    true_run = Fit.run

    def run(fit: Fit) -> Any:
        found.append(fit.title)
        return true_run(fit)

    monkeypatch.setattr(Fit, "run", run)
    return found


@pytest.fixture(autouse=True)
def notes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def _plain(
    tmp_path: Path, sparsity: float = 0.5, save_every_s: float = 60.0, **changes: Any
) -> dict[str, Any]:
    steps = {
        "train": step("Train", lambda_1=0.1),
        "uncompressed": step("Evaluate", variant="uncompressed", file="uncompressed.safetensors"),
        "prune": step("Prune", sparsity=sparsity),
        "finetune": step("Train", epochs=1),
        "compressed": step("Evaluate", variant="compressed", file="model.apz"),
    }
    plain = config(steps, tmp_path / "c", **changes)
    plain["runtime"] |= {"share": True, "folder": str(tmp_path / "runs"), "shared_folder": ""}
    plain["runtime"]["save_every_s"] = save_every_s
    return plain


def _shared(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "runs" / "shared"
    return sorted(folder.iterdir()) if folder.exists() else []


def _without(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "shared"} for row in rows(folder)]


def _bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("uncompressed.safetensors", "model.apz")]


def test_a_second_run_takes_the_training_and_has_the_bits_of_its_own(
    tmp_path: Path, trainings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for place, sparsity in (("a", 0.5), ("b", 0.8)):
        start(tmp_path / place, _plain(tmp_path, sparsity))
    assert trainings == ["train", "finetune", "finetune"]
    (shared,) = _shared(tmp_path)
    assert [rows(tmp_path / each)[0]["shared"] for each in "ab"] == [shared.name] * 2
    assert f"train: taken from {shared}, trained in" in caplog.text and "by a" in caplog.text
    alone = _plain(tmp_path, 0.8)
    alone["runtime"]["share"] = False
    start(tmp_path / "alone", alone)
    assert _without(tmp_path / "b") == rows(tmp_path / "alone")
    assert _bytes(tmp_path / "b") == _bytes(tmp_path / "alone")
    logs = [tmp_path / each / "training" / "train" / "log.jsonl" for each in ("b", "alone")]
    # the share of waiting is measured time
    told = [[{**row, "waiting": None} for row in read_lines(log)] for log in logs]
    assert told[0] == told[1]
    assert [path.name for path in shared.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"training": {"learning_rate": 0.04}},
        {"data": {"items": 9}},
        {"task": {"hop_length": 8}},
        {"model": {"name": "fdnn", "_target_": "audioprune.models.fdnn.FDNN", "bins": 17,
                   "width": 5, "depth": 2}},
    ],
)  # fmt: skip
def test_whatever_changes_the_training_is_another_one(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    keys = []
    for place, changes in (("a", {}), ("b", change)):
        run = open_run(tmp_path / place, _plain(tmp_path, **changes))
        keys.append(shared_training.key_of(shared_training._facts(run, {}, run.settings)))
    assert keys[0] != keys[1]


def test_the_step_and_the_program_are_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "a", _plain(tmp_path))

    def key(**facts: float) -> str:
        return shared_training.key_of(shared_training._facts(run, facts, run.settings))

    first = key(lambda_1=0.1)
    assert key(lambda_1=0.1) == first != key(lambda_1=0.2)
    monkeypatch.setattr(shared_training, "_program", lambda: "edited")
    assert key(lambda_1=0.1) != first


def test_numbers_of_later_steps_share(tmp_path: Path, trainings: list[str]) -> None:
    start(tmp_path / "a", _plain(tmp_path, training={"finetune_epochs": 1}))
    start(tmp_path / "b", _plain(tmp_path, training={"finetune_epochs": 2}))
    assert trainings.count("train") == 1


@pytest.mark.parametrize("why", ["not first", "checkpoint", "off", "several processes"])
def test_nothing_is_shared_where_it_could_not_be(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _plain(tmp_path)
    if why == "off":
        plain["runtime"]["share"] = False
    if why == "several processes":
        monkeypatch.setattr(shared_training, "processes", lambda: SimpleNamespace(count=2))
    run = open_run(tmp_path / "a", plain)
    run.steps = {"train": None}  # type: ignore[dict-item]
    run.from_checkpoint = why == "checkpoint"
    assert not shared_training._is_shared(run, "finetune" if why == "not first" else "train")
    monkeypatch.undo()
    run.from_checkpoint, plain["runtime"]["share"] = False, True
    run.config["runtime"]["share"] = True
    assert shared_training._is_shared(run, "train")


def test_a_damaged_or_foreign_file_is_made_again(
    tmp_path: Path, trainings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    start(tmp_path / "a", _plain(tmp_path))
    state = _shared(tmp_path)[0] / "state.safetensors"
    good = state.read_bytes()
    state.write_bytes(good[:-3] + b"abc")
    start(tmp_path / "b", _plain(tmp_path, 0.8))
    assert trainings.count("train") == 2 and "checksum mismatch" in caplog.text
    assert "train: trained again" in caplog.text
    tensors, meta = checkpoint.read(state)
    del meta["version"]
    checkpoint.write(state, tensors, {**meta, "facts": {}})
    start(tmp_path / "c", _plain(tmp_path, 0.9))
    assert trainings.count("train") == 3 and "got another one" in caplog.text


def test_force_trains_again_once_a_command(
    tmp_path: Path, trainings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path / "a", _plain(tmp_path))
    made = (_shared(tmp_path)[0] / "state.safetensors").stat().st_mtime
    monkeypatch.setenv(STARTED, str(made + 1e-3))
    os.utime(_shared(tmp_path)[0] / "state.safetensors", (made, made))
    for place in ("a", "b"):
        plain = _plain(tmp_path)
        plain["runtime"]["force"] = True
        start(tmp_path / place, plain)
    assert trainings.count("train") == 2


@pytest.mark.parametrize(
    "count", [9, *(pytest.param(late, marks=pytest.mark.slow) for late in (3, 17, 25))]
)
def test_a_killed_training_goes_on_in_another_run(
    tmp_path: Path, trainings: list[str], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The kill is at the count-th write: in the training, behind it, and when it was shared."""

    def work() -> None:
        signal_at_write(count)
        start(tmp_path / "killed", _plain(tmp_path, 0.8, save_every_s=1e-9))

    assert in_child(work) == -signal.SIGKILL
    (_shared(tmp_path)[0] / "state.safetensors.tmp.999999999").touch()  # of a dead process
    start(tmp_path / "next", _plain(tmp_path, 0.5))
    start(tmp_path / "killed", _plain(tmp_path, 0.8))
    alone = _plain(tmp_path, 0.8)
    alone["runtime"]["share"] = False
    start(tmp_path / "alone", alone)
    assert _without(tmp_path / "killed") == rows(tmp_path / "alone")
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "alone")
    assert [file.name for file in _shared(tmp_path)[0].iterdir()] == ["state.safetensors"]


def test_a_run_killed_behind_its_training_takes_it_from_there(
    tmp_path: Path, trainings: list[str]
) -> None:
    def work() -> None:
        true_replace = os.replace

        def replace(source: Any, target: Any) -> None:
            true_replace(source, target)
            if Path(target).parent.parent.name == "shared" and "state" in Path(target).name:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace
        start(tmp_path / "killed", _plain(tmp_path))

    assert in_child(work) == -signal.SIGKILL
    start(tmp_path / "killed", _plain(tmp_path))
    assert trainings == ["finetune"] and rows(tmp_path / "killed")[0]["shared"]
    assert not (_shared(tmp_path)[0] / "making.json").exists()


@pytest.mark.slow
def test_a_run_waits_for_one_that_does_the_same_training(
    tmp_path: Path,
    trainings: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(tmp_path / "a", _plain(tmp_path))
    (shared,) = _shared(tmp_path)
    state, away = shared / "state.safetensors", tmp_path / "away"
    shutil.move(state, away)
    # Process 1 lives, and holds the folder until it is waited for.
    (shared / ".lock").write_text(f"1 {os.uname().nodename}")
    true_line = shared_training._say_waiting

    def said(path: str, told: str) -> None:
        true_line(path, told)
        shutil.move(away, state)
        (shared / ".lock").unlink()

    monkeypatch.setattr(shared_training, "_say_waiting", said)
    start(tmp_path / "b", _plain(tmp_path, 0.8))
    assert trainings.count("train") == 1
    assert caplog.text.count("train: waits for a run that does the same training") == 1
    assert "process 1" in caplog.text and rows(tmp_path / "b")[0]["shared"] == shared.name
