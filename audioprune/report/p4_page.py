"""Whether the claims of Chen hold in our runs, and the files and the page of that paper's report.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.report.claims import HELD, NOT_HELD, NOT_MEASURED, Claim, judged_table
from audioprune.report.entries import finite_or_none
from audioprune.report.html import Section, write_page
from audioprune.report.p4 import BASELINE, LITERAL, PROXSG, REACH, Model, accuracy, main_table, models_of, optimizer_table, size_table
from audioprune.report.p4_figures import figures_of
from audioprune.report.results import Job, Request, honest_scale, read_reported, without_width
from audioprune.report.tables import Table, write_table

_SAME_OBJECTIVE = 1.01
_CLEARLY = 0.01  # one point: Chen calls the one method poor and the other the best
_GAIN = "VGG +3.44 / +0.73, DenseNet +6.88 / +3.78, ResNet +5.09 / +6.41 points (2017 / 2018, lambda 1e-3)"


def judge(jobs: Sequence[Job]) -> list[Claim]:
    """Judge all claims of the paper by the given jobs."""
    models = models_of(jobs)
    judged: list[Claim] = []
    for label in dict.fromkeys(model.entry.label for model in models):
        mine = [model for model in models if model.entry.label == label]
        for part in (_gains, _larger_lambda, _sparser_better, _against_prox, _literal, _smaller):
            judged += part(label, mine)
    return [*judged, *_convergence(jobs)] or [Claim("all claims", "-", NOT_MEASURED, "no network was trained for scenes", "-")]


def _of(models: Sequence[Model], pipeline: str) -> list[Model]:
    return [model for model in models if model.entry.pipeline == pipeline and accuracy(model.entry).mean is not None]


def _best_reach(models: Sequence[Model]) -> Model | None:
    """Return the first network of the sweep with about the published sparsity, or else the first: chosen by sparsity, not accuracy."""
    reach = _of(models, REACH)
    published = [model for model in reach if 0.4 <= (model.sparsity.mean or 0.0) <= 0.8]
    return next(iter(published or reach), None)


def _percent(model: Model) -> str:
    value = accuracy(model.entry)
    deviation = f" ± {100 * value.std:.1f}" if value.std is not None else ""
    return f"{100 * value.mean:.1f}{deviation} %"


def _gains(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim = "A network trained by HSPG into group sparsity is more accurate than the dense baseline"
    base, sparse = next(iter(_of(models, BASELINE)), None), _best_reach(models)
    if base is None or sparse is None:
        yield Claim(claim, label, NOT_MEASURED, "baseline or HSPG not run", _GAIN)
        return
    if without_width(base.entry.scale) != without_width(sparse.entry.scale):
        yield Claim(claim, label, NOT_MEASURED, "run at different scales", _GAIN)
        return
    change = accuracy(sparse.entry).mean - accuracy(base.entry).mean
    spread = max(accuracy(model.entry).std or 0.0 for model in (base, sparse))
    within = "; within one deviation over seeds" if abs(change) < spread else ""
    numbers = f"{_percent(sparse)} at {100 * (sparse.sparsity.mean or 0):.1f} % zero filters, baseline {_percent(base)}{within}"
    seeds = min(len(base.entry.seeds), len(sparse.entry.seeds))
    yield Claim(claim, label, HELD if change > 0 else NOT_HELD, numbers, _GAIN, seeds, sparse.entry.scale)


def _larger_lambda(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim, told = "Larger lambda, higher group sparsity", "1e-4: 3.55 to 17.29 %; 1e-3: 50.12 to 71.25 %"
    sweep = sorted(_of(models, REACH), key=lambda model: model.trained("lmbda").mean or 0.0)
    if len(sweep) < 2:
        yield Claim(claim, label, NOT_MEASURED, f"{len(sweep)} lambda run", told)
        return
    shares = [model.sparsity.mean or 0.0 for model in sweep]
    pairs = zip((model.trained("lmbda").mean for model in sweep), shares, strict=True)
    numbers = "; ".join(f"lambda {lmbda:.3g}: {100 * share:.1f} %" for lmbda, share in pairs)
    status = HELD if all(a < b for a, b in zip(shares, shares[1:], strict=False)) else NOT_HELD
    yield Claim(claim, label, status, numbers, told, min(len(model.entry.seeds) for model in sweep), sweep[0].entry.scale)


def _sparser_better(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim, told = "Higher group sparsity, higher accuracy", "two lambdas: 6 of 6 cells, 1.80 to 4.48 points"
    sweep = sorted(_of(models, REACH), key=lambda model: model.sparsity.mean or 0.0)
    if len(sweep) < 2:
        yield Claim(claim, label, NOT_MEASURED, f"{len(sweep)} sparsity run", told)
        return
    scores = [accuracy(model.entry).mean for model in sweep]
    numbers = "; ".join(f"{100 * (model.sparsity.mean or 0):.1f} %: {_percent(model)}" for model in sweep)
    status = HELD if all(a < b for a, b in zip(scores, scores[1:], strict=False)) else NOT_HELD
    yield Claim(claim, label, status, numbers, told, min(len(model.entry.seeds) for model in sweep), sweep[0].entry.scale)


def _against_prox(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim, told = "HSPG finds more zero groups than the proximal method at the same numbers", "Poor against #1"
    pairs = [(a, b) for a in _of(models, REACH) for b in _of(models, PROXSG) if a.trained("lmbda").mean == b.trained("lmbda").mean]
    if not pairs:
        yield Claim(claim, label, NOT_MEASURED, "no pair of HSPG and ProxSG with one lambda", told)
        return
    hspg, prox = pairs[0]
    common = set(hspg.entry.seeds) & set(prox.entry.seeds)
    if not common:
        yield Claim(claim, label, NOT_MEASURED, "no seed in common", told)
        return
    shares = [_share(model, common) for model in (hspg, prox)]
    numbers = f"HSPG {100 * shares[0]:.1f} %, ProxSG {100 * shares[1]:.1f} % on the same seeds; accuracy {_percent(hspg)}, {_percent(prox)}"
    status = HELD if shares[0] >= shares[1] + _CLEARLY else NOT_HELD
    yield Claim(claim, label, status, numbers, told, len(common), hspg.entry.scale)


def _share(model: Model, seeds: set[int | None]) -> float:
    """Return the mean share of zero groups over some seeds."""
    rows = [row for job in model.entry.jobs if job.seed in seeds for row in job.of_kind("groups")]
    return sum(row["group_sparsity"] for row in rows) / max(1, len(rows))


def _literal(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim, told = "The learning rate and lambda on the slides give a group sparsity of 50 to 71 %", "50.12 to 71.25 % at lambda 1e-3"
    found = _of(models, LITERAL)
    if not found:
        yield Claim(claim, label, NOT_MEASURED, f"{LITERAL} not run", told)
    for model in found:
        share = model.sparsity.mean or 0.0
        numbers = f"{100 * share:.1f} % zero filters, shrink budget {model.trained('budget').mean:.2g}, {_percent(model)}"
        yield Claim(claim, label, HELD if share >= 0.5 else NOT_HELD, numbers, told, len(model.entry.seeds), model.entry.scale)


def _smaller(label: str, models: Sequence[Model]) -> Iterator[Claim]:
    claim = "Structured pruning speeds the network up"
    sparse = _best_reach(models)
    if sparse is None:
        yield Claim(claim, label, NOT_MEASURED, "HSPG not run", "no number")
        return
    told, ratios = [], []
    for name, what in (("params", "parameters"), ("macs_per_second", "MACs"), ("latency_ms_per_s", "latency")):
        before, after = sparse.before.size(name).mean, sparse.entry.size(name).mean
        if before and after:
            ratios.append(before / after)
            told.append(f"{what} / {before / after:.2f}")
    status = NOT_MEASURED if not ratios else HELD if ratios[-1] > 1 else NOT_HELD
    yield Claim(claim, label, status, ", ".join(told) or "not measured", "no number", len(sparse.entry.seeds), sparse.entry.scale)


def _convergence(jobs: Sequence[Job]) -> Iterator[Claim]:
    """Judge the table of optimisers on the toy problem, where the optimum is known."""
    claim, told = "The final objective of HSPG is as low as that of any method, with the most zero groups", "#1 and #1"
    rows = [row for job in jobs for row in job.of_kind("toy")]
    scale = next((job.scale for job in jobs if job.of_kind("toy")), "-")
    if not rows:
        yield Claim(claim, "toy", NOT_MEASURED, "scripts/optimizer_toy.py not run", told)
        return
    means = {name: _toy_means(rows, name) for name in dict.fromkeys(row["name"] for row in rows)}
    rivals = {name: mean for name, mean in means.items() if _method(rows, name) in ("proxsg", "admm", "sgd")}
    seeds = len({row["seed"] for row in rows})
    best_objective, best_share = min(mean[0] for mean in rivals.values()), max(mean[1] for mean in rivals.values())
    for name in (name for name in means if _method(rows, name) == "hspg"):
        objective, share = means[name]
        status = HELD if objective <= _SAME_OBJECTIVE * best_objective and share >= best_share else NOT_HELD
        numbers = f"F {objective:.4f}, {100 * share:.0f} % zero groups; others: {_told(rivals)}"
        yield Claim(f"{claim} ({name})", "toy", status, numbers, told, seeds, scale)


def _method(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    return next(str(row["method"]) for row in rows if row["name"] == name)


def _toy_means(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    mine = [row for row in rows if row["name"] == name]
    return tuple(sum(finite_or_none(row[key]) or 0.0 for row in mine) / len(mine) for key in ("objective", "group_sparsity"))


def _told(means: Mapping[str, tuple[float, float]]) -> str:
    return "; ".join(f"{name} {objective:.4f}, {100 * share:.0f} %" for name, (objective, share) in means.items())


def claims_table(jobs: Sequence[Job], reported: Mapping[str, Any]) -> Table:
    """Return the judged claims as a table."""
    note = "Baseline and costs are compared with the first network of the sweep that has 40 to 80 % zero filters, or else with its first."
    return judged_table("p4_claims", judge(jobs), reported, (note,))


def _write(build: Any) -> Any:
    def write(request: Request) -> list[Path]:
        return write_table(build(request.jobs, read_reported(request.reported, "p4")), request.out)

    return write


def write_figures(request: Request) -> list[Path]:
    """Write every figure that there is data for.

    Raises:
        DataError: No network was trained for scenes.
    """
    if not models_of(request.jobs):
        raise DataError("expected runs of scene classification, got none; see `make reproduce-p4`")
    return [file for figure in figures_of(request.out, request.jobs) for file in (figure.png, figure.csv)]


def write_p4(request: Request) -> list[Path]:
    """Write everything of Chen: both tables, sizes, optimisers, claims, figures and the page."""
    reported = read_reported(request.reported, "p4")
    tables = {
        "Table 3": main_table(request.jobs, reported, "table_3"),
        "Table 4": main_table(request.jobs, reported, "table_4"),
        "Sparsity and size": size_table(request.jobs),
        "Optimisers": optimizer_table(request.jobs, reported),
        "Claims": claims_table(request.jobs, reported),
    }
    files = [file for table in tables.values() for file in write_table(table, request.out)]
    drawn = figures_of(request.out / "figures", request.jobs) if models_of(request.jobs) else []
    files += [file for figure in drawn for file in (figure.png, figure.csv)]
    sections = [Section(title, (table,)) for title, table in tables.items()] + [Section("Figures", figures=tuple(drawn))]
    lead = f"{len(request.jobs)} runs. Scale: {' | '.join(dict.fromkeys(honest_scale(job.scale) for job in request.jobs))}."
    return [*files, write_page(request.out / "report.html", "Pruning networks for acoustic scene classification", lead, sections)]


KINDS = {
    "p4": write_p4,
    "p4_table3": _write(lambda jobs, reported: main_table(jobs, reported, "table_3")),
    "p4_table4": _write(lambda jobs, reported: main_table(jobs, reported, "table_4")),
    "p4_optimizers": _write(optimizer_table),
    "p4_figures": write_figures,
    "p4_claims": _write(claims_table),
}
