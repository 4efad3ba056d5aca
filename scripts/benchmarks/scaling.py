"""Do pruning, selection, k-means, packing and reports grow in step with their work? ``ITEM``.

Weights are normal random numbers in tensors of one million; run folders are made, as in
``growth``.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioprune.compress import select
from audioprune.compress.criteria.importance import weight_magnitude
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.packing import pack, unpack
from scripts.benchmarks import growth
from scripts.benchmarks.frame import Item, Row, Run, at_most

SIDE = 1024
MILLION = SIDE * SIDE
LINEAR, MEMORY = 1.3, 4.0


class Layers(nn.Module):
    """A model of so many square layers."""

    def __init__(self, count: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(count))
        for layer in self.layers:
            layer.weight = nn.Parameter(torch.randn(SIDE, SIDE, generator=generator))


def memory(kind: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of this process in bytes, 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(each.split()[1]) for each in lines if each.startswith(kind)), 0)


def costs(work: Callable[[], Any]) -> tuple[float, int, Any]:
    """Call and return CPU seconds, the most bytes in memory meanwhile, and the result."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, memory("VmHWM"), result


def one_size(count: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Return CPU seconds and peak memory, as a multiple of the model, of each piece of work."""
    gc.collect()
    before, model = memory("VmRSS"), Layers(count)
    whole, found = 4 * count * MILLION, {}

    def note(name: str, work: Callable[[], Any]) -> Any:
        seconds, peak, result = costs(work)
        found[name] = (seconds, (peak - before) / whole)
        return result

    weights = dict(model.named_parameters())
    keep = note("select", lambda: select.globally(weight_magnitude(weights), 0.9))
    mask = Mask(keep)
    del keep
    note("prune", lambda: mask.apply_(model))
    codebooks = note("k-means", lambda: quantize_(model, mask, dict.fromkeys(weights, 16)))
    state = model.state_dict()
    file = folder / "model.apz"
    note("pack", lambda: pack(file, state, mask=mask, codebooks=codebooks, config={}))
    note("unpack", lambda: unpack(file))
    return found


def rows(run: Run) -> Iterator[Row]:
    """Measure models of growing size, then reports of growing numbers of runs."""
    sizes = (1, 5, 30) if run.quick else (1, 10, 100, 300)
    with tempfile.TemporaryDirectory() as place:
        # first: the peak of a new process begins with the memory of the one that starts it
        yield from reports((10, 100, 1000) if run.quick else (10, 100, 1000, 10_000), Path(place))
        one_size(1, Path(place))  # compile
        taken = {size: one_size(size, Path(place)) for size in sizes}
        for name in taken[sizes[0]]:
            yield from grown(name, {size: each[name] for size, each in taken.items()})


def grown(name: str, taken: dict[int, tuple[float, float]]) -> Iterator[Row]:
    """Compare the time for each parameter of the largest model with that of a smaller one."""
    sizes = sorted(taken)
    small, large = sizes[1], sizes[-1]
    each = {size: 1e3 * taken[size][0] / size for size in sizes}
    row = Row(f"{name}, {large} M parameters, for each million", f"{small} M", "ms", each[large])
    row.theirs, row.ratio, row.cost = each[small], each[large] / each[small], True
    row.goal, row.met = at_most(LINEAR), row.ratio <= LINEAR
    row.note = ", ".join(f"{size} M {1e3 * taken[size][0]:,.0f} ms" for size in sizes)
    yield row
    most = taken[large][1]
    yield Row(
        f"{name}, {large} M parameters: peak memory over the model's",
        *("", "x", most),
        cost=True,
        goal=at_most(MEMORY, "ours"),
        met=most <= MEMORY,
        note="the model itself included",
    )


def reports(counts: tuple[int, ...], place: Path) -> Iterator[Row]:
    """Compare the time for each run of the largest report with that of a smaller one."""
    taken = {}
    for count in counts:
        growth.make_runs(place / f"{count}" / "runs", count)
        taken[count] = growth.measured("report", count, place / f"{count}")
    small, large = counts[-2:]
    each = {count: 1e3 * found["cpu_s"] / count for count, found in taken.items()}
    row = Row(f"report of {large:,} runs, for each run", f"{small:,} runs", "ms", each[large])
    row.theirs, row.ratio, row.cost = each[small], each[large] / each[small], True
    row.goal, row.met = at_most(LINEAR), row.ratio <= LINEAR
    row.note = ", ".join(
        f"{count:,}: {found['cpu_s']:.1f} s, {found['peak_mb']:,.0f} MB"
        for count, found in taken.items()
    )
    yield row


ITEM = Item(
    title="Growth",
    about=(
        "What one core takes for each million parameters, and for each run of a report, as both "
        "grow; and the peak of memory as a multiple of the model in float32. A model of layers "
        "of one million random weights loses 90 % of them and shares 16 values a layer."
    ),
    rows=rows,
    why=(
        "Selection over the whole model copies all scores once to rank them. Packing compares the "
        "decoded file with what went in before the file gets its name, so that the model is in "
        "memory twice."
    ),
    order=70,
)
