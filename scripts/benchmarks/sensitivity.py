"""How much CPU time does the sensitivity analysis take beside the loop of the paper? ``ITEM``.

The desk models of Tan & Wang, and the auto-encoder of Plain & Biswas, are trained for some steps
on made mixtures (tones with harmonics that come and go, in noise). The printed loop prunes every
fraction in turn and takes the loss of all items each time, until the tolerance is exceeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search.candidates import weight_candidates
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.compress.search.sensitivity import BETAS, METHODS, search
from audioprune.compress.select import share_of
from audioprune.models.dcae import DCAE
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.tasks.enhancement import Enhancement
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least

RATE = 16000
TOLERANCE = 0.01  # of the base loss
DCAE_FRAME = 16384
MODELS: dict[str, tuple[Any, dict[str, Any], dict[str, Any] | None, float]] = {
    "FDNN": (FDNN, {"width": 512}, {"target": "irm", "feature": "cube_root"}, 2.0),
    "LSTM": (
        LSTM,
        {"width": 128, "depth": 2},
        {"target": "magnitude", "feature": "cube_root", "output": "mask"},
        2.0,
    ),
    "TCNN": (TCNN, {"width": 0.125, "dropout": 0.0}, {"target": "waveform"}, 1.0),
    "GCRN": (
        GCRN,
        {"width": 0.125},
        {"target": "complex", "feature": "cube_root", "output": "mask"},
        1.0,
    ),
    "DCAE": (
        DCAE,
        {"width": 0.125, "residual": True, "init": "kaiming"},
        None,
        DCAE_FRAME / RATE,
    ),
}
"""Name -> class, its arguments, those of the task (as in the desk presets; DCAE learns the signal
itself), seconds of an item."""
GOALS = {"first_violation": 3.0, "bisection": 6.0, "checked_bisection": None}


def make_batch(count: int, seconds: float, draw: torch.Generator) -> dict[str, Tensor]:
    """Return mixtures of RMS 1 and their clean signals, each (count, T)."""
    size = int(RATE * seconds)
    time_s = torch.arange(size) / RATE
    pitch = 100 + 150 * torch.rand(count, 1, generator=draw)
    slow = 2 + 3 * torch.rand(count, 1, generator=draw)
    phase = 6.28 * torch.rand(count, 1, generator=draw)
    clean = sum(torch.sin(6.2832 * pitch * k * time_s + phase * k) / k for k in range(1, 12))
    clean = clean * torch.sin(3.1416 * slow * time_s + phase).clamp_min(0)
    noise = torch.randn(count, size, generator=draw)
    level = 10 ** (-(10 * torch.rand(count, 1, generator=draw) - 5) / 20)
    noise = noise * level * clean.square().mean(1, keepdim=True).sqrt()
    gain = (clean + noise).square().mean(1, keepdim=True).rsqrt()
    lengths = torch.full((count,), size)
    return {"noisy": (clean + noise) * gain, "clean": clean * gain, "lengths": lengths}


class Waveform:
    """Learn the clean signal from the noisy one, by the mean absolute difference."""

    def inputs(self, batch: dict[str, Tensor]) -> Tensor:
        return 0.1 * batch["noisy"].unsqueeze(1)

    def loss_of(self, batch: dict[str, Tensor]) -> Any:
        clean = 0.1 * batch["clean"].unsqueeze(1)
        return lambda output: (output - clean).abs().mean()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.loss_of(batch)(model(self.inputs(batch)))
        return found


def task_of(told: dict[str, Any] | None) -> Any:
    """Return the task of a model."""
    return Waveform() if told is None else Enhancement(**told)


def train(model: nn.Module, task: Any, steps: int, seconds: float) -> None:
    """Take some steps of Adam on fresh mixtures."""
    draw = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        task.loss(model, make_batch(4, seconds, draw)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def naive(model: nn.Module, batches: list[Any], tolerance: float) -> tuple[dict[str, float], int]:
    """Run Algorithm 1 as printed; return each ratio and the number of passes."""

    def loss() -> float:
        total = sum(weight * float(of(model(inputs))) for inputs, of, weight in batches)
        return total / sum(weight for _, _, weight in batches)

    found: dict[str, float] = {}
    with torch.no_grad(), evaluating(model):
        base, passes = loss(), 1
        for name in prunable(model):
            weight = model.get_parameter(name)
            before, found[name] = weight.clone(), BETAS[-1]
            for index, beta in enumerate(BETAS):
                order = weight.flatten().abs().argsort(stable=True)
                weight.view(-1)[order[: share_of(beta, weight.numel())]] = 0
                increase = loss() - base
                weight.copy_(before)
                passes += 1
                if increase > tolerance * base:
                    found[name] = BETAS[index - 1]
                    break
    return found, passes


def ours(model: nn.Module, batches: list[Any], method: Any) -> tuple[dict[str, float], int]:
    """Search by one of our methods; return each ratio and the number of passes."""
    loss = BatchLoss(model, batches)
    candidates = weight_candidates(model, Mask.ones(model, prunable(model)))
    found = search(candidates, loss, TOLERANCE * loss.base(), method=method).tensors
    ratios = {name: each.beta for name, each in found.items()}
    return ratios, 1 + sum(each.passes for each in found.values())


def prepared(name: str, steps: int, items: int) -> tuple[nn.Module, list[Any]]:
    """Train a model; return it with the batches of its validation loss."""
    kind, arguments, told, seconds = MODELS[name]
    torch.manual_seed(0)
    model, task = kind(**arguments), task_of(told)
    train(model, task, steps, seconds)
    draw, batches = torch.Generator().manual_seed(2), []
    for start in range(0, items, 8):
        batch = make_batch(min(8, items - start), seconds, draw)
        inputs = task.inputs(batch) if told is None else task.target.inputs(batch["noisy"])
        batches.append((inputs, task.loss_of(batch), float(len(batch["noisy"]))))
    return model, batches


def same(mine: tuple[dict[str, float], int], other: tuple[dict[str, float], int]) -> str:
    """Say how many passes both took; refuse other ratios."""
    equal = sum(mine[0][name] == ratio for name, ratio in other[0].items())
    told = f"{mine[1]} passes for {other[1]}, {equal} of {len(other[0])} ratios equal"
    if equal < len(other[0]):
        raise Unequal(told)
    mean = sum(other[0].values()) / len(other[0])
    return f"{told}, mean ratio {mean:.2f}"


def rows_of(run: Run) -> Iterator[Row]:
    """Compare every method with the loop, model by model."""
    torch.set_num_threads(1)
    steps, items = (40, 4) if run.quick else (300, 24)
    for name in MODELS:
        model, batches = prepared(name, steps, items)
        loop = partial(naive, model, batches, TOLERANCE)
        for method in METHODS:
            goal = GOALS[method]
            peer = Peer(loop, at_least(goal) if goal else None, turns=1)
            yield from run.against(
                f"{name}, {method.replace('_', ' ')}",
                partial(ours, model, batches, method),
                {"loop of the paper": peer},
                check=same,
                turns=1,
                warm=False,
            )


ITEM = Item(
    title="Sensitivity analysis",
    about="CPU time of the search for each tensor's removable share, one thread, beside the loop "
    "that the paper prints, on briefly trained desk models. `first violation` looks at the same "
    "fractions as the loop; `bisection` trusts that the loss rises; `checked bisection` looks "
    "where it may not. The ratios must be those of the loop.",
    rows=rows_of,
    why="Layers before the changed tensor are not repeated (skips included), an evaluation stops "
    "once the losses so far exceed the tolerance, and one sort serves all fractions of a "
    "tensor. What is left is one pass through the layers behind for every fraction that the "
    "loop looks at: where all layers cost alike that is half of the loop's work, which bounds "
    "the exact search near two times. Where the time sits in the first layers, as in an auto- "
    "encoder of waveforms with wide skips, less is saved. `checked bisection` needs a "
    "fraction of the passes and checks what `bisection` assumes.",
    order=40,
)
