"""What a model is called in tables: a name that claims a size is given to no other size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        such as ``RESNET depths 1-1-1-1``.
    """
    name = config.get("name") or class_name
    claimed = SIZES.get(name, {})
    other = [key for key, value in claimed.items() if config.get(key, value) != value]
    if not other:
        return str(name).upper()
    return f"{class_name.upper()} {', '.join(f'{key} {_shown(config[key])}' for key in other)}"


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
