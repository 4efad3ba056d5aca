"""How the tables and figures of the enhancement paper are computed again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scripts.auditing.cells import ratio, times
from scripts.auditing.folders import Folder
from scripts.auditing.joins import (
    final_rows,
    metric_of,
    model_of,
    one_kind,
    over_conditions,
    over_seeds,
    pipeline_of,
    published,
    size_of,
    split_unit,
    with_knobs,
)

_VARIANTS = {
    "U": "uncompressed",
    "P": "pruned",
    "C": "compressed",
    "C-SP": "compressed",
    "B": "baseline",
}
_SIZES = {
    "Storage": "bytes_paper",
    "fp32": "bytes_fp32",
    "Ideal": "bytes_ideal",
    "File": "bytes_file",
    "Non-zeros": "nonzero",
    "# Param.": "nonzero",
    "with zeros": "params",
    "MACs/s": "macs_per_second",
}


def _structured(folder: Folder) -> bool:
    return "structured" in pipeline_of(folder) and "unstructured" not in pipeline_of(folder)


def _behind(folders: Sequence[Folder], row: dict[str, str]) -> tuple[list[Folder], str]:
    """Return the runs and the variant behind a row of a table."""
    if row["Model"] == "Mixture":
        return [folder for folder in folders if final_rows(folder, "score", "mixture")], "mixture"
    family, _, letter = row["Model"].partition("_")
    variant = _VARIANTS.get(letter, "")
    mine = [
        folder
        for folder in folders
        if model_of(folder) == family.lower() and final_rows(folder, "size", variant)
    ]
    if letter != "U":
        mine = [folder for folder in mine if _structured(folder) == letter.endswith("SP")]
    told = ", ".join(
        f"{key}={value}"
        for key, value in row.items()
        if re.fullmatch(r"\w+(\.\w+)+", key or "") and value not in ("-", "")
    )
    if row.get("pipeline", "-") not in ("-", ""):
        mine = [folder for folder in mine if pipeline_of(folder) == row["pipeline"]]
    return one_kind(with_knobs(mine, told)), variant


def table(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of Table 1 or 2 of our rows."""
    if row.get("Source") == "published":
        return _published(row, column)
    if row.get("Source") == "ours - published":
        ours = table(folders, {**row, "Source": "ours"}, column)
        theirs = _published(row, column)
        return ours - theirs if ours is not None and theirs is not None else None
    mine, variant = _behind(folders, row)
    if variant == "mixture":
        return _mixture(mine, column)
    if column == "Seeds":
        return float(len(mine)) or None
    title, factor = split_unit(column)
    score = re.fullmatch(r"(.+) (-?[\d.]+) dB", title)
    if score:
        found = over_seeds(mine, lambda folder: _score(folder, variant, score[1], float(score[2])))
    elif title == "CR":
        found = over_seeds(mine, lambda folder: _rate(folder, variant))
    elif title == "per non-zero":
        found = over_seeds(
            mine,
            lambda folder: times(
                ratio(
                    size_of(folder, variant, "bytes_paper"), size_of(folder, variant, "nonzero")
                ),
                8,
            ),
        )
    else:
        found = (
            over_seeds(mine, lambda folder: size_of(folder, variant, _SIZES[title]))
            if title in _SIZES
            else None
        )
    return None if found is None else factor * found


def _published(row: dict[str, str], column: str) -> float | None:
    """Return a published cell; the name of the row tells the table, for no name has two values."""
    score = re.fullmatch(r"(.+) (-?[\d.]+) dB", split_unit(column)[0])
    place = (-5.0, 0.0, 5.0).index(float(score[2])) if score else 0
    for printed in published("p2", "table_1", "table_2"):
        if printed["name"] == row["Model"]:
            known = {
                "Storage (MB)": printed.get("storage_mb"),
                "# Param. (M)": printed.get("params_millions"),
            }
            known |= {"CR": printed.get("compression_rate")}
            if score:
                return printed["stoi_percent" if score[1] == "STOI" else "pesq"][place]
            if known.get(column) is not None:
                return known[column]
    return None


