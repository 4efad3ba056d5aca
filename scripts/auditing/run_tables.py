"""Compute the tables of a run folder again: quantization, schedule, groups, weight summary."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from scripts.auditing.cells import Cell, Recompute, number_of
from scripts.auditing.folders import Folder, opened


def run_table_cells(folder: Folder) -> Iterator[Cell]:
    """Yield every number of the tables that a run wrote beside its rows."""
    for file in sorted(folder.path.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            name = next(iter(row.values()))
            for column, text in row.items():
                number = number_of(text or "")
                if number is not None:
                    yield Cell(
                        f"{folder.path.name}/{file.name}",
                        name,
                        column,
                        number,
                        _rule(folder, file.name, row, column),
                        1e-5,
                    )


def _rule(folder: Folder, file: str, row: dict[str, str], column: str) -> Recompute | None:
    if file == "quantization.csv" and row.get("chosen") == "True":
        return partial(_quantised, folder.path / "model.apz", row["tensor"], column)
    if file == "weights_summary.csv":
        return partial(_summary, folder.file_of("pruned"), row["Name"], column)
    if file == "schedule.csv" and column != "epoch":
        return partial(_schedule, folder, row, column)
    return None


def _quantised(file: Path, tensor: str, column: str) -> float | None:
    """Return the levels that a packed file really holds of a tensor, and the bits of a code."""
    loaded = opened(file)
    if loaded is None or not loaded.codebooks or tensor not in loaded.codebooks:
        return None
    form = loaded.codebooks[tensor]
    if form.has_zero:  # a uniform grid: its size is that of its codes, used or not
        sizes = {"levels": form.levels, "bits": math.ceil(math.log2(form.levels))}
        known = {**sizes, "kept": form.codes.numel()}
        return float(known[column]) if column in known else None
    values = loaded.model.state_dict()[tensor].numpy()
    mask = loaded.mask.state_dict().get(tensor) if loaded.mask is not None else None
    kept = values[mask.numpy()] if mask is not None else values[values != 0]
    levels = len(np.unique(kept))
    known = {"levels": levels, "bits": math.log2(levels) if levels else 0.0, "kept": kept.size}
    return float(known[column]) if column in known else None


def _summary(file: Path | None, name: str, column: str) -> float | None:
    loaded = opened(file) if file is not None else None
    weight = loaded.model.state_dict().get(name) if loaded is not None else None
    if weight is None:
        return None
    values = weight.numpy().astype(np.float64)
    known = {
        "NNZ (dense)": values.size,
        "NNZ (sparse)": np.count_nonzero(values),
        "Fine (%)": 100 * np.mean(values == 0),
        "Mean": values.mean(),
        "Std": values.std(ddof=1) if values.size > 1 else None,
        "Abs-Mean": np.abs(values).mean(),
    }
    found = known.get(column)
    return None if found is None else float(found)


def _schedule(folder: Folder, row: dict[str, str], column: str) -> float | None:
    """Return the sparsity after the last pruning, whose masks the pruned file still obeys."""
    rows = folder.of_kind("pruning")
    if not rows or int(row["epoch"]) != max(int(each["epoch"]) for each in rows):
        return None
    file = folder.file_of("pruned")
    loaded = opened(file) if file is not None else None
    if loaded is None or loaded.mask is None:
        return None
    keeps = loaded.mask.state_dict()
    if column == "total":
        return 1 - sum(int(keep.sum()) for keep in keeps.values()) / sum(
            keep.numel() for keep in keeps.values()
        )
    return 1 - float(keeps[column].double().mean()) if column in keeps else None
