"""Which numbers and words the optimisers accept, checked before any step.

Each function refuses one kind of wrong option by a ConfigError; none of them knows tensors or
steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from audioprune.errors import ConfigError, unknown_name

BASES = ("sgd", "adam", "adamw")
# What torch and its schedulers keep in a param group besides the options of the optimiser.
_TORCH = ("params", "param_names", "units", "name", "differentiable")
_SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum")


def number(
    name: str,
    value: Any,
    low: float = 0.0,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = True,
) -> float:
    """Return a finite number after checking its range.

    Args:
        name: The option, for the message.
        value: A number or a tensor of one element.
        low: Smallest value allowed.
        high: Bound from above.
        above: True excludes ``low`` itself.
        below: True excludes ``high`` itself.

    Raises:
        ConfigError: ``value`` is no number, not finite or out of range.
    """
    try:
        given = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, RuntimeError):
        given = math.nan
    too_low = given <= low if above else given < low
    too_high = given >= high if below else given > high
    if not math.isfinite(given) or too_low or too_high:
        left = f"{name} {'>' if above else '>='} {low:g}"
        right = "" if math.isinf(high) else f" and {'<' if below else '<='} {high:g}"
        raise ConfigError(
            f"expected a finite number {left}{right}, got {value!r}; set {name} within that range"
        )
    return given


def count(name: str, value: Any, low: int) -> None:
    """Check a number of steps: a whole number, or infinity for "never ends".

    Raises:
        ConfigError: ``value`` is neither, or smaller than ``low``.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    endless = isinstance(value, float) and value == math.inf
    if not (whole or endless) or value < low:
        raise ConfigError(
            f"expected a whole number {name} >= {low} or inf, got {value!r}; {name} counts "
            f"optimiser steps"
        )


def choice(name: str, value: Any, known: Iterable[str]) -> None:
    """Check a word against the known ones.

    Raises:
        ConfigError: The word is unknown; the message names the closest ones.
    """
    if value not in tuple(known):
        raise ConfigError(unknown_name(name, str(value), known))


def flag(name: str, value: Any, optional: bool = False) -> None:
    """Check a switch.

    Raises:
        ConfigError: ``value`` is not True or False (or None where ``optional``).
    """
    if not (isinstance(value, bool) or (optional and value is None)):
        raise ConfigError(
            f"expected {name} True or False{' or None' if optional else ''}, got {value!r}; set "
            f"{name} to one of these"
        )


def check_common(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check the options that all optimisers share, in one param group with the defaults filled in.

    Raises:
        ConfigError: An option is unknown, unsupported or out of range.
    """
    for key in options:
        if key not in defaults and key not in _TORCH + _SCHEDULERS:
            raise ConfigError(
                unknown_name("option of a param group", str(key), [*defaults, "params", "units"])
            )
    if options.get("maximize"):
        raise ConfigError("expected maximize=False, got True; minimise the negated loss instead")
    number("lr", options["lr"])
    number("lmbda", options["lmbda"])
    number("weight_decay", options["weight_decay"])
    number("eps", options["eps"], above=True)
    number("momentum", options["momentum"], high=1.0)
    choice("base optimiser", options["base"], BASES)
    flag("fused", options["fused"], optional=True)
    if options["momentum"] and options["base"] != "sgd":
        raise ConfigError(
            f"expected momentum=0 with base={options['base']!r}, got {options['momentum']!r}; "
            f"set betas instead"
        )
    betas = options["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ConfigError(
            f"expected betas as a pair of numbers >= 0 and < 1, got {betas!r}; for example "
            f"betas=(0.9, 0.999)"
        )
    for beta in betas:
        number("betas", beta, high=1.0)


def share(name: str, value: Any) -> None:
    """Check an optional share above 0 and up to 1.

    Raises:
        ConfigError: ``value`` is neither None nor such a share.
    """
    if value is not None:
        number(name, value, high=1.0, above=True, below=False)
