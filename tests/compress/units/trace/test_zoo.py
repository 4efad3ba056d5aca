"""Networks as people write them: what is offered is exact, and how much of each can leave."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.freed_parameters import freed_parameters
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.compress.weight_norm import fold_norms_


def _nets() -> Any:
    spec = importlib.util.spec_from_file_location("zoo_nets", Path(__file__).parent / "nets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NETS = _nets()
# network -> number of sets, of their units, and percent of the parameters that are left without
# the half of every set
FOUND = {
    "CRN": (5, 64, 26),
    "DCCRN": (5, 72, 26),
    "Conv-TasNet": (6, 108, 32),
    "DPRNN": (3, 32, 28),
    "SepFormer": (5, 80, 29),
    "U-Net": (10, 120, 25),
    "Wave-U-Net": (5, 72, 25),
    "RNNoise": (4, 44, 34),
    "FullSubNet": (2, 32, 32),
    "frame by frame": (2, 24, 29),
    "HiFi-GAN": (11, 76, 32),
    "MelGAN": (6, 56, 38),
    "discriminator": (2, 8, 47),
    "WaveNet": (6, 58, 36),
    "WaveRNN": (5, 80, 30),
    "EnCodec": (5, 54, 27),
    "flow": (3, 28, 29),
    "DDSP": (7, 112, 28),
    "DS-CNN": (4, 64, 40),
    "BC-ResNet": (2, 24, 43),
    "MatchboxNet": (4, 72, 38),
    "MobileNetV2": (6, 98, 37),
    "MobileNetV3": (9, 116, 35),
    "EfficientNet": (9, 116, 35),
    "ResNeXt": (5, 24, 34),
    "AST": (5, 88, 30),
    "CRNN": (3, 36, 28),
    "ECAPA": (9, 72, 33),
    "TCN": (5, 72, 29),
    "Conformer": (5, 100, 30),
    "DenseNet": (5, 36, 28),
    "x-vector": (4, 72, 33),
    "ShuffleNet": (2, 8, 65),
    "tied codes": (2, 28, 35),
}


@pytest.mark.parametrize("name", NETS.ZOO)
def test_masked_is_trimmed(name: str) -> None:
    model, inputs = NETS.build(name)
    sets, reasons = derive_units(model, inputs)
    assert all(each.exact for each in sets) and not any("do not agree" in why for why in reasons)
    fold_norms_(model)
    assert verify_units(model, sets, inputs, seed=7) <= 1e-5
    count = sum(parameter.numel() for parameter in model.parameters())
    half = {each.name: each.size // 2 for each in sets}
    freed = freed_parameters(model, sets)(half)
    found = (len(sets), sum(each.size for each in sets), round(100 * (1 - freed / count)))
    assert found == FOUND[name]
    trim_(model, sets, {each.name: torch.arange(each.size) >= half[each.name] for each in sets})
    assert sum(parameter.numel() for parameter in model.parameters()) == count - freed
