"""Compute ``results.jsonl`` again, from model files, masks, logs and test signals."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scripts.auditing.cells import Cell, Recompute, ratio, times
from scripts.auditing.folders import Folder, facts, opened, trained_weights
from scripts.auditing.scores import DISTANCES, confusion, half_interval, values

SIZES = (
    "params",
    "nonzero",
    "sparsity",
    "bytes_fp32",
    "bytes_paper",
    "bytes_ideal",
    "bytes_file",
    "macs_per_second",
)
_NO_NUMBERS = ("seed", "key", "kind")


def row_cells(folder: Folder) -> Iterator[Cell]:
    """Yield every number of every row of a run."""
    for row in folder.rows:
        for key, number in _numbers(row):
            again = _rule(folder, row, key)
            yield Cell(f"{folder.path.name}/results.jsonl", str(row["key"]), key, number, again)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield (dotted key, number) of every number in a row; lists go by their places."""
    if isinstance(value, dict):
        for key, item in value.items():
            if path or key not in _NO_NUMBERS:
                yield from _numbers(item, f"{path}/{key}" if path else key)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _numbers(item, f"{path}/{place}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


def _rule(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    rules = {
        "size": _size,
        "score": _score,
        "lottery": _lottery,
        "iteration": _iteration,
        "train": _train,
        "groups": _groups,
        "trim": _trim,
        "weights": _weights,
    }
    made = rules.get(str(row["kind"]))
    return made(folder, row, key) if made else None


def _size(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    if key not in SIZES or not row.get("file"):
        return None
    return lambda: facts(folder.path / row["file"]).number(key)


def _score(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    kind, _, metric = key.partition("/")
    step = str(row["key"]).removesuffix(f"/{row['condition']}")
    file = _any_file(folder) if row["variant"] == "mixture" else folder.file_of(step)
    if file is None:
        return None
    if metric.partition("/")[0] in ("accuracy", "accuracy_macro") or kind in (
        "confusion",
        "accuracy_per_class",
    ):
        return partial(_of_confusion, folder, file, row, key)
    if kind in ("metrics", "std", "ci95", "gain", "gain_ci95"):
        return partial(_of_recordings, folder, file, row, kind, metric)
    return None


def _any_file(folder: Folder) -> Path | None:
    """Return any model file of a run: the unprocessed signals do not depend on it."""
    named = [folder.path / row["file"] for row in folder.of_kind("size") if row.get("file")]
    return next((file for file in named if file.exists()), None)


def _of_recordings(
    folder: Folder, file: Path, row: dict[str, Any], kind: str, metric: str
) -> float | None:
    which = "mixture" if row["variant"] == "mixture" else "model"
    found = values(folder, file, row["condition"], metric, which)
    if not found:
        return None
    if kind == "metrics":
        return float(np.mean(found))
    if kind == "std":
        return float(np.std(found, ddof=1)) if len(found) > 1 else None
    if kind == "ci95":
        return half_interval(found)
    before = values(folder, file, row["condition"], metric, "mixture")
    sign = -1 if metric in DISTANCES else 1
    gains = tuple(sign * (new - old) for new, old in zip(found, before, strict=True))
    return float(np.mean(gains)) if kind == "gain" else half_interval(gains)


def _of_confusion(folder: Folder, file: Path, row: dict[str, Any], key: str) -> float | None:
    counts = confusion(folder, file, row["condition"])
    if counts is None:
        return None
    parts = key.split("/")
    totals = counts.sum(axis=1)
    recalls = np.diag(counts)[totals > 0] / totals[totals > 0]
    if parts[0] == "confusion":
        return float(counts[int(parts[1]), int(parts[2])])
    if parts[0] == "accuracy_per_class":
        return float(counts[int(parts[1]), int(parts[1])] / totals[int(parts[1])])
    if parts[0] == "n_valid":
        return float(counts.sum())
    wanted = {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "accuracy_macro": float(np.mean(recalls)),
    }
    return wanted.get(parts[-1]) if parts[0] == "metrics" else None


def _lottery(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    file = folder.path / str(row.get("file"))
    rules: dict[str, Recompute] = {
        "params": lambda: facts(file).number("params"),
        "params_nonzero": lambda: facts(file).number("nonzero"),
        "bytes_file": lambda: facts(file).number("bytes_file"),
        "flops_s": lambda: facts(file).number("flops_s"),
        "disk": lambda: times(facts(file).number("params"), 4),
        "mask_sparsity": lambda: _masked_share(file),
        "multiplier": lambda: ratio(row.get("test"), _first(folder).get("test")),
    }
    return rules.get(key)


def _first(folder: Folder) -> dict[str, Any]:
    return next((row for row in folder.of_kind("lottery") if row.get("iteration") == 0), {})


def _masked_share(file: Path) -> float | None:
    loaded = opened(file)
    if loaded is None:
        return None
    if loaded.mask is None:
        return 0.0
    keeps = [keep.numpy() for keep in loaded.mask.state_dict().values()]
    return 1 - sum(int(keep.sum()) for keep in keeps) / sum(keep.size for keep in keeps)


def _iteration(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    file = _iteration_file(folder, str(row["key"]))
    if file is None or not file.exists():
        return None
    if key == "nonzero":
        return lambda: _kept(file)
    if key == "remaining_share":
        return lambda: ratio(_kept(file), facts(file).number("params"))
    match = re.fullmatch(r"density_per_tensor/(.+)", key)
    return partial(_density, file, match[1]) if match else None


def _iteration_file(folder: Folder, key: str) -> Path | None:
    """Return the file written after a pruning: of the same repetition, or named ``pruned``."""
    repetition = re.search(r"^(.*/\d+)/[^/]+$", key)
    steps = [str(row["key"]).removesuffix("/size") for row in folder.of_kind("size")]
    mine = [step for step in steps if repetition and step.startswith(f"{repetition[1]}/")]
    found = mine or ([] if repetition else [step for step in steps if step.startswith("pruned")])
    return folder.file_of(found[0]) if found else None


def _kept(file: Path) -> float | None:
    """Count what a mask keeps and all parameters outside it."""
    loaded = opened(file)
    if loaded is None or loaded.mask is None:
        return None
    keeps = loaded.mask.state_dict()
    outside = sum(
        value.numel() for name, value in loaded.model.named_parameters() if name not in keeps
    )
    return float(outside + sum(int(keep.sum()) for keep in keeps.values()))


def _density(file: Path, tensor: str) -> float | None:
    loaded = opened(file)
    if loaded is None or loaded.mask is None or tensor not in loaded.mask.state_dict():
        return None
    return float(loaded.mask.state_dict()[tensor].double().mean())


def _train(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    log = folder.path / "training" / str(row["key"]).replace("/", "-") / "log.jsonl"
    return partial(_of_log, log, row, key) if log.exists() else None


def _of_log(log: Path, row: dict[str, Any], key: str) -> float | None:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    monitored = f"valid_{row.get('monitor', 'loss')}"
    of_epoch = {line["epoch"]: line.get(monitored) for line in lines}
    known = {
        "epochs": lambda: float(lines[-1]["epoch"]),
        "steps": lambda: float(lines[-1]["steps"]),
        "best": lambda: of_epoch.get(row["best_epoch"]),
        "kept": lambda: of_epoch.get(row["kept_epoch"]),
        "f": lambda: lines[-1]["loss"],
    }
    return known[key]() if key in known else None


def _groups(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    file = folder.file_of("pruned")
    if file is None:
        return None
    if key == "filter_sparsity":
        return lambda: ratio(_zero_filters(file, row)[0], _zero_filters(file, row)[1])
    match = re.fullmatch(r"layers/(\d+)/(zero|filters)", key)
    if match:
        name, which = row["layers"][int(match[1])]["name"], 0 if match[2] == "zero" else 1
        return lambda: float(_filters_of(file, name)[which])
    return (lambda: float(_zero_filters(file, row)[1])) if key == "filters" else None


def _filters_of(file: Path, name: str) -> tuple[int, int]:
    """Count the zero filters and all filters of a weight tensor, filters on axis 0."""
    weight = dict(opened(file).model.named_parameters())[name].detach().numpy()
    alive = np.abs(weight).reshape(len(weight), -1).sum(axis=1) > 0
    return int((~alive).sum()), len(alive)


def _zero_filters(file: Path, row: dict[str, Any]) -> tuple[int, int]:
    found = [_filters_of(file, layer["name"]) for layer in row["layers"]]
    return sum(zero for zero, _ in found), sum(total for _, total in found)


def _trim(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    steps = {"params_before": "pruned", "params_after": "trimmed"}
    file = folder.file_of(steps[key]) if key in steps else None
    return (lambda: facts(file).number("params")) if file is not None else None


def _weights(folder: Folder, row: dict[str, Any], key: str) -> Recompute | None:
    file = folder.file_of("pruned") or folder.file_of("uncompressed")
    if file is None:
        return None
    kind, _, tensor = key.partition("/")
    return partial(_of_weights, file, kind, tensor)


def _of_weights(file: Path, kind: str, tensor: str) -> float | None:
    loaded = opened(file)
    if loaded is None:
        return None
    found = trained_weights(loaded.model)
    zeros = {name: float(np.mean(value == 0)) for name, value in found.items()}
    if kind == "weights_per_tensor":
        return float(found[tensor].size) if tensor in found else None
    if kind == "sparsity_per_tensor":
        return zeros.get(tensor)
    total = sum(value.size for value in found.values())
    whole = math.fsum(zeros[name] * found[name].size for name in found) / total
    return whole if kind == "total_sparsity" else None
