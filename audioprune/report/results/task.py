"""Whether each model does its task at all: its gain over what needs no model, with its interval.

``task_table`` compares enhancers with their input, classifiers with chance and makers of notes
with silence or a constant. A model that is not better is named as such; no claim is judged here.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audioprune.experiment.rows import QualityRow
from audioprune.report.baselines import SMALLER_IS_BETTER, inputs_of, no_better
from audioprune.report.claims import HELD, NOT_HELD, Bound, judge
from audioprune.report.runs.entry import PESQ_MODES, Entry, condition_text
from audioprune.report.runs.intervals import OVER_SEEDS, Differences, Interval, Seed, interval_of
from audioprune.report.runs.scales import honest_scale
from audioprune.report.runs.states import Condition
from audioprune.report.tables import FORMATS, METRICS, Cell, Column, Table, number_text

Pairs = Mapping[Condition, tuple[QualityRow, QualityRow]]
_WORDS = {HELD: "yes", NOT_HELD: "no"}
_MAIN = ("stoi", "si_sdr", "lsd")
_OVER = (
    "Mean gain over all test conditions with its 95 % interval over {over}, positive where the "
    "model is better."
)
_SEEDS_ALONE = "An interval over seeds alone: these runs kept no scores of single items."
_COLUMNS = (
    Column("model", "Model"),
    Column("against", "Against"),
    Column("metric", "Metric"),
    Column("value", "Model's", "text"),
    Column("trivial", "Without it", "text"),
    Column("gain", "Gain, 95 % interval"),
    Column("worst", "Worst condition"),
    Column("verdict", "Better"),
    Column("bytes_file", "File", "mebibytes"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


@dataclass(frozen=True)
class Gain:
    """By how much a model is better than what needs no model, in one metric.

    Attributes:
        entry: The model.
        metric: The metric.
        values: The gain of every seed, positive where the model is better.
        trivial: Mean of what needs no model.
        against: What that is.
        name: Title of the model, with the settings that tell it apart from others of that title.
    """

    entry: Entry
    metric: str
    values: Differences
    trivial: float
    against: str
    name: str = ""

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval; None for one seed."""
        return interval_of(self.values)

    @property
    def mark(self) -> str:
        """What the model is no better than, or an empty text."""
        return no_better(self.entry)

    def line(self, factor: float) -> list[Any]:
        """Return a line of numbers: name, against, metric, gain, ends, what was drawn, seeds."""
        found = self.interval
        ends: list[Any] = [None, None, None]
        if found:
            ends = [factor * found.low, factor * found.high, found.over]
        mean = factor * self.mean
        return [self.name, self.against, self.metric, mean, *ends, len(self.values)]


def task_table(name: str, found: Sequence[Entry]) -> Table:
    """Return the table.

    Args:
        name: Name of the table.
        found: Final entries of the runs, mixtures among them, which are left out.
    """
    gains = all_gains(found)
    overs = dict.fromkeys(told.over for gain in gains if (told := gain.interval))
    notes = [_OVER.format(over=over) for over in overs]
    notes += [_SEEDS_ALONE] if OVER_SEEDS in overs else []
    caption = "Is a model better than what needs no model?"
    return Table(name, caption, _COLUMNS, tuple(map(_row, gains)), tuple(notes))


def all_gains(found: Sequence[Entry]) -> list[Gain]:
    """Return the gains of all models, each under a name that its settings tell apart."""
    gains = [gain for entry in found for gain in _gains_of(entry)]
    named = []
    for gain in gains:
        config = gain.entry.config
        alike = [other.entry.config for other in gains if other.entry.title == gain.entry.title]
        keys = [key for key in config if len({each.get(key) for each in alike}) > 1]
        told = ", ".join(f"{key.rpartition('.')[2]}={config[key]}" for key in keys if config[key])
        title = gain.entry.title
        named.append(replace(gain, name=f"{title} ({told})" if told else title))
    return named


def _gains_of(entry: Entry) -> list[Gain]:
    """Return the gains of a model in its main metrics; none for a mixture or a failed run."""
    if entry.variant in ("mixture", "") or not entry.scores:
        return []
    rows = [row for cells in entry.scores for row in cells.values()]
    if any(row.get("chance") is not None for row in rows):
        found = [_against_number(entry, "accuracy", "chance", "chance")]
    elif any(row.get("trivial") is not None for row in rows):
        name = str(rows[0].get("trivial_name") or "silence or a constant")
        found = [_against_number(entry, "error", "trivial", name)]
    else:
        pairs = [
            {key: (row, given[key]) for key, row in cells.items() if key in given}
            for cells, job in zip(entry.scores, entry.jobs, strict=False)
            for given in [inputs_of(job)]
        ]
        metrics = _main(entry) if all(pairs) else []
        found = [_against_input(entry, metric, pairs) for metric in metrics]
    return [gain for gain in found if gain.values]


