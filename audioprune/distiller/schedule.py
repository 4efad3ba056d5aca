"""What a schedule says: which pruners, regularizers and learning-rate rules act in which epochs.

``Schedule`` holds the policies of a file. schedule_file.py builds it; hook.py carries it out.
Nothing here changes a model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from audioprune.compress.schedule import epochs as scheduled_epochs
from audioprune.distiller import names
from audioprune.distiller.context import TrainingPosition
from audioprune.distiller.pruners import (
    MagnitudeParameterPruner,
    SensitivityPruner,
    SparsityLevelParameterPruner,
    SplicingPruner,
)
from audioprune.errors import ConfigError

_WITH_DEFAULT = (
    SensitivityPruner,
    SparsityLevelParameterPruner,
    MagnitudeParameterPruner,
    SplicingPruner,
)
"""Pruners that may name ``*``, all other parameters."""
_NAMING = ("pruner", "regularizer")
"""Kinds of policies whose instances name parameters."""


@dataclass(frozen=True)
class Options:
    """The ``args`` of a policy.

    They hold for the parameters that its pruner names; in Distiller they hold for all.

    Attributes:
        levels: Levels instead of the ones of a SparsityLevelParameterPruner.
        keep_mask: Make the masks of the last scheduled epoch permanent.
        mini_batch_pruning_frequency: Minibatches between two prunings within a scheduled epoch; 0
            prunes at its begin only.
        mask_on_forward_only: Mask before every forward pass of a scheduled epoch, and let updates
            change masked weights.
        mask_gradients: Set the gradients of masked weights to zero; only with
            ``mask_on_forward_only``.
        use_double_copies: Update the weights as they were before masking, with the gradients of
            the masked ones.
        discard_masks_at_minibatch_end: Forget the masks after every minibatch of a scheduled
            epoch.
        skip_first_minibatch: Prune the first scheduled epoch at its second minibatch.

    Raises:
        ConfigError: A value has the wrong type, or two options do not go together.
    """

    levels: Mapping[str, float] | None = None
    keep_mask: bool = False
    mini_batch_pruning_frequency: int = 0
    mask_on_forward_only: bool = False
    mask_gradients: bool = False
    use_double_copies: bool = False
    discard_masks_at_minibatch_end: bool = False
    skip_first_minibatch: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "bool" and not isinstance(value, bool):
                raise ConfigError(
                    f"{each.name}: expected true or false, got {value!r}; correct it"
                )
        count = self.mini_batch_pruning_frequency
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ConfigError(
                f"mini_batch_pruning_frequency: expected a whole number >= 0, got {count!r}; 0 "
                f"prunes once an epoch"
            )
        if self.mask_gradients and not self.mask_on_forward_only:
            raise ConfigError(
                "mask_gradients=true: expected mask_on_forward_only=true with it; masked "
                "weights are zero anyway without"
            )


@dataclass(frozen=True)
class Policy:
    """One entry of ``policies``: who acts when, and how.

    Attributes:
        kind: ``pruner``, ``regularizer``, ``lr_scheduler`` or ``extension``.
        name: Name of the instance.
        actor: The instance.
        epochs: Epochs in which it acts, ascending.
        frequency: Epochs between two of them, or None where they are listed.
        options: Its ``args``.
        end: Epoch after the last one, exclusive, as the file states it.
    """

    kind: str
    name: str
    actor: Any
    epochs: tuple[int, ...]
    frequency: int | None
    options: Options
    end: int

    def position(self, epoch: int) -> TrainingPosition:
        """Return an epoch together with the epochs of this policy."""
        return TrainingPosition(epoch, self.epochs[0], self.end, self.frequency)

    def named(self) -> Collection[str]:
        """Return what a pruner or regularizer names: parameters, ``*`` perhaps among them.

        The result is a list of names, or a mapping from names to numbers.
        """
        return getattr(self.actor, self.actor.NAMED)


@dataclass(frozen=True)
class Schedule:
    """All policies of a file in their order.

    Attributes:
        title: What messages call the file.
        policies: The policies.
        notes: What was left out because the reading was not strict.
    """

    title: str
    policies: tuple[Policy, ...]
    notes: tuple[str, ...] = ()

    def of(self, *kinds: str) -> tuple[Policy, ...]:
        """Return the policies of some kinds."""
        return tuple(policy for policy in self.policies if policy.kind in kinds)

    def pruning_epochs(self) -> list[int]:
        """Return the epochs in which a pruner acts, ascending."""
        return sorted({epoch for policy in self.of("pruner") for epoch in policy.epochs})

    def last_change(self) -> int:
        """Return the last epoch at whose begin weights are removed, 0 without any."""
        return max((policy.epochs[-1] for policy in self.of("pruner", "extension")), default=0)

    def bound(self, model: nn.Module, strict: bool = True) -> Schedule:
        """Return the schedule with the model's own parameter names.

        Args:
            model: The model; its frozen parameters are constants, which no policy may name.
            strict: Refuse names that the model does not have; otherwise they are left out, with a
                note.

        Raises:
            ConfigError: A name is unknown or means several parameters.
        """
        trained = [name for name, value in model.named_parameters() if value.requires_grad]
        notes = list(self.notes)
        policies = []
        for policy in self.policies:
            if policy.kind in _NAMING:
                actor = self._bound_actor(policy, trained, strict, notes)
                policy = replace(policy, actor=actor)
            policies.append(policy)
        return replace(self, policies=tuple(policies), notes=tuple(dict.fromkeys(notes)))

    def _bound_actor(
        self, policy: Policy, parameters: list[str], strict: bool, notes: list[str]
    ) -> Any:
        """Return the instance of a policy with the model's names; adds to ``notes``."""

        def refuse(name: str, problem: str) -> None:
            message = f"{self.title}, {policy.kind} '{policy.name}': {problem}"
            if strict:
                raise ConfigError(f"{message}; correct it, or leave it out with strict=false")
            notes.append(f"{message}; left out")

        given = policy.named()
        may_default = isinstance(policy.actor, _WITH_DEFAULT)
        found = names.resolve(given, parameters, refuse, default=may_default)
        if not found:
            raise ConfigError(
                f"{self.title}, {policy.kind} '{policy.name}': expected a parameter of the "
                f"model, got none; check the names"
            )
        bound: Any
        if isinstance(given, Mapping):
            bound = {found[name]: value for name, value in given.items() if name in found}
        else:
            bound = [found[name] for name in given if name in found]
        return replace(policy.actor, **{policy.actor.NAMED: bound})

    def at_epochs(self, start: int | None, end: int | None, frequency: int | None) -> Schedule:
        """Return the schedule with other epochs for its pruners; None keeps the file's number.

        Raises:
            ConfigError: A number is out of range, or a policy lists its epochs.
        """
        if start is None and end is None and frequency is None:
            return self
        policies = [
            self._moved(policy, start, end, frequency) if policy.kind == "pruner" else policy
            for policy in self.policies
        ]
        return replace(self, policies=tuple(policies))

    def _moved(
        self, policy: Policy, start: int | None, end: int | None, frequency: int | None
    ) -> Policy:
        if policy.frequency is None:
            raise ConfigError(
                f"{self.title}, pruner '{policy.name}': it lists its epochs; change them in "
                f"the file"
            )
        first = policy.epochs[0] if start is None else start
        last = policy.end if end is None else end
        every = policy.frequency if frequency is None else frequency
        epochs = tuple(scheduled_epochs(first, last, every))
        return replace(policy, epochs=epochs, end=last, frequency=every)
