"""The moments of a training at which something else may act, such as a pruning schedule.

A hook is any object with one or more of the methods below; each method is a protocol of its own.
``Hooks`` calls them in the order in which the hooks are given. Where two networks are trained, the
model is the generator, and a step is one minibatch: the updates of the other network lie between
``on_step_begin`` and ``before_update``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.checkpoint import under
from audioprune.compress.masks import Mask


@runtime_checkable
class OnTrainingBegin(Protocol):
    """Acts once before the first step."""

    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Act on the device of the training, before a stored state is restored."""


@runtime_checkable
class OnEpochBegin(Protocol):
    """Acts before the first step of an epoch."""

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Act; epochs are counted from 0."""


@runtime_checkable
class OnStepBegin(Protocol):
    """Acts before the forward passes of a minibatch."""

    def on_step_begin(self, model: nn.Module) -> None:
        """Act."""


@runtime_checkable
class HasPenalty(Protocol):
    """Adds to the loss of the model."""

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return what is added, a scalar, or None."""


@runtime_checkable
class BeforeUpdate(Protocol):
    """Acts between the backward pass of the model's loss and the optimiser step."""

    def before_update(self, model: nn.Module) -> None:
        """Act; gradients are clipped afterwards."""


@runtime_checkable
class OnStepEnd(Protocol):
    """Acts after every optimiser step of the model."""

    def on_step_end(self, model: nn.Module) -> None:
        """Act."""


@runtime_checkable
class AfterSteps(Protocol):
    """Acts after the last step of an epoch and before its validation."""

    def after_steps(self, epoch: int, model: nn.Module) -> None:
        """Act."""


@runtime_checkable
class OnEpochEnd(Protocol):
    """Acts after an epoch and its validation."""

    def on_epoch_end(
        self,
        epoch: int,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        metrics: Mapping[str, float],
    ) -> None:
        """Act on anything but the weights; ``metrics`` are the values that are logged."""


@runtime_checkable
class SetsLearningRate(Protocol):
    """Moves the learning rates in ``on_epoch_end``."""

    def sets_learning_rate(self) -> bool:
        """Tell whether it does; the schedule of the settings is then unused."""


@runtime_checkable
class HasMask(Protocol):
    """Masks weights."""

    def mask(self) -> Mask | None:
        """Return the mask that the weights obey now; checkpoints of kept weights store it."""


@runtime_checkable
class HasState(Protocol):
    """Remembers something over interruptions."""

    def state_dict(self) -> dict[str, Any]:
        """Return JSON facts under ``facts`` and tensors under ``tensors``."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


class Hooks:
    """Calls the hooks of a training in their order.

    Args:
        hooks: Objects with some of the methods above.
    """

    def __init__(self, hooks: Iterable[object]) -> None:
        self._hooks: Sequence[object] = tuple(hooks)

    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Call every hook that acts before the first step."""
        for hook in self._hooks:
            if isinstance(hook, OnTrainingBegin):
                hook.on_training_begin(model, optimizers)

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Call every hook that acts before an epoch."""
        for hook in self._hooks:
            if isinstance(hook, OnEpochBegin):
                hook.on_epoch_begin(epoch, model)

    def on_step_begin(self, model: nn.Module) -> None:
        """Call every hook that acts before a minibatch."""
        for hook in self._hooks:
            if isinstance(hook, OnStepBegin):
                hook.on_step_begin(model)

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Return the sum of all penalties."""
        found = [hook.penalty(model) for hook in self._hooks if isinstance(hook, HasPenalty)]
        return sum(each for each in found if each is not None)

    def before_update(self, model: nn.Module) -> None:
        """Call every hook that acts between backward pass and update."""
        for hook in self._hooks:
            if isinstance(hook, BeforeUpdate):
                hook.before_update(model)

    def on_step_end(self, model: nn.Module) -> None:
        """Call every hook that acts after an update of the model."""
        for hook in self._hooks:
            if isinstance(hook, OnStepEnd):
                hook.on_step_end(model)

    def after_steps(self, epoch: int, model: nn.Module) -> None:
        """Call every hook that acts before the validation."""
        for hook in self._hooks:
            if isinstance(hook, AfterSteps):
                hook.after_steps(epoch, model)

    def on_epoch_end(
        self,
        epoch: int,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        metrics: Mapping[str, float],
    ) -> None:
        """Call every hook that acts after an epoch."""
        for hook in self._hooks:
            if isinstance(hook, OnEpochEnd):
                hook.on_epoch_end(epoch, model, optimizers, metrics)

    def set_learning_rate(self) -> bool:
        """Tell whether a hook moves the learning rates."""
        found = [
            each.sets_learning_rate() for each in self._hooks if isinstance(each, SetsLearningRate)
        ]
        return any(found)

    def mask(self, own: Mask | None = None) -> Mask | None:
        """Return what all masks keep together, ``own`` among them."""
        joined = own
        for hook in self._hooks:
            mask = hook.mask() if isinstance(hook, HasMask) else None
            if mask is not None:
                joined = mask if joined is None else joined.intersect(mask)
        return joined

    def state(self) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        """Return the facts of every hook, and their tensors under ``hook.<index>/``."""
        facts: list[dict[str, Any]] = []
        tensors: dict[str, Tensor] = {}
        for index, hook in enumerate(self._hooks):
            state = hook.state_dict() if isinstance(hook, HasState) else {}
            facts.append(state.get("facts", {}))
            for key, value in state.get("tensors", {}).items():
                tensors[f"hook.{index}/{key}"] = value
        return facts, tensors

    def restore(self, facts: Sequence[dict[str, Any]], tensors: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        for index, hook in enumerate(self._hooks):
            if isinstance(hook, HasState):
                own = under(tensors, f"hook.{index}/")
                hook.load_state_dict({"facts": facts[index], "tensors": own})
