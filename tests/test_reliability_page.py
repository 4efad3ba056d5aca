"""docs/reliability.md has the table that scripts/reliability_page.py writes of the outcomes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml
from faults.elsewhere import ELSEWHERE

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import reliability_page  # noqa: E402


def test_the_table_is_written_from_the_outcomes() -> None:
    written = reliability_page.PAGE.read_text(encoding="utf-8")
    outcomes = json.loads(reliability_page.OUTCOMES.read_text(encoding="utf-8"))
    expected = reliability_page.page(written, outcomes)
    assert written == expected, "run: python scripts/reliability_page.py"


def test_cases_of_a_test_are_counted_and_what_failed_is_said_first() -> None:
    lines = [
        {"fault": "C2", "test": "tests/a.py::test_x[1]", "outcome": "passed"},
        {"fault": "C2", "test": "tests/a.py::test_x[a b]", "outcome": "failed"},
        {"fault": "C1", "test": "tests/b.py::test_y", "outcome": "passed"},
        {"fault": "C2", "test": "tests/a.py::test_x[1]", "measured": "9 killed"},
    ]
    outcomes = reliability_page.joined(lines)
    assert list(outcomes) == ["C1", "C2"]
    assert outcomes["C2"]["tests"] == {"tests/a.py::test_x": {"passed": 1, "failed": 1}}
    rows = reliability_page.table(outcomes).splitlines()
    faults = yaml.safe_load(reliability_page.FAULTS.read_text(encoding="utf-8"))
    assert len(rows) == 2 + len(faults) == 32
    assert rows[3].endswith("| 9 killed | 1 failed, 1 passed: `a.py` |")
    assert rows[4].endswith("|  | not run |")


def test_every_fault_is_provoked_by_a_test_that_exists() -> None:
    for file, faults in ELSEWHERE.items():
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        for names in faults.values():
            assert not [name for name in names if f"\ndef {name}(" not in text], file
    marked = "".join(path.read_text() for path in (ROOT / "tests" / "faults").glob("test_*.py"))
    provoked = {fault for faults in ELSEWHERE.values() for fault in faults}
    provoked |= set(re.findall(r'"(C\d+)"', marked))
    assert provoked == set(yaml.safe_load(reliability_page.FAULTS.read_text(encoding="utf-8")))
