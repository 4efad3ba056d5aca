"""What one printed number is: where it is, what it says, and how it is computed again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

NUMBER = re.compile(r"^[+-]?\d[\d,]*(\.\d+)?([eE][+-]?\d+)?$")
Recompute = Callable[[], float | None]


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes:
        file: The file that prints it, relative to what is audited.
        row: Words that name its row.
        column: Its column or key.
        printed: The number.
        again: Computes it again; None where this audit has no way to. It returns None where the
            sources are missing.
        slack: Largest difference that printing explains, absolute.
    """

    file: str
    row: str
    column: str
    printed: float
    again: Recompute | None
    slack: float = 0.0

    def verdict(self) -> tuple[str, float | None]:
        """Return ``right``, ``wrong`` or ``not recomputed`` with the number found."""
        found = self.again() if self.again else None
        if found is None:
            return "not recomputed", None
        close = math.isclose(found, self.printed, rel_tol=2e-5, abs_tol=self.slack + 1e-9)
        return ("right" if close else "wrong"), found


def number_of(text: str) -> float | None:
    """Read a printed number without its unit ``x`` and its deviation; None for words."""
    plain = text.split("±")[0].strip().removesuffix("x").strip()
    return float(plain.replace(",", "")) if NUMBER.match(plain) else None


def slack_of(text: str) -> float:
    """Return half a unit of the last printed decimal of a rounded number."""
    plain = text.split("±")[0].strip().removesuffix("x").strip()
    decimals = len(plain.partition(".")[2])
    return 0.5 * 10.0**-decimals * 1.001


def times(value: float | None, factor: float) -> float | None:
    """Return a number times a factor, or None where there is no number."""
    return None if value is None else factor * value


def ratio(above: float | None, below: float | None) -> float | None:
    """Return a quotient, or None where a number is missing or the divisor is 0."""
    return above / below if above is not None and below else None
