"""The classes that Hydra checks a configuration with, built from signatures.json without torch.

`classes` is the one public function. What the file says comes from signatures;
`scripts/write_schema.py` writes it and a test keeps it true.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import Field, field, make_dataclass
from functools import cache, partial
from importlib.resources import files
from types import GenericAlias
from typing import Any

from audioprune.ranges import Range

Entry = dict[str, Any]
_SIMPLE = {"int": int, "float": float, "bool": bool, "str": str, "any": Any}


@cache
def read_table() -> Entry:
    """Return the whole file: the class of each option by group, and the keys of each class."""
    text = files("audioprune.schema").joinpath("signatures.json").read_text(encoding="utf-8")
    table: Entry = json.loads(text)
    return table


@cache
def classes() -> dict[str, type]:
    """Return the dataclass of every group option and verb by its name, such as ``FdnnConfig``."""
    built: dict[str, type] = {}
    for name, entry in read_table()["classes"].items():  # a class comes after those it holds
        keys = [_key(key, facts, built) for key, facts in entry["keys"].items()]
        built[name] = make_dataclass(name, keys)
        built[name].__module__ = __name__
        built[name].__doc__ = entry["meaning"]
    return built


def __getattr__(name: str) -> type:
    """Return a class as a member of this module.

    A sweep's processes then exchange it by its name, and never change it.
    """
    if name in read_table()["classes"]:
        return classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def targets(group: str) -> set[str]:
    """Return the dotted names of what the options of a group build, such as all corpora."""
    entries = read_table()["classes"]
    names = read_table()["groups"][group].values()
    return {entries[name]["keys"]["_target_"]["default"] for name in names}


def _key(key: str, facts: Entry, built: dict[str, type]) -> tuple[str, Any, Field[Any]]:
    """Return name, type and field of one key."""
    if facts["type"].startswith("@"):
        below = built[facts["type"][1:]]
        return key, below, field(default_factory=below)
    metadata: Entry = {"said": facts}
    if "range" in facts:
        metadata["range"] = Range(**facts["range"])
    if "options" in facts:
        metadata["options"] = tuple(facts["options"])
    default = facts["default"]
    if isinstance(default, list | dict):
        fresh: Callable[[], Any] = partial(deepcopy, default)
        return key, kind_of(facts["type"]), field(default_factory=fresh, metadata=metadata)
    return key, kind_of(facts["type"]), field(default=default, metadata=metadata)


def kind_of(text: str) -> Any:
    """Return the type that a text means: ``int``, ``list[float]?`` (or null), ``any``."""
    if text.endswith("?"):
        return kind_of(text[:-1]) | None
    if text.startswith("list["):
        return GenericAlias(list, (kind_of(text[5:-1]),))
    if text.startswith("dict["):
        return GenericAlias(dict, (str, kind_of(text[5:-1])))
    return _SIMPLE[text]
