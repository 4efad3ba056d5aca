"""The weights that a ticket goes back to: ``Rewind``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from audioprune import checkpoint
from audioprune.compress import lottery
from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.model_io import build_model, restore_model
from audioprune.experiment.run import Run
from audioprune.ranges import OneOf
from audioprune.steps.lottery.parts import steps_of, unit_sets
from audioprune.steps.lottery.prune import LotteryPrune
from audioprune.steps.lottery.train import REWIND_FILE

RESETS = ("rewind", "reinit", "rescale")


@dataclass
class Rewind:
    """Give the ticket the early weights back, or a fresh draw of all weights.

    The full-size snapshot is cut to the units that are left, so that every surviving weight has
    the bits it had then. A fresh draw is that of a full-size network too, cut likewise: survivors
    come from the distribution that the first network came from. ``rescale`` rewinds, and makes up
    for the inputs that every layer lost, see ``lottery.rescale_cut_``.

    Attributes:
        reset: ``rewind``, ``reinit`` or ``rescale``.

    Raises:
        ConfigError: A mask is to be rescaled, whose layers keep their inputs; or a fresh draw has
            other widths than the snapshot.

    Source: Esling et al., Sec. 2.2.2, step 4, and Figure 2, right; ``rescale`` is ours.
    """

    reset: Annotated[str, OneOf(*RESETS)] = "rewind"

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ConfigError(unknown_name("reset", self.reset, RESETS))

    def check(self, run: Run) -> None:
        """Refuse to rescale where masks leave every layer its inputs, and to draw other widths."""
        modes = {step.mode for step in steps_of(run, LotteryPrune)}
        if self.reset == "rescale" and "mask" in modes:
            raise ConfigError(
                "pipeline.reset=rescale: expected pipeline.mode=trim, got mask, which takes no "
                "inputs away; use rewind"
            )
        if self.reset == "reinit" and not run.findings.lottery.round:
            _refuse_other_widths(_drawn(run, 0), run.model.state_dict())

    def run(self, run: Run, path: str) -> None:
        """Replace all parameters and buffers."""
        found = run.findings.lottery
        state = checkpoint.under(checkpoint.read(run.folder / REWIND_FILE)[0], "model/")
        fresh = _drawn(run, found.round)
        if self.reset != "reinit":
            restore_model(fresh, state)
        else:
            _refuse_other_widths(fresh, state)
        if found.kept:
            lottery.cut_to_(fresh, unit_sets(fresh, "trim"), found.kept)
        if self.reset == "rescale":
            lottery.rescale_cut_(fresh, {name: value.shape for name, value in state.items()})
        run.model, found.reset = fresh, self.reset
        if run.mask is not None:
            run.mask.apply_(run.model)


def _refuse_other_widths(fresh: nn.Module, state: Mapping[str, Tensor]) -> None:
    drawn = {name: value.shape for name, value in fresh.state_dict().items()}
    if drawn != {name: value.shape for name, value in state.items()}:
        raise ConfigError(
            "pipeline.reset=reinit: expected a model of its configured widths, got a "
            "trimmed checkpoint; use rewind"
        )


def _drawn(run: Run, number: int) -> nn.Module:
    """Build a network of full size whose weights are a function of seed and round alone."""
    with torch.random.fork_rng():
        torch.manual_seed((run.seed * 1_000_003 + 7919 * number) % 2**63)
        model = build_model(run.model_config, trusted=True)
    if not is_normed(run.model):
        fold_weight_norm_(model)
    return model
