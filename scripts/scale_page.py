"""Write docs/scale.md from the measurements in docs/scale/, and nothing else: ``page``.

A test compares the page with what this writes, so that no number is typed by hand.

    python scripts/scale_page.py
"""

# ruff: noqa: E501  # the prose has the width of the other pages

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.paper_size import experiments  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "scale"
PAGE = ROOT / "docs" / "scale.md"
LARGE = "large"
Row = Sequence[str]
Found = dict[str, Any]
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))

_TOP = """# At paper size

How long does an experiment of paper size take, on which machine, and what stops it? A rehearsal answers before the first day is
spent. All numbers below are written by `make scale` and `make gpu-check` from what they measured.

## A rehearsal

```
audioprune doctor experiment=p2/gcrn
audioprune prune experiment=p2/fdnn_desk runtime.rehearse=true
```

The experiment is built at its true size and every step of its pipeline runs on this device, each with few units: two training
steps, two validation items, three tensors of an analysis, one pass of a repetition, one scored item. What a unit took is multiplied
by the number of units that the step itself counts for the whole corpus. The table says what dominates, and `FAILS` names what would
stop the run: memory, disk, a missing package, a step that refuses its numbers. Any override counts, such as
`training.batch_size=4` or `runtime.device=cuda`; `format=json` prints the same for a program.

Corpora need not be there. Where paths are missing, made signals of the right length and rate stand in, and the counts are the
published ones (`audioprune/data/made/published.py` names their sources). With `data.root=...` the real corpus is read and counted.
Nothing is written but in a temporary folder; no row of a rehearsal is a result.

What it does not know: early stopping, iterations that end sooner and networks that shrink on the way, so that times are upper ones;
metrics are counted in one process; audio that is kept, and time to read files, are left out where signals are made. A batch whose
step would last longer than two seconds is cut to fewer items, and its time and memory are scaled.
"""

_PROOF = """## What the whole of each experiment would take on one CPU thread

Measured by `python scripts/paper_size.py`: the unchanged configuration of each experiment, {device}. Times of units are CPU times
of one thread, so that other work on the machine does not count. {missing}
"""

_EACH = """## Proof: whole pipelines at full width

The same runs as a proof that nothing breaks at this size: each ran all steps of its pipeline, a training two steps, a search on two
items, k-means on all weights, and files were packed, read back and scored.
CPU time and peak memory are those of the whole process. Memory that an experiment needs is scaled to its own batch.
"""

_LARGE = """## 300 million parameters

FDNN of width 12,180, pruned to 80 % by magnitude, quantised to 16 levels, packed, read back and scored in one process, which began
from its initial weights: {params:,} parameters, a file of {megabytes:.1f} MB, {cpu:.0f} s of CPU time, {peak:.2f} GB at its peak.
The weights alone are {weights:.2f} GB.
"""

_GPU = """## On a GPU

```
make gpu-check
```

One script, twelve minutes at most: parity of CPU and GPU for every network, throughput at paper size, two networks of full width
trained, pruned, packed and scored, and two processes where two devices are. Each result is on disk as it ends.
"""
_NO_GPU = """
No result of a GPU is here: no machine with one was at hand. The script runs on the CPU at tiny sizes in the tests; its tables take
this place once it has run on a device.
"""
_NO_GROWTH = """
Not measured yet.
"""


