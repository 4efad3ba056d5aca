"""How a program runs a loaded network on a signal: ``enhance``.

Files, folders and pipes are the business of the verb ``enhance``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import DataError
from audioprune.inference.enhancer import enhancer_of
from audioprune.library.facts import facts_of


def enhance(
    model: nn.Module,
    signal: NDArray[np.floating[Any]] | Tensor,
    sample_rate: int,
    *,
    task: Mapping[str, Any] | None = None,
    dry: float | None = None,
) -> NDArray[np.float32]:
    """Enhance a signal by a network, each channel alone.

    The signal is resampled to the rate of the network and back. The result is what the verb
    ``enhance`` writes.

    Args:
        model: A network that `load` read, or any with ``task``.
        signal: Samples (T,) or (C, T), full scale 1.
        sample_rate: Of the signal in Hz.
        task: Target and arguments of the task; None for that of its file.
        dry: Share of the unprocessed signal in the result; None for that of the task.

    Returns:
        Samples of the same shape and rate.

    Raises:
        ConfigError: There is no task, or its models do not enhance signals.
        DataError: The signal is empty, has other axes, or a sample is not finite.
    """
    given = np.asarray(signal.detach().cpu() if isinstance(signal, Tensor) else signal)
    if given.ndim not in (1, 2) or not given.size:
        raise DataError(f"expected samples (T,) or (C, T), got shape {given.shape}")
    samples = np.ascontiguousarray(np.atleast_2d(given).T, dtype=np.float32)
    known = task if task is not None else facts_of(model).task
    with evaluating(model), torch.inference_mode():
        enhancer = enhancer_of(model, known, type(model).__name__, dry)
        level = enhancer.level_of([samples], sample_rate)
        stream = enhancer.stream(samples.shape[1], sample_rate, level)
        made = stream.push(samples)
        rest = stream.push(samples[:0], last=True)
    whole: NDArray[np.float32] = np.concatenate([made, rest]).T
    return whole.reshape(given.shape)
