"""Signs that no one can see."""

from __future__ import annotations

import pytest

from audioprune.report.runs.signs import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\u241b[31mb"),
        ("a\nb\tc\r", "a\nb\tc\u240d"),
        ("\udc80", "\\udc80"),
        ("\x7f\x85", "\ufffd\ufffd"),
        ("\u202egnp.exe\u2066", "\ufffdgnp.exe\ufffd"),
        ("Füße 音 ±", "Füße 音 ±"),
    ],
)
def test_signs_that_no_one_can_see_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown
