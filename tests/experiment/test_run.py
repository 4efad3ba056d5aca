"""A run: order, state on disk, resume after every kind of end, and what is refused."""

from __future__ import annotations

import json
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import (
    MyNet,
    completed,
    config,
    in_child,
    open_run,
    rows,
    signal_at_write,
    start,
    status,
    step,
    whole_pipeline,
)

from audioprune import checkpoint, files
from audioprune.errors import CheckpointError, ConfigError, DataError, DivergedError, OutputError
from audioprune.experiment import build as build_module
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.pipeline import execute, measured
from audioprune.experiment.rows import QualityRow
from audioprune.experiment.run import Run
from audioprune.files import write_json

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Last:
    """The state of the steps of this file."""

    path: str = ""


class Note:
    """A step that writes down that it ran."""

    def __init__(self, log: list[str], changes_state: bool = True, fail: bool = False) -> None:
        self.log, self.changes_state, self.fail = log, changes_state, fail

    def run(self, run: Any, path: str) -> None:
        if self.fail:
            raise ConfigError("broken on purpose")
        self.log.append(path)
        run.states.of("last", Last).path = path

    def cleanup(self, run: Any, path: str) -> None:
        assert path in run.completed
        self.log.append(f"cleaned {path}")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole experiment that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    start(folder / "run", config(whole_pipeline(), folder / "cache"))
    return folder / "run"


def test_steps_run_in_their_order_once(tmp_path: Path) -> None:
    plain, log = config({}, tmp_path / "c"), []
    run = open_run(tmp_path / "r", plain)
    steps = {"b": Note(log), "a": Note(log, changes_state=False), "c": Note(log)}
    execute(run, steps, "x/")
    assert log == ["x/b", "cleaned x/b", "x/a", "cleaned x/a", "x/c", "cleaned x/c"]
    execute(run, steps, "x/")
    assert len(log) == 6
    again = open_run(tmp_path / "r", plain)
    assert again.completed == {"x/a", "x/b", "x/c"} and again.states.of("last", Last).path == "x/c"


def test_a_failed_step_is_not_completed(tmp_path: Path) -> None:
    plain, log = config({}, tmp_path / "c"), []
    with pytest.raises(ConfigError, match="on purpose"):
        execute(
            open_run(tmp_path / "r", plain),
            {"a": Note(log), "b": Note(log, fail=True), "c": Note(log)},
        )
    again = open_run(tmp_path / "r", plain)
    assert again.completed == {"a"}
    execute(again, {"a": Note(log), "b": Note(log), "c": Note(log)})
    assert [entry for entry in log if "cleaned" not in entry] == ["a", "b", "c"]


def test_what_a_step_measured_is_told(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    for key, stoi in {"a/x": 0.5, "a/1/y": 0.6, "ab/x": 0.9}.items():
        run.results.put(
            QualityRow(key=key, variant="dense", more={"metrics": {"stoi": stoi, "lsd": 2.0}})
        )
    assert (measured(run, "a"), measured(run, "ab"), measured(run, "b")) == (
        "stoi 0.55",
        "stoi 0.9",
        "",
    )


def test_state_comes_back_bit_for_bit(straight: Path) -> None:
    plain = config(whole_pipeline(), straight.parent / "cache")
    one, two = open_run(straight, plain), open_run(straight, plain)
    assert (
        one.completed
        == completed(straight)
        >= {"train", "compress", "quantize", "compressed", "compress/0/prune"}
    )
    assert one.mask is not None and one.codebooks is not None
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, two.model.state_dict()[name])
    for name in one.codebooks:
        assert (one.model.state_dict()[name][~one.mask[name]] == 0).all()


def test_what_a_run_leaves(straight: Path) -> None:
    left = {str(path.relative_to(straight)) for path in straight.rglob("*") if path.is_file()}
    assert {
        "results.jsonl",
        "model.apz",
        "uncompressed.safetensors",
        "run.json",
        "env.json",
        "status.json",
        "quantization.csv",
    } <= left
    assert {"sensitivity-1.csv", "audio/white_0dB/3_0_clean.flac"} <= left
    assert not [path for path in left if ".tmp" in path or path == ".lock"]
    assert status(straight)["status"] == "finished"
    keys = [row["key"] for row in rows(straight)]
    assert len(keys) == len(set(keys))
    described = json.loads((straight / "run.json").read_text())
    assert described["scale"] == "toy; 12 tiny items; width 6" and described["data"] == {
        "items": 12
    }


