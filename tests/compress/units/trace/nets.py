"""All networks of the zoo with an example input each: ``ZOO``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn


def _load(name: str) -> ModuleType:
    """Load a file of this folder, wherever the tests are run from."""
    spec = importlib.util.spec_from_file_location(
        f"zoo_{name}", Path(__file__).parent / f"{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_enhancers, _makers, _classifiers = _load("enhancers"), _load("makers"), _load("classifiers")


def _noise(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _codes(count: int, *shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(count, shape, generator=torch.Generator().manual_seed(1))


Build = Callable[[], nn.Module]
ZOO: dict[str, tuple[Build, tuple[Callable[[], Tensor], ...]]] = {
    "CRN": (_enhancers.CRN, (_noise(2, 1, 6, 31),)),
    "DCCRN": (_enhancers.DCCRN, (_noise(2, 160),)),
    "Conv-TasNet": (_enhancers.ConvTasNet, (_noise(2, 128),)),
    "DPRNN": (_enhancers.DPRNN, (_noise(2, 132),)),
    "SepFormer": (_enhancers.SepFormer, (_noise(2, 132),)),
    "U-Net": (_enhancers.UNet, (_noise(2, 1, 8, 12),)),
    "Wave-U-Net": (_enhancers.WaveUNet, (_noise(2, 1, 64),)),
    "RNNoise": (_enhancers.RNNoise, (_noise(2, 8, 14),)),
    "FullSubNet": (_enhancers.FullSubNet, (_noise(1, 5, 17),)),
    "frame by frame": (_enhancers.GatedCells, (_noise(2, 5, 10),)),
    "HiFi-GAN": (_makers.HiFiGAN, (_noise(2, 10, 8),)),
    "MelGAN": (_makers.MelGAN, (_noise(2, 10, 8),)),
    "discriminator": (_makers.Judge, (_noise(2, 1, 100),)),
    "WaveNet": (_makers.WaveNet, (_codes(32, 2, 12), _noise(2, 6, 12))),
    "WaveRNN": (_makers.WaveRNN, (_noise(2, 16), _noise(2, 6, 4))),
    "EnCodec": (_makers.EnCodec, (_noise(2, 1, 32),)),
    "flow": (_makers.VITSFlow, (_noise(2, 6, 10),)),
    "DDSP": (_makers.HarmonicOscillator, (_noise(2, 8, 1), _noise(2, 8, 1))),
    "DS-CNN": (_classifiers.DSCNN, (_noise(2, 1, 12, 10),)),
    "BC-ResNet": (_classifiers.BCResNet, (_noise(2, 1, 16, 10),)),
    "MatchboxNet": (_classifiers.MatchboxNet, (_noise(2, 8, 16),)),
    "MobileNetV2": (lambda: _classifiers.MobileNet(nn.ReLU6(), False), (_noise(2, 1, 16, 16),)),
    "MobileNetV3": (lambda: _classifiers.MobileNet(nn.Hardswish(), True), (_noise(2, 1, 16, 16),)),
    "EfficientNet": (lambda: _classifiers.MobileNet(nn.SiLU(), True), (_noise(2, 1, 16, 16),)),
    "ResNeXt": (_classifiers.ResNeXt, (_noise(2, 1, 8, 8),)),
    "AST": (_classifiers.AudioTransformer, (_noise(2, 1, 16, 16),)),
    "CRNN": (_classifiers.CRNN, (_noise(2, 1, 6, 16),)),
    "ECAPA": (_classifiers.ECAPA, (_noise(2, 8, 16),)),
    "TCN": (_classifiers.TCN, (_noise(2, 8, 20),)),
    "Conformer": (_classifiers.Conformer, (_noise(2, 9, 10),)),
    "DenseNet": (_classifiers.DenseNet, (_noise(2, 1, 8, 8),)),
    "x-vector": (_classifiers.XVector, (_noise(2, 8, 20),)),
    "ShuffleNet": (_classifiers.ShuffleNet, (_noise(2, 1, 8, 8),)),
    "tied codes": (_classifiers.Tied, (_codes(30, 2, 7),)),
}


def build(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """Return a network of fixed random weights, and its example."""
    torch.manual_seed(0)
    make, inputs = ZOO[name]
    return make().eval(), tuple(each() for each in inputs)
