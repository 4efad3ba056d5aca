"""How fast does a WaveNet draw samples, beside queues of eager steps and beside memory? ``ITEM``.

The weights are random: times and equal classes mean something, the sound does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioprune.compiled import compiled
from audioprune.models.parts import wavenet_generation as generation
from audioprune.models.wavenet import WaveNet
from scripts.benchmarks.frame import Item, Peer, Row, Run, Taken, Unequal, at_least, measured

RATE = 16_000
NOTES = 64
SHAPES: dict[str, dict[str, Any]] = {
    "published, 20 layers": {},
    "published, 80 features": {"conditioning": 80},
    "40 layers": {"layers": 40, "cycles": 4},
    "R28 G57 S57, 20 layers": {"residual": 28, "gate": 57, "skip": 57, "end": 57},
}


def build(shape: dict[str, Any]) -> WaveNet:
    """Build a model whose random weights keep signals alive, so that the classes it draws vary."""
    torch.manual_seed(0)
    model = WaveNet(**shape).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 1.6 * parameter[0].numel() ** -0.5)
    return model


def drawing(model: WaveNet, samples: int, batch: int = 1) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return start, features and draws of a number of rows."""
    shape = (batch, model.conditioning, samples)
    cond = torch.rand(*shape) if model.conditioning else None
    start = torch.full((batch, 1), model.classes // 2)
    start, draws = generation.prepare(model, samples, cond, 0, 1.0, start)
    return start, cond, draws


@compiled(fastmath=True)
def read_sum(values):
    """Return the sum of a flat array, in any order: little more than reading it."""
    total = np.float32(0)
    for i in range(values.size):
        total += values[i]
    return total


@torch.no_grad()
def naive(model: WaveNet, draws: Tensor) -> Tensor:
    """Draw samples by a forward pass over the receptive field for each."""
    tokens = torch.randint(model.classes, (1, model.receptive_field))
    for t in range(draws.shape[1]):
        logits = model(tokens[:, -model.receptive_field :])[..., -1]
        token = generation.choose(logits, draws[:, t], 1.0)
        tokens = torch.cat((tokens, token[:, None]), 1)
    return tokens


def same_start(mine: Tensor, other: Tensor) -> str:
    """Say that the samples that both drew are the same ones."""
    count = min(mine.shape[1], other.shape[1])
    wrong = int((mine[: len(other), :count] != other[:, :count]).sum())
    if wrong:
        raise Unequal(f"{wrong} of {count} classes differ")
    return f"the first {count} classes of both are equal"


def per_sample(run: partial[Tensor], samples: int) -> Taken:
    """Call and return seconds for each sample."""
    taken = measured(Peer(run))
    return Taken(taken.cpu / samples, taken.wall / samples, taken.result)


def rows(run: Run) -> Iterator[Row]:
    """Measure one row on one core, the share of the bandwidth, two cores, and many rows."""
    samples, few = (1200, 80) if run.quick else (16_000, 1000)
    for name, shape in SHAPES.items():
        if run.quick and "published" not in name:
            continue
        model = build(shape)
        start, cond, draws = drawing(model, samples)
        eager = partial(generation.run_eagerly, model, start, cond, draws[:, :few], 1.0)
        ours = partial(generation.run_compiled, model, start, cond, draws, 1.0)
        ours()
        yield from run.against(
            f"{name}, one row, seconds a sample",
            partial(per_sample, ours, samples),
            {"queues of eager steps": Peer(partial(per_sample, eager, few), at_least(5))},
            check=same_start,
            turns=3,
        )
    model = build({})
    start, cond, draws = drawing(model, samples)
    yield from run.against(
        "published, 20 layers, seconds a sample",
        partial(
            per_sample, partial(generation.run_compiled, model, start, cond, draws, 1.0), samples
        ),
        {
            "a pass over the receptive field": Peer(
                partial(per_sample, partial(naive, model, draws[:, :4]), 4), at_least(100), turns=1
            )
        },
        turns=2,
    )
    yield from bandwidth(run, model, samples)
    yield from two_cores(model, samples)
    yield from many_rows(run, model)


def bandwidth(run: Run, model: WaveNet, samples: int) -> Iterator[Row]:
    """Compare one sample with reading as many bytes as its weights are."""
    start, cond, draws = drawing(model, samples)
    for half in (False, True):
        word = 2 if half else 4
        size = sum(p.numel() for p in model.parameters()) - model.first.weight.numel()
        values = np.ones(size * word // 4, np.float32)
        read_sum(values)
        ours = partial(generation.run_compiled, model, start, cond, draws, 1.0, half)
        ours()
        name = "bfloat16" if half else "float32"
        yield from run.against(
            f"one sample, {name} weights",
            partial(per_sample, ours, samples),
            {
                f"reading {size * word / 1e6:.1f} MB once": Peer(
                    partial(read_sum, values), at_least(0.8), loops=300
                )
            },
            turns=5,
        )
    whole = generation.run_compiled(model, start, cond, draws, 1.0)
    rough = generation.run_compiled(model, start, cond, draws, 1.0, True)
    first = int((whole != rough)[0].int().argmax())
    yield from run.figure(
        "classes of bfloat16 weights that equal those of float32, before the first other one",
        float(first),
        unit="samples",
        cost=False,
        note="drawn at temperature 1 with random weights; afterwards both are other sounds",
    )


def two_cores(model: WaveNet, samples: int) -> Iterator[Row]:
    """Tell how fast one row is by the clock, on one core and two."""
    start, cond, draws = drawing(model, samples)
    for half in (False, True):
        found: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(3):
            for cores, seconds in found.items():
                ours = partial(
                    generation.run_compiled, model, start, cond, draws, 1.0, half, cores
                )
                seconds.append(measured(Peer(ours)).wall / samples)
        name = "bfloat16" if half else "float32"
        for cores, seconds in found.items():
            rate = 1 / min(seconds) / RATE
            yield Row(
                f"{name} weights, {cores} core{'s' if cores > 1 else ''}, share of real time",
                *("", "x 16 kHz", rate),
                turns=3,
                goal=at_least(1.0, "ours") if cores == 2 else None,
                met=rate >= 1 if cores == 2 else None,
                note="by the clock, best of three: other jobs on the machine count",
            )


def many_rows(run: Run, model: WaveNet) -> Iterator[Row]:
    """Draw many notes together, and one after the other."""
    samples = 40 if run.quick else 400
    start, cond, draws = drawing(model, samples, NOTES)
    together = partial(generation.run_compiled, model, start, cond, draws, 1.0)

    def one_by_one(count: int, step: bool) -> Taken:
        draw = generation.run_eagerly if step else generation.run_compiled
        each = [slice(i, i + 1) for i in range(count)]
        taken = measured(
            Peer(lambda: torch.cat([draw(model, start[i], cond, draws[i], 1.0) for i in each]))
        )
        share = NOTES / count
        return Taken(taken.cpu * share, taken.wall * share, taken.result)

    together()
    yield from run.against(
        f"{NOTES} notes of {samples} samples together",
        together,
        {
            "eager steps, one by one": Peer(lambda: one_by_one(1, True), at_least(10), turns=2),
            "compiled, one by one": Peer(lambda: one_by_one(8, False), at_least(10)),
        },
        check=same_start,
        turns=3,
    )


ITEM = Item(
    title="Drawing samples of a WaveNet",
    about=(
        "A WaveNet of the published size (2.49 M parameters, 20 layers) with random weights draws "
        "samples, each from the one before. The peer is the public way, written here: each layer "
        "keeps a queue of its past, and a step is a few dozen operations of torch. One core, "
        "unless said."
    ),
    rows=rows,
    why=(
        "Rows that are drawn together reuse each weight while it is in a register, so that they "
        "are bound by arithmetic: at most the peak of one core over what one row alone reaches, "
        "which is three to six times here and not ten; against eager steps the ratio is far "
        "larger. One row is bound by reading its weights once a sample. The part of the past is "
        "read once for eight samples, which is why one row may be faster than one read of all "
        "weights."
    ),
    order=60,
)
