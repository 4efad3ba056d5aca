"""How the tables and figures of the scene paper are computed again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from scripts.auditing.folders import Folder, opened
from scripts.auditing.joins import (
    final_rows,
    one_kind,
    over_conditions,
    over_seeds,
    pipeline_of,
    published,
    size_of,
    split_unit,
    with_knobs,
)

_LAST = ("trimmed", "pruned", "projected", "uncompressed")


def _behind(folders: Sequence[Folder], label: str, name: str) -> list[Folder]:
    """Return the runs behind a name such as ``HSPG, p4_reach (reach=2.0)`` of a kind of model."""
    words, _, told = name.partition(" (")
    pipeline = words.rpartition(", ")[2]
    mine = [
        folder for folder in folders if folder.label == label and pipeline_of(folder) == pipeline
    ]
    return one_kind(with_knobs(mine, told.rstrip(")")))


def _split_title(folders: Sequence[Folder], title: str) -> tuple[str, str]:
    labels = sorted({folder.label for folder in folders if folder.label}, key=len, reverse=True)
    label = next((each for each in labels if title.startswith(f"{each} ")), "")
    return label, title[len(label) + 1 :]


def _last(folder: Folder) -> str:
    return next((variant for variant in _LAST if final_rows(folder, "size", variant)), "")


def _before(folder: Folder) -> str:
    return "pruned" if final_rows(folder, "size", "pruned") else _last(folder)


def _accuracy(folder: Folder, metric: str = "accuracy", variant: str = "") -> float | None:
    rows = final_rows(folder, "score", variant or _last(folder))
    return over_conditions(rows, "metrics", metric)


def _zero_filters(folder: Folder) -> float | None:
    """Return the share of filters without any weight in the file before trimming."""
    rows = folder.of_kind("groups")
    file = (
        folder.path / final_rows(folder, "size", "pruned")[-1]["file"]
        if final_rows(folder, "size", "pruned")
        else None
    )
    loaded = opened(file) if rows and file is not None else None
    if loaded is None:
        return None
    weights = dict(loaded.model.named_parameters())
    flat = [weights[layer["name"]].detach().numpy() for layer in rows[-1]["layers"]]
    dead = sum(int(np.sum(~weight.reshape(len(weight), -1).any(axis=1))) for weight in flat)
    return dead / sum(len(weight) for weight in flat)


def _sparse(folder: Folder) -> dict[str, Any]:
    return next((row for row in folder.of_kind("train") if row.get("method")), {})


def _mean(
    folders: Sequence[Folder],
    number: Callable[[Folder], float | None],
    factor: float = 1.0,
    std: bool = False,
) -> float | None:
    found = over_seeds(folders, number, std)
    return None if found is None else factor * found


def _published(number: int, name: str, family: str, what: str) -> float | None:
    found = [row for row in published("p4", f"table_{number}") if row["name"] == name]
    return (found[0].get(family) or {}).get(what) if len(found) == 1 else None


def table(
    folders: Sequence[Folder], row: dict[str, str], column: str, number: int = 3
) -> float | None:
    """Compute a cell of Table 3 or 4."""
    match = re.fullmatch(r"(\w+)( group sparsity)? \(%\)( std)?", column)
    if not match:
        return None
    if row["Source"] == "published":
        return _published(
            number,
            row["Row"],
            match[1],
            "std" if match[3] else "group_sparsity" if match[2] else "accuracy",
        )
    mine = _behind(folders, match[1].upper(), row["Row"])
    return _mean(mine, _zero_filters if match[2] else _accuracy, 100, bool(match[3]))


def sizes(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the table of sizes."""
    mine = _behind(folders, *_split_title(folders, row["Model"]))
    if column == "Seeds":
        return float(len(mine)) or None
    title, factor = split_unit(column)
    rules: dict[str, Callable[[Folder], float | None]] = {
        "Accuracy": _accuracy,
        "Accuracy per class": lambda folder: _accuracy(folder, "accuracy_macro"),
        "Zero filters": _zero_filters,
        "Params before": lambda folder: size_of(folder, _before(folder), "params"),
        "Params": lambda folder: size_of(folder, _last(folder), "params"),
        "MACs/s before": lambda folder: size_of(folder, _before(folder), "macs_per_second"),
        "MACs/s": lambda folder: size_of(folder, _last(folder), "macs_per_second"),
        "File": lambda folder: size_of(folder, _last(folder), "bytes_file"),
    }
    return _mean(mine, rules[title], factor) if title in rules else None


def optimizers(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the comparison of optimisers on networks."""
    if row["Problem"] == "toy":
        return None
    mine = _behind(folders, row["Problem"], row["Method"])
    if column == "Seeds":
        return float(len(mine)) or None
    if column == "Accuracy (%)" and row["State"] != "dense x":
        variant = "projected" if row["State"] == "projected" else ""
        return _mean(mine, partial(_accuracy, variant=variant), 100)
    if column.startswith("f") and column in ("f", "f of the last epoch"):
        return _mean(mine, _last_loss)
    return None


def _last_loss(folder: Folder) -> float | None:
    key = str(_sparse(folder).get("key") or "").replace("/", "-")
    log = folder.path / "training" / key / "log.jsonl"
    if not key or not log.exists():
        return None
    return json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["loss"]


def points(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a point of accuracy against sparsity or operations: one run."""
    mine = [
        folder
        for folder in _behind(folders, row["model"], row["row"])
        if str(folder.run["seed"]) == row["seed"]
    ]
    if len(mine) != 1:
        return None
    rules: dict[str, Callable[[], float | None]] = {
        "Test accuracy (%)": lambda: _mean(mine, _accuracy, 100),
        "Zero filters (%)": lambda: _mean(mine, _zero_filters, 100),
        "MACs per second of audio (M)": lambda: _mean(
            mine, lambda folder: size_of(folder, _last(folder), "macs_per_second"), 1e-6
        ),
    }
    return rules[column]() if column in rules else None


def confusion(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a count of the confusion matrix as the score rows have it, added up over runs."""
    mine = _behind(folders, *_split_title(folders, row["row"]))
    if column != "clips" or not mine:
        return None
    total = 0.0
    for folder in mine:
        for score in final_rows(folder, "score", _last(folder)):
            names = score["classes"]
            total += score["confusion"][names.index(row["true"])][names.index(row["predicted"])]
    return total


def layers(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Count a layer's zero filters in the file before trimming, of the smallest seed."""
    behind = _behind(folders, *_split_title(folders, row["row"]))
    mine = sorted(behind, key=lambda folder: folder.run["seed"])[:1]
    total = 0.0
    for folder in mine:
        sized, groups = final_rows(folder, "size", "pruned"), folder.of_kind("groups")
        loaded = opened(folder.path / sized[-1]["file"]) if sized and groups else None
        weights = dict(loaded.model.named_parameters()) if loaded is not None else {}
        names = [
            name
            for name in weights
            if name.startswith(f"{row['layer']}.") and weights[name].dim() > 1
        ]
        if len(names) != 1 or column not in ("zero", "filters"):
            return None
        flat = weights[names[0]].detach().numpy().reshape(len(weights[names[0]]), -1)
        total += float(np.sum(~flat.any(axis=1))) if column == "zero" else float(len(flat))
    return total if mine else None


RULES = {
    "p4_layers": layers,
    "p4_table3": table,
    "p4_table4": partial(table, number=4),
    "p4_sizes": sizes,
    "p4_optimizers": optimizers,
    "p4_accuracy_sparsity": points,
    "p4_accuracy_macs": points,
    "p4_confusion": confusion,
}
