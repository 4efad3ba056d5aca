"""Whether the claims of Chen hold in our runs, each under the condition that the slides state.

``RULES`` judges them at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.claims import (
    NOT_COMPARABLE,
    NOT_MEASURED,
    Bound,
    Claim,
    Seed,
    Side,
    Verdict,
    all_cells,
    claim_of,
    judge,
    same_corpus,
    same_settings,
    same_width,
)
from audioprune.report.papers.p4.networks import (
    BASELINE,
    DENSE,
    LITERAL,
    PROXSG,
    REACH,
    RHO,
    Model,
    P4Evidence,
    accuracies,
    accuracy,
    clips_right,
    percent,
    shares,
)
from audioprune.report.papers.p4.printed import (
    published_differences,
    published_gains,
    published_sparsities,
)
from audioprune.report.published import Published
from audioprune.report.runs.intervals import paired

_SAME_OBJECTIVE = 1.01
_CLEARLY = 0.01  # one point: Chen calls the one method poor and the other the best
_MARGIN = 0.2  # of an accuracy, 0..1: the largest published gain is 0.07
Values = Mapping[Seed, float]
NOTES = (
    "Baseline and costs are compared with the first network of the sweep that has 40 to 80 "
    "% zero filters, or else its first.",
    "Networks are compared that share corpus, training and width; numbers are paired by seed.",
)


def networks(evidence: P4Evidence) -> Iterator[Claim]:
    """Judge every claim about our networks, one kind of network after the other."""
    for label in dict.fromkeys(model.entry.label for model in evidence.models):
        mine = [model for model in evidence.models if model.entry.label == label]
        for part in (_gains, _larger_lambda, _sparser_better, _against_prox, _literal, _smaller):
            yield from part(label, mine, evidence.published)


def _of(models: Sequence[Model], pipeline: str) -> list[Model]:
    found = [model for model in models if model.entry.pipeline == pipeline]
    return [model for model in found if accuracy(model.entry).mean is not None]


def _side(model: Model) -> Side:
    dense = model.method in DENSE
    removed = None if dense else model.sparsity.mean or 0.0
    jobs = model.entry.jobs[: len(model.entry.seeds)]
    return Side(model.name, tuple(jobs), removed, no_better(model.entry))


def _unlike(*models: Model) -> str:
    """Return in what two networks differ besides what the claim is about, or an empty text."""
    sides = [_side(model) for model in models]
    alone = [_settings_alone(side) for side in sides]
    found = (
        same_corpus(*sides),
        same_settings(*sides),
        same_settings(*alone, within=("settings",)),
        same_width(*sides),
    )
    return "; ".join(filter(None, found))


def _settings_alone(side: Side) -> Side:
    """Return a side whose jobs know the training numbers of their pipeline alone.

    They count like those of the experiment.
    """
    jobs = [replace(job, config=_numbers_of(job.config)) for job in side.jobs]
    return replace(side, jobs=tuple(jobs))


def _numbers_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training numbers of a pipeline; a plain method is its own optimiser."""
    start, method = "pipeline.settings.", config.get("pipeline.method")
    keys = [key for key in config if key.startswith(start)]
    found = {key.removeprefix("pipeline."): config[key] for key in keys}
    return found | {"settings.optimizer": method} if method in DENSE else found


def _sweeps(models: Sequence[Model]) -> list[list[Model]]:
    """Group the networks of the sweep that differ by its knobs alone."""
    groups: list[list[Model]] = []
    for model in _of(models, REACH):
        home = next((group for group in groups if not _unlike(group[0], model)), None)
        if home is None:
            groups.append([model])
        else:
            home.append(model)
    return groups


def _best(sweep: Sequence[Model]) -> Model:
    """Return the first network with about the published sparsity, or else the first.

    It is chosen by sparsity, not by accuracy.
    """
    published = [model for model in sweep if 0.4 <= (model.sparsity.mean or 0.0) <= 0.8]
    return next(iter(published or sweep))


