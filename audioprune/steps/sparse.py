"""How a pipeline trains a model into group sparsity and takes the zero groups out: ProxSG, OBProxSG, HSPG and ADMM as steps.

The optimisers stand in audioprune.optim, the training loop in training/loop.py, what a unit owns
in the models.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import SparseTraining
from audioprune.optim import (
    ADMM,
    HSPG,
    OBProxSG,
    ProxSG,
    Reachability,
    kept_units,
    reachability,
    regulariser_reach,
)
from audioprune.protocols import Judge
from audioprune.ranges import OneOf, Range
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.train import check_monitor, open_fit, train_row
from audioprune.steps.unit_groups import entries_of, groups_of, rounded, unit_norms
from audioprune.training.loop import Fit, Outcome
from audioprune.training.settings import Settings, build_optimizer, build_schedule

METHODS = ("hspg", "proxsg", "obproxsg", "admm", "sgd", "adam")
PLAIN = ("sgd", "adam")
SELECTIONS = ("last", "val")
GROUP_KINDS = ("units", "filters")
FIRST_STAGE_SHARE = 0.25
_MEASURED = {
    f"valid_{name}": name for name in ("group_sparsity", "entry_sparsity", "norm_sum", "penalty")
}


@dataclass
class TrainSparse:
    """Train the model with an optimiser that makes whole groups of weights zero, or with a plain one for comparison.

    Attributes:
        method: ``hspg``, ``proxsg``, ``obproxsg`` or ``admm``; ``sgd`` and ``adam`` train without
            regulariser.
        lmbda: Weight of the regulariser; None derives it from ``reach``.
        reach: Wanted ``lmbda * sum(lr)``, the most that a group norm can lose to the
            regulariser; unused with ``lmbda``.
        epsilon: Size of the projection region of HSPG.
        prox_epochs: Epochs before the half-space (or orthant) stage; None takes the first quarter.
        orthant_epochs: Epochs of an orthant phase of OBProxSG, after which proximal steps return;
            None never returns.
        first_stage: First stage of HSPG, ``prox`` or ``subgradient``.
        regularizer_inside_moments: Whether HSPG adds the sub-gradient before the moments of its
            base.
        target_group_sparsity: Cap on the share of zero groups (HSPG), or the share itself (ADMM).
        rho: Coupling of ADMM.
        inner_steps: Gradient steps of ADMM per proximal step.
        groups: ``units`` joins a filter with its normalisation and all that writes the same
            channel, so that a zero group can be removed; ``filters`` takes every filter alone.
        selection: ``last`` keeps the weights of the last epoch, ``val`` the best validation among
            the epochs of the highest group sparsity; neither undoes sparsity.
        settings: Training numbers in place of the experiment's; a wrong name is refused.

    Raises:
        ConfigError: A name is unknown, the regulariser has no number, or the model has no units.

    Source: Chen, "HSPG", "Sparse Optimizer" and "Experiment Setting".
    """

    method: Annotated[str, OneOf(*METHODS)] = "hspg"
    lmbda: Annotated[float | None, Range(0)] = None
    reach: Annotated[float | None, Range(0)] = None
    epsilon: Annotated[float, Range(0, below=1)] = 0.0
    prox_epochs: Annotated[float | None, Range(0)] = None
    orthant_epochs: Annotated[float | None, Range(above=0)] = None
    first_stage: Annotated[str, OneOf("prox", "subgradient")] = "prox"
    regularizer_inside_moments: bool = False
    target_group_sparsity: Annotated[float | None, Range(above=0, most=1)] = None
    rho: Annotated[float, Range(above=0)] = 0.01
    inner_steps: Annotated[int, Range(1)] = 10
    groups: Annotated[str, OneOf(*GROUP_KINDS)] = "units"
    selection: Annotated[str, OneOf(*SELECTIONS)] = "last"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, value, known in (
            ("method", self.method, METHODS), ("selection", self.selection, SELECTIONS), ("groups", self.groups, GROUP_KINDS)
        ):  # fmt: skip
            if value not in known:
                raise ConfigError(unknown_name(what, value, known))
        if self.method not in PLAIN and self.lmbda is None and self.reach is None:
            raise ConfigError(
                f"expected pipeline.lmbda or pipeline.reach with method {self.method}, got "
                f"none; set one of them"
            )

    def check(self, run: Run) -> None:
        """Refuse training numbers, groups and options that this model and optimiser cannot take."""
        model = plain_twin(run)
        plan = self._plan(run, model)
        check_monitor(run, plan.settings)
        plan.optimizer(model, plan.settings)

    def run(self, run: Run, path: str) -> None:
        """Say what the numbers can reach, train, and record objective and sparsity of every epoch."""
        fold_first(run, path)
        plan = self._plan(run, run.model)
        reach = plan.reachability(run.model)
        for line in reach.lines() if reach else ():
            print(f"{path}: {line}", file=sys.stderr, flush=True)
        norms = {name: rounded(each) for name, each in plan.norms(run.model).items()}
        watch = SparsityWatch(run.task, plan, "val" if self._keep == "best" else "last")
        outcome = self._fit(run, path, plan, watch).run()
        dense = self._dense(plan, run.model)
        watch.finish_()
        run.model.cpu()
        run.codebooks = None
        run.findings.sparse = SparseTraining(
            self.method, self.groups, plan.lmbda, plan.settings.learning_rate, norms
        )
        row = self._row(run, path, plan, outcome, reach, dense)
        run.results.put(*self._epochs(run, path, plan, outcome), row)

    def _dense(self, plan: Plan, model: nn.Module) -> dict[str, float]:
        """Measure ADMM's x before z's zeros are carried over to it; other methods have one state only."""
        return (
            {f"x_{name}": value for name, value in plan.measure(model).items()}
            if self.method == "admm"
            else {}
        )

    def _plan(self, run: Run, model: nn.Module) -> Plan:
        sets = groups_of(model, self.groups)
        settings = changed(run.settings, self.settings)
        if self.method in PLAIN:
            settings = replace(
                settings,
                optimizer=self.method,
                momentum=settings.momentum if self.method == "sgd" else 0.0,
            )
        per_epoch = math.ceil(len(run.data.train()) / settings.batch_size)
        return Plan(self, settings, sets, per_epoch)

    @property
    def _keep(self) -> str:
        """Which epoch's weights the model ends with: those of ADMM are dense before its end, so that no epoch is better."""
        return "best" if self.selection == "val" and self.method != "admm" else "last"

    def _fit(self, run: Run, path: str, plan: Plan, watch: SparsityWatch) -> Fit:
        fit = open_fit(run, path, plan.settings, hooks=(watch,), make_optimizer=watch.build)
        fit.judge = watch
        return fit

    def _epochs(
        self, run: Run, path: str, plan: Plan, outcome: Outcome
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for every epoch; f is the mean training loss of the epoch, F adds the penalty at its end.

        Of ADMM loss, penalty and F are those of the dense x, sparsities those of z, which
        ``sparsity_of`` says.
        """
        for row in outcome.history:
            found = {_MEASURED.get(key, key): value for key, value in row.items()}
            found["f"] = found.pop("loss")
            found["objective"] = found["f"] + found["penalty"] if "penalty" in found else None
            first = (
                row["steps"] <= plan.prox_steps if self.method in ("hspg", "obproxsg") else None
            )
            state = {
                "first_stage": first,
                "sparsity_of": "z" if self.method == "admm" else "model",
            }
            yield {
                "key": f"{path}/epoch/{row['epoch']:05d}",
                "kind": "epoch",
                "label": run.label,
                **state,
                **found,
            }

    def _row(
        self,
        run: Run,
        path: str,
        plan: Plan,
        outcome: Outcome,
        reach: Reachability | None,
        dense: Mapping[str, float],
    ) -> dict[str, Any]:
        """Return the row of the training: f of the epoch whose weights are kept, sparsity and norms of the model as it is now.

        Of ADMM, f and the objective belong to the dense x, whose numbers have the prefix ``x_``.
        """
        numbers = plan.settings
        final = plan.measure(run.model)
        kept = next(
            (row for row in outcome.history if row["epoch"] == outcome.kept_epoch),
            outcome.history[-1],
        )
        return {
            **train_row(run, path, outcome, numbers, self._keep),
            "method": self.method,
            "base": numbers.optimizer,
            "group_kind": self.groups,
            "lmbda": plan.lmbda,
            "epsilon": self.epsilon,
            "prox_steps": plan.prox_steps if math.isfinite(plan.prox_steps) else None,
            "learning_rate": numbers.learning_rate,
            "selection": self.selection,
            "budget": plan.reach,
            "reachable_share": reach.share if reach else None,
            "norm_quantiles": {f"{share:g}": norm for share, norm in reach.quantiles.items()}
            if reach
            else None,
            "f": kept["loss"],
            "f_of": "x" if dense else "model",
            "objective": kept["loss"] + dense.get("x_penalty", final["penalty"]),
            **final,
            **dense,
        }


@dataclass
class Plan:
    """The numbers of one sparse training once model and data are known.

    Attributes:
        step: The step as it was configured.
        settings: Training numbers.
        sets: The groups.
        steps_per_epoch: Optimiser steps of an epoch.
    """

    step: TrainSparse
    settings: Settings
    sets: Sequence[UnitSet]
    steps_per_epoch: int

    @cached_property
    def rate_sum(self) -> float:
        """Sum of the learning rates of all steps."""
        rates = [
            rate for rate in learning_rates(self.settings) for _ in range(self.steps_per_epoch)
        ]
        return math.fsum(rates[: self.settings.steps])

    @cached_property
    def lmbda(self) -> float:
        """Weight of the regulariser."""
        if self.step.lmbda is not None:
            return self.step.lmbda
        return self.step.reach / self.rate_sum if self.step.reach else 0.0

    @property
    def reach(self) -> float:
        """Most that a group norm can lose to the regulariser."""
        return regulariser_reach(self.lmbda, [self.rate_sum])

    @property
    def prox_steps(self) -> int:
        """Steps of the first stage."""
        epochs = (
            FIRST_STAGE_SHARE * self.settings.epochs
            if self.step.prox_epochs is None
            else self.step.prox_epochs
        )
        return round(epochs * self.steps_per_epoch)

    def reachability(self, model: nn.Module) -> Reachability | None:
        """Compare the reach with the model's groups; None for methods whose zeros do not come from
        shrinking step by step.
        """
        if self.step.method in (*PLAIN, "admm"):
            return None
        return reachability(
            model.named_parameters(),
            self.reach,
            self.sets,
            entrywise=self.step.method == "obproxsg",
        )

    def norms(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the norm of every group, by set."""
        return unit_norms(model, self.sets)

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Return sparsity, sum of group norms and penalty of a model as it is; the penalty of OBProxSG is that of the l1 norm."""
        alive = torch.cat(list(kept_units(model.named_parameters(), self.sets).values()))
        entries = entries_of(model, self.sets)
        zeros, total = (
            sum(int((entry == 0).sum()) for entry in entries),
            sum(entry.numel() for entry in entries),
        )
        norm_sum = float(sum(norm.sum(dtype=torch.float64) for norm in self.norms(model).values()))
        l1 = float(sum(entry.abs().sum(dtype=torch.float64) for entry in entries))
        penalty = self.lmbda * (l1 if self.step.method == "obproxsg" else norm_sum)
        share = 1 - int(alive.sum()) / len(alive)
        return {
            "group_sparsity": share,
            "entry_sparsity": zeros / total,
            "norm_sum": norm_sum,
            "penalty": penalty,
        }

    def optimizer(self, model: nn.Module, settings: Settings) -> Optimizer:
        """Build the optimiser of the method."""
        step = self.step
        if step.method in PLAIN:
            return build_optimizer(model, settings)
        base = {
            "base": settings.optimizer,
            "momentum": settings.momentum,
            "betas": tuple(settings.betas),
        }
        common = {
            "lmbda": self.lmbda,
            "units": list(self.sets),
            "weight_decay": settings.weight_decay,
            **base,
        }
        named = list(model.named_parameters())
        if step.method == "proxsg":
            return ProxSG(named, settings.learning_rate, **common)
        if step.method == "admm":
            split = {
                "rho": step.rho,
                "inner_steps": step.inner_steps,
                "target_group_sparsity": step.target_group_sparsity,
            }
            return ADMM(named, settings.learning_rate, **split, **common)
        if step.method == "obproxsg":
            orthant = (
                None
                if step.orthant_epochs is None
                else max(1, round(step.orthant_epochs * self.steps_per_epoch))
            )
            return OBProxSG(
                named,
                settings.learning_rate,
                prox_steps=self.prox_steps,
                orthant_steps=orthant,
                **common,
            )
        stages = {
            "prox_steps": self.prox_steps,
            "epsilon": step.epsilon,
            "first_stage": step.first_stage,
        }
        extras = {
            "regularizer_inside_moments": step.regularizer_inside_moments,
            "target_group_sparsity": step.target_group_sparsity,
        }
        return HSPG(named, settings.learning_rate, **stages, **extras, **common)


class SparsityWatch:
    """Measure sparsity at every validation, and choose weights that keep it.

    It judges a training in place of the task, and is a hook as well, whose state the loop keeps.

    Args:
        task: The task.
        plan: Groups and optimiser of the training.
        selection: ``last`` or ``val``.
    """

    def __init__(self, task: Judge, plan: Plan, selection: str) -> None:
        self.task, self.plan, self.selection = task, plan, selection
        self.optimizer: Optimizer | None = None
        self.now, self.best = 0.0, -1.0

    def build(self, model: nn.Module, settings: Settings) -> Optimizer:
        """Build the optimiser, as the training loop asks for it."""
        self.optimizer = self.plan.optimizer(model, settings)
        return self.optimizer

    def validate(
        self, model: nn.Module, batches: Iterator[dict[str, Any]], monitor: str
    ) -> dict[str, float]:
        """Validate, and add the sparsity; of ADMM it is that of z, as x, to which loss and penalty belong, stays dense."""
        found = self.plan.measure(model)
        if isinstance(self.optimizer, ADMM):
            found |= {
                "group_sparsity": self.optimizer.group_sparsity("z"),
                "entry_sparsity": self.optimizer.entry_sparsity("z"),
            }
        self.now = found["group_sparsity"]
        values = self.task.validate(model, batches, monitor)
        if self.best < 0:
            self.best = self.now  # the loop takes the first validation without asking
        return {**values, **found}

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether the weights of this epoch replace those kept."""
        if self.selection == "last":
            return True
        chosen = self.now > self.best or (
            self.now == self.best and self.task.better(monitor, new, best)
        )
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


def changed(settings: Settings, numbers: Mapping[str, Any]) -> Settings:
    """Return training numbers with some replaced.

    Raises:
        ConfigError: A name is no training number.
    """
    known = {each.name for each in fields(Settings)}
    for name in numbers:
        if name not in known:
            raise ConfigError(unknown_name("training number in pipeline.settings", name, known))
    return replace(
        settings, **{name: value for name, value in numbers.items() if value is not None}
    )


def learning_rates(settings: Settings) -> list[float]:
    """Return the learning rate of every epoch; of the plateau rule, which no one knows before, the largest possible."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], settings.learning_rate)
    schedule = build_schedule(optimizer, settings)
    rates = []
    for _ in range(settings.epochs):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if schedule is not None and settings.schedule != "plateau":
            schedule.step()
    return rates
