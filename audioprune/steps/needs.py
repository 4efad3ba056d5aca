"""What steps refuse before work begins: wrong numbers, models without units, no loss."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.find import has_units, needed_units
from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.protocols import NotScored


def whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse what is not a whole number within a range.

    Raises:
        ConfigError: It is not.
    """
    right = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    )
    if not right:
        reach = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name}: expected a whole number {reach}, got {value!r}; correct it")


def check_items(name: str, value: int | None) -> None:
    """Refuse a number of items below 1; None stands for all of them.

    Raises:
        ConfigError: It is below 1 or not whole.
    """
    if value is not None:
        whole(name, value, 1)


def fraction(name: str, value: Any) -> None:
    """Refuse what does not lie within 0..1.

    Raises:
        ConfigError: It does not.
    """
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name}: expected a fraction from 0 to 1, got {value!r}; correct it")


def not_negative(name: str, value: Any) -> None:
    """Refuse what is neither None nor a finite number from 0 on.

    Raises:
        ConfigError: It is not.
    """
    if value is not None and (not isinstance(value, int | float) or not 0 <= value < math.inf):
        raise ConfigError(f"{name}: expected a finite number from 0 on, got {value!r}; correct it")


def above_zero(name: str, value: float | None) -> None:
    """Refuse a number that is not above 0; None stands for that of the experiment.

    Raises:
        ConfigError: It is not.
    """
    if value is not None and not value > 0:
        raise ConfigError(f"{name}: expected a number above 0, got {value}; correct it")


def ascending(name: str, values: Sequence[float] | None, least: float, most: float) -> None:
    """Refuse numbers that do not rise within a range; None stands for the usual ones.

    Raises:
        ConfigError: They do not, or there are none.
    """
    if values is None:
        return
    numbers = list(values)
    if (
        not numbers
        or numbers != sorted(set(numbers))
        or not least <= numbers[0] <= numbers[-1] <= most
    ):
        raise ConfigError(
            f"{name}: expected ascending numbers from {least} to {most}, got {numbers}; correct "
            f"them"
        )


def need_loss(run: Run, what: str, otherwise: str = "") -> None:
    """Refuse a task that measures nothing, and a corpus that it could not be measured on.

    Args:
        run: The run.
        what: What needs the loss, for the message.
        otherwise: What to do without a task.

    Raises:
        ConfigError: Its task is one that measures nothing, or no item is for validation.
    """
    if isinstance(run.task, NotScored):
        other = f", or {otherwise}" if otherwise else ""
        raise ConfigError(
            f"{what}: expected a task that measures a loss, got task=none; give task=... and "
            f"data=...{other}"
        )
    if not len(run.data.valid()):
        raise ConfigError(
            f"{what}: expected training and validation items, got none of "
            f"data={(run.config.get('data') or {}).get('name')}; choose another corpus or split"
        )


def units_of(
    model: nn.Module, what: str, remedy: str, said_by: str | None = None
) -> list[UnitSet]:
    """Return the sets of units of a model: declared by it, or derived and proved.

    Args:
        model: The model.
        what: What it lists for the step that asks, for the message.
        remedy: What to do besides writing the method.
        said_by: Path of the step that tells the user which layers stay whole, and why; None tells
            nothing.

    Raises:
        ConfigError: The model has neither ``unit_sets`` nor an example input, or no unit of it can
            be removed.
    """
    if not has_units(model):
        told = f"expected a method unit_sets() that lists its {what}; write one"
        raise ConfigError(f"{type(model).__name__}: {told}{f' or {remedy}' if remedy else ''}")
    return needed_units(model, remedy, None if said_by is None else partial(_say_whole, said_by))


def _say_whole(path: str, reason: str) -> None:
    print(f"{path}: stays whole: {reason}", file=sys.stderr, flush=True)
