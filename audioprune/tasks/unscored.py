"""The task of a network that nobody has labels for: ``Unscored`` measures nothing.

A network is still counted, pruned by its weights, quantised and packed; tables then say that it
was not scored. What needs a loss, such as a training, is refused before it begins.
"""

from __future__ import annotations

from typing import Annotated

from audioprune.ranges import Range


class Unscored:
    """Score nothing: rows are those of sizes, costs and sparsity.

    Args:
        sample_rate: In Hz, where the files should say it.
    """

    scores_audio = False
    not_scored = "no task: not scored"

    def __init__(self, *, sample_rate: Annotated[int | None, Range(1)] = None) -> None:
        self.sample_rate = sample_rate