def test_a_finished_run_is_cached_and_force_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = config({"train": step("Train")}, tmp_path / "c")
    assert start(tmp_path / "r", plain) == "finished"
    before = rows(tmp_path / "r")
    with monkeypatch.context() as patch:
        patch.setattr(
            build_module, "execute", lambda *_: pytest.fail("a finished run does nothing")
        )
        assert start(tmp_path / "r", plain) == "cached"
    (tmp_path / "r" / "stray.csv").write_text("old")
    plain["runtime"]["force"] = True
    assert start(tmp_path / "r", plain) == "finished"
    assert not (tmp_path / "r" / "stray.csv").exists() and rows(tmp_path / "r") == before


def test_force_never_empties_a_folder_of_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "r" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    plain = config({"train": step("Train")}, tmp_path / "c", runtime={"force": True})
    with pytest.raises(OutputError, match="holds other files"):
        start(tmp_path / "r", plain)
    (tmp_path / "r" / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "r")
    with pytest.raises(OutputError, match="holds other files"):
        start(tmp_path / "r", plain)
    assert precious.read_text() == "years of work"


def test_the_folder_of_another_configuration_is_refused(straight: Path) -> None:
    plain = config(
        whole_pipeline(), straight.parent / "cache", seed=4, scoring={"metrics": ["stoi"]}
    )
    with pytest.raises(
        OutputError, match=r"belongs to configuration .* \(differs in scoring, seed\)"
    ):
        start(straight, plain)
    assert status(straight)["status"] == "finished"


def test_changed_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("one")
    plain = config(
        {"train": step("Train"), "bad": step("Evaluate", variant="x")},
        tmp_path / "c",
        data={"file": str(tmp_path / "v")},
    )
    with pytest.raises(ConfigError):
        start(tmp_path / "r", plain)
    (tmp_path / "v").write_text("two")
    with pytest.raises(DataError, match="data changed since this run began.*force"):
        start(tmp_path / "r", plain)


def test_a_folder_in_use_is_refused_and_its_status_kept(tmp_path: Path) -> None:
    plain = config({"train": step("Train")}, tmp_path / "c")
    (tmp_path / "r").mkdir()
    write_json(tmp_path / "r" / "status.json", {"status": "interrupted"})
    (tmp_path / "r" / ".lock").write_text(f"{os.getppid()} {os.uname().nodename}")
    with pytest.raises(OutputError, match=f"in use by process {os.getppid()} "):
        start(tmp_path / "r", plain)
    assert status(tmp_path / "r") == {"status": "interrupted"}


def test_failures_are_written_to_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = config({"train": step("Train")}, tmp_path / "c", training={"learning_rate": 1e30})
    with pytest.raises(DivergedError):
        start(tmp_path / "a", plain)
    assert (
        status(tmp_path / "a")["status"] == "failed" and status(tmp_path / "a")["exit_code"] == 6
    )

    def full(*_: Any) -> None:
        raise OutputError("disk full writing x")

    monkeypatch.setattr(build_module, "execute", full)
    with pytest.raises(OutputError, match="disk full"):
        start(tmp_path / "b", plain)
    assert status(tmp_path / "b")["exit_code"] == 5


def test_a_pipeline_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a mapping 'steps'"):
        start(tmp_path / "r", config({}, tmp_path / "c"))


def test_a_model_without_an_example_is_refused_before_work(tmp_path: Path) -> None:
    plain = config({"train": step("Train")}, tmp_path / "c", model={"_target_": "toys.ToyModel"})
    with pytest.raises(ConfigError, match="example_input.*missing"):
        start(tmp_path / "r", plain)


