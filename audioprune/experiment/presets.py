"""Whether a run is what its preset declares: ``differing`` compares keys, ``further`` the rest.

The rest is the model of a checkpoint and the size of the corpus that a paper names. Tables print
the declared scale, such as ``paper``, only where nothing differs; else they print ``custom``.
``shown_name`` gives a name that claims a size, such as ``resnet50``, to no other size.
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


OWN = "own"
"""Name of the option of a user's model, which says nothing of the model."""
SIZES: dict[str, dict[str, Any]] = {
    "resnet50": {"depths": [3, 4, 6, 3]},
    "densenet121": {"depths": [6, 12, 24, 16]},
    "dcae10": {"channels": [16, 32, 32, 64, 64, 128, 128, 256, 256, 512]},
    "fdnn_b": {"width": 775, "depth": 3},
    "lstm_b": {"width": 320, "depth": 4},
    "wavenet_literal": {"layers": 40, "cycles": 4},
    "wavenet_small": {"layers": 20, "residual": 32, "gate": 32, "skip": 64, "end": 64},
    "wavenet_tiny": {"layers": 6, "residual": 8, "gate": 8, "skip": 16, "end": 16},
    "sing_small": {"channels": 256, "dimension": 32},
    "sing_tiny": {"channels": 32, "dimension": 8},
    "ddsp_small": {"hidden": 96, "encoder_width": 32},
    "ddsp_tiny": {"hidden": 24, "latent": 4, "encoder_width": 12},
}
"""Presets whose name says a size -> the arguments that are this size."""


def shown_name(config: Mapping[str, Any], class_name: str) -> str:
    """Return the name of a model as tables print it.

    Args:
        config: Target and arguments of the model, with the ``name`` of its preset.
        class_name: Name of its class, for a model without a preset or of another size than the
            preset's name says.

    Returns:
        The preset's name in capitals, or the name of the class with the arguments that differ,
        such as ``RESNET depths 1-1-1-1``; a user's model has the name of its class.
    """
    name = config.get("name") or class_name
    if name == OWN:
        return class_name
    claimed = SIZES.get(name, {})
    other = [key for key, value in claimed.items() if config.get(key, value) != value]
    if not other:
        return str(name).upper()
    return f"{class_name.upper()} {', '.join(f'{key} {_shown(config[key])}' for key in other)}"


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
