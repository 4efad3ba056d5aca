"""The report ``small_models``: is compressing a large network better than building a small one?

``write_small_models`` puts compressed models, equally small ones trained at once and a hand-made
one beside each other: STOI and PESQ against the bytes of the file and against multiplications,
with intervals over seeds, and a verdict for every pair of equal cost. Trainings themselves, and
whether they had equal budgets, are up to the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.report.baselines import SMALLER_IS_BETTER, no_better
from audioprune.report.claims import HELD, NOT_HELD, Bound, Side, judge
from audioprune.report.figures.drawing import (
    Figure,
    entries_per_corpus,
    footer_of,
    on_corpus,
    save_figure,
    times,
)
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.pareto import scores_of, unprocessed
from audioprune.report.model_tables import jobs_of, main_metrics, notes_of, told_of
from audioprune.report.request import Request
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.intervals import Differences, interval, interval_of, paired
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, Cell, Column, Table, csv_text, metric_column
from audioprune.report.tables import write_table as write

HAND_MADE, COMPRESSED, BUILT_SMALL = "hand-made", "compressed", "trained small"
START = "before compression"
KINDS = (COMPRESSED, BUILT_SMALL, HAND_MADE, START)
HAND_MADE_MODELS = ("gtcrn",)
COSTS = {"bytes_file": ("file", "kB", 1e-3), "macs_per_second": ("MACs/s", "M", 1e-6)}
SLACK = 1.1
"""How much more than the other model's cost counts as equal."""
_COMPRESSED_STATES = ("compressed", "pruned", "trimmed")


@dataclass(frozen=True)
class Small:
    """One model of the comparison.

    Attributes:
        entry: Its scores and sizes, joined over seeds.
        kind: One of ``KINDS``.
    """

    entry: Entry
    kind: str

    @property
    def name(self) -> str:
        """Row title with the configuration that sets it apart."""
        return self.entry.name

    def cost(self, key: str) -> float | None:
        """Return the mean of a size or cost over the seeds."""
        return self.entry.size(key).mean

    def by_seed(self, metric: str) -> dict[int | None, float | None]:
        """Return the mean of a metric over all conditions for every seed."""
        return self.entry.by_seed(metric, self.entry.conditions())


def small_models(found: Sequence[Entry]) -> list[Small]:
    """Return every scored model with its kind, the smallest file first.

    A model of ``HAND_MADE_MODELS`` is hand-made, whatever its state. An uncompressed model of a
    job that also compressed it is where compression began; any other was trained small at once,
    as was the equally small baseline of a pruning pipeline.
    """
    began = {id(job) for each in found if each.variant in _COMPRESSED_STATES for job in each.jobs}
    models = [each for each in found if each.variant != "mixture" and each.scores]
    models = [each for each in models if each.conditions() and not each.status]
    several = [Small(each, _kind_of(each, began)) for each in models]
    return sorted(several, key=lambda small: small.cost("bytes_file") or float("inf"))


def _kind_of(entry: Entry, began: set[int]) -> str:
    if entry.model in HAND_MADE_MODELS:
        return HAND_MADE
    if entry.variant in _COMPRESSED_STATES:
        return COMPRESSED
    starts = entry.variant != "baseline" and any(id(job) in began for job in entry.jobs)
    return START if starts else BUILT_SMALL


def models_table(models: Sequence[Small], metrics: Sequence[str]) -> Table:
    """Return one row per model: kind, costs, and scores over all conditions with intervals."""
    columns = [Column("name", "Model"), Column("kind", "Kind")]
    columns += [
        Column("bytes_file", "File (bytes)", "count"),
        Column("macs_per_second", "MACs/s", "millions"),
        Column("params", "Parameters", "params"),
    ]
    for metric in metrics:
        columns += [metric_column(metric, metric), Column(f"{metric}:interval", "95 % interval")]
    columns += [Column("remark", "Remark"), Column("seeds", "Seeds", "count")]
    rows = tuple(_model_row(small, metrics) for small in models)
    return Table(
        "small_models",
        "Compressed, trained small, or made small by hand: means over all test conditions",
        (*columns, Column("scale", "Scale")),
        rows,
        (
            f"Kinds: {COMPRESSED}; {BUILT_SMALL}: of this size from the first step; {HAND_MADE}: "
            f"a published network of few weights ({', '.join(HAND_MADE_MODELS)}), trained here; "
            f"{START}: what the compressed models were made from.",
            *notes_of(rows, jobs_of(small.entry for small in models)),
        ),
    )


