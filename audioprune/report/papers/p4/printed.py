"""What the printed cells of Chen's Tables 3 and 4 say in one sentence: gains, rises, sparsities.

Accuracies and sparsities are in percent, as printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audioprune.report.published import Published

Row = Mapping[str, Any]
"""One row of a printed table: its name, its lambda, and a cell for each kind of network."""


def published_gains(reported: Published) -> str:
    """Say by how many points networks of the larger lambda are more accurate than the baseline."""
    tables = [published_rows(reported, key) for key in ("table_3", "table_4")]
    told = []
    for family in reported["models"]:
        gains = [cell(sparse[0], family) - cell(base, family) for base, sparse in tables]
        told.append(f"{family} {' / '.join(f'{gain:+.2f}' for gain in gains)}")
    lmbda = tables[0][1][0]["lmbda"]
    return (
        f"{', '.join(told)} points ({reported['table_3']['corpus']} / "
        f"{reported['table_4']['corpus']}, lambda {lmbda:g})"
    )


def published_differences(reported: Published) -> str:
    """Say by how many points the accuracy rises from the smaller lambda to the larger one."""
    tables = [published_rows(reported, key)[1] for key in ("table_3", "table_4")]
    rises = [
        cell(sparse[0], name) - cell(sparse[-1], name)
        for sparse in tables
        for name in reported["models"]
    ]
    rising = sum(rise > 0 for rise in rises)
    return (
        f"two lambdas: {rising} of {len(rises)} cells, {min(rises):.2f} to {max(rises):.2f} points"
    )


def published_sparsities(reported: Published) -> dict[float, tuple[float, float]]:
    """Return the least and the largest printed group sparsity of every lambda, in percent."""
    found: dict[float, list[float]] = {}
    for key in ("table_3", "table_4"):
        for row in published_rows(reported, key)[1]:
            cells = [row[name]["group_sparsity"] for name in reported["models"] if name in row]
            found.setdefault(row["lmbda"], []).extend(cells)
    return {lmbda: (min(cells), max(cells)) for lmbda, cells in found.items()}


def published_rows(reported: Published, key: str) -> tuple[Row, list[Row]]:
    """Return the baseline and the sparse rows of a printed table, the larger lambda first."""
    rows = reported[key]["rows"]
    base = next(row for row in rows if row["name"] == "Baseline")
    return base, sorted((row for row in rows if "lmbda" in row), key=lambda row: -row["lmbda"])


def cell(row: Row, family: str) -> float:
    """Return the printed accuracy of a kind of network."""
    return float(row[family]["accuracy"])