def _mixture(folders: Sequence[Folder], column: str) -> float | None:
    """Return a score of the unprocessed signals, where all runs heard the same."""
    title, factor = split_unit(column)
    score = re.fullmatch(r"(.+) (-?[\d.]+) dB", title)
    if not score:
        return None
    found = {_score(folder, "mixture", score[1], float(score[2])) for folder in folders}
    return factor * found.pop() if len(found) == 1 and None not in found else None


def _score(folder: Folder, variant: str, title: str, snr: float) -> float | None:
    metric = metric_of(title)
    rows = [row for row in final_rows(folder, "score", variant) if row.get("snr_db") == snr]
    return over_conditions(rows, "metrics", metric) if metric else None


def _rate(folder: Folder, variant: str) -> float | None:
    return ratio(
        size_of(folder, "uncompressed", "bytes_fp32"), size_of(folder, variant, "bytes_paper")
    )


def remaining(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute the share of parameters left after an iteration."""
    name, _, told = row["line"].partition(" (")
    mine = [folder for folder in folders if folder.label == name and folder.of_kind("iteration")]
    mine = [
        folder
        for folder in with_knobs(mine, told.rstrip(")"))
        if not _structured(folder) or "panel" not in row or not row["panel"]
    ]
    mine, step = one_kind(mine), int(float(row["x"]))
    if column == "seeds":
        return float(len(mine)) or None
    if column not in ("mean", "std") or not mine:
        return None
    return (
        100.0
        if step == 0 and column == "mean"
        else times(over_seeds(mine, lambda folder: _left(folder, step), column == "std"), 100)
    )


def _left(folder: Folder, step: int) -> float | None:
    found = [
        row["remaining_share"]
        for row in folder.of_kind("iteration")
        if row.get("iteration") == step
    ]
    return found[-1] if found else None


def scores(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a point of the scores over iterations."""
    if not row["x"]:  # the level of the unprocessed signals, which no iteration changes
        return None
    name, _, told = row["line"].partition(" (")
    regularised = "without" not in row["panel"]
    mine = [
        folder
        for folder in folders
        if folder.label == name and folder.of_kind("iteration") and not _structured(folder)
    ]
    mine = [
        folder
        for folder in with_knobs(mine, told.rstrip(")"))
        if _regularised(folder) == regularised
    ]
    mine, step = one_kind(mine), int(float(row["x"]))
    if column == "seeds":
        return float(len(mine)) or None
    title = row["panel"].partition(") ")[2].partition(",")[0]
    if column not in ("mean", "std") or metric_of(title) is None:
        return None
    factor = 100.0 if title in ("STOI", "ESTOI") else 1.0
    found = over_seeds(mine, lambda folder: _of_iteration(folder, step, title), column == "std")
    return None if found is None else factor * found


def _regularised(folder: Folder) -> bool:
    pipeline = folder.run["config"]["pipeline"]
    return any(float(pipeline.get(key) or 0) > 0 for key in ("lambda_1", "lambda_2"))


def _of_iteration(folder: Folder, step: int, title: str) -> float | None:
    """Return a score at -5 dB, or the lowest SNR; iteration 0 is the uncompressed model."""
    rows = [
        row
        for row in folder.of_kind("score")
        if row["variant"] == ("pruned" if step else "uncompressed")
    ]
    if step:
        rows = [row for row in rows if re.search(rf"(?:^|/){step - 1}/", str(row["key"]))]
    known = sorted(
        {row["snr_db"] for row in folder.of_kind("score") if row.get("snr_db") is not None}
    )
    snr = -5.0 if -5.0 in known else known[0]
    return over_conditions(
        [row for row in rows if row["snr_db"] == snr], "metrics", metric_of(title) or ""
    )


RULES = {
    "p2_figure3": scores,
    "p2_table1": table,
    "p2_table2": table,
    "p2_figure2": remaining,
    "remaining": remaining,
}
