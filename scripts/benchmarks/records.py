"""How are benchmark rows kept and told? ``record``, ``read``, ``table``.

A record is one JSON document for each item: machine, versions, date, form, rows, profile. Rows
whose ratio became worse than the one that was recorded before by more than ``WORSE`` are marked.
It never measures.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from scripts.benchmarks.frame import ROOT, Item, Row, Run

FOLDER = ROOT / "docs" / "performance"
WORSE = 1.5
PACKAGES = ("torch", "numpy", "numba", "scipy")
Record = dict[str, Any]


def machine() -> dict[str, Any]:
    """Return what this machine is: processor, cores, system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    known = set(next((line for line in lines if line.startswith("flags")), "").split())
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in known]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "instructions": wide,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions(run: Run) -> dict[str, str]:
    """Return versions of what computes, and of the peers that took part."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {**found, **dict(sorted(run.versions.items()))}


def before(name: str, root: Path = ROOT) -> Record | None:
    """Return the committed record of an item; outside a repository the one that lies there."""
    place = f"docs/performance/{name}.json"
    done = subprocess.run(
        ["git", "show", f"HEAD:{place}"], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    file = root / place
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def mark(rows: Iterable[Row], old: Record | None) -> None:
    """Set ``was`` on rows whose ratio became worse by more than ``WORSE``."""
    known = {(each["name"], each.get("peer", "")): each for each in (old or {}).get("rows", [])}
    for row in rows:
        found = known.get((row.name, row.peer), {}).get("ratio")
        if found and row.ratio:
            times = row.ratio / found if row.cost else found / row.ratio
            row.was = found if times > WORSE else None


def record(item: Item, run: Run, rows: Sequence[Row], seconds: float) -> Record:
    """Return the JSON document of one item."""
    return {
        "title": item.title,
        "about": item.about,
        "why": item.why,
        "order": item.order,
        "form": "quick" if run.quick else "full",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(run),
        "missing": run.missing,
        "seconds": round(seconds, 1),
        "rows": [row.said() for row in rows],
        "profile": {
            title: {part: float(f"{value:.4g}") for part, value in parts.items()}
            for title, parts in run.shares.items()
        },
    }


def read(folder: Path = FOLDER) -> dict[str, Record]:
    """Return every record by its item, in the order of the page."""
    found = {
        each.stem: json.loads(each.read_text(encoding="utf-8"))
        for each in sorted(folder.glob("*.json"))
    }
    return dict(sorted(found.items(), key=lambda pair: (pair[1].get("order", 50), pair[0])))


def number(value: float | None) -> str:
    """Return a number with about three digits."""
    if value is None:
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 or not size else f"{value:.3g}"


def distance(row: Record) -> str:
    """Return what a goal is and whether it is met, and else by how much it is missed."""
    goal = row.get("goal")
    if not goal:
        return ""
    found = row["ours"] if goal["of"] == "ours" else row["ratio"]
    bound = f"{'at most' if goal['most'] else 'at least'} {number(goal['value'])}"
    if row["met"]:
        return f"{bound}: met"
    missed = found / goal["value"]
    kept = missed <= 1 if goal["most"] else missed >= 1
    if kept:
        return f"{bound}: not met, other work"
    return f"{bound}: missed, {missed:.3g} of it"


HEAD = ("what", "against", "ours", "peer", "ratio", "spread", "clock", "goal", "note")


def cells(row: Record) -> list[str]:
    """Return the cells of a row of JSON."""
    spread = f"{number(row['low'])} - {number(row['high'])}" if "low" in row else ""
    ratio = number(row.get("ratio"))
    if ratio and not row.get("cost"):
        ratio += "x"
    if "was" in row:
        ratio += f" (WORSE, was {number(row['was'])})"
    theirs = f"{number(row['theirs'])} {row['unit']}" if "theirs" in row else ""
    return [
        row["name"],
        row.get("peer", ""),
        f"{number(row['ours'])} {row['unit']}",
        theirs,
        ratio,
        spread,
        number(row.get("wall")),
        distance(row),
        row.get("note", ""),
    ]


def table(rows: Sequence[Record]) -> str:
    """Return rows as a table in Markdown; columns that say nothing are left out."""
    found = [cells(row) for row in rows]
    kept = [i for i in range(len(HEAD)) if any(each[i] for each in found)]
    lines = [[HEAD[i] for i in kept], ["---"] * len(kept)]
    lines += [[each[i] for i in kept] for each in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