def _percent(model: Model) -> str:
    value = accuracy(model.entry)
    deviation = f" ± {100 * value.std:.1f}" if value.std is not None else ""
    return f"{percent(value):.1f}{deviation} %"


def _share(model: Model) -> str:
    return f"{100 * (model.sparsity.mean or 0.0):.1f} %"


def _named(label: str, model: Model) -> str:
    """Return the label, with rho where the model has one: each field is judged by itself."""
    rho = model.first_job.config.get(RHO)
    return label if rho is None else f"{label} ({RHO}={rho})"


def _facts(*models: Model) -> dict[str, Any]:
    seeds = set.intersection(*(set(model.entry.seeds) for model in models))
    scales = " | ".join(dict.fromkeys(model.entry.scale for model in models))
    return {"seeds": len(seeds), "scale": scales}


def _partner(model: Model, others: Sequence[Model]) -> tuple[Model, str]:
    """Return the network to compare with, and in what it differs, nothing at best."""
    found = [(other, _unlike(model, other)) for other in others]
    return min(found, key=lambda each: bool(each[1]))


def _gains(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    claim = (
        "A network trained by HSPG into group sparsity is more accurate than the dense baseline"
    )
    told, bases = published_gains(reported), _of(models, BASELINE)
    sweeps = _sweeps(models)
    if not bases or not sweeps:
        yield Claim(claim, label, NOT_MEASURED, "baseline or HSPG not run", told)
        return
    for sweep in sweeps:
        sparse = _best(sweep)
        base, differs = _partner(sparse, bases)
        sides = (_side(sparse), _side(base))
        lacks = (differs, "" if sides[0].removed else "no filter is zero")
        items = clips_right(sparse), clips_right(base)
        values = paired(accuracies(sparse), accuracies(base), items)
        verdict = judge(values, Bound(above=0.0, margin=_MARGIN), lacks, sides)
        numbers = f"{_percent(sparse)} at {_share(sparse)} zero filters, baseline {_percent(base)}"
        yield claim_of(
            claim, _named(label, sparse), verdict, numbers, told, **_facts(sparse, base)
        )


def _larger_lambda(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    claim = "Larger lambda, higher group sparsity"
    ranges = published_sparsities(reported).items()
    told = "; ".join(
        f"{lmbda:g}: {low:.2f} to {high:.2f} %" for lmbda, (low, high) in sorted(ranges)
    )

    def lmbda_of(model: Model) -> float:
        return model.trained("lmbda").mean or 0.0

    def numbers_of(sweep: Sequence[Model]) -> str:
        return "; ".join(f"lambda {lmbda_of(model):.3g}: {_share(model)}" for model in sweep)

    yield from _rising(claim, label, models, told, lmbda_of, shares, numbers_of, "lambda")


def _sparser_better(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    claim = "Higher group sparsity, higher accuracy"

    def numbers_of(sweep: Sequence[Model]) -> str:
        return "; ".join(f"{_share(model)}: {_percent(model)}" for model in sweep)

    def sparsity_of(model: Model) -> float:
        return model.sparsity.mean or 0.0

    told = published_differences(reported)
    yield from _rising(claim, label, models, told, sparsity_of, accuracies, numbers_of, "sparsity")


def _rising(
    claim: str,
    label: str,
    models: Sequence[Model],
    told: str,
    order: Callable[[Model], float],
    number: Callable[[Model], Mapping[Seed, float | None]],
    numbers_of: Callable[[Sequence[Model]], str],
    what: str,
) -> Iterator[Claim]:
    """Judge that a number rises along a sweep: in all its steps, each paired by seed."""
    sweeps = _sweeps(models)
    long = [
        sorted(sweep, key=order) for sweep in sweeps if len({order(model) for model in sweep}) > 1
    ]
    if not long and len(sweeps) > 1:
        differs = _unlike(sweeps[0][0], sweeps[1][0])
        verdict = Verdict(NOT_COMPARABLE, differs)
        found = [sweep[0] for sweep in sweeps]
        yield claim_of(claim, label, verdict, numbers_of(found), told, **_facts(*found))
        return
    if not long:
        yield Claim(claim, label, NOT_MEASURED, f"not two values of {what} run", told)
    for sweep in long:
        steps = {}
        for low, high in pairwise(sweep):
            lacks = (
                "" if order(high) > order(low) else f"two networks have the same {what}",
                "" if high.sparsity.mean else "no filter is zero",
            )
            values = paired(number(high), number(low))
            verdict = judge(values, Bound(above=0.0), lacks, (_side(low), _side(high)))
            steps[f"{order(low):.3g} to {order(high):.3g}"] = verdict
        name = _named(label, sweep[0])
        yield claim_of(claim, name, all_cells(steps), numbers_of(sweep), told, **_facts(*sweep))


def _against_prox(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    claim = "HSPG finds more zero groups than the proximal method at the same numbers"
    ranks: dict[str, str] = {}
    for row in reported["optimizers"]["rows"]:
        ranks |= dict.fromkeys(row["methods"], row["group_sparsity"])
    told = f"{ranks['proxsg']} against {ranks['hspg']}"
    pairs = [(a, b) for a in _of(models, REACH) for b in _of(models, PROXSG) if _same_lambda(a, b)]
    if not pairs:
        yield Claim(claim, label, NOT_MEASURED, "no pair of HSPG and ProxSG with one lambda", told)
        return
    like = [pair for pair in pairs if not _unlike(*pair)] or pairs[:1]
    for hspg, prox in like:
        values = [shares(model, "group_sparsity") for model in (hspg, prox)]
        known = [value for found in values for value in found.values() if value is not None]
        lacks = (_unlike(hspg, prox), "" if any(known) else "neither has a zero group")
        sides = (_side(hspg), _side(prox))
        verdict = judge(paired(values[0], values[1]), Bound(at_least=_CLEARLY), lacks, sides)
        mine, theirs = (percent(model.groups("group_sparsity")) for model in (hspg, prox))
        numbers = f"HSPG {mine:.1f} %, ProxSG {theirs:.1f} %"
        numbers += f"; accuracy {_percent(hspg)}, {_percent(prox)}"
        yield claim_of(claim, _named(label, hspg), verdict, numbers, told, **_facts(hspg, prox))


def _same_lambda(one: Model, other: Model) -> bool:
    left, right = (model.trained("lmbda").mean for model in (one, other))
    return left is not None and right is not None and math.isclose(left, right, rel_tol=1e-6)


def _literal(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    lmbda, (low, high) = next(iter(sorted(published_sparsities(reported).items(), reverse=True)))
    claim = "The learning rate and lambda on the slides give the group sparsity that they print"
    told = f"{low:.2f} to {high:.2f} % at lambda {lmbda:g}"
    found = _of(models, LITERAL)
    if not found:
        yield Claim(claim, label, NOT_MEASURED, f"{LITERAL} not run", told)
    for model in found:
        epochs = (reported.get("setting") or {}).get("epochs")
        trained = finite_or_none(model.first_job.config.get("training.epochs"))
        lacks = []
        if epochs not in (None, trained):
            lacks.append(f"{_plain(trained)} epochs, the slides have {epochs}")
        used = model.trained("lmbda").mean
        lacks.append("" if used == lmbda else f"lambda {_plain(used)}, not {lmbda:g}")
        bound = Bound(at_least=math.floor(low) / 100, at_most=math.ceil(high) / 100)
        verdict = judge(_known(shares(model)), bound, lacks, (_side(model),))
        numbers = (
            f"{_share(model)} zero filters, reach "
            f"{_plain(model.trained('reach').mean)}, {_percent(model)}"
        )
        yield claim_of(claim, _named(label, model), verdict, numbers, told, **_facts(model))


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _known(values: Mapping[int | None, float | None]) -> Values:
    return {seed: value for seed, value in values.items() if value is not None}


def _smaller(label: str, models: Sequence[Model], reported: Published) -> Iterator[Claim]:
    claim = "Structured pruning speeds the network up"
    sweeps = _sweeps(models)
    if not sweeps:
        yield Claim(claim, label, NOT_MEASURED, "HSPG not run", "no number")
    for sweep in sweeps:
        sparse = _best(sweep)
        told = []
        names = {"params": "parameters", "macs_per_second": "MACs", "latency_ms_per_s": "latency"}
        for name, what in names.items():
            ratios = _ratios(sparse, name)
            told += [f"{what} / {sum(ratios.values()) / len(ratios):.2f}"] if ratios else []
        gone = [ratio > 1 for ratio in _ratios(sparse, "params").values()]
        lacks = ("" if gone and all(gone) else "no parameter was removed",)
        verdict = judge(
            _ratios(sparse, "latency_ms_per_s"), Bound(above=1.0), lacks, (_side(sparse),)
        )
        numbers = ", ".join(told) or "not measured"
        yield claim_of(
            claim, _named(label, sparse), verdict, numbers, "no number", **_facts(sparse)
        )


def _ratios(model: Model, name: str) -> Values:
    """Return for every seed how many times larger a size was before the trim."""
    before, after = model.before.size_by_seed(name), model.entry.size_by_seed(name)
    ratios: dict[Seed, float] = {}
    for seed, size in after.items():
        larger = before.get(seed)
        if larger and size:
            ratios[seed] = larger / size
    return ratios


def convergence(evidence: P4Evidence) -> Iterator[Claim]:
    """Judge the table of optimisers on the toy problem, where the optimum is known."""
    claim = (
        "The final objective of HSPG is as low as that of any method, with the most zero groups"
    )
    toys = [job for job in evidence.jobs if job.of_kind("toy")]
    told, rows = "#1 and #1", [row for job in toys for row in job.of_kind("toy")]
    scale = next((job.scale for job in toys), "-")
    if not rows:
        yield Claim(claim, "toy", NOT_MEASURED, "scripts/optimizer_toy.py not run", told)
        return
    methods = {row["name"]: row["method"] for row in rows if row["method"] != "optimum"}
    rivals = [name for name, method in methods.items() if method != "hspg"]
    for name in (name for name, method in methods.items() if method == "hspg"):
        cells = {
            "objective": _toy_verdict(rows, name, rivals, "objective"),
            "zero groups": _toy_verdict(rows, name, rivals, "group_sparsity"),
        }
        others = "; ".join(_toy_text(rows, each) for each in rivals)
        numbers = f"{_toy_text(rows, name)}; others: {others}"
        seeds = len(_toy_values(rows, name, "objective"))
        yield claim_of(
            f"{claim} ({name})", "toy", all_cells(cells), numbers, told, seeds=seeds, scale=scale
        )


def _toy_values(rows: Sequence[Mapping[str, Any]], name: str, key: str) -> Values:
    found = {row["seed"]: finite_or_none(row[key]) for row in rows if row["name"] == name}
    return _known(found)


def _toy_verdict(
    rows: Sequence[Mapping[str, Any]], name: str, rivals: Sequence[str], key: str
) -> Verdict:
    """Compare a method with the best of its rivals on every seed."""
    mine, others = _toy_values(rows, name, key), [_toy_values(rows, each, key) for each in rivals]
    common = [seed for seed in mine if others and all(seed in other for other in others)]
    if key == "objective":
        ratios = {seed: mine[seed] / min(other[seed] for other in others) for seed in common}
        return judge(ratios, Bound(at_most=_SAME_OBJECTIVE))
    ahead = {seed: mine[seed] - max(other[seed] for other in others) for seed in common}
    return judge(ahead, Bound(at_least=0.0))


def _toy_text(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    means = []
    for key in ("objective", "group_sparsity"):
        values = _toy_values(rows, name, key)
        means.append(sum(values.values()) / max(1, len(values)))
    return f"{name} F {means[0]:.4f}, {100 * means[1]:.0f} % zero groups"


RULES = (networks, convergence)
