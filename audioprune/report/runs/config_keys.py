"""The configuration and the rows of a run under the keys of today: ``flatten``, ``of_today``.

A key that was added later stands, in runs of before, for what was done without it. Where another
run of the same model and pipeline, corpus or task has the key, theirs is filled in, so that runs
of before and of today are joined and compared as what they are: the same experiment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from audioprune.experiment.config_hash import added_key

_NAMED = {
    "model": "model.name",
    "pipeline": "pipeline.name",
    "data": "data._target_",
    "task": "task._target_",
    "training": "",
}
"""Groups with keys that were added, and what two runs must share to have the same keys there."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as dotted keys; lists become JSON text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = _flat(value)
    return flat


def _flat(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | Mapping) else value


def of_today(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return flat configurations with the added keys that others of their kind have."""
    added: dict[tuple[str, str], dict[str, Any]] = {}
    for config in configs:
        for key in config:
            known, before = added_key(key)
            if known:
                added.setdefault(_kind(config, key.partition(".")[0]), {})[key] = _flat(before)
    found = []
    for config in configs:
        missing = [pair for group in _NAMED for pair in _of(added, config, group)]
        found.append({**config, **{key: value for key, value in missing if key not in config}})
    return found


def _of(
    added: Mapping[tuple[str, str], Mapping[str, Any]], config: Mapping[str, Any], group: str
) -> list[tuple[str, Any]]:
    """Return the keys that a configuration would have in a group, if it has the group at all."""
    if not any(key.startswith(f"{group}.") for key in config):
        return []
    return list(added.get(_kind(config, group), {}).items())


def _kind(config: Mapping[str, Any], group: str) -> tuple[str, str]:
    return group, str(config.get(_NAMED[group]))


def present_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return a flat configuration under the keys of today.

    Older runs say ``budget`` for the reach of a regulariser, and for what a ticket counts.
    """
    before = "pipeline.budget"
    if before not in config:
        return config
    now = f"pipeline.{_name_of_budget(config[before])}"
    return {now if key == before else key: value for key, value in config.items()}


def present_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row under the keys of today, as ``present_keys`` does."""
    if "budget" not in row:
        return row
    now = _name_of_budget(row["budget"])
    return {now if key == "budget" else key: value for key, value in row.items()}


def _name_of_budget(value: Any) -> str:
    return "counted" if isinstance(value, str) else "reach"
