"""Choose the rule that computes a report file's cells again; each paper has its own module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.auditing import tables_p1, tables_p2, tables_p3, tables_p4
from scripts.auditing.folders import Folder

Rule = Callable[[Sequence[Folder], dict[str, str], str], float | None]
RULES: dict[str, Rule] = {
    **tables_p1.RULES,
    **tables_p2.RULES,
    **tables_p3.RULES,
    **tables_p4.RULES,
}


def rule_of(stem: str) -> Rule | None:
    """Return the rule for a CSV file by its name without ending, or None."""
    return RULES.get(stem)
