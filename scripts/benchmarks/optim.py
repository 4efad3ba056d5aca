"""How long is a step of each sparse optimiser beside torch's fused step of its base? ``ITEM``.

The model is a list of tensors with the shapes of ResNet-50 with 10 classes (161 tensors, 23.5 M
parameters); groups are rows along axis 0, or a filter with its scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG
from scripts.benchmarks.frame import Item, Peer, Row, Run, at_most

LR, LMBDA = 1e-4, 1e-3
HALF: dict[str, Any] = {"prox_steps": 1}
CAP: dict[str, Any] = {**HALF, "target_group_sparsity": 0.5}
FAST, PLAIN = 1.3, 2.0
CASES: tuple[tuple[str, Any, dict[str, Any], str], ...] = (
    ("HSPG, half-space", HSPG, HALF, "sgd"),
    ("HSPG, half-space, units", HSPG, {**HALF, "units": "filters"}, "sgd"),
    ("HSPG, half-space, cap on sparsity", HSPG, CAP, "sgd"),
    ("HSPG, half-space, momentum", HSPG, {**HALF, "momentum": 0.9}, "momentum"),
    ("HSPG, half-space, Adam", HSPG, {**HALF, "base": "adam"}, "adam"),
    ("HSPG, prox", HSPG, {"prox_steps": 10**9}, "sgd"),
    ("ProxSG", ProxSG, {}, "sgd"),
    ("ProxSG, l1", ProxSG, {"norm": "l1"}, "sgd"),
    ("OBProxSG, orthant", OBProxSG, HALF, "sgd"),
    ("ADMM, z-step every 10", ADMM, {"rho": 1e-2, "inner_steps": 10}, "sgd"),
)
BASES: dict[str, tuple[str, Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": ("SGD, fused", torch.optim.SGD, {}),
    "momentum": ("SGD with momentum, fused", torch.optim.SGD, {"momentum": 0.9}),
    "adam": ("Adam, fused", torch.optim.Adam, {}),
}


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


def stepper(kind: Any, options: dict[str, Any]) -> Callable[[], object]:
    """Return a step of a sparse optimiser on parameters of its own, past its first two steps."""
    params, told = make_parameters(), dict(options)
    if told.get("units") == "filters":
        told["units"] = filter_units(params)
    named = [(str(i), param) for i, param in enumerate(params)]
    step = kind(named, LR, lmbda=LMBDA, **{"units": "rows", **told}).step
    step(), step()
    return step


def base_step(base: str) -> Peer:
    """Return torch's fused step of a base."""
    _, kind, options = BASES[base]
    return Peer(kind(make_parameters(), lr=LR, fused=True, **options).step, at_most(FAST), loops=3)


def rows_of(run: Run) -> Iterator[Row]:
    """Measure compiled steps, and those of torch alone, against the base's fused step."""
    torch.set_num_threads(1)
    turns = 5 if run.quick else 21
    for fused in (True, False):
        for name, kind, options, base in CASES:
            peer = base_step(base)
            peer = Peer(peer.run, at_most(FAST if fused else PLAIN), loops=3, warm=True)
            yield from run.against(
                name + ("" if fused else ", torch only"),
                stepper(kind, {**options, "fused": fused}),
                {BASES[base][0]: peer},
                turns=turns,
                loops=3,
                unit="ms",
                cost=True,
            )


ITEM = Item(
    title="Sparse optimisers",
    about="One step on 23.5 M parameters in 161 tensors with the shapes of ResNet-50, as a "
    "multiple of torch's fused step of the same base. What a step computes is compared with a "
    "loop over the groups in `tests/optim`.",
    rows=rows_of,
    why="A step reads gradient, moments and parameters once, group by group: it judges a group "
    "while it lies in the cache, and a cap settles the few groups that would become zero "
    "afterwards, so that none of this costs another pass over memory. What is above torch's "
    "fused step is the second look at each group, and with momentum a third. ADMM reads two "
    "more tensors, the copy z and its multiplier, beside the three of SGD, and every tenth "
    "step writes both: five streams for three are 1.67 before anything is computed, so that "
    "1.3 cannot be reached with SGD as its base. Plain torch operations need a norm, a "
    "product, its sum and two operations for each block of rows, at two passes over memory; "
    "they serve GPUs and models below 65,536 entries.",
    order=30,
)
