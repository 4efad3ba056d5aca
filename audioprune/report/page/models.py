"""The main table of the page: one row for every model, which opens to all that is known of it.

``model_blocks`` gives a block for each corpus, for rows of two corpora stand in no one table. A
row's cost card says its four sizes, what is left of it, how fast it is and where it fits; its
pipeline, history and files are in details.py. Numbers are those of the table of all models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from audioprune.report.baselines import SMALLER_IS_BETTER
from audioprune.report.model_tables import main_metrics, told_of
from audioprune.report.page.details import Details, details_of
from audioprune.report.page.verdicts import (
    bytes_text,
    differences_of,
    mark_of,
    partner,
)
from audioprune.report.platforms import Platform, bounds
from audioprune.report.runs.corpora import grouped
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import FORMATS, METRICS, cell_text, metric_column, note_of, unit_text

_MOST_METRICS = 3
_MOST_CONFIG = 3
_SIZES = (
    ("bytes_fp32", "As 4-byte numbers"),
    ("bytes_paper", "By the papers' count"),
    ("bytes_ideal", "At its entropy"),
    ("bytes_file", "The written file"),
)
_OPS_PER_MAC = 2


@dataclass(frozen=True)
class Cell:
    """A cell: its text, the number it is sorted by, and a note that is shown on request."""

    text: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A number with a bar: ``share`` of the longest, 0..1."""

    name: str
    text: str
    share: float


@dataclass(frozen=True)
class Card:
    """What a model costs.

    Attributes:
        sizes: The four sizes.
        facts: Name and text of every other number.
        fits: Name of a platform, whether the model runs on it, and why not.
    """

    sizes: tuple[Bar, ...]
    facts: tuple[tuple[str, str], ...]
    fits: tuple[tuple[str, bool, str], ...]


@dataclass(frozen=True)
class ModelRow:
    """A row of the main table.

    Attributes:
        entry: The model.
        anchor: Its id on the page.
        title: Name of the model in its state.
        state: ``good``, ``whole``, ``poor`` (no better than its input) or ``bad`` (not finished).
        status: That state in words; empty for a good one.
        cells: Beside the title, one for each column.
        card: What it costs; None for what is no model.
        details: Pipeline, history and files; None for what is no model.
    """

    entry: Entry
    anchor: str
    title: str
    state: str
    status: str
    cells: tuple[Cell, ...]
    card: Card | None = None
    details: Details | None = None


@dataclass(frozen=True)
class Block:
    """The rows of one corpus.

    Attributes:
        title: Line that names the corpus.
        columns: Header and meaning of every column beside the title.
        rows: The models.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[ModelRow, ...] = field(default_factory=tuple)


def model_blocks(found: Sequence[Entry], platforms: Sequence[Platform]) -> list[Block]:
    """Return the rows of all models, corpus by corpus.

    Args:
        found: Final entries of the runs.
        platforms: Machines that the models may fit.
    """
    blocks: list[Block] = []
    place = 0
    for several in grouped(found, lambda entry: entry.corpus.title):
        blocks.append(_block(several, platforms, place))
        place += len(several)
    return blocks


def _block(found: Sequence[Entry], platforms: Sequence[Platform], first: int) -> Block:
    metrics = main_metrics(found)[:_MOST_METRICS]
    config = list(dict.fromkeys(key for entry in found for key in entry.config))[:_MOST_CONFIG]
    columns = [
        *_score_columns(metrics),
        *_COST_COLUMNS,
        *((_short(key, config), "setting") for key in config),
    ]
    rows = [
        _row(f"model-{first + place}", entry, found, metrics, config, platforms)
        for place, entry in enumerate(found, 1)
    ]
    return Block(found[0].corpus.title, tuple(columns), tuple(rows))


def _short(key: str, others: Sequence[str]) -> str:
    """Return the last part of a key where no other key ends alike."""
    last = key.rpartition(".")[2]
    alike = [other for other in others if other.rpartition(".")[2] == last]
    return key if len(alike) > 1 else last


def _score_columns(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns of scores; the first metric's change stands beside it."""
    columns = []
    for metric in metrics:
        better = "less" if metric in SMALLER_IS_BETTER else "more"
        meaning = f"mean over all test conditions, {better} is better"
        columns.append((metric_column(metric, metric).header, meaning))
        if metric == metrics[0]:
            columns.append(("Change", "against the uncompressed model, paired by seed"))
    return columns


_COST_COLUMNS = (
    ("Params", "that are not zero"),
    ("File", "the written file"),
    ("Smaller", "4-byte numbers of the uncompressed model over the file"),
    ("Sparsity (%)", "share of the prunable weights that are zero"),
    ("MACs/s (M)", "multiplications per second of audio"),
    ("Real time", "seconds of one thread per second of audio"),
)


def _row(
    anchor: str,
    entry: Entry,
    found: Sequence[Entry],
    metrics: Sequence[str],
    config: Sequence[str],
    platforms: Sequence[Platform],
) -> ModelRow:
    state, status = _state(entry)
    before = partner(entry, found, "uncompressed")
    cells = [*_scores(entry, before, metrics), *_costs(entry)]
    cells += [Cell(entry.config.get(key) or "-") for key in config]
    if entry.variant == "mixture":
        return ModelRow(entry, anchor, "Unprocessed input", state, status, tuple(cells))
    card = None if entry.status else _card(entry, before, platforms)
    return ModelRow(
        entry, anchor, entry.title, state, status, tuple(cells), card, details_of(entry)
    )


