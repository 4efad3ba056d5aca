"""Help says of every key what it accepts and means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from composing import composed, hydra_started

from audioprune.ranges import accepted
from audioprune.schema.describe import annotated


@pytest.fixture(autouse=True, scope="module")
def hydra() -> Iterator[None]:
    with hydra_started():
        yield


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_a_configuration_is_annotated() -> None:
    text = annotated(composed("prune", "pipeline=magnitude"))
    assert _line(text, "  optimizer: adam  ").split("#")[1].startswith(" adam | adamw | sgd | rms")
    assert "# int >= 1 or null: Optimiser steps after which" in _line(text, "  steps: null")
    assert _line(text, "  sparsity: 0.8").split("#")[1].startswith(" float >= 0 and <= 1: ")
    assert "_target_" not in text and "audioprune.steps" not in text


def test_a_needed_value_and_an_empty_text_show_as_such() -> None:
    text = annotated(composed("prune", "data=class_folder"))
    assert _line(text, "  root: ???") and "# str: How the experiment" in _line(text, 'scale: ""')


def test_groups_below_a_group_are_indented() -> None:
    text = annotated(composed("prune", "task=adversarial"))
    assert "  discriminator:\n    channels: [16, 32," in text


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