def page() -> str:
    """Return the text of docs/scale.md."""
    found = _read("paper_size.json") or {}
    large = found.pop(LARGE, None)
    parts = [_TOP]
    if found:
        parts += [_forecasts(found), _proofs(found), _detail(found)]
    if large:
        parts.append(_of_large(large))
    parts += [_GPU + _gpu(), _growth()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _read(name: str) -> Any:
    path = DATA / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _forecasts(found: dict[str, Found]) -> str:
    rows = []
    for name, each in found.items():
        step, unit, share = _dominating(each)
        needed = max(one["host_bytes"] for one in each["steps"])
        rows.append(
            [
                f"`{name}`",
                f"{each['params'] / 1e6:.2f} M",
                str(each["pipeline"]),
                f"{each['items'][0]:,}",
                duration(each["total_s"]),
                f"{step}: {unit} ({share:.0%})",
                f"{needed / 1e9:.1f} GB",
                f"{each['disk_bytes'] / 1e9:.2f} GB",
            ]
        )
    head = ["experiment", "parameters", "pipeline", "training items", "at most"]
    head += ["dominates", "memory", "disk"]
    left = [name for name in experiments() if name not in found]
    missing = f"Not run yet: {', '.join(left)}." if left else ""
    device = f"on {next(iter(found.values()))['device']}"
    device = "on the CPU" if device == "on cpu" else device
    text = _PROOF.format(device=device, missing=missing)
    return f"{text}\n{table(head, rows)}"


def _dominating(found: Found) -> tuple[str, str, float]:
    parts = [
        (step["passes"] * each["seconds"] * each["count"], step["path"], each["unit"])
        for step in found["steps"]
        for each in step["units"]
    ]
    seconds, path, unit = max(parts)
    return path, unit, seconds / max(1e-9, found["total_s"])


def _proofs(found: dict[str, Found]) -> str:
    rows = []
    for name, each in found.items():
        run = [step["path"].rpartition("/")[2] for step in each["steps"] if step["measured"]]
        batch, whole = each["batch"]
        rows.append(
            [
                f"`{name}`",
                ", ".join(dict.fromkeys(run)),
                f"{batch} of {whole}",
                f"{each['cpu_s']:.0f} s",
                f"{each['peak_gb']:.2f} GB",
                "; ".join(each["problems"]) or "none",
            ]
        )
    head = ["experiment", "steps that ran", "items of a batch", "CPU time", "peak"]
    head.append("what would stop it here")
    return f"{_EACH}\n{table(head, rows)}"


def _detail(found: dict[str, Found]) -> str:
    parts = ["## Step by step", "", "The table that `audioprune doctor experiment=NAME` prints."]
    for name, each in found.items():
        rows = []
        for step in each["steps"]:
            for unit in step["units"]:
                seconds = unit["seconds"] * unit["count"]
                rows.append(
                    [
                        step["path"],
                        str(step["passes"]),
                        unit["unit"],
                        f"{unit['seconds']:.3g} s",
                        f"{unit['count']:,.6g}",
                        duration(step["passes"] * seconds),
                    ]
                )
        head = ["step", "passes", "unit", "one takes", "units of a pass", "in all"]
        parts += ["", f"### {name}", "", table(head, rows).rstrip()]
    return "\n".join(parts) + "\n"


def _of_large(found: Found) -> str:
    return _LARGE.format(
        params=found["params"],
        megabytes=found["bytes_file"] / 1e6,
        cpu=found["cpu_s"],
        peak=found["peak_gb"],
        weights=4 * found["params"] / 1e9,
    )


def _gpu() -> str:
    path = DATA / "gpu_check.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    if not rows or rows[0]["tiny"] or rows[0]["device"] == "cpu":
        return _NO_GPU
    parts = [f"\nOn {rows[0]['device']} with torch {rows[0]['torch']}:\n"]
    parity = [row for row in rows if row["part"] == "parity"]
    if parity:
        checks = list(next((row["differences"] for row in parity if row["ok"]), {}))
        cells = [
            [row["name"], *(_difference(row, check) for check in checks), _state(row)]
            for row in parity
        ]
        parts.append(table(["network", *checks, "passed"], cells))
    speed = [row for row in rows if row["part"] == "throughput" and row["ok"]]
    if speed:
        cells = [
            [row["name"], precision, *_speed(each)]
            for row in speed
            for precision, each in row.items()
            if isinstance(each, dict)
        ]
        head = ["network", "precision", "audio s per s", "waiting", "device busy", "memory"]
        parts.append(table(head, cells))
    others = [row for row in rows[1:] if row["part"] not in ("parity", "throughput")]
    cells = [[row["part"], row["name"], _state(row), f"{row['seconds']} s"] for row in others]
    parts.append(table(["part", "network", "passed", "took"], cells))
    return "\n".join(parts)


def _difference(row: Found, check: str) -> str:
    value = row.get("differences", {}).get(check)
    return "-" if value is None else f"{value:.1e}"


def _state(row: Found) -> str:
    return {True: "yes", None: f"skipped: {row.get('skipped')}"}.get(
        row["ok"], row.get("error", "")
    )


def _speed(each: Found) -> list[str]:
    busy = "-" if each["busy"] is None else f"{each['busy']:.0%}"
    return [
        f"{each['audio_s_per_s']:.0f}",
        f"{each['waiting']:.1%}",
        busy,
        f"{each['peak_gb']} GB",
    ]


def _growth() -> str:
    """Return the table of cost as work grows, of docs/scale/growth.json.

    The file holds ``note`` and ``tables``: a list of ``title``, ``head`` and ``rows``.
    """
    found = _read("growth.json")
    title = "## Cost as work grows\n"
    if not found:
        return title + _NO_GROWTH
    parts = [title, found.get("note", ""), ""]
    for each in found["tables"]:
        rows = [[str(cell) for cell in row] for row in each["rows"]]
        parts += [f"**{each['title']}**", "", table(each["head"], rows)]
    return "\n".join(parts)


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return a table of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
