"""How much of the saved multiplications does a trimmed network save in time? ``ITEM``.

Networks have random weights and the widths of the papers; a share of every set of units goes.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.units.trim import trim_
from audioprune.experiment.cost import cost
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least, measured

LEFT = 0.447  # of the units: about a fifth of the weights between them
NETS: dict[str, tuple[str, str, int, bool]] = {
    # name: module, class, frames, whether channels lie last in memory
    "FDNN": ("fdnn", "FDNN", 100, False),
    "LSTM": ("lstm", "LSTM", 50, False),
    "TCNN": ("tcnn", "TCNN", 100, False),
    "GCRN": ("gcrn", "GCRN", 50, False),
    "DCAE": ("dcae", "DCAE", 0, False),
    "ResNet-50": ("resnet", "ResNet", 128, True),
    "DenseNet-121": ("densenet", "DenseNet", 128, True),
}
SHARES = (0.8, 0.9, 0.95, 0.98)


def built(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network and its input."""
    module, kind, frames, last = NETS[name]
    torch.manual_seed(0)
    model = getattr(importlib.import_module(f"audioprune.models.{module}"), kind)().eval()
    example = model.example_input(frames) if frames else model.example_input()
    if last:
        model = model.to(memory_format=torch.channels_last)
        example = example.to(memory_format=torch.channels_last)
    return model, example


def trimmed(model: nn.Module, step: int = 1) -> nn.Module:
    """Return a copy with a share of the units of every set, rounded up to whole steps."""
    small, keep = copy.deepcopy(model), {}
    for each in small.unit_sets():
        left = min(each.size, -(-max(1, round(LEFT * each.size)) // step) * step)
        keep[each.name] = (
            torch.arange(each.size) * left // each.size
            != (torch.arange(each.size) + 1) * left // each.size
        )
    trim_(small, small.unit_sets(), keep)
    for parameter in small.parameters():
        if parameter.dim() == 4 and not model.__module__.endswith(("tcnn", "gcrn")):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return small


@torch.no_grad()
def run_model(model: nn.Module, example: Tensor) -> object:
    """Run a network."""
    return model(example)


def by_operation(run: Run, title: str, work: Callable[[], Any], most: int = 6) -> None:
    """Record the CPU seconds of the slowest operations of torch in a piece of work."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        work()
    seconds = {each.key: each.self_cpu_time_total / 1e6 for each in found.key_averages()}
    slow = sorted(seconds, key=lambda key: -seconds[key])
    shares = {key.removeprefix("aten::"): seconds[key] for key in slow[:most]}
    run.shares[title] = {**shares, "all others": sum(seconds[key] for key in slow[most:])}


def rows(run: Run) -> Iterator[Row]:
    """Measure trimmed networks beside whole ones, then sparse layers beside dense ones."""
    for name in NETS:
        model, example = built(name)
        for step in (1, 16):
            small = trimmed(model, step)
            yield pair(name, model, small, example, 3 if run.quick else 9, step)
            if step == 1:
                by_operation(run, f"{name}, trimmed", partial(run_model, small, example))
    for frames in (1, 100):
        for share in SHARES if not run.quick else SHARES[::2] + SHARES[3:]:
            yield from sparse(run, frames, share)


def pair(
    name: str, model: nn.Module, small: nn.Module, example: Tensor, turns: int, step: int
) -> Row:
    """Compare the speed-up of a trimmed network with its saved multiplications."""
    candidates = [partial(run_model, each, example) for each in (model, small)]
    for each in candidates:
        each()
    loops = max(1, round(0.05 / max(1e-4, measured(Peer(candidates[1])).cpu)))
    taken: list[list[float]] = [[], []]
    for _ in range(turns):
        for each, seconds in zip(candidates, taken, strict=True):
            seconds.append(measured(Peer(each, loops=loops)).cpu)
    macs = [cost(each, example, 1.0).macs_per_second for each in (model, small)]
    sizes = [sum(p.numel() for p in each.parameters()) for each in (model, small)]
    fewer = macs[0] / macs[1]
    ratios = sorted(one / two / fewer for one, two in zip(*taken, strict=True))
    speed = sorted(one / two for one, two in zip(*taken, strict=True))[turns // 2]
    widths = "any width" if step == 1 else f"widths of whole {step}"
    row = Row(f"{name}, {widths}: speed-up over saved MACs", "the whole network", "x", speed)
    row.theirs, row.ratio, row.low, row.high = fewer, ratios[turns // 2], ratios[0], ratios[-1]
    row.turns, row.goal = turns, at_least(0.9)
    row.met = row.ratio >= 0.9
    gone = f"{1 - sizes[1] / sizes[0]:.1%} of the weights gone"
    row.note = f"{gone}; {speed:.2f} times as fast with {fewer:.2f} times fewer MACs"
    return row


def sparse(run: Run, frames: int, share: float) -> Iterator[Row]:
    """Compare a layer of 2048 x 2048 with most weights zero, as CSR, with the dense one."""
    torch.manual_seed(0)
    weight, values = torch.randn(2048, 2048), torch.randn(2048, frames)
    weight[torch.rand_like(weight) < share] = 0
    rows_of, goal = weight.to_sparse_csr(), at_least(1.0) if share >= 0.95 else None
    # What CSR takes is in proportion to the weights that are left.
    for row in run.against(
        f"layer 2048 x 2048, {share:.0%} of the weights zero, {frames} frames, torch's CSR",
        lambda: rows_of @ values,
        {"dense": Peer(lambda: weight @ values, goal, loops=100 // frames + 20)},
        loops=100 // frames + 20,
        check=close,
        unit="ms",
    ):
        row.note += f"; equal near {1 - (1 - share) * (row.ratio or 0):.0%} zeros"
        yield row


def close(mine: Tensor, other: Tensor) -> str:
    """Say how far the outputs are apart."""
    apart = float((mine - other).abs().max() / other.abs().max())
    if apart > 1e-4:
        raise Unequal(f"outputs differ by {apart:.0e}")
    return f"outputs differ by {apart:.0e}"


ITEM = Item(
    title="Trimmed and sparse networks",
    about=(
        "Networks of the papers' widths with 44.7 % of the units of every set, evenly spread, as "
        "trimming leaves them: how many times as fast they are, over how many times fewer "
        "multiplications they make. Once with the widths as they come, once rounded up to whole "
        "sixteens, the loss of sparsity in the note. Then single layers with zeros, as torch's "
        "compressed rows. One core."
    ),
    rows=rows,
    why=(
        "Small layers spend a larger share on what is no multiplication: normalisations, "
        "activations, joining and copying grow with the channels, not with their square. Ratios "
        "above one come from weights that fit into the cache once they are fewer. With one thread "
        "and one example torch runs most convolutions with its own loops, not with oneDNN, and "
        "what it spends on each call stays when channels go. Whole sixteens leave 1 to 5 % more "
        "of the weights and change the time by little either way, so that no option rounds "
        "widths. Zeros that are spread pay as compressed rows only where few weights are left; "
        "the notes say from which share on."
    ),
    order=55,
)
