"""Which values an argument accepts, said once, in its signature.

``width: Annotated[int, Range(1, 512)] = 64`` is the whole declaration of the key ``width``: its
type, range and default are read from the signature, its meaning from the docstring (see
audioprune/schema). Nothing is checked here; a configuration is checked before work begins, and
constructors check what they rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """Where a number, or each number of a list, may lie; None leaves a side open.

    Attributes:
        least: Smallest accepted value.
        most: Largest accepted value.
        above: Accepted values are greater.
        below: Accepted values are smaller.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


class OneOf:
    """The names that are accepted, for a name or for each name of a list.

    Attributes:
        options: All of them.
    """

    def __init__(self, *options: str) -> None:
        self.options = options


@dataclass(frozen=True)
class OrNull:
    """A configuration may say null where the signature wants a value.

    Null is then decided elsewhere, such as the sample rate by the corpus, or refused.

    Attributes:
        default: Default of the configuration.
    """

    default: Any = None


FOLLOWS = OrNull()
"""Null by default: the value follows the corpus or the task."""


class PassedTo:
    """Whose keys an argument takes.

    For ``**options``, the keyword arguments of these classes are keys too. For a mapping, they are
    the keys below this one.

    Attributes:
        receivers: Classes or functions that the values are passed to.
        but: Arguments that the caller sets itself.
        more: Types of further keys, null by default; a text in ``Annotated`` says what one means.
    """

    def __init__(
        self,
        *receivers: Callable[..., Any],
        but: tuple[str, ...] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.receivers = receivers
        self.but = but
        self.more = dict(more or {})


class NoKey:
    """An argument for callers in Python; a configuration does not have it."""


def accepted(facts: Mapping[str, Any]) -> str:
    """Return type, range and options of a key, such as ``float >= 0 or null``."""
    kind = facts["type"].rstrip("?").replace("any", "anything")
    null = " or null" if facts["type"].endswith("?") else ""
    if "options" in facts:
        many = "a list of " if kind.startswith("list") else ""
        return many + " | ".join(facts["options"]) + null
    if facts.get("range"):
        return f"{kind} {range_text(Range(**facts['range']))}{null}"
    return kind + null


def range_text(limits: Range) -> str:
    """Return a range as messages and tables write it, such as ``>= 0 and < 1``."""
    signs = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    bounds = {name: getattr(limits, name) for name in signs}
    parts = [f"{signs[name]} {bound:.10g}" for name, bound in bounds.items() if bound is not None]
    return " and ".join(parts) or "of any size"
