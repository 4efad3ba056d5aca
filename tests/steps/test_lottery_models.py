"""Tickets of the networks of Esling et al.: every criterion works, every cut network runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.lottery import (
    Origin,
    Selection,
    choose_units,
    cut_to_,
    maskable,
    narrowed,
    parameters_of,
)
from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError
from audioprune.models.ddsp import DDSP
from audioprune.models.sing import SING
from audioprune.models.wavenet import WaveNet
from audioprune.tasks.generation import NextSample, Reconstruction

SMALL = {"stft_windows": [32, 128]}
CASES: dict[str, tuple[Any, Any]] = {
    "wavenet": (
        partial(WaveNet, layers=4, residual=5, gate=4, skip=6, end=5, classes=16),
        NextSample(),
    ),
    "sing": (
        partial(SING, channels=8, dimension=4, kernel_size=64, stride=16, context=5),
        Reconstruction(inputs="audio", **SMALL),
    ),
    "ddsp": (
        partial(
            DDSP, hidden=8, latent=2, encoder_width=4, partials=4, filter_size=16, reverb_length=50
        ),
        Reconstruction(inputs="controls", **SMALL),
    ),
}


@pytest.fixture(scope="module")
def batch() -> dict[str, Any]:
    time = torch.arange(1600) / 16000
    pitch = torch.tensor([50, 60, 72])
    tones = torch.sin(6.2832 * 440 * 2.0 ** ((pitch[:, None] - 69) / 12) * time) * torch.linspace(
        1, 0, 1600
    )
    return {"audio": 0.5 * tones, "pitch": pitch, "id": ["a", "b", "c"]}


def _built(name: str) -> tuple[nn.Module, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CASES[name][0]().eval(), CASES[name][1]


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "activation", "information"])
@pytest.mark.parametrize("name", CASES)
def test_two_rounds_of_every_criterion(
    name: str, criterion: str, scope: str, batch: dict[str, Any]
) -> None:
    model, task = _built(name)
    full, _ = _built(name)
    origin, kept = Origin.of(model, model.unit_sets()), {}
    for number in (1, 2):
        evidence = CalibrationData(
            [batch], task.loss, target=partial(task.information_target, model), samples=60
        )
        sets = model.unit_sets()
        keep = choose_units(model, sets, Selection(criterion, scope), number, origin, evidence)
        kept = narrowed(kept, keep, sets)
        trim_(model, sets, keep)
        assert parameters_of(model) <= 0.7**number * origin.params and torch.isfinite(
            task.loss(model, batch)
        )
    cut_to_(full, full.unit_sets(), kept)
    assert all(
        torch.equal(value, full.state_dict()[key]) for key, value in model.state_dict().items()
    )


def test_only_ddsp_has_normalisations() -> None:
    for name, kind in (("wavenet", "WaveNet"), ("sing", "SING")):
        model, _ = _built(name)
        with pytest.raises(
            ConfigError,
            match=f"expected a model with normalisation layers on its units, got {kind} without",
        ):
            choose_units(
                model,
                model.unit_sets(),
                Selection("normalization"),
                1,
                Origin.of(model, model.unit_sets()),
            )
    model, _ = _built("ddsp")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
                module.weight.uniform_()
    keep = choose_units(
        model,
        model.unit_sets(),
        Selection("normalization"),
        1,
        Origin.of(model, model.unit_sets()),
    )
    assert "decoder.gru" not in keep and "encoder.0" in keep and "decoder.out_mlp.0" in keep


def test_masks_leave_the_output_layers_of_each_network() -> None:
    dense = {"wavenet": ["out2.weight"], "sing": ["decoder.6.weight"]}
    dense["ddsp"] = [f"decoder.{head}.weight" for head in ("amplitude", "partials", "noise")]
    for name, wanted in dense.items():
        model, _ = _built(name)
        masked = set(maskable(model, model.unit_sets()))
        weights = [key for key, value in model.named_parameters() if value.dim() > 1]
        assert [key for key in weights if key not in masked] == wanted
