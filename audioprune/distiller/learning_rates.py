"""Learning-rate rules of a schedule: torch's schedulers by their names, and two more.

``Rule`` builds one for an optimiser, ``advance`` sets it to an epoch. When rules act is decided in
hook.py.
"""

from __future__ import annotations

import inspect
import math
import warnings
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from audioprune.errors import ConfigError, unknown_name

_RULES = torch.optim.lr_scheduler
_NEED_CODE = ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler", "SWALR")
"""Rules that take a function or other rules, which a file cannot hold."""


def _polynomial(numbers: Mapping[str, Any], epoch: int) -> float:
    return (1 - epoch / numbers["T_max"]) ** numbers["power"]


def _milestones(numbers: Mapping[str, Any], epoch: int) -> float:
    passed = bisect_right(numbers["milestones"], epoch)
    return math.prod(numbers["gammas"][:passed], start=1.0)


_FACTORS = {
    "PolynomialLR": (_polynomial, ("T_max", "power")),
    "MultiStepMultiGammaLR": (_milestones, ("milestones", "gammas")),
}


def known_rules() -> list[str]:
    """Return the names of all learning-rate rules that a file can use."""
    left_out = ("LRScheduler", *_NEED_CODE)
    found = {
        name
        for name, kind in vars(_RULES).items()
        if _is_rule(kind) and name not in left_out and not name.startswith("_")
    }
    return sorted(found | set(_FACTORS))


@dataclass(frozen=True)
class Rule:
    """One entry of ``lr_schedulers``.

    ``PolynomialLR`` with ``T_max`` and ``power`` multiplies the initial rate by (1 - epoch /
    T_max)^power; ``MultiStepMultiGammaLR`` with ``milestones`` and ``gammas`` by the product of
    the gammas of the milestones passed.

    Attributes:
        kind: Name of the class.
        numbers: Its arguments.

    Raises:
        ConfigError: The class is unknown or does not take the arguments.
    """

    kind: str
    numbers: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in known_rules():
            raise ConfigError(
                f"unsupported class: {unknown_name('lr_scheduler', self.kind, known_rules())}"
            )
        accepted = self._accepted()
        wrong = sorted(set(self.numbers) - set(accepted))
        if wrong:
            raise ConfigError(
                f"{self.kind} does not accept {', '.join(wrong)}; it accepts {', '.join(accepted)}"
            )
        needed = [name for name, is_needed in accepted.items() if is_needed]
        missing = [name for name in needed if name not in self.numbers]
        if missing:
            raise ConfigError(f"{self.kind}: expected {', '.join(missing)}, got none; add it")
        if self.kind == "MultiStepMultiGammaLR":
            _check_milestones(self.numbers)

    def build(self, optimizer: Optimizer) -> Any:
        """Build the rule for an optimiser.

        Raises:
            ConfigError: An argument is out of range.
        """
        try:
            if self._own():
                factor = _FACTORS[self.kind][0]
                return _RULES.LambdaLR(optimizer, lambda epoch: factor(self.numbers, epoch))
            return getattr(_RULES, self.kind)(optimizer, **self.numbers)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ConfigError(
                f"{self.kind}: {' '.join(str(error).split())}; correct its arguments"
            ) from error

    def _own(self) -> bool:
        """Tell whether the rule is one of ours; torch has another PolynomialLR, without T_max."""
        if self.kind == "PolynomialLR" and "T_max" not in self.numbers:
            return False
        return self.kind in _FACTORS

    def _accepted(self) -> dict[str, bool]:
        """Return the arguments, and whether each is needed."""
        if self._own():
            return dict.fromkeys(_FACTORS[self.kind][1], True)
        parameters = list(inspect.signature(getattr(_RULES, self.kind)).parameters.values())[1:]
        return {
            each.name: each.default is inspect.Parameter.empty
            for each in parameters
            if each.name != "last_epoch"
        }


def advance(rule: Any, epoch: int, metrics: Mapping[str, float]) -> None:
    """Set a rule to an epoch, as at the end of the epoch before.

    Args:
        rule: What ``Rule.build`` returned.
        epoch: The epoch that comes next. The rate is the one of that epoch whatever the epochs
            before were scheduled.
        metrics: Logged values; the plateau rule in mode ``min`` follows ``valid_loss``, in mode
            ``max`` the monitored score.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the argument that schedules are made of
        if not isinstance(rule, _RULES.ReduceLROnPlateau):
            rule.step(epoch)
        elif "valid_loss" in metrics:
            rule.step(_followed(metrics, rule.mode), epoch)


def _followed(metrics: Mapping[str, float], mode: str) -> float:
    if mode == "min":
        return metrics["valid_loss"]
    monitored = [name for name in metrics if name.startswith("valid_") and name != "valid_loss"]
    if not monitored:
        raise ConfigError(
            "ReduceLROnPlateau with mode max: expected a monitored score, got the loss alone; "
            "set training.monitor"
        )
    return metrics[monitored[0]]


def _is_rule(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, _RULES.LRScheduler)


def _check_milestones(numbers: Mapping[str, Any]) -> None:
    milestones, gammas = numbers["milestones"], numbers["gammas"]
    if list(milestones) != sorted(milestones) or len(milestones) != len(gammas):
        raise ConfigError(
            f"MultiStepMultiGammaLR: expected ascending milestones and as many gammas, got "
            f"{milestones} and {gammas}"
        )
