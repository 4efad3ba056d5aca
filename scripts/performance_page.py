"""Write docs/performance.md from the records in docs/performance/, and nothing else: ``page``.

A test compares the page with what this writes, so that no number is typed by hand.

    python scripts/performance_page.py
"""

# ruff: noqa: E501  # the prose has the width of the other pages

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.benchmarks.frame import ROOT  # noqa: E402
from scripts.benchmarks.records import (  # noqa: E402
    FOLDER,
    WORSE,
    Record,
    cells,
    distance,
    number,
    read,
    table,
)

PAGE = ROOT / "docs" / "performance.md"

_TOP = f"""# Performance

How fast is it beside other packages, and what is still slow? `make bench` measures every item in its quick form in under ten
minutes, `make bench-full` all sizes; both write this page from what they measured, and nothing here is typed by hand. The peers
come with `pip install -e ".[bench]"`; one that is not installed is left out and said. `python scripts/bench.py kmeans --dry` measures
one item and records nothing.

Ours and each peer take turns in one process on one thread, unless a row says otherwise, and every pair is checked to have done the
same work. Times are medians of CPU seconds of the process, so that other jobs on the machine count little; `spread` is the least and
the largest ratio of all turns, `clock` the ratio by the clock. A ratio with an `x` says how many times as fast ours is (more is
better); one without is our number over the peer's (less is better). A ratio that became worse by more than {WORSE} times against the
committed record is marked `WORSE`. Weights and audio are made or briefly trained on made audio, so that only costs mean
something.
"""


def page(folder: Path = FOLDER) -> str:
    """Return the text of docs/performance.md."""
    found = read(folder)
    parts = [_TOP, _goals(found), *(_item(each) for each in found.values())]
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def _goals(found: dict[str, Record]) -> str:
    """Count goals, and list those that are missed."""
    rows = [(each, row) for each in found.values() for row in each["rows"] if "goal" in row]
    missed = [(each, row) for each, row in rows if not row["met"]]
    lines = [
        f"## Goals\n\n{len(rows) - len(missed)} of {len(rows)} are met."
        + (" The others, with the reason in their section:" if missed else "")
    ]
    if missed:
        lines.append("\n| item | what | against | found | goal |\n| --- | --- | --- | --- | --- |")
    for each, row in missed:
        value = row["ours"] if row["goal"]["of"] == "ours" else row["ratio"]
        words = (each["title"], row["name"], row.get("peer", ""), number(value), distance(row))
        lines.append(f"| {' | '.join(words)} |")
    worse = [cells(row)[:5] for each in found.values() for row in each["rows"] if "was" in row]
    if worse:
        lines.append(
            "\nWorse than before: " + "; ".join(f"{a} ({b}): {e}" for a, b, _, _, e in worse)
        )
    return "\n".join(lines)


def _item(each: Record) -> str:
    machine = each["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
    wide = f" ({', '.join(machine['instructions'])})" if machine["instructions"] else ""
    text = [
        f"## {each['title']}",
        each["about"],
        table(each["rows"]),
        f"Measured {each['date']} in the {each['form']} form on {machine['cpu']}{wide}, {machine['cores']} cores, "
        f"Python {machine['python']}; {versions}."
        + (f" Not installed: {', '.join(each['missing'])}." if each["missing"] else ""),
    ]
    for title, parts in each["profile"].items():
        whole = max(parts.values())
        told = ", ".join(f"{part} {1e3 * s:.3g} ms ({s / whole:.0%})" for part, s in parts.items())
        text.append(f"Profile, {title}: {told}.")
    if each["why"]:
        text.append(each["why"])
    return "\n\n".join(text)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
