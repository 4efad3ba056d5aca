"""How YAML of any origin is read: ``parse``, by the safe loader, and within bounds.

A few lines of YAML can name one another so often that they unfold to billions of values, or hold
themselves. Nothing in a file is built but plain values, see ``yaml.SafeLoader``.
"""

from __future__ import annotations

from typing import Any

import yaml

_DEEPEST = 64
_MOST_VALUES = 100_000
_LONGEST = 200_000


def parse(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: It is no YAML, is longer than 200,000 characters, names a class, holds
            itself, is nested more than 64 levels deep, or unfolds to more than 100,000 values.
        ValueError: A scalar is no value of its type, such as a date in month 13.
    """
    node = compose(text)
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (TypeError, OverflowError, AttributeError, LookupError) as error:
        raise yaml.YAMLError(f"a value that cannot be read ({error})") from error
    finally:
        loader.dispose()


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, which hold its lines; bounds as for ``parse``.

    Raises:
        yaml.YAMLError: As for ``parse``.
    """
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"longer than {_LONGEST} characters")
    try:
        _refuse_deep(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (ValueError, LookupError, AttributeError) as error:
        raise yaml.YAMLError(f"a sign that cannot be read ({error})") from error
    _refuse_unbounded(node)
    return node


def _refuse_deep(text: str) -> None:
    """Stop at the first sign that is nested too deeply: to compose such a text takes minutes."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {_DEEPEST} levels")


def _refuse_unbounded(node: yaml.Node | None) -> None:
    """Count the values level by level, those that are named again each time."""
    level, count = ([node] if node is not None else []), 0
    for _ in range(_DEEPEST):
        inner: list[yaml.Node] = []
        for each in level:
            if isinstance(each, yaml.MappingNode):
                inner += [part for pair in each.value for part in pair]
            elif isinstance(each, yaml.SequenceNode):
                inner += each.value
            if count + len(inner) > _MOST_VALUES:
                raise yaml.YAMLError(f"more than {_MOST_VALUES} values")
        if not inner:
            return
        count += len(inner)
        level = inner
    raise yaml.YAMLError(f"nested deeper than {_DEEPEST} levels, or within itself")