def test_both_state_files_damaged_is_said(straight: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(straight, tmp_path / "r"))
    plain = config(whole_pipeline(), straight.parent / "cache")
    (folder / "state.safetensors").write_bytes(b"")
    assert open_run(folder, plain).mask is not None
    (folder / "state.safetensors.previous").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="damaged"):
        open_run(folder, plain)


def test_a_hostile_state_file_runs_nothing(tmp_path: Path) -> None:
    plain, canary = config({"train": step("Train")}, tmp_path / "c"), tmp_path / "canary"
    run = open_run(tmp_path / "r", plain)
    tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    meta = {
        "findings": {},
        "states": {},
        "completed": [],
        "model_config": {"_target_": "os.system", "command": f"touch {canary}"},
    }
    checkpoint.write(tmp_path / "r" / "state.safetensors", tensors, meta)
    with pytest.raises(CheckpointError, match="os.system"):
        start(tmp_path / "r", plain)
    assert not canary.exists()


def _checkpoint(straight: Path, name: str) -> dict[str, Any]:
    return config(
        {"score": step("Evaluate", variant="file")},
        straight.parent / "cache",
        checkpoint=str(straight / name),
        verb="eval",
    )


def test_a_run_from_a_checkpoint_takes_model_mask_and_task_from_the_file(
    straight: Path, tmp_path: Path
) -> None:
    plain = _checkpoint(straight, "model.apz")
    plain["task"] |= {"target": "magnitude"}
    run = open_run(tmp_path / "r", plain)
    assert run.from_checkpoint and run.mask is not None and run.codebooks is not None
    assert run.task_config == config({}, tmp_path)["task"] | {"sample_rate": 16000}
    assert run.task.target.__class__.__name__ == "RatioMask"


def test_the_task_of_the_file_is_written_again(straight: Path, tmp_path: Path) -> None:
    plain = _checkpoint(straight, "uncompressed.safetensors") | {"verb": "quantize"}
    steps = {
        "quantize": step("Quantize", levels=4),
        "done": step("Evaluate", variant="c", file="m.apz"),
    }
    plain["pipeline"] = {"name": "q", "steps": steps}
    plain["task"] |= {"target": "magnitude"}
    start(tmp_path / "r", plain)
    assert load_model_file(tmp_path / "r" / "m.apz").task_config == config({}, tmp_path)[
        "task"
    ] | {"sample_rate": 16000}


def test_another_model_beside_a_checkpoint_is_refused(straight: Path, tmp_path: Path) -> None:
    plain = _checkpoint(straight, "model.apz")
    plain["model"] |= {"width": 9}
    with pytest.raises(
        CheckpointError,
        match=r"is for FDNN\(.*width=6.*asks for FDNN\(.*width=9.*leave model.width=9 away",
    ):
        start(tmp_path / "a", plain, ("model.width=9",))
    plain = _checkpoint(straight, "model.apz")
    plain["model"] = {
        "name": "lstm",
        "_target_": "audioprune.models.lstm.LSTM",
        "bins": 17,
        "width": 4,
        "depth": 1,
    }
    with pytest.raises(CheckpointError, match="leave experiment=p2/lstm away"):
        start(tmp_path / "c", plain, ("experiment=p2/lstm",))


def test_a_plain_state_dict_of_a_users_model_is_compressed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save(MyNet().state_dict(), tmp_path / "weights.pt")
    mine = {"name": "mynet", "_target_": "tiny_runs.MyNet"}
    plain = config(
        whole_pipeline(1), tmp_path / "c", model=mine, checkpoint=str(tmp_path / "weights.pt")
    )
    assert start(tmp_path / "r", plain) == "finished"
    kinds = {row["key"] for row in rows(tmp_path / "r")}
    assert "train" not in kinds and {"compress/0/prune", "compressed/size"} <= kinds
    with pytest.raises(CheckpointError, match="not one of this package"):
        load_model_file(tmp_path / "r" / "model.apz")
    assert isinstance(load_model_file(tmp_path / "r" / "model.apz", mine).model, MyNet)


