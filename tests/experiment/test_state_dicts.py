"""Weights that other programs saved: where they are, their names, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.model_io import build_model, load_model_file
from audioprune.experiment.state_dicts import KEYS, PICKLED
from audioprune.models.fdnn import FDNN

CONFIG = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 9,
    "width": 5,
    "depth": 2,
}


def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return FDNN(bins=9, width=5, depth=2).state_dict()


def _loads(path: Path, exactly: bool = True) -> None:
    """Read a file and compare every tensor with the weights that were saved."""
    state = load_model_file(path, CONFIG).model.state_dict()
    for name, value in _weights().items():
        assert state[name].dtype == value.dtype
        assert (
            torch.equal(state[name], value)
            if exactly
            else torch.allclose(state[name], value, atol=1e-2)
        )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "audioprune")
    return caplog


@pytest.mark.parametrize("ending", PICKLED)
def test_every_ending_of_torch_is_read(tmp_path: Path, ending: str) -> None:
    torch.save(_weights(), tmp_path / f"x{ending}")
    _loads(tmp_path / f"x{ending}")


@pytest.mark.parametrize("key", KEYS)
def test_weights_beside_an_optimizer_are_found(
    tmp_path: Path, key: str, said: pytest.LogCaptureFixture
) -> None:
    torch.save(
        {"epoch": 3, key: _weights(), "optimizer": {"state": {}, "lr": 0.1}},
        tmp_path / "x.pth.tar",
    )
    _loads(tmp_path / "x.pth.tar")
    assert said.messages == [
        f"{tmp_path}/x.pth.tar: weights taken from '{key}' (epoch, optimizer left aside)"
    ]


def test_plain_safetensors_of_other_programs_are_read(tmp_path: Path) -> None:
    for name, metadata in (("a", None), ("b", {"format": "pt"})):
        save_file(_weights(), tmp_path / f"{name}.safetensors", metadata)
        _loads(tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="says nothing about its model"):
        load_model_file(tmp_path / "a.safetensors")
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model_file(tmp_path / "c.safetensors", CONFIG)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "_orig_mod.",
        "module._orig_mod.",
        "model.model.",
        "_orig_mod.module.model.",
    ],
)
def test_prefixes_are_stripped_and_named(
    tmp_path: Path, prefix: str, said: pytest.LogCaptureFixture
) -> None:
    torch.save({prefix + name: value for name, value in _weights().items()}, tmp_path / "x.pt")
    _loads(tmp_path / "x.pt")
    assert said.messages == [f"{tmp_path}/x.pt: '{prefix}' stripped from the names"]


def test_wrapped_layers_and_other_parts_of_a_training_are_left_aside(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    wrapped = {
        f"model.{name.replace('.', '._orig_mod.', 1)}": value for name, value in _weights().items()
    }
    torch.save({**wrapped, "criterion.window": torch.ones(4)}, tmp_path / "x.ckpt")
    _loads(tmp_path / "x.ckpt")
    assert len(said.messages) == 1 and "1 tensors of other parts left aside" in said.messages[0]


class Named(nn.Module):
    """A model with a layer that is called as wrappers call it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 3)


def test_a_layer_that_is_called_like_a_wrapper_keeps_its_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = Named().state_dict()
    for prefix in ("", "model.", "module."):
        torch.save({prefix + name: value for name, value in weights.items()}, tmp_path / "x.pt")
        loaded = load_model_file(tmp_path / "x.pt", {"_target_": f"{__name__}.Named"}).model
        assert torch.equal(loaded.model.weight, weights["model.weight"])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_half_precision_becomes_the_models_and_is_said(
    tmp_path: Path, kind: Any, ending: str, said: pytest.LogCaptureFixture
) -> None:
    half = {name: value.to(kind) for name, value in _weights().items()}
    save_file(half, tmp_path / "x.safetensors") if ending == ".safetensors" else torch.save(
        half, tmp_path / "x.pt"
    )
    _loads(tmp_path / f"x{ending}", exactly=False)
    assert said.messages == [
        f"{tmp_path}/x{ending}: {str(kind).removeprefix('torch.')} weights converted to the "
        f"model's type"
    ]


def test_a_script_is_answered_by_one_line(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(
        CheckpointError, match=r"TorchScript program; save its weights: torch\.save\("
    ) as caught:
        load_model_file(tmp_path / "x.pt", CONFIG)
    assert "\n" not in str(caught.value)


def test_what_a_file_holds_instead_is_named(tmp_path: Path) -> None:
    torch.save({"weights": _weights(), "epoch": 1}, tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match="expected a state dict of tensors, got keys weights, epoch"
    ):
        load_model_file(tmp_path / "x.pt", CONFIG)


class Expanded(nn.Module):
    """A model of which one number in memory is eight weights."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1).expand(8))


def test_expanded_parameters_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'scale': expected a value of its own .*\(8,\).*\.clone\(\) in the constructor",
    ) as caught:
        build_model({"_target_": f"{__name__}.Expanded"}, trusted=True)
    assert "\n" not in str(caught.value)
