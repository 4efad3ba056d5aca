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
from audioprune.report.figures.chart import Chart
from audioprune.report.figures.drawing import Figure, save_figure
from audioprune.report.figures.theme import FAINT, WIDTH, key_of
from audioprune.report.figures.views import (
    Axis,
    beside,
    dots,
    offset,
    rule,
    sheet,
    stripes,
    view,
    whiskers,
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
    written += [path for figure in listening_figures(statistics, out) for path in figure.files]
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
    names = [f"{group} listeners" for group in groups]
    key, turns = key_of(names), ("items", *names)
    items = [
        {"x": row["condition"], "y": row["mean"], "name": "items", "told": _told(row, "item")}
        for row in rows["items"]
        if row["listeners"] == groups[0] and row["mean"] is not None
    ]
    means = [
        _interval(row, f"{row['listeners']} listeners") | {"x": row["condition"]}
        for row in rows["means"]
        if row["mean"] is not None
    ]
    layers = [
        stripes([(20, 40), (60, 80)]),
        beside([{"y": 10 + 20 * place, "text": grade} for place, grade in enumerate(GRADES)]),
        *(offset(each, turns) for each in dots(items, size=8, color=FAINT)),
        *(offset(each, turns) for each in (*whiskers(means, key), *dots(means, key))),
    ]
    turned = -35.0 if max(map(len, conditions)) > 7 else 0.0
    x = Axis("", names=tuple(conditions), angle=turned)
    y = Axis("MUSHRA score", 0, 100, ticks={20.0 * step: str(20 * step) for step in range(6)})
    drawn = view(x, y, layers, width=WIDTH - 88, height=180)
    caption = (
        f"{test['test'] or 'Listening test'}: mean scores with 95 % intervals over all ratings; "
        f"small dots: items"
    )
    table = csv_text(_HEADER, [[row.get(key) for key in _HEADER] for row in rows["means"]])
    told = "; ".join(
        f"{row['condition']} {_number(row['mean'])}"
        for row in rows["means"]
        if row["listeners"] == groups[0]
    )
    chart = Chart(sheet([drawn], _footer(test)), f"{caption}: {told}.")
    return save_figure(chart, folder, f"listening_means-{_slug(test)}", table, caption)


def _differences_figure(folder: Path, test: Row, rows: Sequence[Row]) -> Figure:
    """Draw paired differences as intervals around 0: over ratings, and over listeners."""
    groups = list(dict.fromkeys(row["listeners"] for row in rows))
    names = list(dict.fromkeys(map(_minus, rows)))
    series = {
        f"{group}, over {what}": (group, prefix)
        for group in groups
        for what, prefix in (("ratings", ""), ("listeners", "listener_"))
    }
    points = [
        _interval(row, name, prefix) | {"y": _minus(row)}
        for name, (group, prefix) in series.items()
        for row in rows
        if row["listeners"] == group and row[f"{prefix}mean"] is not None
    ]
    key = key_of(list(series))
    intervals = [*whiskers(points, key, flat=True), *dots(points, key)]
    layers = [rule(0, upright=True), *(offset(each, key.names, flat=True) for each in intervals)]
    x = Axis("Difference in MUSHRA score")
    y = Axis("", names=tuple(names))
    width = max(120.0, WIDTH - 5.0 * max(map(len, names)) - 15)
    drawn = view(x, y, layers, width=width, height=(12 + 10 * len(series)) * len(names))
    caption = f"{test['test'] or 'Listening test'}: paired differences with 95 % intervals"
    header = ("listeners", "first", "second", *_HEADER[2:])
    table = csv_text(header, [[row.get(key) for key in header] for row in rows])
    told = "; ".join(
        f"{_minus(row)} {_number(row['mean'])}" for row in rows if row["listeners"] == groups[0]
    )
    chart = Chart(sheet([drawn], _footer(test)), f"{caption}: {told}.")
    return save_figure(chart, folder, f"listening_differences-{_slug(test)}", table, caption)


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


def _interval(row: Row, name: str, prefix: str = "") -> dict[str, Any]:
    """Return the mean of a row with its interval; one without an interval is a dot alone."""
    mean, low, high = (row[f"{prefix}{end}"] for end in ("mean", "low", "high"))
    what = "difference" if "second" in row else "condition"
    told = f"{_told(row, what, prefix)}\n{name}"
    return {"x": mean, "y": mean, "low": low, "high": high, "name": name, "told": told}


def _told(row: Row, what: str, prefix: str = "") -> str:
    named = _minus(row) if what == "difference" else row[what]
    return f"{named}: {_number(row[f'{prefix}mean'])}"


def _footer(test: Row) -> str:
    return (
        f"{test['listeners']} listeners ({test['flagged']} flagged), {test['items']} items, "
        f"{test['ratings']} ratings"
    )


def _slug(test: Row) -> str:
    return re.sub(r"[^\w.-]+", "-", test["test"]) or "test"


def _number(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.1f}"
