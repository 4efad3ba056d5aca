"""Write the table of docs/reliability.md from what the tests of the faults measured: ``page``.

``make test-faults`` leaves one JSON line for every test that provokes a fault. They are joined in
docs/reliability/outcomes.json, and the page is written from it; a test compares the two. Text
between the marks of the page is replaced, all else is kept.

    python scripts/reliability_page.py [runs/faults.jsonl]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
FAULTS = ROOT / "docs" / "reliability" / "faults.yaml"
OUTCOMES = ROOT / "docs" / "reliability" / "outcomes.json"
_TABLE = ("<!-- the table, written by scripts/reliability_page.py -->", "<!-- end of it -->")


def joined(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Join the lines of a log: for each fault the tests with their outcome, and the measurements.

    Args:
        lines: Of tests (fault, test, outcome) and of measurements (fault, test, measured).
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        own = found.setdefault(line["fault"], {"tests": {}, "measured": []})
        if "outcome" in line:
            test = re.sub(r"\[.*", "", line["test"], flags=re.DOTALL)  # cases of one test are one
            counts = own["tests"].setdefault(test, {})
            counts[line["outcome"]] = counts.get(line["outcome"], 0) + 1
        elif line["measured"] not in own["measured"]:
            own["measured"].append(line["measured"])
    for own in found.values():
        own["tests"] = dict(sorted(own["tests"].items()))
        own["measured"].sort()
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))


def page(text: str, outcomes: dict[str, dict[str, Any]]) -> str:
    """Return a page with its table written anew."""
    begin, end = _TABLE
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{table(outcomes)}\n\n{end}{after}"


def table(outcomes: dict[str, dict[str, Any]]) -> str:
    """Return the faults, what a user is to see, and what was measured."""
    faults = yaml.safe_load(FAULTS.read_text(encoding="utf-8"))
    rows = ["| | Fault | What a user sees | Measured | Tests |", "|---|---|---|---|---|"]
    for number, (fault, seen) in faults.items():
        own = outcomes.get(number, {"tests": {}, "measured": []})
        cells = [number, fault, seen, _measured(own["measured"]), _tests(own["tests"])]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _measured(said: list[str]) -> str:
    """Join what was measured; the names of which the same was said stand before it once."""
    names: dict[str, list[str]] = {}
    for each in said:
        found = re.fullmatch(r"(`[^`]+`): (.*)", each)
        names.setdefault(found[2] if found else each, []).extend([found[1]] if found else [])
    return "; ".join(f"{', '.join(own)}: {text}" if own else text for text, own in names.items())


def _tests(tests: dict[str, dict[str, int]]) -> str:
    """Say how many cases passed, in which files; what did not pass is said first."""
    if not tests:
        return "not run"
    counts: dict[str, int] = {}
    for own in tests.values():
        for outcome, count in own.items():
            counts[outcome] = counts.get(outcome, 0) + count
    files = sorted({test.partition("::")[0].removeprefix("tests/") for test in tests})
    order = sorted(counts, key=lambda outcome: (outcome == "passed", outcome))
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in order)
    return f"{said}: {', '.join(f'`{file}`' for file in files)}"


def main() -> None:
    """Join a log, where one is given, and write the page."""
    if len(sys.argv) > 1:
        lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
        outcomes = joined(map(json.loads, lines))
        OUTCOMES.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
    outcomes = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
