"""What a network is and costs, as an object that prints as a table: ``cost`` and ``units``.

A card prints as text and shows itself as HTML in a notebook. The numbers are those of ``info`` and
of the tables of a run; nothing is changed.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.find import FoundUnits, HasExample, unit_sets_of
from audioprune.errors import ConfigError
from audioprune.experiment import cost as counting
from audioprune.library.stored_form import stored_form
from audioprune.packing import storage_of
from audioprune.protocols import Costed

Example = Tensor | Sequence[Tensor]
"""Argument or arguments of a forward pass, with a batch axis."""
_ENTRY = "padding:1px 8px;text-align:right"


@dataclass(frozen=True)
class CostCard:
    """What a network costs.

    Attributes:
        model: Name of its class.
        params: Parameters.
        nonzero: Parameters that are not 0.
        bytes_fp32: Bytes at 4 a parameter.
        bytes_ideal: Positions and values at their entropy, buffers too.
        macs: Multiplications by weights in one second of audio, or in one example.
        unit: ``second`` or ``example``.
        layers: What each layer costs.
        uncounted: Parameters whose multiplications no layer counts.
    """

    model: str
    params: int
    nonzero: int
    bytes_fp32: int
    bytes_ideal: float
    macs: float
    unit: str
    layers: tuple[counting.LayerCost, ...]
    uncounted: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return the totals as names and texts."""
        found = [
            ("parameters", f"{self.params:,}"),
            ("not zero", f"{self.nonzero:,}"),
            ("as float32", _bytes(self.bytes_fp32)),
            ("at entropy", _bytes(self.bytes_ideal)),
        ]
        return [*found, (f"MACs a {self.unit}", f"{self.macs:,.0f}")]

    def layer_rows(self) -> list[tuple[str, str, str, str]]:
        """Return name, type, parameters and MACs of every layer as texts."""
        return [
            (each.name, each.type, f"{each.params:,}", f"{each.macs_per_second:,.0f}")
            for each in self.layers
        ]

    def __str__(self) -> str:
        lines = [self.model, *(f"  {name:18} {text:>16}" for name, text in self.rows())]
        lines += [f"  {row[0]:32} {row[1]:14} {row[2]:>12} {row[3]:>16}" for row in self._table()]
        if self.uncounted:
            lines.append(f"  MACs leave out what is computed with {', '.join(self.uncounted)}")
        return "\n".join(lines)

    def _table(self) -> list[tuple[str, str, str, str]]:
        return [("layer", "type", "parameters", f"MACs a {self.unit}"), *self.layer_rows()]

    def _repr_html_(self) -> str:
        totals = "".join(_html_row(row, "td") for row in self.rows())
        head, *layers = self._table()
        body = _html_row(head, "th") + "".join(_html_row(row, "td") for row in layers)
        return f"<b>{html.escape(self.model)}</b><table>{totals}</table><table>{body}</table>"


@dataclass(frozen=True)
class UnitTable:
    """The units of a network.

    Attributes:
        model: Name of its class.
        found: The sets, why others were left out, and whether they were declared or derived.
    """

    model: str
    found: FoundUnits

    @property
    def sets(self) -> tuple[UnitSet, ...]:
        """The unit sets, for `prune` and `trim`."""
        return self.found.sets

    def __len__(self) -> int:
        return len(self.sets)

    def __iter__(self) -> Iterator[UnitSet]:
        return iter(self.sets)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return name, number of units, and what trimming them means, of every set."""
        meaning = {True: "exact", False: "changes the output"}
        return [(each.name, f"{each.size:,}", meaning[each.exact]) for each in self.sets]

    def __str__(self) -> str:
        lines = [f"{self.model}: {len(self)} sets of units, {self.found.source}"]
        lines += [f"  {name:32} {size:>8}  {text}" for name, size, text in self.rows()]
        return "\n".join([*lines, *(f"  left out: {why}" for why in self.found.left_out)])

    def _repr_html_(self) -> str:
        head = _html_row(("units", "number", "trimming"), "th")
        body = "".join(_html_row(row, "td") for row in self.rows())
        left = "".join(f"<li>{html.escape(why)}</li>" for why in self.found.left_out)
        title = html.escape(f"{self.model}: {len(self)} sets of units, {self.found.source}")
        return f"<b>{title}</b><table>{head}{body}</table><ul>{left}</ul>"


def cost(
    model: nn.Module, example: Example | None = None, *, seconds: float | None = None
) -> CostCard:
    """Count parameters, bytes and multiplications of a network.

    Args:
        model: Any module; it stays as it is.
        example: Argument or arguments of its forward pass; without it the model's own
            ``example_input()``.
        seconds: Seconds of audio that the example stands for; None counts by the example.

    Raises:
        ConfigError: There is no example, or ``seconds`` is not above 0.
    """
    unit = "example" if seconds is None else "second"
    length = 1.0 if seconds is None else seconds
    if example is None:
        inputs = _own_example(model)
        if seconds is None and isinstance(model, Costed):
            unit, length = "second", counting.example_seconds(model)
    else:
        inputs = example
    found = counting.cost(model, inputs, length)
    return CostCard(
        type(model).__name__,
        found.params,
        found.nonzero,
        4 * found.params,
        storage_of(model, *stored_form(model)).bytes_ideal,
        found.macs_per_second,
        unit,
        found.layers,
        found.uncounted,
    )


def units(model: nn.Module, example: Example | None = None) -> UnitTable:
    """Find what can be taken out of a network: channels, hidden units, heads.

    Units that the model declares are taken as they are; of any other they are derived from one
    forward pass and proved on copies: masked and trimmed, they give the same outputs.

    Args:
        model: Any module; it stays as it is.
        example: As for `cost`.

    Raises:
        ConfigError: The model declares no units and there is no example.
    """
    return UnitTable(type(model).__name__, unit_sets_of(model, example))


def found_units(model: nn.Module, example: Example | None) -> FoundUnits:
    """Return the units of a network that must have some.

    Raises:
        ConfigError: There are none; the message gives the first reasons.
    """
    found = unit_sets_of(model, example)
    if not found.sets:
        why = "; ".join(found.left_out[:3]) or "it declares none"
        raise ConfigError(
            f"{type(model).__name__}: expected units that can be removed, got none ({why}); prune "
            f"single weights with units=None"
        )
    return found


def _own_example(model: nn.Module) -> Example:
    if not isinstance(model, HasExample):
        raise ConfigError(
            f"{type(model).__name__}: expected an example input, got none; give one, such as "
            f"torch.zeros(1, 16000)"
        )
    given: Example = model.example_input()
    return given


def _bytes(count: float) -> str:
    return f"{count / 2**20:,.2f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def _html_row(cells: Sequence[str], tag: str) -> str:
    return (
        "<tr>"
        + "".join(f'<{tag} style="{_ENTRY}">{html.escape(c)}</{tag}>' for c in cells)
        + ("</tr>")
    )