def _model_row(small: Small, metrics: Sequence[str]) -> dict[str, Cell]:
    entry = small.entry
    row: dict[str, Cell] = {"name": small.name, "kind": small.kind, "seeds": len(entry.seeds)}
    row |= {key: entry.size(key) for key in ("bytes_file", "macs_per_second", "params")}
    row |= {"scale": honest_scale(entry.scale), **told_of(entry)}
    for metric in metrics:
        row[metric] = entry.score(metric)
        row[f"{metric}:interval"] = _interval_text(small, metric)
    return row


def _interval_text(small: Small, metric: str) -> str:
    values = [value for value in small.by_seed(metric).values() if value is not None]
    known, style = interval(values), FORMATS[metric_column(metric, "").style]
    if known is None:
        return "one seed"
    ends = (f"{style.factor * end:.{style.decimals}f}" for end in (known.low, known.high))
    return " to ".join(ends)


def verdict_table(models: Sequence[Small], metrics: Sequence[str]) -> Table:
    """Return one row per pair of kinds, cost and metric: which is better at equal cost.

    Each model of one kind meets the best model of another kind that costs at most `SLACK` times
    as much. The difference is paired by seed; its interval decides.
    """
    rows: list[dict[str, Cell]] = []
    for one, other in (
        (COMPRESSED, HAND_MADE),
        (BUILT_SMALL, HAND_MADE),
        (COMPRESSED, BUILT_SMALL),
    ):
        for corpus in dict.fromkeys(small.entry.corpus for small in models):
            own = [small for small in models if small.entry.corpus == corpus]
            for against in (small for small in own if small.kind == other):
                rivals = [small for small in own if small.kind == one]
                rows += [
                    _verdict_row(against, rivals, cost, metric)
                    for cost in COSTS
                    for metric in metrics
                    if against.cost(cost)
                ]
    columns = (
        Column("cost", "At equal"),
        Column("metric", "Score"),
        Column("one", "One"),
        Column("other", "Other"),
        Column("difference", "One less other, 95 % interval"),
        Column("verdict", "Better"),
        Column("reason", "Why"),
        Column("seeds", "Seeds", "count"),
    )
    note = (
        f"Equal: the one costs at most {SLACK:g} times what the other does; of several the best. "
        "Differences are paired by seed, and by item where items are known; with fewer than three "
        "seeds nothing is judged."
    )
    return Table("verdicts", "Which is better at equal cost", columns, tuple(rows), (note,))


def _verdict_row(other: Small, rivals: Sequence[Small], cost: str, metric: str) -> dict[str, Cell]:
    most = SLACK * (other.cost(cost) or 0.0)
    title, unit, factor = COSTS[cost]
    column = metric_column(metric, "")
    row: dict[str, Cell] = {
        "cost": f"{title} ({factor * (other.cost(cost) or 0.0):.3g} {unit})",
        "metric": column.title,
        "other": other.name,
        "corpus": other.entry.corpus.title,
        "one": "-",
        "difference": "-",
        "reason": "-",
        "seeds": 0,
    }
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    able = [small for small in rivals if 0 < (small.cost(cost) or 0.0) <= most]
    able = [small for small in able if small.entry.score(metric).mean is not None]
    if not able:
        return {**row, "verdict": "no such model"}
    one = max(able, key=lambda small: sign * (small.entry.score(metric).mean or 0.0))
    sides = [
        Side(each.name, each.entry.jobs, None, no_better(each.entry)) for each in (one, other)
    ]
    differences = _differences(one, other, metric)
    rising = differences if sign > 0 else differences.negated()
    found = judge(rising, Bound(above=0), (), sides)
    known, style = interval_of(differences), FORMATS[column.style]
    mean = sum(differences.values()) / len(differences) if differences else None
    alone = "-" if mean is None else f"{style.factor * mean:+.{style.decimals}f}"
    told = known.text(style.factor, style.decimals) if known else alone
    better, why = found.status, found.reason or "-"
    if known and found.status in (HELD, NOT_HELD):
        better, why = _better(one, other, sign * known.low, sign * known.high), "-"
    return {
        **row,
        "one": one.name,
        "difference": told,
        "verdict": better,
        "reason": why,
        "seeds": len(differences),
    }


