"""ProxSG: the stochastic proximal gradient method for the mixed l1/l2 norm or the l1 norm.

The one class here is ``ProxSG``; what it shares with the other optimisers is in
group_optimizer.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from audioprune.optim import options
from audioprune.optim.directions import Work
from audioprune.optim.group_optimizer import Group, GroupOptimizer
from audioprune.optim.group_steps import prox_l1_step, prox_step
from audioprune.optim.groups import Units


class ProxSG(GroupOptimizer):
    """Step as a base optimiser would, then apply the proximal operator of the regulariser.

    Args:
        params: Parameters, named parameters or param groups; a param group may override every
            option and carry ``units``.
        lr: Learning rate, >= 0.
        lmbda: Weight of the regulariser, >= 0.
        units: Groups of param groups that name none: ``"rows"`` (along axis 0; of a vector each
            entry), a list of UnitSet (needs named parameters) or None (not regularised).
        norm: ``"group"`` for the sum of the groups' l2 norms, ``"l1"`` for the l1 norm of their
            entries.
        base: ``"sgd"``, ``"adam"`` or ``"adamw"``. The proximal threshold is ``lr * lmbda`` for
            all of them: the adaptive scale of Adam does not enter it, so that the reach
            stays ``lmbda`` times the sum of learning rates.
        momentum: Of the base ``"sgd"``, 0 <= momentum < 1.
        betas: Of Adam.
        eps: Of Adam, > 0.
        weight_decay: l2 penalty in the gradient, or decoupled for ``"adamw"``.
        fused: None uses one-pass CPU kernels for large models, True demands them, False uses plain
            torch operations.
        maximize: Must be False.

    Raises:
        ConfigError: An option is unknown or out of range, or no group is regularised.

    Source: Chen, "Choices of r(x)" and "Why existing stochastic optimizers failed", whose ProxSG
    has base SGD without momentum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        lmbda: float,
        units: Units = None,
        norm: Literal["group", "l1"] = "group",
        base: Literal["sgd", "adam", "adamw"] = "sgd",
        momentum: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            units,
            lr=lr,
            lmbda=lmbda,
            base=base,
            momentum=momentum,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=fused,
            maximize=maximize,
            norm=norm,
        )

    def _step_group(self, group: Group, work: Work) -> None:
        move = work.move(group, self.state)
        if move.xs:
            apply = prox_step if group["norm"] == "group" else prox_l1_step
            apply(move, move.lr * float(group["lmbda"]))

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        options.choice("norm", group["norm"], ("group", "l1"))
