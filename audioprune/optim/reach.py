"""How far the regulariser alone can shrink a group, and how many groups that brings to zero.

The reach of a training is ``lmbda * sum(lr)``: every step takes at most ``lr * lmbda`` off the
norm of a group, so the sum over all steps bounds what shrinkage can do. The l1 norm takes as much
off every single entry, so a group's largest entry counts there. Gradients and half-space
projections may do more; a reach far below the norms explains a training that ends with no zero
group. ``regulariser_reach`` gives the number, ``reachability`` compares it with a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.optim.group_optimizer import listed
from audioprune.optim.group_steps import group_norms
from audioprune.optim.groups import Layout, Units
from audioprune.optim.options import number
from audioprune.optim.plans import Plan

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Reachability:
    """Which groups a regulariser can bring to zero by shrinkage alone.

    Attributes:
        reach: Most that the norm of a group, or an entry of it, can lose to the regulariser.
        groups: Number of groups.
        zero: Groups that are zero already.
        reachable: Groups whose norm, or largest entry, is at most the reach; groups that are zero
            already count.
        quantiles: Share of groups, 0..1, to the norm (or largest entry) below which that share
            lies.
        warning: One line when no group but those already zero can reach zero by shrinkage alone,
            else None.
        entrywise: Whether the regulariser is the l1 norm, which shrinks every entry by itself.
    """

    reach: float
    groups: int
    zero: int
    reachable: int
    quantiles: dict[float, float]
    warning: str | None
    entrywise: bool = False

    @property
    def share(self) -> float:
        """Share of groups that shrinkage alone can bring to zero, 0..1."""
        return self.reachable / self.groups

    def lines(self) -> list[str]:
        """Return what to print before a training, one to three lines."""
        norms = ", ".join(
            f"{100 * share:.0f} %: {norm:.4g}" for share, norm in self.quantiles.items()
        )
        what = "largest entries of the groups" if self.entrywise else "group norms"
        already = f" ({self.zero} are zero already)" if self.zero else ""
        bound = (
            f"at most {100 * self.share:.1f} % of {self.groups} groups can reach zero by "
            f"shrinkage alone{already}"
        )
        head = [
            f"reach lmbda * sum(lr) = {self.reach:.4g}: {bound}",
            f"quantiles of the {what}: {norms}",
        ]
        return head + ([self.warning] if self.warning else [])


def regulariser_reach(lmbda: float, lrs: Iterable[float]) -> float:
    """Return ``lmbda * sum(lrs)``, the most that a group norm can lose to the regulariser.

    Args:
        lmbda: Weight of the regulariser, >= 0.
        lrs: Learning rate of every step, >= 0.

    Raises:
        ConfigError: A number is negative or not finite.
    """
    weight = number("lmbda", lmbda)
    return weight * math.fsum(number("lr", lr) for lr in lrs)


@torch.no_grad()
def reachability(
    params: Iterable[Any], reach: float, units: Units = None, *, entrywise: bool = False
) -> Reachability:
    """Compare the reach of a regulariser with the norms of the groups before a training.

    Args:
        params: As an optimiser takes them: parameters, named parameters, or param groups that may
            carry ``units``.
        reach: From ``regulariser_reach``, >= 0.
        units: Groups where no param group names any.
        entrywise: Compare the largest entry of a group: the l1 norm shrinks each entry by itself.

    Raises:
        ConfigError: The reach is negative or not finite, there is no group, or the units do not
            fit the parameters.
    """
    limit = number("reach", reach)
    measure = _largest_entries if entrywise else group_norms
    norms = torch.cat([_measured(*part, measure) for part in _parts(listed(params), units)])
    if len(norms) == 0:
        raise ConfigError(
            "expected at least one regularised group, got 0; give units='rows' or "
            "units=model.unit_sets()"
        )
    ranked = norms.sort().values
    table = {share: float(ranked[round(share * (len(norms) - 1))]) for share in _SHARES}
    zero, reachable = int((norms == 0).sum()), int((norms <= limit).sum())
    warning = _warn(limit, norms, entrywise) if reachable == zero else None
    return Reachability(limit, len(norms), zero, reachable, table, warning, entrywise)


def _warn(reach: float, norms: Tensor, entrywise: bool) -> str | None:
    left = norms[norms > 0]
    if len(left) == 0:
        return None
    what, least = "largest entry" if entrywise else "norm", float(left.min())
    more = f"at least {least / reach:.3g} times" if reach > 0 else "any"
    return (
        f"no group can reach zero by shrinkage alone: reach {reach:.4g} is below the {what} "
        f"of every group left, {least:.4g} at least; lmbda * sum(lr) would need {more} as much"
    )


def _parts(entries: Sequence[Any], units: Units) -> list[tuple[Sequence[Any], Units]]:
    if isinstance(entries[0], dict):
        return [(listed(entry["params"]), entry.get("units", units)) for entry in entries]
    return [(entries, units)]


def _measured(
    entries: Sequence[Any], units: Units, measure: Callable[[Plan, Sequence[Tensor]], Tensor]
) -> Tensor:
    """Return what is measured of each group of one param group, float64 on the CPU."""
    named = isinstance(entries[0], tuple)
    params = [entry[1] if named else entry for entry in entries]
    layout = Layout(units, [entry[0] for entry in entries] if named else None, params)
    plan = layout.plan(params)
    if plan.size == 0:
        return torch.zeros(0, dtype=torch.float64)
    return measure(plan, [params[i] for i in plan.covered]).to("cpu", torch.float64)


def _largest_entries(plan: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Return the largest absolute entry of every group, shape (size,)."""
    rows = torch.cat([row.abs().amax(dim=1).to(plan.dtype) for row in plan.rows(tensors)])
    # Rows of no group are gathered in one place more, which is cut off.
    return rows.new_zeros(plan.size + 1).scatter_reduce(0, plan.owners, rows, "amax")[: plan.size]
