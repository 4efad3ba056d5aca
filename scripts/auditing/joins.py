"""Join the numbers of several runs: the runs behind a name, means over conditions and seeds."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from scripts.auditing.folders import Folder, facts

METRICS = {
    "STOI": "stoi",
    "ESTOI": "estoi",
    "PESQ (raw NB)": "pesq_raw_nb",
    "PESQ (NB)": "pesq_nb",
    "PESQ (WB)": "pesq_wb",
    "SI-SDR": "si_sdr",
    "L1": "l1",
    "LSD": "lsd",
}
UNITS = {"%": 100.0, "M": 1e-6, "MB": 2.0**-20}
_REPEATED = re.compile(r"(?:^|/)\d+/")


def split_unit(column: str) -> tuple[str, float]:
    """Return a column's title without its unit, and the factor from stored to printed numbers."""
    match = re.fullmatch(r"(.*?) \(([^()]*)\)", column)
    if not match or column in METRICS:
        return column, 1.0
    known = match[2] in (*UNITS, "dB", "ms", "bit", "B")
    return (match[1], UNITS.get(match[2], 1.0)) if known else (column, 1.0)


def metric_of(title: str) -> str | None:
    """Return the stored name of a metric by its printed title."""
    return METRICS.get(title)


def leaf_values(config: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return a configuration's printed values by the last part of their keys, without steps."""
    found: dict[str, set[str]] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key != "steps":
            for name, texts in leaf_values(value).items():
                found.setdefault(name, set()).update(texts)
        else:
            found.setdefault(key, set()).add(str(value))
    if "budget" in found:  # what older runs call the reach of a regulariser
        found.setdefault("reach", set()).update(found["budget"])
    return found


def with_knobs(folders: Iterable[Folder], words: str) -> list[Folder]:
    """Keep the runs with the values in a name, such as ``max_drop=2.0, lambda_1=1``."""
    wanted = [part.split("=", 1) for part in words.split(", ") if "=" in part]
    known = [(folder, leaf_values(folder.run["config"])) for folder in folders]
    return [
        folder
        for folder, leaves in known
        if all(value in leaves.get(key.rpartition(".")[2], ()) for key, value in wanted)
    ]


def one_kind(folders: Sequence[Folder]) -> list[Folder]:
    """Return runs that differ by their seed alone, or none where others are among them."""

    def sort_of(folder: Folder) -> str:
        config = {
            key: value
            for key, value in folder.run["config"].items()
            if key not in ("seed", "checkpoint")
        }
        return repr(sorted(config.items(), key=lambda item: item[0]))

    seeds = [folder.run["seed"] for folder in folders]
    alike = len({sort_of(folder) for folder in folders}) == 1 and len(set(seeds)) == len(seeds)
    return list(folders) if alike else []


def final_rows(folder: Folder, kind: str, variant: str) -> list[dict[str, Any]]:
    """Return the rows of a variant that were measured outside repetitions."""
    return [
        row
        for row in folder.of_kind(kind)
        if row.get("variant") == variant and not _REPEATED.search(str(row["key"]))
    ]


def over_conditions(rows: Iterable[Mapping[str, Any]], field: str, metric: str) -> float | None:
    """Return the mean of a field of score rows over their conditions."""
    found = [row.get(field, {}).get(metric) for row in rows]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def over_seeds(
    folders: Sequence[Folder], number: Callable[[Folder], float | None], std: bool = False
) -> float | None:
    """Return mean or sample deviation over runs; None where a run lacks the number."""
    found = [number(folder) for folder in folders]
    if not found or any(value is None for value in found):
        return None
    if std:
        return float(np.std(found, ddof=1)) if len(found) > 1 else None
    return float(np.mean(found))


def size_of(folder: Folder, variant: str, name: str) -> float | None:
    """Return a count of the file that a variant's size row names."""
    rows = final_rows(folder, "size", variant)
    return (
        facts(folder.path / rows[-1]["file"]).number(name)
        if rows and rows[-1].get("file")
        else None
    )


def model_of(folder: Folder) -> str:
    """Return the name of a run's model."""
    return str(folder.run.get("model") or "")


def pipeline_of(folder: Folder) -> str:
    """Return the name of a run's pipeline."""
    return str(folder.run.get("pipeline") or "")


@functools.lru_cache(maxsize=8)
def _reported(paper: str) -> dict[str, Any]:
    file = Path(__file__).resolve().parents[2] / "conf" / "reported" / f"{paper}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def published(paper: str, *tables: str) -> list[dict[str, Any]]:
    """Return the published rows of some tables of a paper."""
    return [row for table in tables for row in _reported(paper)[table]["rows"]]
