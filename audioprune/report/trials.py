"""The trials of a sweep that looks for the smallest model: table, front, and the best of them.

``write_trials`` writes trials.csv, and front as csv, png, svg and pdf; ``Trials.told`` is what the
terminal says below the table. What is printed as within the bound was measured so; where no
trial is, this is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from audioprune.experiment.results import UNCOMPRESSED
from audioprune.files import write_atomic
from audioprune.report.baselines import no_better
from audioprune.report.figures.drawing import footer_of, save_figure
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.pareto import pareto_front
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import read_job
from audioprune.report.tables import (
    FORMATS,
    Column,
    Table,
    csv_text,
    metric_column,
    number_text,
    plain_number,
)

_SIZES = {
    "bytes_file": ("File", "mebibytes"),
    "bytes_paper": ("Storage, paper's accounting", "mebibytes"),
    "bytes_ideal": ("Storage, ideal", "mebibytes"),
    "bytes_fp32": ("fp32", "mebibytes"),
    "params": ("Parameters", "params"),
    "nonzero": ("Nonzero", "params"),
    "macs_per_second": ("MACs per second", "millions"),
    "latency_ms_per_s": ("Latency per second", "milliseconds"),
}
_FEW_BYTES = 100_000


class IsMeasured(Protocol):
    """What a finished trial is worth; see `commands.sweeps.tuning.Measured`."""

    size: float
    dense_size: float
    score: float
    dense_score: float
    drop: float

    @property
    def keeps(self) -> bool:
        """Whether the drop is within the bound."""
        ...


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: Counted from 0.
        status: ``finished``, ``cached``, ``failed``, ``interrupted`` or ``unfinished``.
        params: What was tried.
        measured: What came out, or None where it did not finish.
        folder: The run folder.
        reason: Why it failed.
        command: The command that makes the same run.
    """

    number: int
    status: str
    params: Mapping[str, Any]
    measured: Any = None
    folder: str = ""
    reason: str = ""
    command: str = ""

    @cached_property
    def remark(self) -> str:
        """What the model is no better than, or nothing."""
        return _remark(self._models[-1:])

    @cached_property
    def dense_remark(self) -> str:
        """What the uncompressed model is no better than, or nothing."""
        return _remark([each for each in self._models if each.variant in UNCOMPRESSED])

    @cached_property
    def _models(self) -> list[Entry]:
        if self.measured is None or not self.folder:
            return []
        found = final(entries([read_job(Path(self.folder))]))
        return [entry for entry in found if entry.variant != "mixture"]

    @property
    def scale(self) -> str:
        """How large the experiment is."""
        return read_job(Path(self.folder)).scale if self.folder else ""


def _remark(models: Sequence[Entry]) -> str:
    return no_better(models[0]) if models else ""


@dataclass(frozen=True)
class Trials:
    """All trials of a sweep.

    Attributes:
        metric: The score.
        size: Column of the size.
        max_drop: How much worse the score may be, in the unit of the tables.
    """

    metric: str
    size: str
    max_drop: float
    all: Sequence[Trial] = field(default_factory=list)

    @property
    def finished(self) -> list[Trial]:
        """The trials that were measured."""
        return [trial for trial in self.all if trial.measured is not None]

    def front(self) -> list[Trial]:
        """Return the trials that no other beats in size and drop at once, by rising size.

        Models that are no better than what needs no model stand on no front.
        """
        useful = [trial for trial in self.finished if not trial.remark]
        return pareto_front(useful, lambda trial: (trial.measured.size, trial.measured.drop))

    def best(self) -> Trial | None:
        """Return the smallest trial within the bound, or None; of equal sizes the better one."""
        within = [each for each in self.finished if each.measured.keeps and not each.remark]
        order = {trial.number: (trial.measured.size, trial.measured.drop) for trial in within}
        return min(within, key=lambda trial: order[trial.number], default=None)

    @property
    def score_column(self) -> Column:
        """The column of the score."""
        return metric_column(self.metric, "score")

    @property
    def size_column(self) -> Column:
        """The column of the size; small files are counted in bytes."""
        title, style = _SIZES.get(self.size, (self.size, "fine"))
        small = all(trial.measured.size < _FEW_BYTES for trial in self.finished)
        if style == "mebibytes" and small:
            return Column("size", f"{title} (bytes)", "count")
        return Column("size", title, style)

    @property
    def bound(self) -> str:
        """The bound as it is printed, such as ``STOI at most 0.5 points worse``."""
        points = " points" if FORMATS[self.score_column.style].unit == "%" else ""
        return f"{self.score_column.title} at most {self.max_drop:g}{points} worse"

    def table(self) -> Table:
        """Return one row per trial."""
        keys = list(dict.fromkeys(key for trial in self.all for key in trial.params))
        columns = (
            Column("number", "Trial", "count"),
            *(Column(key, key.removeprefix("pipeline.")) for key in keys),
            self.size_column,
            self.score_column,
            Column("drop", "Drop", "score"),
            Column("state", "Bound"),
        )
        rows = tuple(self._row(trial) for trial in self.all)
        weak = [each.dense_remark for each in self.finished if each.dense_remark]
        told = f"the uncompressed model of {len(weak)} of these is {weak[0]}" if weak else ""
        notes = (f"{told}: what is lost against it says little",) if told else ()
        caption = f"{len(self.finished)} of {len(self.all)} trials finished; {self.bound}"
        return Table("trials", caption, columns, rows, notes)

    def _row(self, trial: Trial) -> dict[str, Any]:
        row: dict[str, Any] = {"number": trial.number, **_texts(trial.params)}
        found = trial.measured
        if found is None:
            return {**row, "state": trial.status}
        parts = [_state(found), *(["front"] if trial in self.front() else []), trial.remark]
        measured = {"size": found.size, "score": found.score, "drop": found.drop}
        return {**row, **measured, "state": ", ".join(filter(None, parts))}

    def told(self) -> str:
        """Return what failed and what was found, for the terminal below the table."""
        left = [trial for trial in self.all if trial.measured is None and trial.reason]
        lines = [f"trial {each.number} {each.status}: {each.reason}" for each in left]
        return "\n".join([*lines, self.found()])

    def found(self) -> str:
        """Say which trial is best, or that none keeps the bound."""
        best = self.best()
        if best is None:
            return self._nothing()
        found, style = best.measured, self.size_column.style
        unit = FORMATS[style].unit or ("bytes" if style == "count" else "")
        size, dense = (
            f"{number_text(each, self.size_column.style)} {unit}".strip()
            for each in (found.size, found.dense_size)
        )
        now, before = (
            number_text(each, self.score_column.style) for each in (found.score, found.dense_score)
        )
        times = f" ({found.dense_size / found.size:.1f} times smaller)" if found.size else ""
        return (
            f"smallest with {self.bound}: trial {best.number}, {size} instead of {dense}{times}, "
            f"{self.score_column.title} {now} instead of {before}\n  {best.command}"
        )

    def _nothing(self) -> str:
        if not self.finished:
            return "no trial finished"
        useful = [trial for trial in self.finished if not trial.remark]
        if not useful:
            return "no trial gave a model that is better than what needs no model"
        nearest = min(useful, key=lambda trial: trial.measured.drop)
        lost = number_text(nearest.measured.drop, "score")
        return (
            f"no trial keeps the bound ({self.bound}); the nearest is trial {nearest.number}, "
            f"{lost} worse: allow more with tune.max_drop, try more with tune.trials, or try "
            f"other values"
        )


