"""Which keys a configuration may have, of which type and in which range.

The dataclasses are read by Hydra; `check` walks a composed configuration and answers the first
wrong number or name before any work starts. What the values mean is documented in the classes that
receive them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from audioprune.errors import ConfigError, unknown_name
from audioprune.schema import coded, core, enhancement, notes, scenes

VERB_ROOTS = {
    "root": core.Root,
    "report": core.ReportRoot,
    "info": core.InfoRoot,
    "data": core.DataRoot,
    "listen": core.ListenRoot,
    "generate": core.GenerateRoot,
    "doctor": core.DoctorRoot,
}
GROUP_MODULES = (enhancement, scenes, coded, notes)


def register() -> None:
    """Make the dataclasses known to Hydra; called once before composition."""
    store = ConfigStore.instance()
    # Hydra copies its sources for every group that it lists, and all schemas with them; a loaded
    # node is a copy anyway.
    store.__deepcopy__ = lambda memo: store
    for name, node in VERB_ROOTS.items():
        store.store(group="schema", name=name, node=_open_mappings(node))
    for module in GROUP_MODULES:
        for group, nodes in module.GROUPS.items():
            for name, node in nodes.items():
                store.store(group=f"schema/{group}", name=name, node=node)


def _open_mappings(kind: type) -> DictConfig:
    """Let mappings of the user's own names, such as ``systems``, take new names without a ``+``."""
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
    for key, value, limits, options in _declared(config, ""):
        for each in value if isinstance(value, ListConfig | list) else [value]:
            if limits:
                _check_number(key, each, limits)
            elif options and each is not None and str(each) not in options:
                raise ConfigError(f"{key}: {unknown_name('value', str(each), options)}")


def _declared(
    node: Any, prefix: str
) -> Iterator[tuple[str, Any, dict[str, float | None] | None, tuple[str, ...] | None]]:
    kind = OmegaConf.get_type(node)
    metadata = (
        {item.name: item.metadata for item in fields(kind)}
        if hasattr(kind, "__dataclass_fields__")
        else {}
    )
    for key in node:
        if OmegaConf.is_missing(node, key):
            raise ConfigError(f"{prefix}{key}: expected a value, got none; give {prefix}{key}=...")
        value = node[key]
        if isinstance(value, DictConfig):
            yield from _declared(value, f"{prefix}{key}.")
        elif key in metadata:
            yield (
                f"{prefix}{key}",
                value,
                metadata[key].get("limits"),
                metadata[key].get("options"),
            )


def _check_number(key: str, value: Any, limits: dict[str, float | None]) -> None:
    if value is None:
        return
    if not math.isfinite(value):
        raise ConfigError(f"{key}: expected a finite number {_range_text(limits)}, got {value}")
    least, most, above, below = limits["least"], limits["most"], limits["above"], limits["below"]
    wrong = (
        (least is not None and value < least)
        or (most is not None and value > most)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )
    if wrong:
        raise ConfigError(f"{key}: expected a number {_range_text(limits)}, got {value}")


def _range_text(limits: dict[str, float | None]) -> str:
    signs = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    parts = [
        f"{signs[name]} {limits[name]:g}"
        for name in ("least", "above", "most", "below")
        if limits[name] is not None
    ]
    return " and ".join(parts) or "of any size"


def keys_of(type_name: str) -> list[str]:
    """Return the keys of the configuration class of that name; empty for an unknown class."""
    kinds = [*VERB_ROOTS.values(), core.TrainingConfig, core.RuntimeConfig, core.ScoringConfig]
    kinds += [
        node
        for module in GROUP_MODULES
        for nodes in module.GROUPS.values()
        for node in nodes.values()
    ]
    return [item.name for kind in kinds if kind.__name__ == type_name for item in fields(kind)]
