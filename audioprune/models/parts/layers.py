"""Lists of layers whose class is known, and the sizes of recurrent layers as their weights say.

A trimmed layer keeps the sizes that it was built with as numbers; its weights alone are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast, overload

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    Layer = TypeVar("Layer", bound=nn.Module)

    class Layers(nn.ModuleList, Generic[Layer]):
        """A module list whose items have a known class."""

        def __iter__(self) -> Iterator[Layer]: ...

        @overload
        def __getitem__(self, index: slice) -> Layers[Layer]: ...
        @overload
        def __getitem__(self, index: int) -> Layer: ...
        def __getitem__(self, index: int | slice) -> Layer | Layers[Layer]: ...

else:
    Layers = nn.ModuleList


def recurrent_inputs(layer: nn.RNNBase) -> int:
    """Return how many features a recurrent layer of one level reads."""
    return cast(Tensor, layer.weight_ih_l0).shape[1]


def recurrent_units(layer: nn.RNNBase) -> int:
    """Return how many units a recurrent layer of one level has."""
    return cast(Tensor, layer.weight_hh_l0).shape[1]
