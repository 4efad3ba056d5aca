"""How a schedule acts on a model during training: masks, penalties and learning rates.

``ScheduleHook`` is a hook of the training loop (see audioprune.training.hooks) with a state that
can be stored. What is removed is decided by the pruners, and when by the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.checkpoint import plain_part, under
from audioprune.compress.masks import Mask, clear_, prunable
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.find import has_units, needed_units
from audioprune.compress.units.weight_groups import any_kept, expand
from audioprune.compress.units.zero import zero_units_
from audioprune.distiller.context import FirstStatistics, PruningContext
from audioprune.distiller.learning_rates import advance
from audioprune.distiller.names import DEFAULT
from audioprune.distiller.pruners import Pruner
from audioprune.distiller.regularizers import Regularizer
from audioprune.distiller.schedule import Policy, Schedule
from audioprune.errors import ConfigError

_PERMANENT = -1
"""Owner of a mask that no policy may change any more."""


class ScheduleHook:
    """Runs a schedule during training.

    A mask set at an epoch is applied after every optimiser step from then on, in every later epoch
    too, unless its policy says ``mask_on_forward_only``. Such permanent masks never regrow.

    Args:
        schedule: The schedule, bound to the model's names.
        before: Called with (epoch, model, hook) ahead of every pruning; may return another
            schedule to prune with.

    Attributes:
        masks: Kept positions of every tensor that is masked now.
        history: Sparsity of the whole model and of each tensor after every pruning.
        facts: What the caller wants to store with the training, as JSON values.
        statistics: Statistics of the first pruning.
    """

    def __init__(
        self,
        schedule: Schedule,
        before: Callable[[int, nn.Module, ScheduleHook], Schedule | None] | None = None,
    ) -> None:
        self.schedule, self._before = schedule, before
        self.pruners = schedule.of("pruner")
        self.statistics = FirstStatistics()
        self.masks: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self._owner: dict[str, int] = {}
        self._started: list[int] = []
        self._epoch, self._minibatch, self._total = -1, 0, 0
        self._unmasked: dict[str, Tensor] = {}
        self._rules: dict[tuple[str, str], Any] = {}
        self._device = torch.device("cpu")

    def on_training_begin(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        """Build the learning-rate rules, one per optimiser."""
        self._device = next(model.parameters()).device
        rules = {policy.name: policy.actor for policy in self.schedule.of("lr_scheduler")}
        for rule, actor in rules.items():
            for name, optimizer in optimizers.items():
                self._rules[rule, name] = actor.build(optimizer)

    def sets_learning_rate(self) -> bool:
        """Tell whether the schedule has learning-rate rules.

        The learning-rate schedule of the training settings is unused then.
        """
        return bool(self.schedule.of("lr_scheduler"))

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Set the masks of a scheduled epoch, then silence units that a remover takes out."""
        self._epoch, self._minibatch = epoch, 0
        schedule = self._before(epoch, model, self) if self._before and self._active() else None
        pruners = schedule.of("pruner") if schedule else self.pruners
        for index in self._active():
            first = index not in self._started
            if first:
                self._started.append(index)
                self._owner |= dict.fromkeys(self._names(pruners[index], model), index)
            if not (first and pruners[index].options.skip_first_minibatch):
                self._prune(pruners[index], model)
        for policy in self.schedule.of("extension"):
            if epoch in policy.epochs:
                self._silence(model, policy.actor.thinning_func_str)
        if self._active():
            self._record(model)

    def on_step_begin(self, model: nn.Module) -> None:
        """Prune within an epoch where a policy asks for it, and mask the scheduled weights."""
        parameters = dict(model.named_parameters())
        for index in self._active():
            policy = self.pruners[index]
            if self._due(policy):
                self._prune(policy, model)
                self._record(model)
            for name in self._names(policy, model):
                if name in self.masks:
                    if policy.options.use_double_copies and self._owner.get(name) == index:
                        self._unmasked.setdefault(name, parameters[name].detach().clone())
                    clear_(parameters[name], self.masks[name])
        self._minibatch += 1
        self._total += 1

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the sum of all penalties of this epoch."""
        parameters = dict(model.named_parameters())
        terms = []
        for policy in self._regularizers():
            regularizer: Regularizer = policy.actor
            for name in policy.named():
                terms.append(regularizer.penalty(name, parameters[name], model))
        return torch.stack(terms).sum() if terms else None

    def before_update(self, model: nn.Module) -> None:
        """Give double copies back their unmasked weights, and mask gradients."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, weight in self._unmasked.items():
                parameters[name].copy_(weight)
        self._unmasked.clear()
        for name, keep in self.masks.items():
            grad = parameters[name].grad
            if grad is not None and self._masks_gradient(name):
                clear_(grad, keep)

    def on_step_end(self, model: nn.Module) -> None:
        """Apply permanent masks and thresholds; forget masks that last one minibatch."""
        parameters = dict(model.named_parameters())
        for name, keep in self.masks.items():
            if self._holds(name):
                clear_(parameters[name], keep)
        for index in self._active():
            if self.pruners[index].options.discard_masks_at_minibatch_end:
                for name in self._names(self.pruners[index], model):
                    self.masks.pop(name, None)
        for policy in self._regularizers():
            self._threshold(policy, parameters, model)

    def after_steps(self, epoch: int, model: nn.Module) -> None:
        """Make the masks of policies permanent that end here and keep them."""
        parameters = dict(model.named_parameters())
        for policy in self.pruners:
            if policy.options.keep_mask and epoch == policy.epochs[-1]:
                for name in self._names(policy, model):
                    self._owner[name] = _PERMANENT
                    if name in self.masks:
                        clear_(parameters[name], self.masks[name])
        for policy in self._regularizers():
            if policy.options.keep_mask and epoch == policy.epochs[-1]:
                for name, keep in self._threshold(policy, parameters, model).items():
                    self.masks[name] = keep & self.masks.get(name, keep)
                    self._owner[name] = _PERMANENT

    def on_epoch_end(
        self,
        epoch: int,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        metrics: Mapping[str, float],
    ) -> None:
        """Set the learning rates of the next epoch where a rule is scheduled in this one."""
        for policy in self.schedule.of("lr_scheduler"):
            if epoch in policy.epochs:
                for name in optimizers:
                    advance(self._rules[policy.name, name], epoch + 1, metrics)

    def mask(self) -> Mask | None:
        """Return the permanent masks."""
        held = {name: keep for name, keep in self.masks.items() if self._holds(name)}
        return Mask(held) if held else None

    def state_dict(self) -> dict[str, Any]:
        """Return masks, first measurements, counters, history and learning-rate rules."""
        magnitudes = {name: list(pair) for name, pair in self.statistics.magnitudes.items()}
        rules = [[list(key), plain_part(rule.state_dict())] for key, rule in self._rules.items()]
        facts = {
            "std_at_first_prune": self.statistics.sigmas,
            "magnitude_at_first_prune": magnitudes,
            "counters": [self._epoch, self._minibatch, self._total],
            "started": self._started,
            "owner": self._owner,
            "history": self.history,
            "facts": self.facts,
            "rules": rules,
        }
        tensors = {f"mask/{name}": keep for name, keep in self.masks.items()}
        return {"facts": facts, "tensors": tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        facts = state["facts"]
        magnitudes = {
            name: tuple(pair) for name, pair in facts["magnitude_at_first_prune"].items()
        }
        self.statistics = FirstStatistics(dict(facts["std_at_first_prune"]), magnitudes)
        self._epoch, self._minibatch, self._total = facts["counters"]
        self._started, self._owner = list(facts["started"]), dict(facts["owner"])
        self.history, self.facts = list(facts["history"]), dict(facts["facts"])
        for (rule, name), numbers in facts["rules"]:
            self._rules[rule, name].load_state_dict(numbers)
        masks = under(state["tensors"], "mask/")
        self.masks = {name: keep.to(self._device) for name, keep in masks.items()}

    def prune_once(self, model: nn.Module) -> Mask:
        """Prune with every pruner once, as at its last epoch, without training.

        Return what is kept; all masks are permanent.
        """
        for policy in self.pruners:
            self._epoch = policy.epochs[-1]
            self._prune(policy, model)
        for policy in self.schedule.of("extension"):
            self._silence(model, policy.actor.thinning_func_str)
        self._record(model)
        return Mask(self.masks)

    def _active(self) -> list[int]:
        return [index for index, policy in enumerate(self.pruners) if self._epoch in policy.epochs]

    def _regularizers(self) -> list[Policy]:
        return [
            policy for policy in self.schedule.of("regularizer") if self._epoch in policy.epochs
        ]

    def _names(self, policy: Policy, model: nn.Module) -> list[str]:
        named = policy.named()
        if DEFAULT not in named:
            return list(named)
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

    def _holds(self, name: str) -> bool:
        """Tell whether a tensor's mask stays when an epoch is over."""
        index = self._owner.get(name, _PERMANENT)
        return index == _PERMANENT or not self.pruners[index].options.mask_on_forward_only

    def _masks_gradient(self, name: str) -> bool:
        index = self._owner.get(name, _PERMANENT)
        if index == _PERMANENT:
            return False
        policy = self.pruners[index]
        return policy.options.mask_gradients and self._epoch <= policy.epochs[-1]

    def _due(self, policy: Policy) -> bool:
        """Tell whether a minibatch other than the first of its epoch prunes."""
        every = policy.options.mini_batch_pruning_frequency
        second = self._minibatch == 1 and self._epoch == policy.epochs[0]
        if policy.options.skip_first_minibatch and second:
            return True
        return self._minibatch > 0 and every > 0 and self._total % every == 0

    @torch.no_grad()
    def _prune(self, policy: Policy, model: nn.Module) -> None:
        position = policy.position(self._epoch)
        context = PruningContext(model, position, self.masks, self.statistics)
        parameters = dict(model.named_parameters())
        pruner: Pruner = policy.actor
        for name in self._names(policy, model):
            keep = pruner.keep(name, parameters[name], context)
            if keep is None:
                continue
            # Masks that stay never regrow; those of the forward pass are chosen anew.
            if name in self.masks and self._holds(name):
                keep = keep & self.masks[name]
            self.masks[name] = keep

    def _threshold(
        self, policy: Policy, parameters: Mapping[str, Tensor], model: nn.Module
    ) -> dict[str, Tensor]:
        """Zero what is below a regularizer's threshold; return the kept positions."""
        keeps = {}
        regularizer: Regularizer = policy.actor
        for name in policy.named():
            keep = regularizer.keep(name, parameters[name], model)
            if keep is not None:
                clear_(parameters[name], keep)
                keeps[name] = keep
        return keeps

    def _silence(self, model: nn.Module, function: str) -> None:
        """Zero every unit of which all filters, or all channels, are zero, for good."""
        if not has_units(model):
            raise ConfigError(
                f"{type(model).__name__}: expected a method unit_sets() for {function}; write "
                f"one or leave the remover out"
            )
        parameters = dict(model.named_parameters())
        for name, keep in self.masks.items():
            clear_(parameters[name], keep)
        role = "out" if function == "remove_filters" else "in"
        units = needed_units(model, "leave the remover out")
        sets = [each for each in units if each.removable]
        keeps = _used_units(sets, role, parameters)
        zero_units_(model, sets, keeps)
        for each in sets:
            if each.name not in keeps or keeps[each.name].all():
                continue
            for part in each.slices:
                if part.tensor not in parameters:
                    continue
                weight = parameters[part.tensor]
                keep = expand(part, keeps[each.name].to(weight.device), weight.shape)
                self.masks[part.tensor] = keep & self.masks.get(part.tensor, keep)
                self._owner[part.tensor] = _PERMANENT

    def _record(self, model: nn.Module) -> None:
        """Write down the sparsity of every weight tensor with this epoch's masks applied."""
        weights = dict(model.named_parameters())
        names = prunable(model)
        removed = {name: self._removed(name, weights[name]) for name in names}
        total = sum(removed.values()) / max(1, sum(weights[name].numel() for name in names))
        tensors = {name: count / weights[name].numel() for name, count in removed.items()}
        self.history = [row for row in self.history if row["epoch"] != self._epoch]
        self.history.append({"epoch": self._epoch, "total": total, "tensors": tensors})

    def _removed(self, name: str, weight: Tensor) -> int:
        zero = weight.detach() == 0
        if name in self.masks:
            zero = zero | ~self.masks[name]
        return int(zero.sum())


def _used_units(
    sets: Sequence[UnitSet], role: str, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return for each set the units with a weight that is not zero, bool (U,), on the CPU.

    Args:
        sets: Sets of units.
        role: ``out`` looks at the filters of a unit, ``in`` at the channels that read it.
        parameters: The model's parameters; sets without such weights are left out.
    """
    keeps = {}
    for each in sets:
        used = []
        for part in each.slices:
            weight = parameters.get(part.tensor)
            if part.role == role and weight is not None and weight.dim() > 1:
                used.append(any_kept(part, weight != 0))
        if used:
            keeps[each.name] = torch.stack(used).any(0).cpu()
    return keeps
