"""Models from files: every kind of file, and every way in which a file could harm or mislead."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import MyNet

from audioprune import checkpoint, packing
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.model_io import (
    build_model,
    instantiate,
    is_package_model,
    load_model_file,
    restore_model,
)
from audioprune.models.fdnn import FDNN

FDNN_CONFIG = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 9,
    "width": 5,
    "depth": 2,
}
LSTM_CONFIG = {
    "name": "lstm",
    "_target_": "audioprune.models.lstm.LSTM",
    "bins": 9,
    "width": 5,
    "depth": 1,
}
TASK = {"name": "irm", "_target_": "audioprune.tasks.enhancement.Enhancement", "target": "irm"}
MINE = {"name": "mine", "_target_": "tiny_runs.MyNet"}


def _model() -> FDNN:
    torch.manual_seed(0)
    return FDNN(bins=9, width=5, depth=2).eval()


def _dense(path: Path, config: Any = None, task: Any = TASK) -> Path:
    tensors = {f"model/{name}": value for name, value in _model().state_dict().items()}
    return checkpoint.write(
        path, tensors, {"model": FDNN_CONFIG if config is None else config, "task": task}
    )


def _packed(path: Path, config: Any = None, task: Any = TASK) -> Path:
    model = _model()
    mask = Mask.ones(model, prunable(model))
    books = quantize_(model, mask, dict.fromkeys(prunable(model), 4))
    stored = {"model": FDNN_CONFIG if config is None else config, "task": task}
    packing.pack(path, model.state_dict(), mask=mask, codebooks=books, config=stored, meta={})
    return path


def _equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    torch.save(_model().state_dict(), tmp_path / "a.pt")
    torch.save({"state_dict": _model().state_dict()}, tmp_path / "b.pth")
    for file, given in (
        (tmp_path / "a.pt", FDNN_CONFIG),
        (tmp_path / "b.pth", FDNN_CONFIG),
        (_dense(tmp_path / "c.safetensors"), None),
    ):
        loaded = load_model_file(file, given)
        assert (
            _equal(loaded.model, _model())
            and loaded.model_config == FDNN_CONFIG
            and loaded.codebooks is None
        )
    packed = load_model_file(_packed(tmp_path / "d.apz"))
    assert packed.task_config == TASK and packed.mask is not None and packed.codebooks is not None
    assert not _equal(packed.model, _model())


def test_a_run_folder_means_its_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected model.apz or model.safetensors"):
        load_model_file(tmp_path)
    _dense(tmp_path / "model.safetensors")
    assert load_model_file(tmp_path).codebooks is None
    _packed(tmp_path / "model.apz")
    assert load_model_file(tmp_path).codebooks is not None


def test_the_weights_of_the_file_are_the_models(tmp_path: Path) -> None:
    model, loaded = _model(), load_model_file(_dense(tmp_path / "c.safetensors")).model.eval()
    example = torch.rand(2, 6, 9)
    assert torch.equal(model(example), loaded(example))


@pytest.mark.parametrize("name", ["x.apz", "x.safetensors", "x.pt", "nowhere"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} does not exist"):
        load_model_file(tmp_path / name, FDNN_CONFIG)


class Bomb:
    """Unpickling it runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".apz", ".safetensors", ".npy", ""])
@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle", "numpy", "whole model"])
def test_hostile_pickles_run_nothing(tmp_path: Path, suffix: str, kind: str) -> None:
    file, canary = tmp_path / f"x{suffix}", tmp_path / "canary"
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"a": Bomb(canary)}))
    elif kind == "numpy":
        with open(file, "wb") as stream:
            np.save(stream, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    elif kind == "whole model":
        torch.save(_model(), file)
    else:
        torch.save(
            {"a": torch.zeros(2), "b": Bomb(canary)},
            file,
            _use_new_zipfile_serialization=kind == "torch",
        )
    with pytest.raises(CheckpointError) as caught:
        load_model_file(file, FDNN_CONFIG)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("write", [_dense, _packed], ids=["dense", "packed"])
@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "os.system", "command": "touch CANARY"},
        {"_target_": "audioprune.models.fdnn.nn.Linear", "in_features": 1, "out_features": 1},
        {"_target_": "audioprune.models.fdnn.torch.hub.load"},
        {"_target_": "audioprune.files.write_atomic", "path": "CANARY", "data": "x"},
        {**FDNN_CONFIG, "width": {"_target_": "os.system", "command": "touch CANARY"}},
        {**FDNN_CONFIG, "width": [{"_target_": "os.system", "command": "touch CANARY"}]},
        {**FDNN_CONFIG, "_args_": [{"_target_": "os.system", "command": "touch CANARY"}]},
        {**FDNN_CONFIG, "_partial_": True},
        {**FDNN_CONFIG, "width": "${oc.env:HOME}"},
        {**MINE},
        {},
        {"_target_": None},
        {"_target_": 7},
    ],
    ids=range(13),
)
def test_a_file_names_no_code_outside_the_package(
    tmp_path: Path, write: Any, config: dict[str, Any]
) -> None:
    canary = tmp_path / "canary"
    hostile = eval(repr(config).replace("CANARY", str(canary)))
    file = write(tmp_path / ("x.apz" if write is _packed else "x.safetensors"), hostile)
    for known in (None, FDNN_CONFIG):
        with pytest.raises(CheckpointError) as caught:
            load_model_file(file, known)
        assert "\n" not in str(caught.value) and not canary.exists()


