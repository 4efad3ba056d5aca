"""How many seconds of audio does one core learn from in a second, for each network? ``ITEM``.

Networks have the widths of the papers, inputs are made, and a step is a forward pass, the mean
square of all outputs less one, a backward pass and Adam.
"""

from __future__ import annotations

import copy
import importlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.data.scenes.features import FeatureStore, SceneFeatures
from audioprune.models.parts.gcrn_layers import GatedConv, GatedDeconv
from audioprune.protocols import HasExampleSeconds
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least
from scripts.benchmarks.trimmed import by_operation

# name: module, class, positions of the input, copies of it
NETS: dict[str, tuple[str, str, int, int]] = {
    "FDNN": ("fdnn", "FDNN", 100, 5),
    "LSTM": ("lstm", "LSTM", 25, 4),
    "GCRN": ("gcrn", "GCRN", 25, 2),
    "TCNN": ("tcnn", "TCNN", 50, 1),
    "DCAE": ("dcae", "DCAE", 0, 1),
    "GTCRN": ("gtcrn", "GTCRN", 63, 1),
    "ResNet-50": ("resnet", "ResNet", 64, 2),
    "DenseNet-121": ("densenet", "DenseNet", 64, 2),
    "VGG": ("vgg", "VGG", 64, 1),
    "CP-ResNet": ("cp_resnet", "CPResNet", 64, 1),
    "WaveNet": ("wavenet", "WaveNet", 1600, 1),
    "DDSP": ("ddsp", "DDSP", 0, 1),
    "SING": ("sing", "SING", 0, 1),
}
HEAVY = ("DCAE", "SING", "CP-ResNet", "GTCRN")


def built(name: str) -> tuple[nn.Module, tuple[Any, ...], float]:
    """Return a network, its arguments, and the seconds of audio that they are."""
    module, kind, frames, copies = NETS[name]
    torch.manual_seed(0)
    model = getattr(importlib.import_module(f"audioprune.models.{module}"), kind)().train()
    example = model.example_input(frames) if frames else model.example_input()
    arguments = (example,) if isinstance(example, Tensor) else tuple(example)
    if isinstance(model, HasExampleSeconds):
        seconds = model.example_seconds(frames) if frames else model.example_seconds()
    else:
        seconds = arguments[0].shape[model.time_dim] / model.frames_per_second
    many = tuple(each.repeat(copies, *[1] * (each.dim() - 1)) for each in arguments)
    return model, many, seconds * copies


