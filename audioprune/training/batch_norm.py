"""What batch normalisations need: batches large enough, and statistics of the present weights.

``planned_sizes`` makes the batches: a normalisation of one value per item and channel has no
variance in a batch of one item, and torch then fails. The last batch of an epoch may be such a
one, and is joined to the one before (``loaders.batch_sizes``). ``recalibrate_`` measures running
statistics again. No weight is trained here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from audioprune.compress.units.find import HasExample
from audioprune.errors import ConfigError
from audioprune.protocols import Batch, Trainable
from audioprune.training.loaders import batch_sizes
from audioprune.training.readings import widened


def planned_sizes(model: nn.Module, items: int, batch_size: int) -> list[int]:
    """Return the number of items of every batch of an epoch.

    Args:
        model: The model that is trained.
        items: Training items.
        batch_size: Wanted items per batch.

    Raises:
        ConfigError: A normalisation of the model needs two items, and there is one.
    """
    if batch_size > 1 and items % batch_size != 1:
        return batch_sizes(items, batch_size)
    norm = lone_norm(model)
    if norm and min(items, batch_size) < 2:
        what = "training.batch_size" if batch_size < 2 else "the number of training items"
        raise ConfigError(
            f"{what}: expected at least 2, for {norm} normalises over the items of a batch, got "
            f"1; give more"
        )
    return batch_sizes(items, batch_size, 2 if norm else 1)


def lone_norm(model: nn.Module) -> str:
    """Return the name of a batch normalisation that sees one value per item and channel.

    An empty text stands for none. It is looked for by the example of the model.
    """
    norms = {name for name, each in model.named_modules() if isinstance(each, _BatchNorm)}
    if not norms or not isinstance(model, HasExample):
        return ""
    twin, found = copy.deepcopy(model), list[str]()
    for name in norms:
        twin.get_submodule(name).register_forward_pre_hook(_noting(name, found))
    given = twin.example_input()
    example: Sequence[Any] = (given,) if isinstance(given, Tensor) else tuple(given)
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    placed = [each.to(device) if isinstance(each, Tensor) else each for each in example]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        twin.eval()(*placed)
    return min(found, default="")


def running_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch normalisations that keep running statistics, by name."""
    return {
        name: each
        for name, each in model.named_modules()
        if isinstance(each, _BatchNorm) and each.running_mean is not None
    }


@torch.no_grad()
def recalibrate_(model: nn.Module, task: Trainable, batches: Iterable[Batch]) -> None:
    """Replace the running statistics of all batch normalisations by those of some batches.

    A mean is the average of the means of the batches, a variance that of their unbiased variances,
    every call of a layer counting once. Meanwhile these layers normalise by the batch, as in
    training, and all others, such as dropout, work as in evaluation. The model ends in evaluation
    mode.

    Args:
        model: The network; its running statistics change and nothing else.
        task: Feeds batches to it; no step is taken.
        batches: Training batches on the model's device.
    """
    norms = running_norms(model)
    momenta = {name: each.momentum for name, each in norms.items()}
    model.eval()
    for each in norms.values():
        each.reset_running_stats()
        each.momentum = None  # torch then averages over all calls
        each.train()
    try:
        for batch in batches:
            task.step(model, batch, lambda loss, *_, **__: widened(loss))
    finally:
        for name, each in norms.items():
            each.momentum = momenta[name]
        model.eval()


def _noting(name: str, found: list[str]) -> Any:
    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        values: Tensor = given[0]
        if math.prod(values.shape[2:]) == 1:
            found.append(name)

    return note
