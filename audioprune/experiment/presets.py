"""Whether a run is what its preset declares: ``differing`` compares keys, ``further`` the rest.

The rest is the model of a checkpoint and the size of the corpus that a paper names. Tables print
the declared scale, such as ``paper``, only where nothing differs; else they print ``custom``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

GROUPS = ("model", "data", "task", "training")
MISSING = "???"  # what a preset leaves to the user
_FREE = frozenset({"cache_dir", "memory_mb", "seed", "resplit_seed"})  # no size follows from these
_ENOUGH = 0.9
PUBLISHED: dict[str, tuple[str, int]] = {
    "wsj0_mix": ("mixtures", 320_000),
    "nsynth": ("notes", 8_048),
    "tut2017": ("clips", 4_680),
    "tut2018": ("clips", 6_122),
}
"""What the papers train on, by corpus: unit as in ``describe()["train"]`` and number.

Source: Tan & Wang: 320,000 mixtures. Esling et al., Sec. 5: ten notes of 1006 instruments, 80 % of
them. Chen, Tables 3 and 4.
"""


def differing(config: Mapping[str, Any], preset: Mapping[str, Any]) -> list[str]:
    """Return the keys in which a configuration is not its preset.

    Model, data, task, training and scale are compared.
    An override by the preset's own value is none. Paths, files, cache, memory and seeds are free;
    so is what the preset leaves open. Another option of a group is named by the group alone.

    Args:
        config: The composed configuration as plain values.
        preset: The same experiment, composed without any other override.
    """
    found = ["scale"] if config.get("scale") != preset.get("scale") else []
    for group in GROUPS:
        own, wished = config.get(group) or {}, preset.get(group) or {}
        if any(own.get(key) != wished.get(key) for key in ("name", "_target_")):
            found.append(group)
            continue
        found += [key for key, value in _flat(own, wished, group) if value]
    return found


def further(
    config: Mapping[str, Any], model: Mapping[str, Any], describe: Callable[[], Mapping[str, Any]]
) -> list[str]:
    """Return why a run is not what its preset declares, though its keys are.

    The checkpoint may hold another model, or the corpus may be smaller.

    Args:
        config: The configuration as plain values.
        model: Configuration of the model at hand.
        describe: What the corpus says of itself; asked only where a paper's scale is declared.
    """
    if not config.get("scale"):
        return []
    wished = config["model"].items()
    found = (
        ["checkpoint"]
        if any(value is not None and model.get(key) != value for key, value in wished)
        else []
    )
    missing = (
        shortfall(config["data"].get("name", ""), describe()) if config["scale"] == "paper" else ""
    )
    return [*found, *([missing] if missing else [])]


def shortfall(corpus: str, facts: Mapping[str, Any]) -> str:
    """Return how a corpus is smaller than the paper's, or nothing.

    Such as ``data (18 of 6122 clips)``.

    Args:
        corpus: Name of its configuration.
        facts: What the corpus says of itself, with ``train``.
    """
    unit, wanted = PUBLISHED.get(corpus, ("", 0))
    count = (facts.get("train") or {}).get(unit)
    if not isinstance(count, int) or count >= _ENOUGH * wanted:
        return ""
    return f"data ({count} of {wanted} {unit})"


def _flat(
    own: Mapping[str, Any], wished: Mapping[str, Any], prefix: str
) -> list[tuple[str, bool]]:
    """Return every key below a prefix and whether it differs."""
    found: list[tuple[str, bool]] = []
    for key in {**wished, **own}:
        one, other = own.get(key), wished.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _flat(one, other, f"{prefix}.{key}")
        else:
            free = prefix == "data" and _is_free(key, one)
            found.append((f"{prefix}.{key}", one != other and other != MISSING and not free))
    return found


def _is_free(key: str, value: Any) -> bool:
    """Tell whether a key of a corpus says where it lies, not what it is."""
    named = isinstance(value, str) and ("/" in value or bool(PurePath(value).suffix))
    return key in _FREE or key.endswith("root") or named
