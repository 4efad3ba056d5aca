"""CPU time of the sensitivity analysis, as a ratio to the loop that is printed in the paper.

The desk models of Tan & Wang are trained for a few hundred steps on made mixtures (tones with
harmonics that come and go, in noise). The printed loop prunes every fraction in turn and takes the
loss of all items each time, until the tolerance is exceeded. The search must find the same ratios
as the loop; ``same`` counts the tensors where it does.

    python scripts/benchmarks/sensitivity.py [fdnn lstm tcnn gcrn] [--steps 300] [--items 24]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search.candidates import weight_candidates
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.compress.search.sensitivity import BETAS, METHODS, search
from audioprune.compress.select import share_of
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.tasks.enhancement import Enhancement

RATE = 16000
MODELS: dict[str, tuple[Any, dict[str, Any], dict[str, Any], float]] = {
    "fdnn": (FDNN, {"width": 512}, {"target": "irm", "feature": "cube_root"}, 2.0),
    "lstm": (
        LSTM,
        {"width": 128, "depth": 2},
        {"target": "magnitude", "feature": "cube_root", "output": "mask"},
        2.0,
    ),
    "tcnn": (TCNN, {"width": 0.125, "dropout": 0.0}, {"target": "waveform"}, 1.0),
    "gcrn": (
        GCRN,
        {"width": 0.125},
        {"target": "complex", "feature": "cube_root", "output": "mask"},
        1.0,
    ),
}
"""Name -> class, its arguments, those of the task (as in the desk presets), seconds of an item."""


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


def train(model: nn.Module, task: Enhancement, steps: int, seconds: float) -> None:
    """Take some steps of Adam on fresh mixtures."""
    draw = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        task.loss(model, make_batch(4, seconds, draw)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


def naive(
    model: nn.Module, batches: list[Any], tolerance: float
) -> tuple[dict[str, float], int, float]:
    """Run Algorithm 1 as printed; return each ratio, the passes and the base loss."""

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
    return found, passes, base


def compare(name: str, steps: int, items: int) -> None:
    """Print one line per method."""
    kind, arguments, told, seconds = MODELS[name]
    torch.manual_seed(0)
    model, task = kind(**arguments), Enhancement(**told)
    train(model, task, steps, seconds)
    draw, batches = torch.Generator().manual_seed(2), []
    for start in range(0, items, 8):
        batch = make_batch(min(8, items - start), seconds, draw)
        batches.append((task.target.inputs(batch["noisy"]), task.loss_of(batch), float(items)))
    began = time.process_time()
    expected, passes, base = naive(model, batches, 0.01)
    loop = time.process_time() - began
    mean = sum(expected.values()) / len(expected)
    print(f"{name:5s} naive loop         {loop:8.2f} s, {passes} passes, mean ratio {mean:.2f}")
    for method in METHODS:
        began = time.process_time()
        loss = BatchLoss(model, batches)
        candidates = weight_candidates(model, Mask.ones(model, prunable(model)))
        found = search(candidates, loss, 0.01 * base, method=method).tensors
        ours = time.process_time() - began
        same = sum(found[tensor].beta == beta for tensor, beta in expected.items())
        count = 1 + sum(each.passes for each in found.values())
        print(
            f"{name:5s} {method:18s} {ours:8.2f} s, {count} passes, {loop / ours:.2f} times as "
            f"fast, same {same} of {len(expected)}",
            flush=True,
        )


def main() -> None:
    """Compare the models that are named, each in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--items", type=int, default=24)
    told = parser.parse_args()
    torch.set_num_threads(1)
    for name in told.models:
        compare(name, told.steps, told.items)


if __name__ == "__main__":
    main()
