"""Checks of the arguments that schedule files give to pruners and regularizers.

Each function refuses a wrong value with a ConfigError that names the argument, and returns
nothing. Checks of structures, such as filters, are in structures.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from audioprune.errors import ConfigError


def check_values(what: str, values: Any, most: float | None = None) -> None:
    """Refuse anything but a mapping of parameter names to numbers from 0 to ``most``."""
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(
            f"{what}: expected a mapping of parameter names to numbers, got {_kind(values)}; "
            f"write 'name: number' lines"
        )
    for name, value in values.items():
        check_number(f"{what}, '{name}'", value, most)


def check_names(names: Any) -> None:
    """Refuse anything but a list of parameter names."""
    listed = isinstance(names, list | tuple) and bool(names)
    if not listed or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"weights: expected a list of parameter names, got {_kind(names)}; list at least one"
        )


def check_number(what: str, value: Any, most: float | None = None) -> None:
    """Refuse anything but a number from 0 to ``most``."""
    limit = math.inf if most is None else most
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= limit:
        wanted = "a number >= 0" if most is None else f"a number from 0 to {most:g}"
        raise ConfigError(f"{what}: expected {wanted}, got {value!r}; correct it")


def check_ramp(initial: Any, final: Any) -> None:
    """Refuse sparsities that do not rise within 0..1."""
    check_number("initial_sparsity", initial, 1.0)
    check_number("final_sparsity", final, 1.0)
    if final <= initial:
        raise ConfigError(
            f"expected final_sparsity above initial_sparsity, got {final} and {initial}; "
            f"correct one"
        )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if value in ({}, [], ()):
        return "an empty one"
    return type(value).__name__
