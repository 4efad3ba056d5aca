"""What every key of a composed configuration accepts and means.

`annotated` writes a composed configuration as YAML with a comment behind each key. Nothing here
checks a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from audioprune.ranges import accepted

_COLUMN = 44


def annotated(config: DictConfig) -> str:
    """Return a configuration as YAML, with what each key accepts and means behind it.

    Hydra's own part and the steps of a pipeline, whose values come from the keys beside them, are
    left out.
    """
    return "\n".join(_lines(config, ""))


def _lines(node: DictConfig, indent: str) -> Iterator[str]:
    kind = OmegaConf.get_type(node)
    said = {item.name: item.metadata for item in fields(kind)} if is_dataclass(kind) else {}
    plain: Any = OmegaConf.to_container(node)  # interpolations as they are written
    for key in map(str, node):
        below = node._get_node(key)
        group = isinstance(below, DictConfig) and len(below) > 0
        if group and key not in ("hydra", "steps"):
            yield f"{indent}{key}:"
            yield from _lines(node[key], indent + "  ")
        elif not group and key != "_target_":
            text = f"{indent}{key}: {_value_text(plain[key])}"
            facts = said[key].get("said") if key in said else None
            yield f"{text:{_COLUMN}} {_comment(facts)}".rstrip()


def _value_text(value: Any) -> str:
    """Return a value in one line of YAML."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _comment(facts: Mapping[str, Any] | None) -> str:
    return f"# {accepted(facts)}: {facts['meaning']}".replace("``", "") if facts else ""
