"""How the tables and figures of the coded-speech paper are computed again."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from scripts.auditing.cells import times
from scripts.auditing.folders import Folder, opened, trained_weights
from scripts.auditing.joins import (
    final_rows,
    metric_of,
    model_of,
    one_kind,
    over_conditions,
    over_seeds,
    pipeline_of,
    size_of,
    split_unit,
    with_knobs,
)

_SIZES = {
    "Parameters": "params",
    "Non-zeros": "nonzero",
    "Sparsity of the weights": "sparsity",
    "fp32": "bytes_fp32",
    "File": "bytes_file",
    "MACs/s": "macs_per_second",
}
_FIELDS = {
    "Score": "metrics",
    "Half 95 % interval": "ci95",
    "Gain over coded": "gain",
    "Half 95 % interval of the gain": "gain_ci95",
    "SD over noise seeds": "z_std",
}


def _behind(folders: Sequence[Folder], name: str) -> tuple[list[Folder], str]:
    """Return the runs and the variant behind a system's name."""
    kind, _, told = name.partition(" (")
    post = kind.endswith(", post-training")
    model = {"DCAE_10": "dcae10"}.get(kind, "dcae")
    variant = "pruned" if kind.startswith("DCAE_pr") else "uncompressed"
    mine = [
        folder
        for folder in folders
        if model_of(folder) == model and final_rows(folder, "size", variant)
    ]
    if variant == "pruned":
        mine = [folder for folder in mine if pipeline_of(folder).startswith("p1_post") == post]
    return one_kind(with_knobs(mine, told.rstrip(")"))), variant


def _number(folder: Folder, variant: str, field: str, metric: str) -> float | None:
    return over_conditions(final_rows(folder, "score", variant), field, metric)


def models(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the table of models."""
    if row.get("Source") != "ours":
        return None
    title, factor = split_unit(column)
    if row["Model"] == "Coded input":
        mine, variant = _behind(folders, "DCAE")[0], "mixture"
    else:
        mine, variant = _behind(folders, row["Model"])
    if column == "Seeds":
        return float(len(mine)) or None
    return times(_of_title(folders, mine, variant, title), factor)


def _of_title(
    folders: Sequence[Folder], mine: Sequence[Folder], variant: str, title: str
) -> float | None:
    against = re.fullmatch(r"(Parameters|Non-zeros) against DCAE", title)
    if against:
        name = _SIZES[against[1]]
        base = over_seeds(
            _behind(folders, "DCAE")[0], lambda folder: size_of(folder, "uncompressed", name)
        )
        own = over_seeds(mine, lambda folder: size_of(folder, variant, name))
        return own / base - 1 if own is not None and base else None
    if title in _SIZES:
        return over_seeds(mine, lambda folder: size_of(folder, variant, _SIZES[title]))
    metric = metric_of(title)
    return (
        over_seeds(mine, lambda folder: _number(folder, variant, "metrics", metric))
        if metric
        else None
    )


def scores(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the table of scores."""
    mine, variant = _behind(folders, row["Model"])
    metric = metric_of(row["Metric"].removesuffix(" (dB)"))
    if column == "Seeds":
        return float(len(mine)) or None
    if column == "Coded input":
        return over_seeds(mine, lambda folder: _number(folder, "mixture", "metrics", metric))
    return (
        over_seeds(mine, lambda folder: _number(folder, variant, _FIELDS[column], metric))
        if column in _FIELDS
        else None
    )


def timing(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the table of pruning during and after training."""
    mine, variant = _behind(folders, row["Model"])
    title, factor = split_unit(column)
    gain = re.fullmatch(r"(.+) gain", title)
    if gain and metric_of(gain[1]):
        return times(
            over_seeds(mine, lambda folder: _number(folder, variant, "gain", metric_of(gain[1]))),
            factor,
        )
    if column == "Seeds":
        return float(len(mine)) or None
    return (
        times(_of_title(folders, mine, variant, title), factor)
        if title != "Epochs trained"
        else None
    )


def layers(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the table or figure of layers: weights, zeros and their shares."""
    if "Layer" not in row:
        return layer_figure(folders, row, column)
    name, _, what = column.rpartition(": ")
    return _layer(folders, name or "DCAE_pr", row["Layer"], what or column)


def layer_figure(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a cell of the figure of layers, which prints shares."""
    found = _layer(
        folders, row["model"], row["layer"], f"{column} (%)" if column != "weights" else "Weights"
    )
    return found if column == "weights" or found is None else found / 100


def _layer(folders: Sequence[Folder], system: str, layer: str, what: str) -> float | None:
    mine, variant = _behind(folders, system)
    if len(mine) != 1:
        return None
    loaded = opened(mine[0].path / final_rows(mine[0], "size", variant)[-1]["file"])
    found = {_short(name): value for name, value in trained_weights(loaded.model).items()}
    zeros = {name: int(np.sum(value == 0)) for name, value in found.items()}
    total = sum(value.size for value in found.values())
    known = {
        "Weights": found[layer].size,
        "Share of the weights (%)": 100 * found[layer].size / total,
        "sparsity (%)": 100 * zeros[layer] / found[layer].size,
        "share of all zeros (%)": 100 * zeros[layer] / max(1, sum(zeros.values())),
    }
    return float(known[what]) if what in known else None


def _short(name: str) -> str:
    match = re.search(r"(enc|dec)_blocks\.(\d+)\.", name)
    return f"{match[1]}{match[2]}" if match else name.removesuffix(".weight")


def schedule(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute the sparsity of a pruning during training, as the row of that pruning has it."""
    mine = _behind(folders, row["model"])[0]
    if column != "sparsity" or len(mine) != 1:
        return None
    found = [each for each in mine[0].of_kind("pruning") if str(each["epoch"]) == row["epoch"]]
    if not found:
        return None
    if row["layer"] == "total":
        return found[0]["total_sparsity"]
    return {_short(name): value for name, value in found[0]["sparsity_per_tensor"].items()}.get(
        row["layer"]
    )


RULES = {
    "p1_models": models,
    "p1_scores": scores,
    "p1_timing": timing,
    "p1_layers": layers,
    "p1_schedule": schedule,
}
