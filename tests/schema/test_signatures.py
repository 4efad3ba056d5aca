"""Keys are read from signatures: types, ranges, options, receivers and meanings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audioprune.ranges import FOLLOWS, NoKey, OneOf, OrNull, PassedTo, Range  # noqa: E402
from scripts.signatures import Reader, first_sentence, meanings, type_text  # noqa: E402


@dataclass
class Inner:
    """What is passed on.

    Attributes:
        depth, height: How far it goes. More is said here.
        given: Set by the caller.
        names: Of the parts.
    """

    depth: Annotated[int, Range(1, 4)] = 2
    height: float = 1.0
    given: str = ""
    names: list[str] = field(default_factory=lambda: ["a"])


class Outer:
    """Do nothing.

    Args:
        place: Where it is,
            on two lines. And more.
        rate: In Hz.
        kind: As in ``Inner``.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        rate: Annotated[int, Range(1000), FOLLOWS] = 16000,
        kind: Annotated[str, OneOf("a", "b")] = "a",
        title: Annotated[str, NoKey()] = "outer",
        count: Annotated[int, OrNull(3)] = 3,
        below: Annotated[
            Mapping[str, Any] | None,
            PassedTo(Inner, but=("given",), more={"own": Annotated[int | None, "Its own. No."]}),
        ] = None,
        **options: Annotated[Any, PassedTo(Inner, but=("given",))],
    ) -> None: ...


def test_a_signature_gives_its_keys() -> None:
    reader = Reader()
    keys = reader.keys_of_class(Outer)
    assert list(keys) == ["place", "rate", "kind", "count", "below", "depth", "height", "names"]
    assert keys["place"] == {
        "type": "str",
        "default": "???",
        "meaning": "Where it is, on two lines",
    }
    assert keys["rate"] == {
        "type": "int?",
        "default": None,
        "range": {"least": 1000},
        "meaning": "In Hz",
    }
    assert keys["kind"]["options"] == ["a", "b"] and keys["kind"]["default"] == "a"
    assert (keys["count"]["type"], keys["count"]["default"]) == ("int?", 3)
    assert keys["depth"]["range"] == {"least": 1, "most": 4}
    assert keys["height"]["meaning"] == "How far it goes"
    assert keys["names"]["default"] == ["a"]


def test_a_mapping_with_a_receiver_is_a_group_of_keys() -> None:
    reader = Reader()
    assert reader.keys_of_class(Outer)["below"]["type"] == "@BelowConfig"
    below = reader.below["BelowConfig"]
    assert list(below["keys"]) == ["depth", "height", "names", "own"]
    assert below["keys"]["own"] == {"type": "int?", "default": None, "meaning": "Its own"}
    assert below["meaning"] == "What is passed on."


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "int"),
        (float | None, "float?"),
        (str | Path | None, "str?"),
        (str | int, "any"),
        (str | Mapping[str, str] | None, "any"),
        (Sequence[float], "list[float]"),
        (tuple[int, ...] | list[int], "list[int]"),
        (dict[str, str], "dict[str]"),
        (Literal["a", "b"], "str"),
        (Any, "any"),
    ],
)
def test_types_become_what_yaml_can_say(kind: Any, text: str) -> None:
    assert type_text(kind) == text


def test_meanings_are_first_sentences_and_references_are_followed() -> None:
    assert meanings(Inner)["depth"] == "How far it goes"
    assert first_sentence("A value of 0.5 or more. Else nothing.") == "A value of 0.5 or more"
    assert first_sentence("No full stop") == "No full stop"
    assert first_sentence("Items, or None for all.") == "Items, or null for all"
