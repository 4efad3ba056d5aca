"""How one step of a streaming form becomes C statements: ``Program``.

Every value is a contiguous array of floats: an input, a state, a part of the arena, or a constant
in ROM. A view that stays contiguous shares its array; any other is copied. Whole numbers are held
as floats, exact below 2^24. What one operator becomes is in `operators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.export.c.weights import Weight


@dataclass
class Place:
    """Where an array lies.

    Attributes:
        kind: ``arena``, ``rom``, or the name of an input or a state.
        size: Floats.
        at: First float within the arena, once it is known.
        first: Statement that writes it first, and ``last`` the one that reads it last.
    """

    kind: str
    size: int
    at: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Array:
    """A value: a contiguous part of a place.

    Attributes:
        place: Where it lies.
        shape: Its shape.
        offset: Floats before it.
    """

    place: Place
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        """Number of floats."""
        return math.prod(self.shape)


@dataclass
class Program:
    """The statements of one step, with the arrays that they name.

    Attributes:
        statements: Pieces of C; an array among them stands for a pointer to it.
        rom: Constants of floats by name.
        weights: Those that are read through ``ap_weight``.
        macs: Multiplications by weights.
    """

    statements: list[list[Any]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    rom: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    macs: int = 0

    def new(self, shape: Sequence[int]) -> Array:
        """Return an array in the arena."""
        now = len(self.statements)
        place = Place("arena", max(1, math.prod(shape)), first=now, last=now)
        self.places.append(place)
        return Array(place, tuple(shape))

    def say(self, *pieces: Any) -> None:
        """Add a statement of text and arrays."""
        for piece in pieces:
            if isinstance(piece, Array):
                piece.place.last = len(self.statements)
        self.statements.append(list(pieces))

    def constant(self, value: Tensor, name: str) -> str:
        """Keep a constant in ROM and return its name in C.

        Args:
            value: The tensor.
            name: What it is called in the model.
        """
        value = value.detach().float().contiguous()
        unique = self._name(
            name,
            lambda taken: taken in self.rom and torch.equal(self.rom[taken], value),
        )
        self.rom[unique] = value
        return unique

    def weight(self, value: Weight, name: str) -> str:
        """Keep a weight in ROM and return a pointer to it in C."""
        unique = self._name(
            name,
            lambda taken: taken in self.weights and self.weights[taken].same(value),
        )
        self.weights[unique] = value
        return f"&{unique}"

    def _name(self, name: str, holds_it: Callable[[str], bool]) -> str:
        """Return a name in C that is free, or that holds the very value already."""
        plain, count = c_name(name), 1
        unique = plain
        while (unique in self.rom or unique in self.weights) and not holds_it(unique):
            count += 1
            unique = f"{plain}_{count}"
        return unique

    def layout(self) -> int:
        """Place all arrays of the arena, those that live at one time apart; return its floats."""
        placed: list[Place] = []
        for place in sorted(self.places, key=lambda each: -each.size):
            taken = [
                each for each in placed if each.first <= place.last and place.first <= each.last
            ]
            at = 0
            for each in sorted(taken, key=lambda other: other.at):
                if at + place.size <= each.at:
                    break
                at = max(at, each.at + each.size)
            place.at = at
            placed.append(place)
        return max((each.at + each.size for each in placed), default=1)

    def text(self) -> list[str]:
        """Return the statements as C, once the arena is laid out."""
        return ["  " + "".join(_pointer(piece) for piece in pieces) for pieces in self.statements]

    def rom_bytes(self) -> int:
        """Return the bytes of all constants."""
        plain = sum(4 * value.numel() for value in self.rom.values())
        return plain + sum(weight.rom_bytes for weight in self.weights.values())


def c_name(name: str) -> str:
    """Return the name in C of what is called so in the model."""
    return "w_" + "".join(letter if letter.isalnum() else "_" for letter in name)


def _pointer(piece: Any) -> str:
    if not isinstance(piece, Array):
        return str(piece)
    if piece.place.kind == "arena":
        return f"(m->arena + {piece.place.at + piece.offset})"
    return f"({piece.place.kind} + {piece.offset})" if piece.offset else piece.place.kind


def refuse(node: Any, why: str) -> Any:
    """Raise what says which operator of which layer has no C form."""
    layer = node.meta.get("layer") or "the model itself"
    raise ConfigError(
        f"layer {layer}: expected operators that have a C form, got {node.target} {why}; use "
        f"format=onnx"
    )
