"""Sizes and costs of a model on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from audioprune.commands import info
from audioprune.errors import ConfigError

FDNN = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 161,
    "width": 8,
    "depth": 1,
}


class Odd(nn.Module):
    """Multiplies by a parameter outside any layer."""

    frames_per_second, time_dim = 100.0, 1

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.table = nn.Parameter(torch.ones(5, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) @ self.table

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 10, 5)


def _info(
    capsys: pytest.CaptureFixture[str],
    model: dict,
    form: str = "json",
    checkpoint: str | None = None,
) -> str:
    info.run(OmegaConf.create({"model": model, "checkpoint": checkpoint, "format": form}))
    return capsys.readouterr().out


def test_info_counts_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(_info(capsys, FDNN))
    params = 161 * 8 + 8 + 8 * 161 + 161
    assert (
        facts["params"] == params
        and facts["macs_per_second"] == 100 * 2 * 161 * 8
        and facts["uncounted"] == []
    )
    table = _info(capsys, FDNN, "table")
    assert f"{params:,}" in table and "MiB as fp32" in table and "leave out" not in table


def test_info_counts_models_of_several_inputs_and_their_synthesizer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {
        "_target_": "audioprune.models.ddsp.DDSP",
        "hidden": 8,
        "latent": 2,
        "encoder_width": 4,
        "partials": 5,
    }
    facts = json.loads(_info(capsys, model))
    assert facts["macs_per_second"] > 0 and facts["synthesis_flops_per_second"] > 16_000 * 5 * 6
    assert "the synthesizer takes about" in _info(capsys, model, "table")


def test_info_says_what_it_could_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(_info(capsys, {"_target_": f"{__name__}.Odd"}))["uncounted"] == ["table"]
    assert "MACs leave out what the model computes with table" in _info(
        capsys, {"_target_": f"{__name__}.Odd"}, "table"
    )


def test_info_reads_a_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from audioprune.models.fdnn import FDNN as Model

    model = Model(width=8, depth=1)
    with torch.no_grad():
        next(model.parameters()).zero_()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    facts = json.loads(_info(capsys, FDNN, checkpoint=str(tmp_path / "w.pt")))
    assert facts["params"] - facts["nonzero"] >= 161 * 8


def test_info_needs_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="ToyModel: expected example_input"):
        _info(capsys, {"_target_": "toys.ToyModel"})
