"""What is known of the axes of one tensor in a traced pass: ``Labels``.

It holds the atoms of every axis and whether the tensor is zero where a unit is zero. It computes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audioprune.compress.units.trace.atoms import Ids

Flags = npt.NDArray[np.bool_]


@dataclass
class Axis:
    """The units on one axis of a tensor.

    Attributes:
        ids: Atom of each position.
        zero: Whether the tensor is 0 at that position when its unit is set to zero.
    """

    ids: Ids
    zero: Flags

    def take(self, positions: slice | Ids) -> Axis:
        """Return a part of the axis."""
        return Axis(self.ids[positions], self.zero[positions])

    def with_zero(self, zero: bool) -> Axis:
        """Return the same units with another value when they are zero."""
        return Axis(self.ids, np.full(len(self.ids), zero))


@dataclass
class Labels:
    """The axes of one tensor.

    Attributes:
        axes: One entry per axis; None where no unit lies.
        own: Whether the tensor is made of parameters and buffers alone.
    """

    axes: list[Axis | None]
    own: bool = False

    @property
    def any(self) -> bool:
        """Whether a unit lies on any axis."""
        return any(axis is not None for axis in self.axes)
