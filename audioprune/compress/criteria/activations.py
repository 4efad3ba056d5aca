"""Where the output of a unit can be read while a model runs: ``taps_of`` a unit set.

A tap is a layer and the positions of the units on its output. Nothing is run or scored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from audioprune.compress.masks import prunable
from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.module_sizes import gates_of
from audioprune.compress.units.weight_groups import owner_of
from audioprune.errors import ConfigError


@dataclass(frozen=True)
class Tap:
    """Where the output of a unit set can be read.

    Attributes:
        module: The layer that writes the units.
        index: Positions of unit u on the last axis of ``output_of(module, output)``, shape (U,
            width).
    """

    module: nn.Module
    index: Tensor


def taps_of(model: nn.Module, unit_set: UnitSet) -> list[Tap]:
    """Find the layers whose output is the units of a set, from its "out" slices.

    Raises:
        ConfigError: No layer writes the units, or its output does not show them.
    """
    taps: dict[nn.Module, Tap] = {}
    for part in writers_of(model, [unit_set])[unit_set.name]:
        module = owner_of(model, part.tensor)
        # both weights of a recurrent layer, of the input and of the state, write one output
        if module not in taps:
            taps[module] = Tap(module, _output_positions(module, part, unit_set.name))
    return list(taps.values())


def output_of(module: nn.Module, output: Any) -> Tensor:
    """Return a layer's output with its units on the last axis, shape (..., units)."""
    if isinstance(module, nn.RNNBase):
        output = output[0]
    values: Tensor = output.data if isinstance(output, nn.utils.rnn.PackedSequence) else output
    if isinstance(module, _ConvNd):
        return values.movedim(-1 - len(module.kernel_size), -1)
    return values


def writers_of(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, list[Slice]]:
    """Return for every set the "out" slices of weights, without biases.

    Raises:
        ConfigError: No weight writes the units of a set.
    """
    weights = set(prunable(model))
    found = {}
    for each in sets:
        parts = [part for part in each.slices if part.role == "out" and part.tensor in weights]
        if not parts:
            raise ConfigError(f"unit set '{each.name}': {_why_no_writer(model, each)}")
        found[each.name] = parts
    return found


def _why_no_writer(model: nn.Module, unit_set: UnitSet) -> str:
    parameters = dict(model.named_parameters())
    for part in unit_set.slices:
        written = part.role == "out" and part.tensor in parameters
        if written and not parameters[part.tensor].requires_grad:
            return (
                f"expected '{part.tensor}' to require a gradient, got a frozen weight; unfreeze "
                f"it or leave the set out of unit_sets()"
            )
    return "expected a weight that writes its units, got none; declare an 'out' slice of one"


def _output_positions(module: nn.Module, part: Slice, set_name: str) -> Tensor:
    if isinstance(module, nn.RNNBase):
        return _recurrent_positions(module, part, set_name)
    if not _is_seen(module, part):
        raise ConfigError(
            f"unit set '{set_name}': expected the units on the output of a linear, convolution "
            f"or recurrent layer, got slice "
            f"'{part.tensor}' (dim {part.dim}) of {type(module).__name__}; use the magnitude or "
            f"gradient criterion"
        )
    return part.index


def _is_seen(module: nn.Module, part: Slice) -> bool:
    """Tell whether the positions of a slice are the positions on the layer's output axis."""
    if part.leading != 1:
        return False
    if isinstance(module, _ConvNd) and module.transposed:
        return part.dim == 1 and module.groups == 1
    return isinstance(module, nn.Linear | _ConvNd) and part.dim == 0


def _recurrent_positions(module: nn.RNNBase, part: Slice, set_name: str) -> Tensor:
    """Map gate rows to hidden units: row r of any gate writes unit r modulo the hidden size."""
    if module.num_layers > 1 or module.proj_size or part.dim != 0 or part.leading != 1:
        raise ConfigError(
            f"unit set '{set_name}': expected gate rows of a one-layer recurrent layer without "
            f"projection, got '{part.tensor}' "
            f"(dim {part.dim}, {module.num_layers} layers, projection {module.proj_size}); "
            f"stack one-layer modules instead"
        )
    # every unit appears once per gate, so one of each run of equal numbers is enough
    hidden = (part.index % module.hidden_size).sort(1).values[:, :: gates_of(module)]
    reverse = part.tensor.endswith("_reverse")
    return hidden + (module.hidden_size if reverse else 0)
