"""Objective, group sparsity and time of Chen's optimisers, on the toy problem and on our networks.

``optimizer_table`` is the only table here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.model_tables import notes_of, remark_columns, told_of
from audioprune.report.papers.p4.networks import REACH, Model, P4Evidence, accuracy, sparse_row
from audioprune.report.runs.entry import Value, mean_of
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table

TOY = "Toy problem of scripts/optimizer_toy.py"
Problem = tuple[str, str, str]
_OPTIMIZERS = (
    Column("problem", "Problem"),
    Column("name", "Method"),
    Column("state", "State"),
    Column("published", "Published: convergence / group sparsity / runtime / one-shot"),
    Column("objective", "F = f + lambda sum of norms", "loss"),
    Column("f", "f", "loss"),
    Column("sparsity", "Zero groups", "percent"),
    Column("entries", "Zero weights", "percent"),
    Column("accuracy", "Accuracy", "percent"),
    Column("seconds", "Seconds of training", "score"),
    Column("one_shot", "One-shot"),
    Column("lmbda", "lambda of F", "loss"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def optimizer_table(evidence: P4Evidence) -> Table:
    """Return objective, group sparsity and time of the optimisers, in numbers.

    Source: Chen, "Sparsity Optimizer Comparison".
    """
    jobs, reported = evidence.jobs, evidence.published
    told: dict[str, str] = {}
    for row in reported["optimizers"]["rows"]:
        told |= dict.fromkeys(row["methods"], _ranks(row))
    rows = [*_toy_rows(jobs, told), *_network_rows(evidence.models, told)]
    notes: tuple[str, ...] = (
        "Rows of one problem, scale and corpus share the lambda of F, the group regulariser; "
        "OBProxSG minimises another objective, with "
        "the l1 norm.",
        "On the toy ADMM stands with its sparse variable z. Of networks f is the mean training "
        "loss of the epoch whose weights are kept. "
        "ADMM trains a dense x, whose f and F are known, projects it, and fine-tunes what is "
        "left: each state has a row of its own.",
        "Seconds are not comparable between runs that shared the machine. One-shot: no "
        "fine-tuning after the zeros.",
    )
    notes += notes_of(rows, jobs)
    columns = (*_OPTIMIZERS[:-2], *remark_columns(rows), *_OPTIMIZERS[-2:])
    return Table(
        "p4_optimizers",
        f"{reported['optimizers']['title']} (after {reported['authors']})",
        columns,
        tuple(rows),
        notes,
    )


def _ranks(row: Mapping[str, Any]) -> str:
    return " / ".join(
        str(row[key]) for key in ("convergence", "group_sparsity", "runtime", "one_shot")
    )


def _toy_rows(jobs: Sequence[Job], told: Mapping[str, str]) -> list[dict[str, Cell]]:
    found: dict[tuple[str, Any, str], list[Mapping[str, Any]]] = {}
    for job in jobs:
        for row in job.of_kind("toy"):
            found.setdefault((row["name"], row.get("lmbda"), job.scale), []).append(row)
    return [_toy_row(name, scale, group, told) for (name, _, scale), group in found.items()]


def _toy_row(
    name: str, scale: str, group: Sequence[Mapping[str, Any]], told: Mapping[str, str]
) -> dict[str, Cell]:
    keys = {
        "objective": "objective",
        "f": "f",
        "sparsity": "group_sparsity",
        "entries": "entry_sparsity",
        "seconds": "seconds",
    }
    numbers: dict[str, Cell] = {
        column: mean_of(finite_or_none(row.get(key)) for row in group)
        for column, key in keys.items()
    }
    method = group[0]["method"]
    numbers |= {
        "lmbda": group[0]["lmbda"],
        "one_shot": "-" if method == "optimum" else "yes",
        "accuracy": "-",
    }
    words: dict[str, Cell] = {
        "problem": "toy",
        "name": name,
        "state": "z" if method == "admm" else "trained",
    }
    seeds = len({row.get("seed") for row in group})
    return (
        words
        | numbers
        | {"published": told.get(method, "-"), "seeds": seeds, "scale": honest_scale(scale)}
        | {"corpus": TOY}
    )


def _network_rows(models: Sequence[Model], told: Mapping[str, str]) -> list[dict[str, Cell]]:
    lambdas = _common_lambdas(models)
    rows: list[dict[str, Cell]] = []
    for model in models:
        rows += _states(model, lambdas[_problem(model)], told.get(model.method, "-"))
    return rows


def _problem(model: Model) -> Problem:
    return model.entry.model, model.entry.scale, model.entry.corpus.title


def _common_lambdas(models: Sequence[Model]) -> dict[Problem, float]:
    """Choose one lambda of F for every problem.

    It is that of the first p4_reach, or of the first other group regulariser, or 0.
    """
    common: dict[Problem, float] = {}

    def place(model: Model) -> tuple[bool, bool]:
        return model.method == "obproxsg", model.entry.pipeline != REACH

    order = sorted(models, key=place)
    for model in order:
        value = model.trained("lmbda").mean
        if value:
            common.setdefault(_problem(model), value)
    return {_problem(model): common.get(_problem(model), 0.0) for model in models}


def _states(model: Model, lmbda: float, published: str) -> list[dict[str, Cell]]:
    """Return a row for every state of a network.

    States are dense and projected of ADMM, trained of the others, and fine-tuned where it was.
    """
    trainings = [job.of_kind("train") for job in model.entry.jobs]
    finetuned = any(len(rows) > 1 for rows in trainings)
    blank: dict[str, Cell] = dict.fromkeys(
        ("objective", "f", "sparsity", "entries", "accuracy", "seconds"), "-"
    )
    blank |= {
        "problem": model.entry.label,
        "name": model.name,
        "published": published,
        "lmbda": lmbda,
    }
    blank |= {
        "one_shot": "no, fine-tuned" if finetuned else "yes",
        "seeds": len(model.entry.seeds),
    }
    blank |= {"scale": honest_scale(model.entry.scale), **told_of(model.entry)}
    sparse: dict[str, Cell] = {
        "sparsity": model.trained("group_sparsity"),
        "entries": model.trained("entry_sparsity"),
    }
    scored = model.before if finetuned else model.entry
    sparse |= {"accuracy": accuracy(scored), "remark": no_better(scored) or "-"}
    loss: dict[str, Cell] = {
        "objective": _objective(model, lmbda),
        "f": model.trained("f"),
        "seconds": model.trained("seconds"),
    }
    if model.method == "admm":
        zeros: dict[str, Cell] = {
            "sparsity": model.trained("x_group_sparsity"),
            "entries": model.trained("x_entry_sparsity"),
        }
        dense = (
            blank | loss | zeros | {"state": "dense x", "remark": "-"}
        )  # of which no accuracy was measured
        rows = [dense, blank | sparse | {"state": "projected"}]
    else:
        rows = [blank | loss | sparse | {"state": "trained"}]
    if finetuned:
        seconds = mean_of(
            sum(finite_or_none(row.get("seconds")) or 0.0 for row in rows[1:])
            for rows in trainings
        )
        rows.append(
            blank | {"state": "fine-tuned", "accuracy": accuracy(model.entry), "seconds": seconds}
        )
    return rows


def _objective(model: Model, lmbda: float) -> Value:
    """Return f + lambda times the sum of group norms, both of one state: of ADMM, the dense x."""
    key = "x_norm_sum" if model.method == "admm" else "norm_sum"
    numbers = [
        (finite_or_none(row.get("f")), finite_or_none(row.get(key)))
        for row in map(sparse_row, model.entry.jobs)
    ]
    return mean_of(
        f + lmbda * norms if f is not None and norms is not None else None for f, norms in numbers
    )
