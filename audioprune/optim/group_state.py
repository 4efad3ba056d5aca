"""What the four optimisers keep about their groups beside torch's param groups: layouts, counts, checks of a loaded state.

It is a part of each optimiser, not a base class; what a step computes stands in steps.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from audioprune.errors import CheckpointError, ConfigError
from audioprune.optim.group_steps import absolute_sums, group_norms, zero_entries
from audioprune.optim.groups import Layout, Units, alive_groups

Groups = list[dict[str, Any]]
Pick = Callable[[Tensor], Tensor]


# Of every param group: its norm unless it names another, the steps it has taken and the number of
# its groups.
STATE = {"norm": "group", "steps": 0, "groups": 0}


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


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """Return the loss of a closure, computed with gradients, or None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class UnitGroups:
    """The layouts of an optimiser, one per param group.

    Args:
        default: ``units`` of a param group that names none.
    """

    def __init__(self, default: Units) -> None:
        self.default = default
        self.layouts: list[Layout] = []

    def add(
        self,
        optimizer: Optimizer,
        append: Callable[[dict], None],
        param_group: dict[str, Any],
        check: Callable[[Mapping], None],
    ) -> None:
        """Check a param group, append it and lay out its groups; after an error the optimiser is as it was.

        Args:
            optimizer: The optimiser.
            append: torch's own ``add_param_group``.
            param_group: As the caller gave it; ``units`` is taken out of it.
            check: Raises when an option is wrong.

        Raises:
            ConfigError: An option or a unit is wrong, or a parameter is not floating point.
        """
        group = dict(param_group)
        units = group.pop("units", self.default)
        check({**optimizer.defaults, **group})
        append(group)
        try:
            _check_floating(group["params"])
            layout = Layout(units, group.get("param_names"), group["params"])
        except ConfigError:
            optimizer.param_groups.pop()
            raise
        group["groups"] = layout.size
        self.layouts.append(layout)

    def require_any(self) -> None:
        """Refuse an optimiser that would regularise nothing.

        Raises:
            ConfigError: No param group has groups.
        """
        if not sum(layout.size for layout in self.layouts):
            raise ConfigError(
                "expected at least one regularised group, got 0; give units='rows' or "
                "units=model.unit_sets()"
            )

    def zero_counts(self, param_groups: Groups, pick: Pick = Tensor.detach) -> list[int]:
        """Count the groups of each param group whose entries are all exactly zero.

        Args:
            param_groups: Of the optimiser.
            pick: What to look at for a parameter, by default the parameter itself.
        """
        counts = []
        for group, layout in zip(param_groups, self.layouts, strict=True):
            plan = layout.plan(group["params"])
            alive = alive_groups(plan, [pick(group["params"][i]) for i in plan.covered])
            counts.append(plan.size - int(alive.sum()))
        return counts

    def sparsity(self, param_groups: Groups, pick: Pick = Tensor.detach) -> float:
        """Return the share of groups that are exactly zero, 0..1."""
        return sum(self.zero_counts(param_groups, pick)) / max(
            1, sum(layout.size for layout in self.layouts)
        )

    @torch.no_grad()
    def entry_sparsity(self, param_groups: Groups, pick: Pick = Tensor.detach) -> float:
        """Return the share of exact zeros among the entries that belong to groups, 0..1."""
        zeros = total = 0
        for group, layout in zip(param_groups, self.layouts, strict=True):
            plan = layout.plan(group["params"])
            found, of = zero_entries(plan, [pick(group["params"][i]) for i in plan.covered])
            zeros, total = zeros + found, total + of
        return zeros / max(1, total)

    @torch.no_grad()
    def penalty(self, param_groups: Groups, pick: Pick = Tensor.detach) -> float:
        """Return lambda times the sum of the group norms, or of the absolute values where the option ``norm`` is ``"l1"``."""
        total = 0.0
        for group, layout in zip(param_groups, self.layouts, strict=True):
            plan = layout.plan(group["params"])
            tensors = [pick(group["params"][i]) for i in plan.covered]
            if tensors:
                sizes = absolute_sums if group["norm"] == "l1" else group_norms
                total += float(group["lmbda"]) * float(
                    sizes(plan, tensors).to(torch.float64).sum()
                )
        return total


def check_state(
    optimizer: Optimizer, state_dict: Mapping[str, Any], check: Callable[[Mapping], None]
) -> None:
    """Refuse a state that does not belong to this optimiser before any of it is taken over.

    Args:
        optimizer: The optimiser that is about to load the state.
        state_dict: What ``state_dict()`` returned.
        check: Raises when an option is wrong.

    Raises:
        CheckpointError: Options are missing, or the number of param groups, parameters or groups,
            or the shape of a moment differs.
        ConfigError: An option in the state is out of range.
    """
    saved, ours = state_dict["param_groups"], optimizer.param_groups
    if len(saved) != len(ours):
        raise CheckpointError(
            f"expected a state of {len(ours)} param groups, got {len(saved)}; build the "
            f"optimiser as it was saved"
        )
    for there, here in zip(saved, ours, strict=True):
        # torch adds this default of its own accord when an optimiser is copied or loads a state.
        missing = sorted(set(optimizer.defaults) - set(there) - {"differentiable"})
        if missing:
            kind = type(optimizer).__name__
            raise CheckpointError(
                f"expected a state of {kind}, got one without {', '.join(missing)}; load it "
                f"into the class that saved it"
            )
        for what, theirs, mine in (
            ("parameters", len(there["params"]), len(here["params"])),
            ("groups", there["groups"], here["groups"]),
        ):
            if theirs != mine:
                raise CheckpointError(
                    f"expected a state of {mine} {what} in a param group, got {theirs}; rebuild "
                    f"model and units as saved"
                )
        check({key: value for key, value in there.items() if key != "units"})
        _check_shapes(state_dict["state"], there["params"], here["params"])


def _check_shapes(
    state: Mapping[Any, Mapping[str, Any]], keys: Sequence[Any], params: Sequence[Tensor]
) -> None:
    for key, param in zip(keys, params, strict=True):
        for name, value in state.get(key, {}).items():
            if isinstance(value, Tensor) and value.shape != param.shape:
                given, wanted = tuple(value.shape), tuple(param.shape)
                raise CheckpointError(
                    f"expected {name} of shape {wanted}, got {given}; slice the state with "
                    f"sliced_state after a trim"
                )


def _check_floating(params: Sequence[Tensor]) -> None:
    for param in params:
        if not param.is_floating_point():
            raise ConfigError(
                f"expected real floating-point parameters, got one of {param.dtype}; leave it "
                f"out of the optimiser"
            )