def _main(entry: Entry) -> list[str]:
    measured = entry.metrics()
    modes = [mode for mode in PESQ_MODES if mode in measured][:1]
    return [name for name in ("stoi", *modes, *_MAIN[1:]) if name in measured]


def _against_number(entry: Entry, metric: str, key: str, name: str) -> Gain:
    """Return the gains over a number that the rows themselves tell."""
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    trivial = statistics.fmean(
        row.number(key) or 0.0 for cells in entry.scores for row in cells.values()
    )
    by_seed = entry.by_seed(metric, entry.conditions())
    by_item = entry.by_item(metric, entry.conditions())
    gains = Differences(
        {seed: sign * (value - trivial) for seed, value in by_seed.items() if value is not None},
        {
            seed: {item: sign * (value - trivial) for item, value in items.items()}
            for seed, items in by_item.items()
        },
    )
    return Gain(entry, metric, gains, trivial, name)


def _against_input(entry: Entry, metric: str, pairs: Sequence[Pairs]) -> Gain:
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    by_seed: dict[Seed, float] = {}
    by_item: dict[Seed, dict[str, float]] = {}
    before = []
    for seed, of_seed in zip(entry.seeds, pairs, strict=False):
        numbers = [(row.metric(metric), given.metric(metric)) for row, given in of_seed.values()]
        known = [(one, two) for one, two in numbers if one is not None and two is not None]
        if len(known) == len(numbers):
            by_seed[seed] = sign * statistics.fmean(one - two for one, two in known)
            by_item[seed] = _items(metric, sign, of_seed)
        before += [two for _, two in known]
    several = len(entry.corpus.fingerprints) > 1
    gains = Differences(by_seed, {} if several else by_item)
    return Gain(entry, metric, gains, statistics.fmean(before) if before else 0.0, "its input")


def _items(metric: str, sign: int, pairs: Pairs) -> dict[str, float]:
    """Return the gain of every item, the mean over the conditions."""
    told = [(row.item_scores(metric), given.item_scores(metric)) for row, given in pairs.values()]
    names = told[0][0].keys()
    if any(one.keys() != names or two.keys() != names for one, two in told):
        return {}
    return {
        name: sign * statistics.fmean(one[name] - two[name] for one, two in told) for name in names
    }


def _row(gain: Gain) -> dict[str, Cell]:
    entry, metric = gain.entry, gain.metric
    title, style = METRICS.get(metric, (metric, "fine"))
    kind = FORMATS.get(style, FORMATS["fine"])
    told = gain.interval
    mean = f"{kind.factor * gain.mean:+.{kind.decimals}f}"
    return {
        "corpus": entry.corpus.title,
        "model": gain.name,
        "against": gain.against,
        "metric": f"{title} ({kind.unit})" if kind.unit else title,
        "value": _text(entry.score(metric).mean, style),
        "trivial": _text(gain.trivial, style),
        "gain": told.text(kind.factor, kind.decimals) if told else mean,
        "worst": _worst(entry, metric, kind.factor, kind.decimals),
        "verdict": _verdict(gain),
        "bytes_file": entry.size("bytes_file"),
        "seeds": len(gain.values),
        "scale": honest_scale(entry.scale),
    }


def _verdict(gain: Gain) -> str:
    """Say whether the model is better; one that is no better in any main metric is named so."""
    status = judge(gain.values, Bound(above=0.0)).status
    words = _WORDS.get(status, status)
    return "; ".join(filter(None, (gain.mark, "" if status == NOT_HELD and gain.mark else words)))


def _text(value: float | None, style: str) -> str:
    return "-" if value is None else number_text(value, style if style in FORMATS else "fine")


def _worst(entry: Entry, metric: str, factor: float, decimals: int) -> str:
    """Return the smallest gain over the input of any condition, mean over the seeds."""
    found: dict[Condition, list[float]] = {}
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    for cells, job in zip(entry.scores, entry.jobs, strict=False):
        given = inputs_of(job)
        for key, row in cells.items():
            one = row.metric(metric)
            two = given[key].metric(metric) if key in given else None
            if one is not None and two is not None:
                found.setdefault(key, []).append(sign * (one - two))
    if len(found) < 2:
        return "-"
    means = {key: statistics.fmean(values) for key, values in found.items()}
    worst = min(means, key=lambda key: means[key])
    return f"{factor * means[worst]:+.{decimals}f} ({condition_text(worst)})"