def _state(entry: Entry) -> tuple[str, str]:
    if entry.status:
        status = entry.status.lower()
        said = entry.reason.startswith(status)
        return "bad", entry.reason if said else f"{status}: {entry.reason}"
    if mark := mark_of(entry):
        return "poor", mark
    unfinished = [job for job in entry.jobs if job.status != "finished"]
    if unfinished:
        return "bad", f"measured, but the run is {unfinished[0].status}"
    remark = str(told_of(entry)["remark"])
    if remark != "-":
        return "poor", remark
    return ("whole" if entry.variant in ("mixture", "uncompressed") else "good"), ""


def _scores(entry: Entry, before: Entry | None, metrics: Sequence[str]) -> list[Cell]:
    cells = []
    for metric in metrics:
        style = METRICS.get(metric, (metric, "fine"))[1]
        value = entry.score(metric)
        cells.append(_number(value, style, entry))
        if metric == metrics[0]:
            cells.append(_change(entry, before, metric, style))
    return cells


def _change(entry: Entry, before: Entry | None, metric: str, style: str) -> Cell:
    if before is None or before is entry:
        return Cell("-")
    differences = differences_of(entry, before, metric)
    if not differences:
        return Cell("-")
    mean = sum(differences.values()) / len(differences)
    kind = FORMATS[style]
    return Cell(f"{kind.factor * mean:+.{kind.decimals}f}", mean)


def _costs(entry: Entry) -> list[Cell]:
    if entry.variant == "mixture" or entry.status:
        return [Cell("-")] * len(_COST_COLUMNS)
    sizes = {name: entry.size(name) for name in _NAMES}
    file = sizes["bytes_file"].mean
    speed = sizes["latency_ms_per_s"].mean
    return [
        _number(sizes["nonzero"], "count", entry),
        Cell("n/a" if file is None else bytes_text(file), file, note_of(sizes["bytes_file"])),
        _number(sizes["rate_file"], "times", entry),
        _number(sizes["sparsity"], "share", entry),
        _number(sizes["macs_per_second"], "millions", entry),
        Cell("n/a" if speed is None else f"{speed / 1000:.2g}", speed),
    ]


_NAMES = (
    "nonzero",
    "bytes_file",
    "rate_file",
    "sparsity",
    "macs_per_second",
    "latency_ms_per_s",
)


def _number(value: Value, style: str, entry: Entry) -> Cell:
    text = "-" if entry.status else cell_text(value, style)
    return Cell(text, value.mean, note_of(value))


def _card(entry: Entry, before: Entry | None, platforms: Sequence[Platform]) -> Card:
    sizes = {name: entry.size(name).mean for name, _ in _SIZES}
    whole = before.size("bytes_fp32").mean if before else None
    whole = whole or sizes["bytes_fp32"]
    return Card(_bars(sizes, whole), tuple(_facts(entry, before)), tuple(_fits(entry, platforms)))


def _bars(sizes: Mapping[str, float | None], whole: float | None) -> tuple[Bar, ...]:
    longest = max([number for number in (*sizes.values(), whole) if number], default=0.0)
    return tuple(
        Bar(title, "not measured", 0.0)
        if (number := sizes[name]) is None
        else Bar(title, bytes_text(number), number / longest if longest else 0.0)
        for name, title in _SIZES
    )


def _facts(entry: Entry, before: Entry | None) -> list[tuple[str, str]]:
    """Return the other numbers of a card; what was not measured says so."""
    params, nonzero = entry.size("params"), entry.size("nonzero")
    facts = [
        ("Parameters", f"{cell_text(nonzero, 'count')} of {cell_text(params, 'count')} not zero"),
        ("Sparsity", unit_text(entry.size("sparsity"), "share")),
        ("Multiplications", _beside(entry, before, "macs_per_second", "millions", "a second")),
        ("Real-time factor", _speed(entry)),
        ("Memory", _memory(entry)),
        ("Scale", honest_scale(entry.scale)),
    ]
    seeds = [str(seed) for seed in entry.seeds if seed is not None]
    return [*facts, ("Seeds", ", ".join(seeds) or "not recorded")]


def _beside(entry: Entry, before: Entry | None, name: str, style: str, per: str) -> str:
    own = entry.size(name)
    if own.mean is None:
        return "not measured"
    text = f"{unit_text(own, style)} {per}"
    other = before.size(name).mean if before and before is not entry else None
    return f"{text}, {unit_text(other, style)} before" if other is not None else text


def _speed(entry: Entry) -> str:
    speed = entry.size("latency_ms_per_s").mean
    if not speed:
        return "not measured"
    return f"{speed / 1000:.2g}: one thread of this machine does {1000 / speed:.0f} s in a second"


def _memory(entry: Entry) -> str:
    """Say what is known of the memory: the unpacked weights at the least."""
    peak, weights = entry.size("peak_bytes").mean, entry.size("bytes_fp32").mean
    if peak is not None:
        return f"{bytes_text(peak)} at most in one step"
    if weights is None:
        return "not measured"
    return f"{bytes_text(weights)} for the unpacked weights; signals come on top"


def _fits(entry: Entry, platforms: Sequence[Platform]) -> list[tuple[str, bool, str]]:
    """Say on which platforms a model runs in real time, by its MACs, file and weights."""
    macs, file = entry.size("macs_per_second").mean, entry.size("bytes_file").mean
    memory = entry.size("peak_bytes").mean or entry.size("bytes_fp32").mean
    if None in (macs, file, memory):
        return []
    told = []
    for platform in platforms:
        found = bounds(platform, _OPS_PER_MAC * (macs or 0.0), file or 0.0, memory or 0.0)
        lacks = [
            word
            for word, holds in (
                ("drive too small", found.fits_drive),
                ("memory too small", found.fits_memory),
                ("too slow", found.real_time),
            )
            if not holds
        ]
        told.append((platform.name, not lacks, ", ".join(lacks)))
    return told
