"""Which weights a sparse training ends with: ``SparsityJudge``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from audioprune.optim import ADMM
from audioprune.protocols import Batch, Judge
from audioprune.training.settings import Settings


class SparsityJudge:
    """Measure sparsity at every validation, and choose weights that keep it.

    It judges a training in place of the task, and is a hook as well, whose state the loop keeps.

    Args:
        task: Validates, and compares weights of equal sparsity.
        measure: Returns the sparsity and other numbers of a model as it is.
        make_optimizer: Builds the optimiser of the training.
        selection: ``last`` or ``val``.
    """

    def __init__(
        self,
        task: Judge,
        measure: Callable[[nn.Module], dict[str, float]],
        make_optimizer: Callable[[nn.Module, Settings], Optimizer],
        selection: str,
    ) -> None:
        self.task, self.selection = task, selection
        self._measure, self._make_optimizer = measure, make_optimizer
        self.optimizer: Optimizer | None = None
        self.now, self.best = 0.0, -1.0

    def build(self, model: nn.Module, settings: Settings) -> Optimizer:
        """Build the optimiser, as the training loop asks for it."""
        self.optimizer = self._make_optimizer(model, settings)
        return self.optimizer

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Validate, and add the sparsity.

        Of ADMM that is the sparsity of z; x, to which loss and penalty belong, stays dense.
        """
        found = self._measure(model)
        if isinstance(self.optimizer, ADMM):
            found["group_sparsity"] = self.optimizer.group_sparsity("z")
            found["entry_sparsity"] = self.optimizer.entry_sparsity("z")
        self.now = found["group_sparsity"]
        values = self.task.validate(model, batches, monitor)
        if self.best < 0:
            self.best = self.now  # the loop takes the first validation without asking
        return {**values, **found}

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether the weights of this epoch replace those kept."""
        if self.selection == "last":
            return True
        sparser = self.now > self.best
        equal = self.now == self.best
        chosen = sparser or (equal and self.task.better(monitor, new, best))
        self.best = max(self.best, self.now)
        return chosen

    def finish_(self) -> None:
        """Carry the zeros of ADMM's z over to the model."""
        if isinstance(self.optimizer, ADMM):
            self.optimizer.project_()

    def state_dict(self) -> dict[str, Any]:
        """Return the sparsity of the weights that are kept."""
        return {"facts": {"best": self.best}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.best = float(state["facts"]["best"])