def stepping(
    model: nn.Module, arguments: tuple[Any, ...], half: bool
) -> Callable[[], list[float]]:
    """Return a function that takes one step and returns all losses so far."""
    model = copy.deepcopy(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    losses: list[float] = []

    def step() -> list[float]:
        torch.manual_seed(len(losses))  # for what draws noise
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = [each for each in tree_leaves(model(*arguments)) if isinstance(each, Tensor)]
        real = [(each.float() - 1).square().mean() for each in outputs if each.is_floating_point()]
        loss = torch.stack(real).sum()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        return losses

    return step


def alike(mine: list[float], other: list[float]) -> str:
    """Say how far the loss curves are apart."""
    count = min(len(mine), len(other))
    apart = max(abs(a / b - 1) for a, b in zip(mine[:count], other[:count], strict=True))
    if not apart < 0.25:
        raise Unequal(f"the loss differs by {apart:.1%} within {count} steps")
    return f"the loss differs by {apart:.1%} within {count} steps"


def rows(run: Run) -> Iterator[Row]:
    """Measure every network in single precision and bfloat16, then features and GCRN's gates."""
    yield from features(run)
    for name in NETS:
        if run.quick and name in HEAVY:
            continue
        model, arguments, seconds = built(name)
        whole, half = (stepping(model, arguments, each) for each in (False, True))
        yield from run.against(
            f"{name}, {seconds:.2g} s of audio a step, bfloat16",
            half,
            {"float32": Peer(whole, at_least(3) if name == "FDNN" else None, warm=True)},
            check=alike,
            turns=2 if run.quick else 7,
            unit="s of audio/s",
            work=seconds,
        )
        if name in ("FDNN", "GCRN", "TCNN"):
            by_operation(run, f"{name}, one step in float32", whole)
    yield from gates(run)
    if not run.quick:
        yield from compiled(run)


def features(run: Run) -> Iterator[Row]:
    """Read scene features from the store, and compute them."""
    import soundfile

    made = SceneFeatures()
    with tempfile.TemporaryDirectory() as folder:
        clip = np.random.default_rng(0).uniform(-0.5, 0.5, (made.length, 2)).astype(np.float32)
        path = Path(folder) / "clip.wav"
        soundfile.write(path, clip, made.sample_rate)
        FeatureStore(made, folder).get(path, "0" * 64)
        yield from run.against(
            f"features of a scene of {made.duration_s:g} s, from disk",
            lambda: FeatureStore(made, folder).get(path, "0" * 64),
            {"computed": Peer(lambda: made.of_file(path), at_least(5), loops=5)},
            check=same_features,
            loops=5,
            unit="ms",
            turns=3,
        )


def same_features(mine: Any, other: Any) -> str:
    """Refuse features that differ."""
    if not np.array_equal(mine, other):
        raise Unequal("features differ")
    return "features are equal"


class JoinedGates(nn.Module):
    """A gated layer whose value and gate are one convolution, for comparison."""

    def __init__(self, layer: GatedConv | GatedDeconv) -> None:
        super().__init__()
        self.layer, self.back = layer, isinstance(layer, GatedDeconv)

    def forward(self, values: Tensor) -> Tensor:
        """Map features."""
        value, gate = self.layer.value, self.layer.gate
        weight = torch.cat((value.weight, gate.weight), 1 if self.back else 0)
        bias = torch.cat((value.bias, gate.bias))
        if self.back:
            padding = value.output_padding
            both = F.conv_transpose2d(values, weight, bias, (1, 2), 0, padding)
        else:
            both = F.conv2d(values, weight, bias, (1, 2))
        content, opened = both.chunk(2, 1)
        return self.layer.norm(content * torch.sigmoid(opened))


def gates(run: Run) -> Iterator[Row]:
    """Train GCRN with value and gate of each layer in one convolution, and as it is written."""
    model, arguments, seconds = built("GCRN")
    joined = copy.deepcopy(model)
    for layers in (joined.encoder, joined.real.layers, joined.imag.layers):
        for place, layer in enumerate(layers):
            layers[place] = JoinedGates(layer)
    yield from run.against(
        "GCRN, value and gate in one convolution (not built in)",
        stepping(joined, arguments, False),
        {"as it is": Peer(stepping(model, arguments, False), at_least(1.5), warm=True)},
        check=alike,
        turns=3 if run.quick else 9,
        unit="s of audio/s",
        work=seconds,
    )


def compiled(run: Run) -> Iterator[Row]:
    """Train FDNN through torch.compile, where a compiler is."""
    model, arguments, seconds = built("FDNN")
    made = torch.compile(model)
    yield from run.against(
        "FDNN, torch.compile, float32",
        stepping(made, arguments, False),
        {"eager": Peer(stepping(model, arguments, False), warm=True)},
        check=alike,
        turns=5,
        unit="s of audio/s",
        work=seconds,
    )


ITEM = Item(
    title="Training",
    about=(
        "Seconds of audio that one core trains on in a second: forward and backward pass of the "
        "mean square of the outputs less one, and fused Adam, on random inputs in memory, so that "
        "nothing waits for data. bfloat16 is autocast, as `precision: bf16` trains. The loss "
        "curves are compared step by step: rounding moves those of normalised networks on few "
        "examples most."
    ),
    rows=rows,
    why=(
        "bfloat16 pays where the processor multiplies it (avx512_bf16 or amx_bf16 in the list of "
        "instructions above); without these units torch converts to float32 and back, and is "
        "slower. GCRN and TCNN train as the published structure is written. Their time lies in "
        "convolutions and recurrent layers of torch's own libraries: the operations are below, "
        "and joining value and gate of a layer gains what the row shows, which is next to "
        "nothing."
    ),
    order=65,
)