def _differences(one: Small, other: Small, metric: str) -> Differences:
    """Return ``one - other`` for every seed, and for every item where items are known."""
    places = dict.fromkeys([*one.entry.conditions(), *other.entry.conditions()])
    items = one.entry.by_item(metric, places), other.entry.by_item(metric, places)
    return paired(one.entry.by_seed(metric, places), other.entry.by_seed(metric, places), items)


def _better(one: Small, other: Small, *ends: float) -> str:
    """Name the better model by the ends of the interval of ``one - other``; more is better."""
    if min(ends) > 0:
        return one.name
    return other.name if max(ends) < 0 else "equal"


def small_figure(folder: Path, name: str, found: Sequence[Entry]) -> Figure | None:
    """Draw scores against file bytes and against multiplications, both on a log axis.

    Args:
        folder: Where the files go.
        name: Stem of all of them.
        found: Entries of one corpus; the mixture is drawn as a level.

    Returns:
        The figure, or None where no model has a size.
    """
    models = [small for small in small_models(found) if any(map(small.cost, COSTS))]
    metrics = main_metrics([small.entry for small in models])[:2]
    if not models or not metrics:
        return None
    caption = on_corpus(
        "Scores (mean over test conditions) against the size of the file and against "
        "multiplications per second of audio; bars: 95 % intervals over seeds; hollow: no better "
        "than what needs no model.",
        models[0].entry.corpus,
    )
    told = "; ".join(f"{place}: {small.name}, {small.kind}" for place, small in _placed(models))
    views = [
        Front(_cost_title(cost), metric_column(metric, "").header, (), unprocessed(found, metric))
        for metric in metrics
        for cost in COSTS
    ]
    marks = [_mark(place, small, metrics) for place, small in _placed(models)]
    footer = footer_of([small.entry.scale for small in models])
    chart = front_chart(marks, views, footer=footer, alt=f"{caption} {told}.")
    return save_figure(chart, folder, name, _as_csv(models, metrics), f"{caption} {told}.")


def _placed(models: Sequence[Small]) -> list[tuple[int, Small]]:
    return list(enumerate(models, 1))


def _cost_title(cost: str) -> str:
    title, unit, _ = COSTS[cost]
    return f"{title[0].upper()}{title[1:]} ({unit})"


def _mark(place: int, small: Small, metrics: Sequence[str]) -> Mark:
    columns = [metric_column(metric, metric) for metric in metrics]
    return Mark(
        row=small.entry.identity,
        name=f"{place}: {small.name}, {small.kind}",
        group=small.kind,
        text=str(place),
        hollow=bool(no_better(small.entry)),
        costs={_cost_title(cost): times(COSTS[cost][2], small.cost(cost)) for cost in COSTS},
        scores=scores_of(small.entry, metrics),
        spreads={
            column.header: times(FORMATS[column.style].factor, _half(small, column.key))
            for column in columns
        },
    )


def _half(small: Small, metric: str) -> float | None:
    """Return half the width of the interval over seeds."""
    known = interval(value for value in small.by_seed(metric).values() if value is not None)
    return known.width / 2 if known else None


def _as_csv(models: Sequence[Small], metrics: Sequence[str]) -> str:
    header = ["number", "model", "kind", "bytes_file", "macs_per_second"]
    for metric in metrics:
        title = metric_column(metric, "").header
        header += [title, f"{title} half of interval"]
    rows: list[list[Any]] = []
    for place, small in _placed(models):
        line: list[Any] = [place, small.name, small.kind, *map(small.cost, COSTS)]
        for metric in metrics:
            factor = FORMATS[metric_column(metric, "").style].factor
            mean = small.entry.score(metric).mean
            line += [times(factor, mean), times(factor, _half(small, metric))]
        rows.append([*line, len(small.entry.seeds), honest_scale(small.entry.scale)])
    return csv_text([*header, "seeds", "scale"], rows)


def write_small_models(request: Request) -> list[Path]:
    """Write the tables and, for each corpus, the figure of some runs.

    Raises:
        DataError: No run holds a scored model.
    """
    found = final(entries(request.jobs))
    models = small_models(found)
    if not models:
        raise DataError(
            "expected runs with scored models, got none; train some, for instance "
            "`audioprune train experiment=p2/gtcrn_small`"
        )
    metrics = main_metrics([small.entry for small in models])[:2]
    written = [
        *write(models_table(models, metrics), request.out),
        *write(verdict_table(models, metrics), request.out),
    ]
    for stem, members in entries_per_corpus("small_models", found):
        figure = small_figure(request.out / "figures", stem, members)
        written += figure.files if figure else []
    return written