@pytest.mark.parametrize(
    "task",
    [
        {"_target_": "os.system", "command": "touch CANARY"},
        {**TASK, "feature": {"_target_": "os.system", "command": "touch CANARY"}},
        {"_target_": "audioprune.tasks.enhancement.soundfile.write", "file": "CANARY"},
        {"_target_": "audioprune.tasks.nowhere.Thing"},
        {**TASK, "target": "${oc.env:HOME}"},
        "os.system",
        ["os.system"],
    ],
    ids=range(7),
)
def test_a_file_names_no_task_outside_the_package(tmp_path: Path, task: Any) -> None:
    canary = tmp_path / "canary"
    file = _dense(tmp_path / "x.safetensors", task=eval(repr(task).replace("CANARY", str(canary))))
    with pytest.raises(CheckpointError):
        load_model_file(file)
    assert not canary.exists()


def test_a_name_within_the_package_is_no_permission(tmp_path: Path) -> None:
    node = {"_target_": "audioprune.models.fdnn.Tensor"}
    file = checkpoint.write(
        tmp_path / "x.safetensors", {"model/w": torch.zeros(1)}, {"model": node}
    )
    with pytest.raises(CheckpointError, match="not one of this package"):
        load_model_file(file, node)


def test_a_users_model_is_built_only_where_the_user_names_it(tmp_path: Path) -> None:
    tensors = {f"model/{name}": value for name, value in MyNet().state_dict().items()}
    file = checkpoint.write(tmp_path / "x.safetensors", tensors, {"model": MINE})
    assert isinstance(load_model_file(file, MINE).model, MyNet)
    with pytest.raises(
        CheckpointError,
        match="x.safetensors: the file names .*give it yourself with model=tiny_runs:MyNet",
    ):
        load_model_file(file)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(_model().state_dict(), tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match=r"does not fit LSTM: .* tensors missing \[.*unknown \["
    ):
        load_model_file(tmp_path / "x.pt", LSTM_CONFIG)
    with pytest.raises(
        CheckpointError,
        match=r"2 tensors|differ in shape .*\(5, 9\) in the file, \(8, 9\) in the model",
    ):
        load_model_file(tmp_path / "x.pt", {**FDNN_CONFIG, "width": 8})
    with pytest.raises(CheckpointError, match="says nothing about its model"):
        load_model_file(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "value", [[1, 2], {"a": 3}, {"a": torch.zeros(1), "b": "text"}, torch.zeros(2)], ids=range(4)
)
def test_other_contents_are_no_state_dict(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="expected a state dict of tensors"):
        load_model_file(tmp_path / "x.pt", FDNN_CONFIG)


def test_stored_widths_are_restored(tmp_path: Path) -> None:
    narrow = FDNN(bins=9, width=3, depth=2)
    wide = restore_model(_model(), narrow.state_dict())
    assert _equal(wide, narrow) and wide(torch.zeros(1, 2, 9)).shape == (1, 2, 9)
    with pytest.raises(CheckpointError, match="does not fit FDNN"):
        restore_model(_model(), {**narrow.state_dict(), "extra": torch.zeros(1)})


def test_package_models_are_classes_defined_in_their_module() -> None:
    assert is_package_model("audioprune.models.fdnn.FDNN") and is_package_model(
        "audioprune.models.gcrn.GCRN"
    )
    others = ("fdnn.nn", "fdnn.nothing", "none.FDNN", "fdnn.FDNN.forward")
    for target in (
        "",
        "FDNN",
        "torch.nn.Linear",
        *(f"audioprune.models.{name}" for name in others),
    ):
        assert not is_package_model(target)


def test_failures_of_building_are_one_line() -> None:
    for node, message in (
        ({"_target_": "tiny_runs.Nothing"}, "cannot build tiny_runs.Nothing"),
        ({**MINE, "colour": 3}, "colour"),
        ({"_target_": "test_loading_raises"}, "cannot build test_loading_raises"),
        ({"_target_": "builtins.next", "_args_": [[]]}, "cannot build builtins.next"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)) as caught:
            instantiate(node)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="torch.nn.Module"):
        build_model({"_target_": "builtins.dict"}, trusted=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class Net:\n    def __init__(self, width): pass\n",
            r"missing 1 required positional argument: 'width' (TypeError)",
        ),
        (
            "import nowhere_at_all\n",
            "No module named 'nowhere_at_all' (ModuleNotFoundError, NAME.py line 1)",
        ),
        ("x = 1\nclass Net(:\n", "invalid syntax (SyntaxError, NAME.py line 2)"),
        (
            "class Net:\n    def __init__(self):\n        self.x = [][1]\n",
            "list index out of range (IndexError, NAME.py line 3)",
        ),
        ("y = 1\nraise ValueError('no such\\nthing')\n", "no such (ValueError, NAME.py line 2)"),
        ("class Nett: pass\n", "unknown class of NAME 'Net'; closest: Nett"),
    ],
    ids=range(6),
)
def test_the_real_reason_why_a_users_model_is_not_built(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    source: str,
    message: str,
) -> None:
    name = f"mynet_{request.node.callspec.id.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message.replace("NAME", name))) as caught:
        instantiate({"_target_": f"{name}.Net"})
    assert "\n" not in str(caught.value) and str(caught.value).startswith(
        f"cannot build {name}.Net: "
    )
