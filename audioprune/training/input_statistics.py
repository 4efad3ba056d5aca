"""Which mean and deviation the inputs of a training have, bin by bin.

``measure_inputs`` gives them to a model that normalises its inputs and has none yet. They come
from the first training items of epoch 0, so that every process and every repetition finds the
same. It draws no random number and changes nothing else.
"""

from __future__ import annotations

import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.protocols import Batch, Corpus, EpochItems, FeedsFrames, Items, NormalisesInputs

ITEMS = 256
"""Most training items that are looked at."""
_TOGETHER = 16


def measure_inputs(model: nn.Module, task: object, data: Corpus, items: Items) -> None:
    """Measure the inputs of a model that normalises them and was given no statistics yet.

    Args:
        model: Any model; those that do not normalise stay as they are.
        task: What turns a batch into inputs.
        data: Joins items to batches.
        items: Training items.

    Raises:
        ConfigError: The model normalises, and the task does not say what it feeds to models.
    """
    norm = model.input_norm() if isinstance(model, NormalisesInputs) else None
    if norm is None or norm.is_measured():
        return
    if not isinstance(task, FeedsFrames):
        raise ConfigError(
            f"model.normalise: expected a task that feeds frames of bins, got "
            f"{type(task).__name__}; set it to false"
        )
    if isinstance(items, EpochItems):
        items.set_epoch(0)
    total = square = torch.zeros(0)
    count = 0
    for start in range(0, min(len(items), ITEMS), _TOGETHER):
        chosen = range(start, min(start + _TOGETHER, len(items), ITEMS))
        values = _frames(task, data.collate([items[index] for index in chosen]))
        first = values.sum(0), values.square().sum(0)
        total, square = first if count == 0 else (total + first[0], square + first[1])
        count += len(values)
    mean = total / count
    std = (square / count - mean.square()).clamp_min(0).sqrt()
    # A bin that never changes tells nothing, whatever it is divided by.
    norm.set(mean.float(), torch.where(std > 1e-6, std, 1.0).float())


def _frames(task: FeedsFrames, batch: Batch) -> torch.Tensor:
    """Return the frames that hold signal, (N, F), in double precision."""
    frames, inside = task.input_frames(batch)
    return frames[inside].double()
