"""How the tables and figures of the lottery paper are computed again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scripts.auditing.folders import Folder, facts, opened

_VERBS = {"trim": "trimming", "mask": "masking"}
Row = dict[str, Any]


def _lotteries(folders: Sequence[Folder]) -> list[tuple[Folder, Row]]:
    return [(folder, row) for folder in folders for row in folder.of_kind("lottery")]


def _words(row: Row) -> str:
    extra = "" if row.get("reset") == "rewind" else f", {row.get('reset')}"
    setting = (
        ""
        if (row.get("scaling"), row.get("counted")) == ("max", "weights")
        else f", {row.get('scaling')}, {row.get('counted')}"
    )
    return (
        f"{_VERBS.get(str(row.get('mode')), '')}, {row.get('scope')}, "
        f"{row.get('criterion')}{extra}{setting}"
    )


def _first(folder: Folder) -> Row:
    return next(row for row in folder.of_kind("lottery") if row["iteration"] == 0)


def _removed(folder: Folder, row: Row) -> float | None:
    """Return the share that is masked or taken out, counted in the ticket's file."""
    file = folder.path / row["file"]
    if row["mode"] == "trim":
        now, before = (
            facts(file).number("params"),
            facts(folder.path / _first(folder)["file"]).number("params"),
        )
        return 1 - now / before if now is not None and before else None
    loaded = opened(file)
    if loaded is None:
        return None
    if loaded.mask is None:
        return 0.0
    keeps = loaded.mask.state_dict().values()
    return 1 - sum(int(keep.sum()) for keep in keeps) / sum(keep.numel() for keep in keeps)


def results(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a number of a ticket in the long table."""
    found = [
        (folder, each) for folder, each in _lotteries(folders) if folder.path.name == row["run"]
    ]
    found = [
        (folder, each) for folder, each in found if str(each["iteration"]) == row["iteration"]
    ]
    return _of_ticket(*found[0], column) if len(found) == 1 else None


def _of_ticket(folder: Folder, ticket: Row, column: str) -> float | None:
    file = folder.path / ticket["file"]
    counted = {
        "params": "params",
        "params_nonzero": "nonzero",
        "bytes_file": "bytes_file",
        "flops_s": "flops_s",
    }
    if column in counted:
        return facts(file).number(counted[column])
    if column == "removed":
        return _removed(folder, ticket)
    if column == "multiplier":
        return ticket["test"] / _first(folder)["test"]
    if column == "disk":
        return 4 * (facts(file).number("params") or 0) or None
    return None


def lotteries(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a number of a kind of lottery: means over its runs."""
    found = [
        (folder, each)
        for folder, each in _lotteries(folders)
        if folder.label == row["Model"] and _words(each) == row["Lottery"]
    ]
    found = [(folder, each) for folder, each in found if each["dataset"] == row["Data"]]
    if not found:
        return None
    last = max(each["iteration"] for _, each in found)
    firsts, lasts = (
        [pair for pair in found if pair[1]["iteration"] == number] for number in (0, last)
    )
    rules: dict[str, Callable[[], float]] = {
        "Seeds": lambda: float(len({each["seed"] for _, each in found})),
        "Rounds": lambda: float(last),
        "Params at first": lambda: float(
            np.mean(
                [facts(folder.path / each["file"]).number("params") for folder, each in firsts]
            )
        ),
        "Params at last": lambda: float(
            np.mean([facts(folder.path / each["file"]).number("params") for folder, each in lasts])
        ),
        "Non-zeros at last": lambda: float(
            np.mean(
                [facts(folder.path / each["file"]).number("nonzero") for folder, each in lasts]
            )
        ),
        "Test error at first": lambda: float(np.mean([each["test"] for _, each in firsts])),
        "Multiplier at last": lambda: float(
            np.mean([each["test"] / _first(folder)["test"] for folder, each in lasts])
        ),
        "Trivial multiplier": lambda: float(
            np.mean([each["trivial"] / each["test"] for _, each in firsts])
        ),
    }
    return rules[column]() if column in rules else None


def costs(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a number of a smallest network."""
    mine = [
        (folder, each)
        for folder, each in _lotteries(folders)
        if folder.label == row["Model"] and str(each["seed"]) == row["Seed"]
    ]
    if row["Lottery"] == "unpruned":
        return None
    mine = [(folder, each) for folder, each in mine if _words(each) == row["Lottery"]]
    if len({folder.path for folder, _ in mine}) != 1:
        return None
    folder, ticket = max(mine, key=lambda pair: pair[1]["iteration"])
    names = {"Multiplier": "multiplier", "Params": "params", "Disk (B)": "disk"}
    if column in names:
        return _of_ticket(folder, ticket, names[column])
    factors = {
        "Removed weights (%)": ("removed", 100.0),
        "FLOP per s of audio (M)": ("flops_s", 1e-6),
    }
    if column not in factors:
        return None
    name, factor = factors[column]
    found = _of_ticket(folder, ticket, name)
    return None if found is None else factor * found


def curve(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a point of a curve over rounds, where all lotteries of its name entered it."""
    if column == "prune ratio":
        return (
            1 / (1 - float(row["removed (%)"]) / 100) if float(row["removed (%)"]) < 100 else None
        )
    match = re.fullmatch(r"(masking|trimming) \((local|global), (\w+)\)", row["line"])
    if not match or row["panel"] not in ("all ratios", ""):
        return None
    mode = {"masking": "mask", "trimming": "trim"}[match[1]]
    wanted = (mode, match[2], match[3])
    knobs = ("mode", "scope", "criterion")
    mine = [pair for pair in _lotteries(folders) if tuple(pair[1][key] for key in knobs) == wanted]
    mine = [
        (folder, each)
        for folder, each in mine
        if str(each["iteration"]) == row["round"] and each.get("reset") == "rewind"
    ]
    if not mine or len(mine) != int(row["runs"]):
        return None
    if column == "removed (%)":
        return 100 * float(np.mean([_removed(folder, each) for folder, each in mine]))
    found = [each["test"] / _first(folder)["test"] for folder, each in mine]
    known = {"mean": np.mean, "least": np.min, "largest": np.max}
    return float(known[column](found)) if column in known else None


def embedding(folders: Sequence[Folder], row: dict[str, str], column: str) -> float | None:
    """Compute a number of a ticket in the figure of machines."""
    keys = {
        "data": "dataset",
        "criterion": "criterion",
        "scope": "scope",
        "seed": "seed",
        "round": "iteration",
    }
    mine = [
        (folder, each)
        for folder, each in _lotteries(folders)
        if folder.label == row["model"] and each["mode"] == "trim"
    ]
    mine = [
        (folder, each)
        for folder, each in mine
        if all(str(each[key]) == row[name] for name, key in keys.items())
    ]
    return _of_ticket(*mine[0], column) if len(mine) == 1 else None


RULES = {
    "p3_results": results,
    "p3_lotteries": lotteries,
    "p3_costs": costs,
    "p3_fig2_masking": curve,
    "p3_fig5_embedding": embedding,
}
