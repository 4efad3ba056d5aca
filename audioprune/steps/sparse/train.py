"""How a pipeline trains a model into group sparsity: ``TrainSparse``.

The methods are ProxSG, OBProxSG, HSPG and ADMM of audioprune.optim.
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
from audioprune.protocols.work import Work
from audioprune.ranges import OneOf, Range
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.sparse.groups import entries_of, groups_of, rounded, unit_norms
from audioprune.steps.sparse.judge import SparsityJudge
from audioprune.steps.train import (
    check_monitor,
    open_fit,
    steps_per_epoch,
    train_row,
    training_work,
)
from audioprune.training.outcome import Outcome
from audioprune.training.settings import Settings, build_optimizer, build_schedule

METHODS = ("hspg", "proxsg", "obproxsg", "admm", "sgd", "adam")
PLAIN = ("sgd", "adam")
SELECTIONS = ("last", "val")
GROUP_KINDS = ("units", "filters")
FIRST_STAGE_SHARE = 0.25
_ONE_STEP = 1 / 2  # of the two of a rehearsal's epoch
_MEASURED = ("group_sparsity", "entry_sparsity", "norm_sum", "penalty")


@dataclass
class TrainSparse:
    """Train the model with an optimiser that makes whole groups of weights zero.

    Plain optimisers train for comparison.

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
        _check_name("method", self.method, METHODS)
        _check_name("selection", self.selection, SELECTIONS)
        _check_name("groups", self.groups, GROUP_KINDS)
        if self.method not in PLAIN and self.lmbda is None and self.reach is None:
            raise ConfigError(
                f"expected pipeline.lmbda or pipeline.reach with method {self.method}, got "
                f"none; set one of them"
            )

    def check(self, run: Run) -> None:
        """Refuse numbers, groups and options that this model and optimiser cannot take."""
        model = plain_twin(run)
        plan = self._plan(run, model)
        check_monitor(run, plan.settings)
        plan.optimizer(model, plan.settings)

    def run(self, run: Run, path: str) -> None:
        """Say what the numbers can reach, train, and record objective and sparsity."""
        fold_first(run, path)
        plan = self._plan(run, run.model)
        reach = plan.reachability(run.model)
        for line in reach.lines() if reach else ():
            print(f"{path}: {line}", file=sys.stderr, flush=True)
        norms = {name: rounded(each) for name, each in plan.norms(run.model).items()}
        selection = "val" if self._keep == "best" else "last"
        judge = SparsityJudge(run.task, plan.measure, plan.optimizer, selection)
        outcome = open_fit(
            run, path, plan.settings, hooks=(judge,), make_optimizer=judge.build, judge=judge
        ).run()
        dense = self._dense(plan, run.model)
        judge.finish_()
        run.codebooks = None
        run.findings.sparse = SparseTraining(
            self.method, self.groups, plan.lmbda, plan.settings.learning_rate, norms
        )
        row = self._row(run, path, plan, outcome, reach, dense)
        run.results.put(*self._epochs(run, path, plan, outcome), row)

    def work(self, run: Run) -> list[Work]:
        """Count training steps and validated items."""
        return training_work(run, changed(run.settings, self.settings))

    def rehearsed(self) -> TrainSparse:
        """Return the step with a first stage of one step, so that both stages are run.

        A regulariser that follows the reach would be as strong in two steps as in all of them.
        """
        strength = self.lmbda if self.lmbda is not None else 0.001
        return replace(self, prox_epochs=_ONE_STEP, lmbda=strength)

    def _dense(self, plan: Plan, model: nn.Module) -> dict[str, float]:
        """Measure ADMM's x before z's zeros replace its own; other methods have one state only."""
        if self.method != "admm":
            return {}
        return {f"x_{name}": value for name, value in plan.measure(model).items()}

    def _plan(self, run: Run, model: nn.Module) -> Plan:
        sets = groups_of(model, self.groups)
        settings = changed(run.settings, self.settings)
        if self.method in PLAIN:
            momentum = settings.momentum if self.method == "sgd" else 0.0
            settings = replace(settings, optimizer=self.method, momentum=momentum)
        return Plan(self, settings, sets, steps_per_epoch(run, settings))

    @property
    def _keep(self) -> str:
        """Which epoch's weights the model ends with.

        Those of ADMM are dense before its end, so that none of its epochs is better.
        """
        return "best" if self.selection == "val" and self.method != "admm" else "last"

    def _epochs(
        self, run: Run, path: str, plan: Plan, outcome: Outcome
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for every epoch.

        f is the mean training loss of the epoch, F adds the penalty at its end. Of ADMM loss,
        penalty and F are those of the dense x, sparsities those of z, which ``sparsity_of`` says.
        """
        two_stages = self.method in ("hspg", "obproxsg")
        names = {f"valid_{name}": name for name in _MEASURED}
        for row in outcome.history:
            found: dict[str, Any] = {names.get(key, key): value for key, value in row.items()}
            found["f"] = found.pop("loss")
            found["objective"] = found["f"] + found["penalty"] if "penalty" in found else None
            yield {
                "key": f"{path}/epoch/{row['epoch']:05d}",
                "kind": "epoch",
                "label": run.label,
                "first_stage": row["steps"] <= plan.prox_steps if two_stages else None,
                "sparsity_of": "z" if self.method == "admm" else "model",
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
        """Return the row of the training.

        f is that of the epoch whose weights are kept, sparsity and norms are those of the model as
        it is now. Of ADMM, f and the objective belong to the dense x, whose numbers have the
        prefix ``x_``.
        """
        numbers, final = plan.settings, plan.measure(run.model)
        kept = next(
            (row for row in outcome.history if row["epoch"] == outcome.kept_epoch),
            outcome.history[-1],
        )
        quantiles = None
        if reach:
            quantiles = {f"{share:g}": norm for share, norm in reach.quantiles.items()}
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
            "reach": plan.reach,
            "reachable_share": reach.share if reach else None,
            "norm_quantiles": quantiles,
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
        rates: list[float] = []
        for rate in learning_rates(self.settings):
            rates += [rate] * self.steps_per_epoch
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
        epochs = self.step.prox_epochs
        if epochs is None:
            epochs = FIRST_STAGE_SHARE * self.settings.epochs
        return round(epochs * self.steps_per_epoch)

    def reachability(self, model: nn.Module) -> Reachability | None:
        """Compare the reach with the model's groups.

        None for methods whose zeros do not come from shrinking step by step.
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
        """Return sparsity, sum of group norms and penalty of a model as it is.

        The penalty of OBProxSG is that of the l1 norm.
        """
        alive = torch.cat(list(kept_units(model.named_parameters(), self.sets).values()))
        entries = entries_of(model, self.sets)
        zeros = sum(int((entry == 0).sum()) for entry in entries)
        total = sum(entry.numel() for entry in entries)
        norms = self.norms(model).values()
        norm_sum = float(sum(norm.sum(dtype=torch.float64) for norm in norms))
        l1 = float(sum(entry.abs().sum(dtype=torch.float64) for entry in entries))
        return {
            "group_sparsity": 1 - int(alive.sum()) / len(alive),
            "entry_sparsity": zeros / total,
            "norm_sum": norm_sum,
            "penalty": self.lmbda * (l1 if self.step.method == "obproxsg" else norm_sum),
        }

    def optimizer(self, model: nn.Module, settings: Settings) -> Optimizer:
        """Build the optimiser of the method."""
        step = self.step
        if step.method in PLAIN:
            return build_optimizer(model, settings)
        named, rate = list(model.named_parameters()), settings.learning_rate
        # The optimisers check these names and numbers themselves.
        common: dict[str, Any] = {
            "lmbda": self.lmbda,
            "units": list(self.sets),
            "weight_decay": settings.weight_decay,
            "base": settings.optimizer,
            "momentum": settings.momentum,
            "betas": tuple(settings.betas),
        }
        if step.method == "proxsg":
            return ProxSG(named, rate, **common)
        if step.method == "admm":
            return ADMM(
                named,
                rate,
                rho=step.rho,
                inner_steps=step.inner_steps,
                target_group_sparsity=step.target_group_sparsity,
                **common,
            )
        if step.method == "obproxsg":
            orthant = step.orthant_epochs
            steps = None if orthant is None else max(1, round(orthant * self.steps_per_epoch))
            return OBProxSG(named, rate, prox_steps=self.prox_steps, orthant_steps=steps, **common)
        stage: dict[str, Any] = {"first_stage": step.first_stage}
        return HSPG(
            named,
            rate,
            **stage,
            prox_steps=self.prox_steps,
            epsilon=step.epsilon,
            regularizer_inside_moments=step.regularizer_inside_moments,
            target_group_sparsity=step.target_group_sparsity,
            **common,
        )


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
    """Return the learning rate of every epoch.

    The plateau rule depends on validations to come; its rates are the largest possible ones.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], settings.learning_rate)
    schedule = build_schedule(optimizer, settings)
    rates = []
    for _ in range(settings.epochs):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if schedule is not None and settings.schedule != "plateau":
            schedule.step()
    return rates


def _check_name(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(unknown_name(what, value, known))