def _state(found: IsMeasured) -> str:
    return "kept" if found.keeps else "broken"


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: plain_number(value) if isinstance(value, float) else str(value)
        for key, value in params.items()
    }


def write_trials(folder: Path, trials: Trials) -> list[Path]:
    """Write the table of all trials, and the front where two models can be compared.

    Args:
        folder: The folder of the sweep.
        trials: Its trials.

    Returns:
        The written files.
    """
    files = [write_atomic(folder / "trials.csv", _table_csv(trials))]
    sizes = {trial.measured.size for trial in trials.finished}
    return [*files, *_draw(folder, trials)] if len(sizes) > 1 else files


def _table_csv(trials: Trials) -> str:
    keys = list(dict.fromkeys(key for trial in trials.all for key in trial.params))
    front = {trial.number for trial in trials.front()}
    measured = ["size", "score", "drop", "dense_size", "dense_score"]
    header = ["trial", "status", *keys, trials.size, trials.metric, *measured[2:]]
    rows = []
    for trial in trials.all:
        found = trial.measured
        numbers = [float(getattr(found, name)) if found else None for name in measured]
        flags = [int(found.keeps), int(trial.number in front)] if found else [None, None]
        params = [trial.params.get(key) for key in keys]
        told = [trial.remark, trial.reason, trial.folder, trial.command]
        rows.append([trial.number, trial.status, *params, *numbers, *flags, *told])
    ends = ["keeps_bound", "on_front", "remark", "reason", "folder", "command"]
    return csv_text([*header, *ends], rows)


def _draw(folder: Path, trials: Trials) -> tuple[Path, ...]:
    """Draw the drop against the size, with the front and the bound."""
    column, score = trials.size_column, trials.score_column
    unit = "points" if FORMATS[score.style].unit == "%" else ""
    drop = f"Drop of {score.title} ({unit})" if unit else f"Drop of {score.title}"
    joined = [trials.finished.index(trial) for trial in trials.front()]
    caption = f"Drop of {score.title} against size; the line joins the front."
    view = Front(column.header, drop, joined, ("bound", trials.max_drop))
    marks = [_mark(trials, trial, drop) for trial in trials.finished]
    footer = footer_of([trial.scale for trial in trials.finished])
    chart = front_chart(marks, [view], footer=footer, alt=caption)
    rows = [[each.number, each.measured.size, each.measured.drop] for each in trials.front()]
    table = csv_text(["trial", trials.size, f"drop of {trials.metric}"], rows)
    return save_figure(chart, folder, "front", table, caption).files


def _mark(trials: Trials, trial: Trial, drop: str) -> Mark:
    column = trials.size_column
    within = "within the bound" if trial.measured.keeps else "beyond the bound"
    params = ", ".join(f"{key}={text}" for key, text in _texts(trial.params).items())
    return Mark(
        row=str(trial.number),
        name=f"trial {trial.number}: {params}",
        group="no better than what needs no model" if trial.remark else within,
        text=str(trial.number),
        hollow=bool(trial.remark),
        costs={column.header: FORMATS[column.style].factor * trial.measured.size},
        scores={drop: trial.measured.drop},
    )
