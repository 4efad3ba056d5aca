"""The trials of a sweep that looks for the smallest model: table, front, and the best of them.

``write_trials`` writes trials.csv, front.csv, front.png and front.svg; ``Trials.told`` is what the
terminal says below the table. What is printed as within the bound was measured so; where no
trial is, this is said.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from audioprune.experiment.results import UNCOMPRESSED
from audioprune.files import write_atomic
from audioprune.report.baselines import no_better
from audioprune.report.figures.drawing import (
    COLORS,
    footer_of,
    log_axis,
    new_canvas,
    save_figure,
    styled,
)
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


def _draw(folder: Path, trials: Trials) -> list[Path]:
    """Draw the drop against the size, with the front and the bound."""
    column, score = trials.size_column, trials.score_column
    factor, front = FORMATS[column.style].factor, trials.front()
    unit = "points" if FORMATS[score.style].unit == "%" else ""
    with styled():
        canvas = new_canvas(6.2, 3.8, footer_of([trial.scale for trial in trials.finished]))
        ax = canvas.subplots()
        _line(ax, [(factor * each.measured.size, each.measured.drop) for each in front])
        kinds = {
            "within the bound": (True, False, COLORS[0], "full"),
            "beyond the bound": (False, False, COLORS[1], "full"),
            "no better than what needs no model": (None, True, "#555555", "none"),
        }
        named: dict[tuple[float, float], list[str]] = {}
        for label, (keeps, marked, color, fill) in kinds.items():
            chosen = [
                trial
                for trial in trials.finished
                if bool(trial.remark) == marked and keeps in (None, trial.measured.keeps)
            ]
            for trial in chosen:
                place = (factor * trial.measured.size, trial.measured.drop)
                named.setdefault(place, []).append(str(trial.number))
                ax.plot(*place, "o", color=color, fillstyle=fill, label=label, markersize=6.5)
        for place, numbers in named.items():
            text = ", ".join(numbers)
            ax.annotate(text, place, (5, 5), textcoords="offset points", fontsize=8)
        ax.axhline(
            trials.max_drop, color="#555555", linestyle=(0, (4, 3)), linewidth=1.2, label="bound"
        )
        log_axis(ax)
        ax.margins(0.12)
        ax.set_xlabel(column.header)
        ax.set_ylabel(f"Drop of {score.title} ({unit})" if unit else f"Drop of {score.title}")
        handles, labels = ax.get_legend_handles_labels()
        each = dict(zip(labels, handles, strict=True))
        canvas.legend(each.values(), each.keys(), loc="outside upper center", ncols=2)
        caption = f"Drop of {score.title} against size; the line joins the front."
        rows = [[each.number, each.measured.size, each.measured.drop] for each in front]
        table = csv_text(["trial", trials.size, f"drop of {trials.metric}"], rows)
        figure = save_figure(canvas, folder, "front", table, caption, caption)
        return [figure.csv, figure.png, _save_svg(canvas, folder / "front.svg")]


def _line(ax: Any, points: Sequence[tuple[float, float]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    ax.plot(xs, ys, color="#999999", linewidth=1.2, zorder=1, label="front")


def _save_svg(canvas: Any, path: Path) -> Path:
    """Write the figure as SVG; the same figure gives the same bytes."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "audioprune"}):
        canvas.savefig(stream, format="svg", facecolor="white", metadata={"Date": None})
    return write_atomic(path, stream.getvalue())
