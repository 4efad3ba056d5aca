"""Which keys a configuration may have, of which type and in which range.

`register` makes them known to Hydra; `check` walks a composed configuration and answers the first
wrong number or name before any work starts. The keys are those of the signatures that they
configure: see groups.py, pipelines.py and roots.py, and table.py for how they are loaded.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import Range, range_text
from audioprune.schema.table import classes, read_table, targets

__all__ = ["check", "classes", "keys_of", "range_text", "register", "targets"]


def register() -> None:
    """Make the keys known to Hydra; called once before composition."""
    store = ConfigStore.instance()
    # Hydra copies its sources for every group that it lists, and all schemas with them; a loaded
    # node is a copy anyway.
    vars(store)["__deepcopy__"] = lambda memo: store
    OmegaConf.register_new_resolver("voices_here", _voices_here, replace=True)
    below = store.repo.setdefault("schema", {})
    for group, options in read_table()["groups"].items():
        place = below if group == "verb" else below.setdefault(group, {})
        for option, name in options.items():
            place[f"{option}.yaml"] = _LateNode(f"{option}.yaml", name, group == "verb")


class _LateNode(ConfigNode):
    """A schema that is read from its class when a composition takes it; most are never taken."""

    def __init__(self, name: str, type_name: str, opened: bool) -> None:
        self.name, self.group, self.package, self.provider = name, "schema", None, None
        self.type_name, self.opened = type_name, opened

    def __getattr__(self, name: str) -> Any:
        """Return the schema of a node that has none yet."""
        if name != "node":
            raise AttributeError(name)
        return _schema_of(self.type_name, self.opened)


@cache
def _schema_of(type_name: str, opened: bool) -> DictConfig:
    """Return the schema of a class, of which every composition takes a copy."""
    kind = classes()[type_name]
    return _open_mappings(kind) if opened else OmegaConf.structured(kind)


def _voices_here() -> str:
    """Return both kinds of voices where the extra ``voice`` is installed, else the made ones."""
    return "both" if importlib.util.find_spec("espeakng_loader") else "made"


def _open_mappings(kind: type) -> DictConfig:
    """Let mappings of the user's own names, such as ``systems``, take new ones without a ``+``."""
    node = OmegaConf.structured(kind)
    for key in node:
        if (
            not OmegaConf.is_missing(node, key)
            and isinstance(node[key], DictConfig)
            and OmegaConf.get_type(node[key]) is dict
        ):
            OmegaConf.set_struct(node[key], False)
    return node


def check(config: DictConfig) -> None:
    """Check every number and name of a composed configuration.

    Raises:
        ConfigError: The first wrong value, with its key, the value and what is accepted.
    """
    for key, value, facts in _declared(config, ""):
        for each in value if isinstance(value, ListConfig | list) else [value]:
            if isinstance(each, ListConfig | DictConfig) and _is_simple_list(facts):
                raise ConfigError(_nested(key, value))
            if each is not None:
                _check_value(key, each, facts)


def _declared(node: Any, prefix: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Yield every declared key with its value and what is said of it."""
    kind = OmegaConf.get_type(node)
    said = {item.name: item.metadata for item in fields(kind)} if is_dataclass(kind) else {}
    for key in node:
        if OmegaConf.is_missing(node, key):
            raise ConfigError(f"{prefix}{key}: expected a value, got none; give {prefix}{key}=...")
        value = node[key]
        if isinstance(value, DictConfig):
            yield from _declared(value, f"{prefix}{key}.")
        elif key in said:
            yield f"{prefix}{key}", value, said[key]


def _is_simple_list(facts: Mapping[str, Any]) -> bool:
    """Tell whether a key is a list of numbers or names."""
    kind = facts.get("said", {}).get("type", "").rstrip("?")
    return kind in ("list[int]", "list[float]", "list[bool]", "list[str]")


def _nested(key: str, value: ListConfig) -> str:
    """Say that a list holds lists, and how it is written with single values."""
    plain = OmegaConf.to_container(value)
    single = ",".join(re.findall(r"[^\s\[\]{},:'\"]+", str(plain)))
    got = str(plain).replace("'", "")
    return f"{key}: expected a list of single values, got {got}; write '{key}=[{single}]'"


def _check_value(key: str, value: Any, facts: Mapping[str, Any]) -> None:
    if "range" in facts:
        _check_number(key, value, facts["range"])
    elif "options" in facts and str(value) not in facts["options"]:
        raise ConfigError(f"{key}: {unknown_name('value', str(value), facts['options'])}")


def _check_number(key: str, value: Any, limits: Range) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{key}: expected a finite number {range_text(limits)}, got {value}")
    wrong = (
        (limits.least is not None and value < limits.least)
        or (limits.most is not None and value > limits.most)
        or (limits.above is not None and value <= limits.above)
        or (limits.below is not None and value >= limits.below)
    )
    if wrong:
        raise ConfigError(f"{key}: expected a number {range_text(limits)}, got {value}")


def keys_of(type_name: str) -> list[str]:
    """Return the keys of the configuration class of that name; empty for an unknown class."""
    kind = classes().get(type_name)
    return [item.name for item in fields(kind)] if kind else []
