"""Check printed numbers: draw cells of runs and reports by a seed, compute each again.

    python scripts/audit.py RUNS REPORTS [seed=0] [cells=100] [out=FILE.json]

Every file has the same chance, so that a long table does not hide a short one. Ends with 1 where a
number is wrong. Numbers that cannot be computed again, such as seconds, are counted and listed by
their column.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.auditing.cells import Cell
from scripts.auditing.folders import Folder, folders_under
from scripts.auditing.row_checks import row_cells
from scripts.auditing.run_tables import run_table_cells
from scripts.auditing.table_checks import report_cells

KEYS = ("seed", "cells", "out")


def main(arguments: Sequence[str]) -> int:
    """Audit and print the findings; return 1 for a wrong number, 2 for a wrong command."""
    folders = [Path(item) for item in arguments if "=" not in item]
    options = dict(item.split("=", 1) for item in arguments if "=" in item)
    unknown = sorted(set(options) - set(KEYS))
    if len(folders) != 2 or unknown:
        given = " ".join(arguments) or "nothing"
        print(
            f"expected RUNS REPORTS [seed=N] [cells=N] [out=FILE], got {given}; correct the "
            f"command"
        )
        return 2
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        print(
            f"expected folders, got {', '.join(missing)}; give RUNS and REPORTS of finished runs"
        )
        return 2
    cells = all_cells(folders_under(folders[0]), folders[1])
    return tell(
        audit(cells, int(options.get("seed", 0)), int(options.get("cells", 100))),
        len(cells),
        options.get("out"),
    )


def all_cells(folders: Sequence[Folder], reports: Path) -> list[Cell]:
    """Return every printed number of runs and reports."""
    found = [cell for folder in folders for cell in row_cells(folder)]
    found += [cell for folder in folders for cell in run_table_cells(folder)]
    return [*found, *report_cells(folders, reports)]


def audit(
    cells: Sequence[Cell], seed: int, wanted: int
) -> dict[str, list[tuple[Cell, float | None]]]:
    """Draw cells until so many were computed again, or none is left; return them by verdict."""
    draw = random.Random(seed)
    by_file: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_file[cell.file].append(cell)
    for group in by_file.values():
        draw.shuffle(group)
    found: dict[str, list[tuple[Cell, float | None]]] = {
        "right": [],
        "wrong": [],
        "not recomputed": [],
    }
    files = sorted(by_file)
    while files and len(found["right"]) + len(found["wrong"]) < wanted:
        name = draw.choice(files)
        cell = by_file[name].pop()
        if not by_file[name]:
            files.remove(name)
        verdict, number = cell.verdict()
        found[verdict].append((cell, number))
    return found


def tell(found: dict[str, list[tuple[Cell, float | None]]], total: int, out: str | None) -> int:
    """Print the verdicts, write them where asked, and return the exit code."""
    right, wrong, left = (found[key] for key in ("right", "wrong", "not recomputed"))
    drawn = len(right) + len(wrong) + len(left)
    print(f"{total} numbers printed, {drawn} drawn")
    print(f"{len(right)} right, {len(wrong)} wrong, {len(left)} not recomputed")
    for cell, number in wrong:
        print(
            f"WRONG {cell.file} | {cell.row} | {cell.column}: printed {cell.printed:.9g}, "
            f"computed {number:.9g}"
        )
    columns = Counter(f"{Path(cell.file).name}: {cell.column.split('/')[0]}" for cell, _ in left)
    for column, count in sorted(columns.items()):
        print(f"not recomputed: {column} ({count})")
    if out:
        plain = {
            verdict: [
                [cell.file, cell.row, cell.column, cell.printed, number] for cell, number in rows
            ]
            for verdict, rows in found.items()
        }
        Path(out).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
