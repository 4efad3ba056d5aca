"""A written file in the place of the model that it was made of: ``FileModel``, and its score.

Inputs are whole signals, batch first, of any length; a streaming form runs over them frame by
frame. ``scored`` adds to rows what each file scores by a function of a module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from audioprune.export.rows import ExportRow
from audioprune.export.streaming import StreamingModel
from audioprune.export.timing import Function

Score = Callable[[nn.Module], tuple[str, float]]
"""Returns the name of a measure and what a module scores by it."""


class FileModel(nn.Module):
    """What runs a file, called as the model is.

    Args:
        run: Maps inputs to outputs, or a frame and states to outputs and states.
        stream: The streaming form, or None for a file of whole signals.
    """

    def __init__(self, run: Function, stream: StreamingModel | None) -> None:
        super().__init__()
        self.run = run
        self.__dict__["stream"] = stream  # no part: its weights are not those of the file
        self.register_buffer("place", torch.zeros(1))

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map whole signals, each item of the batch for itself."""
        stream: StreamingModel | None = self.__dict__["stream"]
        axis = stream.time_dims[0] if stream is not None else 1
        count = 1 if axis == 0 else len(inputs[0])
        items = [
            self._one(tuple(value[i : i + 1] if axis else value for value in inputs), stream)
            for i in range(count)
        ]
        joined = tuple(torch.cat(parts) for parts in zip(*items, strict=True))
        return joined[0] if len(joined) == 1 else joined

    def _one(
        self, inputs: tuple[Tensor, ...], stream: StreamingModel | None
    ) -> tuple[Tensor, ...]:
        given = tuple(value.contiguous() for value in inputs)
        if stream is None:
            return self.run(*given)
        return stream.joined(stream.stepped(self.run, given))


def scored(rows: Sequence[ExportRow], runs: Sequence[nn.Module], score: Score) -> list[ExportRow]:
    """Return rows with what each file scores, the float32 one first."""
    found = [score(run.eval()) for run in runs]
    metric, first = found[0]
    return [
        replace(row, metric=metric, score=value, score_float=first)
        for row, (_, value) in zip(rows, found, strict=True)
    ]
