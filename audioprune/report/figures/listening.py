"""Tables and figures of listening tests, drawn from rows of plain numbers.

``write_listening`` writes all of them. Where the rows come from, and what an interval is, is
written in audioprune.listening.statistics and audioprune.listening.scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.experiment.results import clean
from audioprune.files import write_json
from audioprune.report.figures.drawing import (
    COLORS,
    MARKERS,
    Figure,
    new_canvas,
    save_figure,
    styled,
)
from audioprune.report.tables import NOT_AVAILABLE, Column, Table, csv_text, write_table

Row = Mapping[str, Any]
GRADES = ("Bad", "Poor", "Fair", "Good", "Excellent")
_PLACE = (Column("test", "Test"), Column("listeners", "Listeners"))
_ESTIMATE = (
    Column("n", "n", "count"),
    Column("mean", "Mean", "score"),
    Column("sd", "SD", "score"),
    Column("low", "95 % low", "score"),
    Column("high", "95 % high", "score"),
)
_LISTENER = (
    Column("listener_n", "Listeners n", "count"),
    Column("listener_low", "Listeners low", "score"),
    Column("listener_high", "Listeners high", "score"),
)
_INTERVALS = (
    "Intervals are mean ± t × SD / sqrt(n), t the 0.975 quantile of Student's t with n - 1 "
    "degrees of freedom. Ratings of one listener "
    "depend on each other, so that the interval over all n ratings is too narrow; 'Listeners' "
    "gives the one over the listeners' means."
)
_SCREENING = (
    "Flagged after ITU-R BS.1534-3: hidden reference below 90 in more than 15 % of the items, "
    "or mid-range anchor (anchor70) above 90 in "
    "more than 15 % of them."
)


def write_listening(statistics: Mapping[str, Any], out: Path) -> list[Path]:
    """Write tables, figures and ``statistics.json`` of the ratings of one or more tests.

    Args:
        statistics: What ``audioprune.listening.statistics.statistics`` returns.
        out: Folder to write to.

    Raises:
        OutputError: The folder cannot be written.
    """
    written = [path for table in listening_tables(statistics) for path in write_table(table, out)]
    written += [
        path for figure in listening_figures(statistics, out) for path in (figure.png, figure.csv)
    ]
    return [*written, write_json(out / "statistics.json", clean(statistics))]


def listening_tables(statistics: Mapping[str, Any]) -> list[Table]:
    """Return the tables: pooled means, paired differences, post-screening, means per item."""
    means = Table(
        "listening_means",
        "Listening tests: mean scores, 0 (bad) to 100 (excellent)",
        (*_PLACE, Column("condition", "Condition"), *_ESTIMATE, *_LISTENER),
        tuple(statistics["means"]),
        (_INTERVALS, *_counts(statistics)),
    )
    differences = Table(
        "listening_differences",
        "Listening tests: paired differences within listener and item",
        (*_PLACE, Column("difference", "Difference"), *_ESTIMATE, *_LISTENER),
        tuple({**row, "difference": _minus(row)} for row in statistics["differences"]),
        (_INTERVALS,),
    )
    items = Table(
        "listening_items",
        "Listening tests: mean scores of each item",
        (*_PLACE, Column("item", "Item"), Column("condition", "Condition"), *_ESTIMATE),
        tuple(statistics["items"]),
    )
    return [means, differences, _screening_table(statistics), items]


def _screening_table(statistics: Mapping[str, Any]) -> Table:
    columns = (
        Column("test", "Test"),
        Column("listener", "Listener"),
        Column("items", "Items", "count"),
        Column("low_reference", "Reference below 90", "share"),
        Column("high_anchor", "Mid anchor above 90", "share"),
        Column("verdict", "Flagged"),
    )
    rows = tuple({**row, "verdict": row["reasons"] or "no"} for row in statistics["listeners"])
    return Table(
        "listening_screening",
        "Listening tests: post-screening of the listeners",
        columns,
        rows,
        (_SCREENING,),
    )


def _counts(statistics: Mapping[str, Any]) -> list[str]:
    told = [
        f"{row['test'] or 'test'}: {row['listeners']} listeners ({row['flagged']} flagged), "
        f"{row['items']} items, {row['ratings']} ratings."
        for row in statistics["tests"]
    ]
    if statistics["damaged"]:
        told.append(
            f"{len(statistics['damaged'])} damaged rows are left out: "
            f"{'; '.join(statistics['damaged'][:5])}"
        )
    if statistics["repeated"]:
        told.append(f"{statistics['repeated']} rows that repeat an earlier row are left out.")
    return told


def _minus(row: Row) -> str:
    return f"{row['first']} - {row['second']}"


def listening_figures(statistics: Mapping[str, Any], folder: Path) -> list[Figure]:
    """Draw for every test the mean scores, and the differences between its systems."""
    figures = []
    for test in statistics["tests"]:
        own = {
            key: [row for row in statistics[key] if row["test"] == test["test"]]
            for key in ("means", "items", "differences")
        }
        figures.append(_means_figure(folder, test, own))
        systems = [row for row in own["differences"] if not row["control"]]
        if systems:
            figures.append(_differences_figure(folder, test, systems))
    return figures


def _means_figure(folder: Path, test: Row, rows: Mapping[str, Sequence[Row]]) -> Figure:
    """Draw means with intervals over 0..100; grey dots are the items."""
    conditions = list(reversed(test["conditions"]))
    groups = list(dict.fromkeys(row["listeners"] for row in rows["means"]))
    with styled():
        canvas = new_canvas(1.6 + 0.85 * len(conditions), 3.6, _footer(test))
        ax = canvas.subplots()
        _draw_grades(ax)
        dots = [row for row in rows["items"] if row["listeners"] == groups[0]]
        places = [conditions.index(row["condition"]) - 0.28 for row in dots]
        ax.scatter(
            places, [row["mean"] for row in dots], s=9, color="#9a9a9a", label="items", zorder=2
        )
        for turn, group in enumerate(groups):
            own = [
                row
                for row in rows["means"]
                if row["listeners"] == group and row["mean"] is not None
            ]
            shift = 0.22 * (turn - (len(groups) - 1) / 2)
            _draw_intervals(
                ax,
                [conditions.index(row["condition"]) + shift for row in own],
                own,
                turn,
                f"{group} listeners",
            )
        ax.set_xticks(
            range(len(conditions)), conditions, rotation=20 if max(map(len, conditions)) > 7 else 0
        )
        ax.set_xlim(-0.6, len(conditions) - 0.4)
        ax.set_ylabel("MUSHRA score")
        canvas.legend(loc="outside upper right", ncols=len(groups) + 1, frameon=False)
        caption = (
            f"{test['test'] or 'Listening test'}: mean scores with 95 % intervals over all ratings"
        )
        table = csv_text(_HEADER, [[row.get(key) for key in _HEADER] for row in rows["means"]])
        told = "; ".join(
            f"{row['condition']} {_number(row['mean'])}"
            for row in rows["means"]
            if row["listeners"] == groups[0]
        )
        return save_figure(
            canvas, folder, f"listening_means-{_slug(test)}", table, caption, f"{caption}: {told}."
        )


def _differences_figure(folder: Path, test: Row, rows: Sequence[Row]) -> Figure:
    """Draw paired differences as intervals around 0: over ratings, and over listeners."""
    groups = list(dict.fromkeys(row["listeners"] for row in rows))
    names = list(dict.fromkeys(map(_minus, rows)))
    with styled():
        canvas = new_canvas(5.6, 1.0 + 0.55 * len(names), _footer(test))
        ax = canvas.subplots()
        ax.axvline(0, color="#555555", linewidth=1)
        series = [(group, prefix) for group in groups for prefix in ("", "listener_")]
        for turn, (group, prefix) in enumerate(series):
            own = [
                row
                for row in rows
                if row["listeners"] == group and row[f"{prefix}mean"] is not None
            ]
            places = [
                names.index(_minus(row)) + 0.16 * (turn - (len(series) - 1) / 2) for row in own
            ]
            what = "over listeners" if prefix else "over ratings"
            _draw_intervals(ax, places, own, turn, f"{group}, {what}", prefix, upright=False)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_xlabel("Difference in MUSHRA score")
        canvas.legend(loc="outside upper right", ncols=2, frameon=False)
        caption = f"{test['test'] or 'Listening test'}: paired differences with 95 % intervals"
        header = ("listeners", "first", "second", *_HEADER[2:])
        table = csv_text(header, [[row.get(key) for key in header] for row in rows])
        told = "; ".join(
            f"{_minus(row)} {_number(row['mean'])}"
            for row in rows
            if row["listeners"] == groups[0]
        )
        return save_figure(
            canvas,
            folder,
            f"listening_differences-{_slug(test)}",
            table,
            caption,
            f"{caption}: {told}.",
        )


_HEADER = (
    "listeners",
    "condition",
    "n",
    "mean",
    "sd",
    "low",
    "high",
    "listener_n",
    "listener_mean",
    "listener_low",
    "listener_high",
)


def _draw_grades(ax: Any) -> None:
    ax.set_ylim(0, 100)
    ax.set_yticks(range(0, 101, 20))
    for place, grade in enumerate(GRADES):
        ax.text(
            1.01,
            place / 5 + 0.1,
            grade,
            transform=ax.transAxes,
            va="center",
            fontsize=8,
            color="#555555",
        )
        if place % 2:
            ax.axhspan(20 * place, 20 * place + 20, color="#f3f5f8", zorder=0)


def _draw_intervals(
    ax: Any,
    places: Sequence[float],
    rows: Sequence[Row],
    turn: int,
    label: str,
    prefix: str = "",
    upright: bool = True,
) -> None:
    """Draw means with whiskers; one without an interval is a bare marker."""
    means = [row[f"{prefix}mean"] for row in rows]
    arms = [
        [
            0.0 if row[f"{prefix}{end}"] is None else abs(mean - row[f"{prefix}{end}"])
            for row, mean in zip(rows, means, strict=True)
        ]
        for end in ("low", "high")
    ]
    style = {
        "fmt": MARKERS[turn],
        "color": COLORS[turn],
        "capsize": 3,
        "label": label,
        "zorder": 3,
    }
    if upright:
        ax.errorbar(places, means, yerr=arms, **style)
    else:
        ax.errorbar(means, places, xerr=arms, **style)


def _footer(test: Row) -> str:
    return (
        f"{test['listeners']} listeners ({test['flagged']} flagged), {test['items']} items, "
        f"{test['ratings']} ratings"
    )


def _slug(test: Row) -> str:
    return re.sub(r"[^\w.-]+", "-", test["test"]) or "test"


def _number(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.1f}"
