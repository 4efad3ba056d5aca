"""When something may act on a model during training: the moments of the training loop that a hook can take part in.

The loop itself is in training/loop.py; hooks stand where their subject is, such as schedule files
in audioprune.distiller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.checkpoint import under
from audioprune.compress.masks import Mask


class Hook(Protocol):
    """Something that acts on the model during training, such as a pruning schedule.

    A hook defines those of these methods that it needs; the others count as doing nothing. In a
    training of two networks the model is the generator, and a step is one minibatch: the updates
    of the other network lie between ``on_step_begin`` and ``before_update``.
    """

    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Act once before the first step, on the device of the training and before a stored state is restored."""

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Act before the first step of an epoch, counted from 0."""

    def on_step_begin(self, model: nn.Module) -> None:
        """Act before the forward passes of a minibatch."""

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return what is added to the model's loss, a scalar, or None."""

    def before_update(self, model: nn.Module) -> None:
        """Act between the backward pass of the model's loss and the optimiser step; gradients are clipped after it."""

    def on_step_end(self, model: nn.Module) -> None:
        """Act after every optimiser step of the model."""

    def after_steps(self, epoch: int, model: nn.Module) -> None:
        """Act after the last step of an epoch and before its validation."""

    def on_epoch_end(
        self,
        epoch: int,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        metrics: Mapping[str, float],
    ) -> None:
        """Act after an epoch and its validation, with the values that are logged; the model's weights must stay as they are."""

    def sets_learning_rate(self) -> bool:
        """Tell whether this hook moves the learning rates, in ``on_epoch_end``; the schedule of the settings is then unused."""

    def mask(self) -> Mask | None:
        """Return the mask that the model's weights obey now; it is stored with every checkpoint of kept weights."""

    def state_dict(self) -> dict[str, Any]:
        """Return the hook's state as JSON facts under ``facts`` and tensors under ``tensors``."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Hooks:
    """Calls the hooks of a training in their order.

    Args:
        hooks: Objects with some of the methods of ``Hook``.
    """

    def __init__(self, hooks: Iterable[Any]) -> None:
        self._hooks: Sequence[Any] = tuple(hooks)

    def call(self, moment: str, *arguments: Any) -> list[Any]:
        """Call one method of every hook that defines it in its class; return the answers that are not None."""
        answers = [
            getattr(hook, moment)(*arguments)
            for hook in self._hooks
            if hasattr(type(hook), moment)
        ]
        return [answer for answer in answers if answer is not None]

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Return the sum of all penalties."""
        return sum(self.call("penalty", model))

    def set_learning_rate(self) -> bool:
        """Tell whether a hook moves the learning rates."""
        return any(self.call("sets_learning_rate"))

    def mask(self, own: Mask | None = None) -> Mask | None:
        """Return what all masks keep together, ``own`` among them."""
        masks = [*([own] if own is not None else []), *self.call("mask")]
        joined = masks[0] if masks else None
        for each in masks[1:]:
            joined = joined.intersect(each)
        return joined

    def state(self) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        """Return the facts of every hook, and their tensors under ``hook.<index>/``."""
        states = [
            hook.state_dict() if hasattr(type(hook), "state_dict") else {} for hook in self._hooks
        ]
        tensors = {
            f"hook.{index}/{key}": value
            for index, state in enumerate(states)
            for key, value in state.get("tensors", {}).items()
        }
        return [state.get("facts", {}) for state in states], tensors

    def restore(self, facts: Sequence[dict[str, Any]], tensors: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        for index, hook in enumerate(self._hooks):
            if hasattr(type(hook), "load_state_dict"):
                hook.load_state_dict(
                    {"facts": facts[index], "tensors": under(tensors, f"hook.{index}/")}
                )
