"""How long one step of each optimiser takes, as a ratio to torch's fused SGD in the same run.

The model is a list of tensors with the shapes of ResNet-50 with 10 classes (161 tensors, 23.5 M
parameters), every row along axis 0 a group. Candidates take turns and the median counts, because
other jobs may share the machine.

    python scripts/benchmarks/optim.py [--rounds 15] [--units] [--channels-last]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG


def resnet50_shapes() -> list[tuple[int, ...]]:
    """Return the shapes of the parameters of a ResNet-50 with 10 classes, in definition order."""
    shapes: list[tuple[int, ...]] = []

    def convolution(out: int, into: int, kernel: int) -> None:
        shapes.extend([(out, into, kernel, kernel), (out,), (out,)])

    convolution(64, 3, 7)
    into = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            convolution(width, into, 1)
            convolution(width, width, 3)
            convolution(4 * width, width, 1)
            if block == 0:
                convolution(4 * width, into, 1)
            into = 4 * width
    return [*shapes, (10, 2048), (10,)]


def make_parameters(channels_last: bool = False) -> list[nn.Parameter]:
    """Return parameters with gradients, both random."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in resnet50_shapes():
        layout = (
            torch.channels_last if channels_last and len(shape) == 4 else torch.contiguous_format
        )
        param = nn.Parameter(
            (0.05 * torch.randn(shape, generator=generator)).to(memory_format=layout)
        )
        param.grad = (0.01 * torch.randn(shape, generator=generator)).to(memory_format=layout)
        params.append(param)
    return params


def filter_units(params: list[nn.Parameter]) -> list[UnitSet]:
    """Join each filter with its normalisation's scale and shift; the last layer stays free."""
    sets = []
    for i in range(0, len(params) - 2, 3):
        count = params[i].shape[0]
        parts = (
            Slice(str(i), 0, rows(0, count)),
            *(Slice(str(i + j), 0, rows(0, count), "norm") for j in (1, 2)),
        )
        sets.append(UnitSet(str(i), parts))
    return sets


def loop_half_space(params: list[nn.Parameter], lr: float, lmbda: float, epsilon: float) -> None:
    """Carry out the half-space step group by group, as a plain implementation would."""
    for param in params:
        for row, gradient in zip(param.detach(), param.grad, strict=True):
            norm = row.norm()
            if norm > 0:
                moved = row - lr * (gradient + lmbda * row / norm)
                row.copy_(
                    torch.zeros_like(row) if (moved * row).sum() < epsilon * norm**2 else moved
                )


def candidates(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return the steps to time; each has its own copy of the parameters."""
    lr, lmbda = 1e-4, 1e-3

    def build(kind: Callable, **options: object) -> Callable[[], object]:
        params = make_parameters(args.channels_last)
        if kind is torch.optim.SGD:
            return kind(params, lr=lr, **options).step
        units = filter_units(params) if args.units else "rows"
        named = [(str(i), param) for i, param in enumerate(params)]
        return kind(named, lr, lmbda=lmbda, units=units, **options).step

    half, prox = {"prox_steps": 1}, {"prox_steps": 10**9}
    found = {
        "SGD fused": build(torch.optim.SGD, fused=True),
        "SGD foreach": build(torch.optim.SGD, foreach=True),
        "HSPG half-space": build(HSPG, **half),
        "HSPG half-space, capped": build(HSPG, target_group_sparsity=0.5, **half),
        "HSPG half-space, torch only": build(HSPG, fused=False, **half),
        "HSPG prox": build(HSPG, **prox),
        "ProxSG": build(ProxSG),
        "ProxSG, torch only": build(ProxSG, fused=False),
        "ProxSG l1": build(ProxSG, norm="l1"),
        "ProxSG l1, torch only": build(ProxSG, norm="l1", fused=False),
        "OBProxSG orthant": build(OBProxSG, **half),
        "OBProxSG orthant, torch only": build(OBProxSG, fused=False, **half),
        "SGD fused, momentum": build(torch.optim.SGD, fused=True, momentum=0.9),
        "HSPG half-space, momentum": build(HSPG, momentum=0.9, **half),
        "HSPG half-space, Adam": build(HSPG, base="adam", **half),
        "ADMM, z-step every 10": build(ADMM, rho=1e-2, inner_steps=10),
    }
    if args.loop:
        params = make_parameters(args.channels_last)
        with torch.no_grad():
            found["HSPG half-space, loop over groups"] = lambda: loop_half_space(
                params, lr, lmbda, 0.0
            )
    return found


def main() -> None:
    """Time all candidates and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each candidate")
    parser.add_argument(
        "--units", action="store_true", help="groups of filter, scale and shift instead of rows"
    )
    parser.add_argument(
        "--channels-last", action="store_true", help="convolution weights in channels_last order"
    )
    parser.add_argument(
        "--loop", action="store_true", help="also time a Python loop over the groups"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    steps = candidates(args)
    for step in steps.values():
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    base = median(times["SGD fused"])
    for name, taken in times.items():
        ratio = median(ours / sgd for ours, sgd in zip(taken, times["SGD fused"], strict=True))
        print(
            f"{name:36s} {1e3 * median(taken):8.2f} ms  {median(taken) / base:7.2f} x SGD fused "
            f" (paired {ratio:.2f})"
        )


if __name__ == "__main__":
    main()
