"""When a training reads its losses on the host: ``Readings``, the values of steps not yet read.

Reading a value makes the host wait until the device has done all work before it. Values are
scalars () that stay on their device until ``read`` copies those of several steps at once. It
neither sums nor logs them, and never touches a weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from audioprune.protocols import Number

SYNC_EVERY = 50
"""Steps between two readings on an accelerator, where the configuration names none."""


class NotFiniteError(Exception):
    """A watched value is not finite.

    Attributes:
        what: What it is, and its value.
        step: The first step whose value is not finite, counted from 1.
    """

    def __init__(self, what: str, step: int) -> None:
        super().__init__(what)
        self.what, self.step = what, step


class Readings:
    """The logged and watched values of the steps since the last reading.

    Args:
        every: Steps from one reading to the next; None takes 1 on the CPU and 50 elsewhere.
        device: Where the training computes.
    """

    def __init__(self, every: int | None, device: torch.device) -> None:
        self.every = every or (1 if device.type == "cpu" else SYNC_EVERY)
        self._watched: list[tuple[str, Tensor]] = []
        self._steps: list[tuple[int, list[tuple[str, Tensor]], Mapping[str, Number]]] = []

    @property
    def at_once(self) -> bool:
        """Whether every value is read when it is known, before it can change a weight."""
        return self.every == 1

    @property
    def due(self) -> bool:
        """Whether as many steps wait as are read together."""
        return len(self._steps) >= self.every

    def watch(self, what: str, value: Tensor) -> None:
        """Remember a scalar of the present step that must be finite, such as ``the loss``.

        Raises:
            NotFiniteError: It is not, where values are read at once; the step is 0, the present
                one.
        """
        if not self.at_once:
            self._watched.append((what, value.detach()))
        elif not math.isfinite(number := float(value)):
            raise NotFiniteError(f"{what} became {number}", 0)

    def add(self, step: int, logged: Mapping[str, Number]) -> None:
        """End a step.

        Args:
            step: Its number, counted from 1.
            logged: What the task logs of it, scalars by name.
        """
        self._steps.append((step, self._watched, logged))
        self._watched = []

    def read(self) -> list[dict[str, float]]:
        """Return what the steps since the last reading logged, in their order, and forget them.

        Raises:
            NotFiniteError: A watched value is not finite.
        """
        steps, self._steps = self._steps, []
        waiting: list[Tensor] = []
        for _, watched, logged in steps:
            waiting += [value for _, value in watched]
            waiting += [value for value in logged.values() if isinstance(value, Tensor)]
        numbers = iter(_numbers(waiting))
        rows: list[dict[str, float]] = []
        for step, watched, logged in steps:
            for what, _ in watched:
                if not math.isfinite(number := next(numbers)):
                    raise NotFiniteError(f"{what} became {number}", step)
            rows.append(
                {
                    name: next(numbers) if isinstance(value, Tensor) else float(value)
                    for name, value in logged.items()
                }
            )
        return rows


def widened(value: Tensor) -> Tensor:
    """Return a detached scalar in float64, as Python computes, where its device has that type."""
    value = value.detach()
    return value.float() if value.device.type == "mps" else value.double()


def _numbers(values: list[Tensor]) -> list[float]:
    """Copy scalars to the host, in one piece where they are on a device."""
    if all(value.device.type == "cpu" for value in values):
        return [float(value) for value in values]
    return torch.stack([widened(value).reshape(()) for value in values]).tolist()
