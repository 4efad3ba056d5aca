"""Collect finished runs into docs/results/, and write its pages and README's lines of it.

``runs=FOLDER`` holds the runs of each paper under its name (``FOLDER/p2``), as `make small` leaves
them; without it the pages are written from the rows that are there. No number is typed by hand: a
test writes pages and lines again and compares.

    python scripts/results.py runs=runs/small
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from audioprune.errors import AudiopruneError, DataError
from audioprune.report.papers import papers
from audioprune.report.results import readme_lines, write_results
from audioprune.report.runs.collected import collect

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
README = ROOT / "README.md"


def collect_all(runs: Path, results: Path) -> None:
    """Collect the finished runs of every paper."""
    for name in papers():
        if (runs / name).is_dir():
            try:
                new, all_of_them = collect(runs / name, results / name)
            except AudiopruneError as error:
                print(f"{name}: {error}")
            else:
                print(f"{name}: {new} finished runs, {all_of_them} in {results / name}")


def readme(text: str, results: Path) -> str:
    """Return README with its lines of results, one a paper, as the rows tell them."""
    lines = dict(zip(papers(), readme_lines(results), strict=True))
    for name, line in lines.items():
        own = re.compile(rf"^\| \[\w+\]\(docs/results/{name}\.md\).*$", re.MULTILINE)
        text, count = own.subn(line.replace("\\", r"\\"), text)
        if count != 1:
            raise DataError(f"expected one line of {name} in README.md, got {count}; add it")
    return text


def main(words: Sequence[str]) -> int:
    """Collect where runs are named, and write pages and README."""
    options = dict(word.partition("=")[::2] for word in words)
    if set(options) - {"runs"}:
        print(f"expected runs=FOLDER or nothing, got {' '.join(words)}")
        return 2
    if options.get("runs"):
        collect_all(Path(options["runs"]), RESULTS)
    for path in write_results(RESULTS):
        print(path.relative_to(ROOT))
    README.write_text(readme(README.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
