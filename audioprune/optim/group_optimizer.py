"""What all optimisers of this package share: ``GroupOptimizer``, the base class of each of them.

It holds which entries form a group, counts the zero groups, checks options and loaded states, and
runs the loop over param groups. It never changes a weight: how one step moves the groups is the
rule of the subclass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from audioprune.errors import ConfigError
from audioprune.optim import options
from audioprune.optim.directions import Work, gather
from audioprune.optim.group_state import check_state
from audioprune.optim.group_steps import absolute_sums, group_norms, zero_entries
from audioprune.optim.groups import Layout, Units
from audioprune.optim.plans import Plan, alive_groups

Group = dict[str, Any]
"""A param group of torch: its options by name and the list ``params``."""
Pick = Callable[[Tensor], Tensor]
"""What to look at for a parameter: the parameter itself, or a tensor of the same shape."""

# Of every param group: its norm unless it names another, the steps it has taken and the number of
# its groups.
_STATE = {"norm": "group", "steps": 0, "groups": 0}


class GroupOptimizer(Optimizer):
    """Base of optimisers that move whole groups of entries towards zero.

    A subclass passes its options to ``__init__`` and has two methods: ``_check`` refuses wrong
    options of a param group, ``_step_group`` takes one step of one param group.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        units: Groups of param groups that name none: ``"rows"``, a list of UnitSet or None.
        lr: Learning rate, >= 0.
        lmbda: Weight of the regulariser, >= 0.
        base: ``"sgd"``, ``"adam"`` or ``"adamw"``.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        fused: None uses one-pass CPU kernels for large models, True demands them, False uses plain
            torch operations.
        maximize: Must be False.
        rule: Further options, those of the subclass alone.

    Raises:
        ConfigError: An option is unknown or out of range, or no group is regularised.
    """

    def __init__(
        self,
        params: Iterable[Any],
        units: Units,
        *,
        lr: float,
        lmbda: float,
        base: str,
        momentum: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        fused: bool | None,
        maximize: bool,
        **rule: Any,
    ) -> None:
        self._default_units = units
        self.layouts: list[Layout] = []
        common = {"lr": lr, "lmbda": lmbda, "fused": fused, "maximize": maximize, **_STATE}
        base_options = {
            "base": base,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        # torch calls add_param_group from here, which checks options and lays out the groups.
        super().__init__(listed(params), {**common, **base_options, **rule})
        if not sum(layout.size for layout in self.layouts):
            raise ConfigError(
                "expected at least one regularised group, got 0; give units='rows' or "
                "units=model.unit_sets()"
            )

    def _check(self, group: Mapping[str, Any]) -> None:
        """Refuse wrong options of a param group; a subclass adds the checks of its own options.

        Raises:
            ConfigError: An option is unknown or out of range.
        """
        options.check_common(group, self.defaults)

    def _step_group(self, group: Group, work: Work) -> None:
        """Take one step of one param group, in place; the rule of the subclass.

        Args:
            group: Its options; ``steps`` are those taken before.
            work: Its parameters that take part, and their gradients.
        """
        raise NotImplementedError

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with their options and units; after an error nothing is changed.

        Raises:
            ConfigError: An option or a unit is wrong, or a parameter is not floating point.
        """
        group = dict(param_group)
        units = group.pop("units", self._default_units)
        self._check({**self.defaults, **group})
        super().add_param_group(group)
        try:
            _check_floating(group["params"])
            layout = Layout(units, group.get("param_names"), group["params"])
        except ConfigError:
            self.param_groups.pop()
            raise
        group["groups"] = layout.size
        self.layouts.append(layout)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step and return the loss of the closure, if one is given.

        Raises:
            ConfigError: A gradient is sparse, or groups that are zero would be frozen by a first
                step that never revives them.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, layout in zip(self.param_groups, self.layouts, strict=True):
            work = gather(group, layout)
            if work is not None:
                self._step_group(group, work)
                group["steps"] += 1
        return loss

    def group_sparsity(self) -> float:
        """Return the share of groups that are exactly zero, 0..1."""
        return self._group_sparsity(Tensor.detach)

    def entry_sparsity(self) -> float:
        """Return the share of exact zeros among the entries that belong to groups, 0..1."""
        return self._entry_sparsity(Tensor.detach)

    def objective_penalty(self) -> float:
        """Return lambda times the sum of the group norms, or times the l1 norm of their entries.

        The option ``norm`` of the param group decides which.
        """
        return self._penalty(Tensor.detach)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where the saved state stopped, counters of steps included.

        Raises:
            CheckpointError: The state belongs to another optimiser, model or set of units.
        """
        check_state(self, state_dict, self._check)
        super().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle needs, the groups included."""
        ours = {"layouts": self.layouts, "_default_units": self._default_units}
        return {**super().__getstate__(), **ours}

    def _group_sparsity(self, pick: Pick) -> float:
        total = zeros = 0
        for _, plan, tensors in self._groups(pick):
            total += plan.size
            zeros += plan.size - int(alive_groups(plan, tensors).sum())
        return zeros / max(1, total)

    @torch.no_grad()
    def _entry_sparsity(self, pick: Pick) -> float:
        zeros = total = 0
        for _, plan, tensors in self._groups(pick):
            found, entries = zero_entries(plan, tensors)
            zeros, total = zeros + found, total + entries
        return zeros / max(1, total)

    @torch.no_grad()
    def _penalty(self, pick: Pick) -> float:
        total = 0.0
        for group, plan, tensors in self._groups(pick):
            if tensors:
                measure = absolute_sums if group["norm"] == "l1" else group_norms
                sizes = measure(plan, tensors).to(torch.float64)
                total += float(group["lmbda"]) * float(sizes.sum())
        return total

    def _groups(self, pick: Pick) -> Iterator[tuple[Group, Plan, list[Tensor]]]:
        """Yield each param group with the plan of its groups and the tensors that hold them."""
        for group, layout in zip(self.param_groups, self.layouts, strict=True):
            plan = layout.plan(group["params"])
            yield group, plan, [pick(group["params"][i]) for i in plan.covered]


def listed(params: Iterable[Any]) -> list[Any]:
    """List what the caller passed as parameters.

    Raises:
        ConfigError: It is a single tensor or empty.
    """
    if isinstance(params, Tensor):
        raise ConfigError(
            "expected an iterable of parameters, got one tensor; pass [tensor] or "
            "model.named_parameters()"
        )
    found = list(params)
    if not found:
        raise ConfigError(
            "expected at least one parameter, got none; pass model.named_parameters()"
        )
    return found


def _check_floating(params: Iterable[Tensor]) -> None:
    for param in params:
        if not param.is_floating_point():
            raise ConfigError(
                f"expected real floating-point parameters, got one of {param.dtype}; leave it "
                f"out of the optimiser"
            )
