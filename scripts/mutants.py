"""Count the small faults that the tests find: draw mutants by a seed, list the survivors.

    python scripts/mutants.py [seed=0] [count=300] [least=0.9]

The mutants are made and run by mutmut, as pyproject.toml configures it; it keeps its copy of the
code in ``mutants/``. A survivor that no test can tell from the code is given a reason in
``scripts/mutants_accepted.csv``. Ends with 1 where fewer are killed than ``least`` asks for.
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = ROOT / "scripts" / "mutants_accepted.csv"
STATUS = {
    0: "survived",
    1: "killed",
    3: "killed",
    5: "no tests",
    33: "no tests",
    34: "skipped",
    36: "timeout",
}
KEYS = {"seed": "0", "count": "300", "least": "0.9"}


def main(arguments: Sequence[str]) -> int:
    """Make, draw and run mutants; return 1 where too many survive."""
    options = {**KEYS, **dict(item.split("=", 1) for item in arguments if "=" in item)}
    if set(options) != set(KEYS) or any("=" not in item for item in arguments):
        print(
            f"expected [seed=N] [count=N] [least=SHARE], got {' '.join(arguments)}; correct the "
            f"command"
        )
        return 2
    _mutmut("nothing*")  # makes all mutants and learns which test reaches which function
    names = sorted(_codes())
    drawn = random.Random(int(options["seed"])).sample(
        names, min(int(options["count"]), len(names))
    )
    _mutmut(*drawn)
    return tell(drawn, _codes(), float(options["least"]))


def _mutmut(*names: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (ROOT / "mutants.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "mutmut", "run", *names],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            check=False,
        )


def _codes() -> dict[str, int | None]:
    """Return the exit code of the tests for every mutant; None where it was not run."""
    found: dict[str, int | None] = {}
    for file in sorted((ROOT / "mutants").rglob("*.meta")):
        found |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def _reasons() -> dict[str, str]:
    """Return the reasons of accepted survivors, by their change without line numbers."""
    if not ACCEPTED.exists():
        return {}
    with ACCEPTED.open(encoding="utf-8", newline="") as stream:
        return {row["change"]: row["reason"] for row in csv.DictReader(stream)}


def change_of(name: str) -> str:
    """Return what a mutant changes: the removed and added lines, joined."""
    told = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [
        line
        for line in told.stdout.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    return " => ".join(" ".join(line[1:].split()) for line in lines)


def tell(drawn: Sequence[str], codes: dict[str, int | None], least: float) -> int:
    """Print the verdicts and the survivors, and return the exit code."""
    status = {
        name: STATUS.get(
            codes.get(name), "killed" if (codes.get(name) or 0) < 0 else f"code {codes.get(name)}"
        )
        for name in drawn
    }
    counts = Counter(status.values())
    killed = counts["killed"] + counts["timeout"]
    tested = len(drawn) - counts["skipped"]
    share = killed / tested if tested else 0.0
    verdicts = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    print(f"{len(drawn)} mutants: {verdicts}; {share:.1%} killed")
    reasons = _reasons()
    for name in sorted(name for name, word in status.items() if word not in ("killed", "timeout")):
        change = change_of(name)
        print(f"{status[name]} {name}\n    {change}\n    {reasons.get(change, 'no reason given')}")
    return 0 if share >= least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