def _resumed(folder: Path, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run to the end and see that nothing completed before is done again."""
    before, done = completed(folder), []
    true_finish = Run.finish

    def finish(self: Run, path: str, changed: bool) -> None:
        done.append(path)
        true_finish(self, path, changed)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "finish", finish)
        ended = start(folder, plain)
    assert not before & set(done) and len(done) == len(set(done))
    assert ended == "cached" or not [
        path for path in folder.rglob("*") if ".tmp." in path.name or path.name == ".lock"
    ]


def _writes(plain: dict[str, Any], folder: Path) -> int:
    """Count the atomic writes of an undisturbed run."""
    count, true_replace = [0], os.replace

    def replace(source: Any, target: Any) -> None:
        count[0] += 1
        true_replace(source, target)

    os.replace = replace
    try:
        start(folder, plain)
    finally:
        os.replace = true_replace
    return count[0]


def _killed_and_resumed(
    straight: Path,
    tmp_path: Path,
    moments: list[tuple[int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for count, after in moments:
        plain = config(whole_pipeline(), straight.parent / "cache")
        folder = tmp_path / f"r{count}{after}"
        code = in_child(
            lambda plain=plain, folder=folder, at=count, late=after: (
                signal_at_write(at, after=late),
                start(folder, plain),
            )
        )
        assert code == -signal.SIGKILL, (count, after)
        _resumed(folder, plain, monkeypatch)
        assert rows(folder) == rows(straight), (count, after)
        for name in ("model.apz", "uncompressed.safetensors", "iteration-01.safetensors"):
            assert (folder / name).read_bytes() == (straight / name).read_bytes(), name


def test_kill_9_at_some_writes_changes_nothing(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = _writes(config(whole_pipeline(), straight.parent / "cache"), tmp_path / "count")
    pick = random.Random(0)
    moments = [
        (pick.randint(1 + part * count // 2, (part + 1) * count // 2), bool(part % 2))
        for part in range(2)
    ]
    _killed_and_resumed(straight, tmp_path, moments, monkeypatch)


@pytest.mark.slow
def test_kill_9_at_every_write_changes_nothing(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = _writes(config(whole_pipeline(), straight.parent / "cache"), tmp_path / "count")
    _killed_and_resumed(
        straight,
        tmp_path,
        [(at, late) for at in range(1, count + 1) for late in (False, True)],
        monkeypatch,
    )


@pytest.mark.parametrize(
    ("number", "at"), [(signal.SIGINT, 12), (signal.SIGTERM, 30), (signal.SIGTERM, 45)]
)
def test_a_polite_stop_saves_and_resumes(
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    at: int,
) -> None:
    plain = config(whole_pipeline(), straight.parent / "cache")
    assert in_child(lambda: (signal_at_write(at, number), start(tmp_path / "r", plain))) == 130
    assert (
        status(tmp_path / "r")["status"] == "interrupted"
        and not (tmp_path / "r" / ".lock").exists()
    )
    _resumed(tmp_path / "r", plain, monkeypatch)
    assert rows(tmp_path / "r") == rows(straight)


@pytest.mark.slow
def test_a_stop_within_the_last_pass_still_finishes_that_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition that ends in its last pass must not lose that pass's tuning and scoring."""
    plain = config(whole_pipeline(), tmp_path / "c")
    start(tmp_path / "a", plain)
    removed = {
        int(row["key"].split("/")[1]): row["removed_share"]
        for row in rows(tmp_path / "a")
        if row["kind"] == "iteration"
    }
    last = max(removed)
    assert last > 0 and 0 < removed[last] < 0.1, (
        "the test needs a rule that speaks after the first pass, softly"
    )
    true_finish = Run.finish

    def finish(self: Run, path: str, changed: bool) -> None:
        true_finish(self, path, changed)
        if path == f"compress/{last}/prune":
            os._exit(7)

    def crash() -> None:
        Run.finish = finish
        start(tmp_path / "b", plain)

    assert in_child(crash) == 7
    _resumed(tmp_path / "b", plain, monkeypatch)
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    plain = config({"train": step("Train")}, tmp_path / "c")
    leftover = tmp_path / "r" / "training" / f"x.tmp.{child}"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    start(tmp_path / "r", plain)
    assert not leftover.exists()
    assert files.drop_leftovers(tmp_path / "r") == []
