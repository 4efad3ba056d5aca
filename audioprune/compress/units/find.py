"""The units of any model: those that it declares, else those that are derived and proved.

``unit_sets_of(model)`` is the one way to ask for the units of a model that may not declare them.
It runs a copy of the model on an example input; the model itself is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from audioprune.compress.units.declare import Prunable, UnitSet
from audioprune.compress.units.derive import derived, refuse_scripts
from audioprune.compress.units.trace.record import record
from audioprune.compress.units.trace.solve import solve
from audioprune.compress.units.verify import arguments_of
from audioprune.compress.weight_norm import copy_of
from audioprune.errors import ConfigError

_TOLD = 5  # reasons that an error lists


@runtime_checkable
class HasExample(Protocol):
    """A model that knows an input of its own."""

    def example_input(self) -> Any:
        """Return an input, or a tuple of inputs."""
        ...


@dataclass(frozen=True)
class FoundUnits:
    """The units of a model, and what was left out.

    Attributes:
        sets: The unit sets.
        left_out: One reason for every layer whose units cannot be removed; empty where the model
            declares its units.
        source: ``declared`` by the model, or ``derived`` from a traced forward pass and proved.
        crossed: Name of a set that is not exact -> why zero units and removed ones differ, where
            it is known.
    """

    sets: tuple[UnitSet, ...]
    left_out: tuple[str, ...]
    source: Literal["declared", "derived"]
    crossed: Mapping[str, str] = field(default_factory=dict)


def has_units(model: nn.Module) -> bool:
    """Tell whether units can be looked for: the model declares them or has an example input."""
    return isinstance(model, Prunable | HasExample)


def unit_sets_of(model: nn.Module, example_inputs: Any = None) -> FoundUnits:
    """Find the units of a model.

    Units that a model declares are taken as they are. Of any other model they are derived from one
    forward pass and proved by masking and trimming copies; what the proof refutes is left out.

    Args:
        model: Any module.
        example_inputs: Argument, arguments or keyword arguments of its forward pass, with a batch
            axis; by default those of ``model.example_input()``.

    Raises:
        ConfigError: The model declares no units, and there is no example input or it is a
            TorchScript module.
    """
    if isinstance(model, Prunable):
        return FoundUnits(tuple(model.unit_sets()), (), "declared")
    if example_inputs is None:
        if not isinstance(model, HasExample):
            raise ConfigError(
                f"{type(model).__name__}: expected an example input to derive units from, got "
                f"none; give one, or write example_input() or unit_sets()"
            )
        example_inputs = model.example_input()
    # on a CPU in float32, the same sums come out alike in the masked and the trimmed copy
    refuse_scripts(model)
    twin = copy_of(model).cpu().float()
    told = derived(twin, _informative(example_inputs))
    return FoundUnits(tuple(told.sets), tuple(told.reasons), "derived", told.crossed)


def traced_reasons(model: nn.Module, example_inputs: Any) -> dict[str, str]:
    """Say of the layers that write no removable units why, by one pass without a proof.

    For a model that declares its units, and says nothing of the others.

    Args:
        model: Any module; not changed.
        example_inputs: As for ``unit_sets_of``.

    Returns:
        Name of a layer -> reason.
    """
    refuse_scripts(model)
    twin = copy_of(model).cpu().float()
    args, kwargs = arguments_of(_informative(example_inputs))
    with torch.random.fork_rng(devices=[]):
        return solve(record(twin, args, kwargs), twin).reasons


def needed_units(
    model: nn.Module, otherwise: str = "", on_left_out: Callable[[str], None] | None = None
) -> list[UnitSet]:
    """Return the units of a model, or say why it has none.

    Args:
        model: A model that declares units or has an example input.
        otherwise: What to do besides declaring units, for the message.
        on_left_out: Called with the reason of every layer whose units cannot be removed.

    Raises:
        ConfigError: No units are declared, and none can be derived; the message gives the reasons.
    """
    found = unit_sets_of(model)
    if found.source == "derived" and not found.sets:
        reasons = "; ".join(found.left_out[:_TOLD]) or "it has no layers"
        more = len(found.left_out) - _TOLD
        reasons += f"; and {more} more" if more > 0 else ""
        raise ConfigError(
            f"{type(model).__name__}: expected units that can be removed, got none ({reasons}); "
            f"declare them in a method unit_sets(){f' or {otherwise}' if otherwise else ''}"
        )
    if on_left_out is not None:
        for reason in found.left_out:
            on_left_out(reason)
    return list(found.sets)


def _informative(example_inputs: Any) -> Any:
    """Return the inputs on the CPU; silence and constants vary, for they hide errors."""
    generator = torch.Generator().manual_seed(0)

    def told(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.float()
        if (value.is_floating_point() or value.is_complex()) and not value.any():
            value = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        elif (
            value.is_floating_point() and value.numel() > 1 and bool((value == value.max()).all())
        ):
            value = value * (0.5 + 0.5 * torch.rand(value.shape, generator=generator))
        return value

    return tree_map(told, example_inputs)
