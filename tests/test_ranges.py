"""What a key accepts, in words."""

from __future__ import annotations

import pytest

from audioprune.ranges import Range, accepted, range_text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"type": "int?", "range": {"least": 1}}, "int >= 1 or null"),
        ({"type": "float", "range": {}}, "float"),
        ({"type": "any"}, "anything"),
        ({"type": "list[str]", "options": ["a", "b"]}, "a list of a | b"),
        ({"type": "str?", "options": ["a"]}, "a or null"),
    ],
)
def test_what_a_key_accepts(facts: dict[str, object], text: str) -> None:
    assert accepted(facts) == text


def test_a_large_bound_is_told_in_full() -> None:
    assert range_text(Range(0, 2**31 - 1)) == ">= 0 and <= 2147483647"
    assert range_text(Range(above=1e-5)) == "> 1e-05"
