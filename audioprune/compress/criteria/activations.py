"""Where the units of a model can be seen at work, and on which data a criterion looks at them.

Scores are computed from it in criteria.py and information.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from audioprune.compress.masks import prunable
from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.weight_groups import owner_of
from audioprune.errors import ConfigError

Batch = Any
Scores = dict[str, Tensor]


def _weight_one(batch: Batch) -> float:
    return 1.0


@dataclass(frozen=True)
class Evidence:
    """The validation data on which the gradient, activation and information criteria look at a model.

    Attributes:
        batches: Batches; every criterion walks through them once.
        loss: (model, batch) -> scalar mean loss; also the forward pass of the activation and
            information criteria.
        weight: batch -> its share in the loss over the whole set, such as its number of examples.
        target: batch -> what the model is to produce, in few numbers per frame, shape (B, frames,
            d); information criterion only.
        samples: Pairs of example and frame that the information criterion draws, at most.
        noise_rel: Deviation of the noise that the information criterion adds to a unit, in
            deviations of the unit.
        seed: Of all that the information criterion draws.
        facts: Filled by the criteria: ``mi_samples``, the pairs that the information criterion
            used.
    """

    batches: Iterable[Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    weight: Callable[[Batch], float] = _weight_one
    target: Callable[[Batch], Tensor] | None = None
    samples: int = 2000
    noise_rel: float = 0.05
    seed: int = 0
    facts: dict[str, float] = field(default_factory=dict)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode for a with-block and give every submodule its own mode back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


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
        if (
            module not in taps
        ):  # input-hidden and hidden-hidden weights of one recurrent layer write one output
            taps[module] = Tap(module, _output_positions(module, part, unit_set.name))
    return list(taps.values())


def output_of(module: nn.Module, output: Any) -> Tensor:
    """Return a layer's output with its units on the last axis, shape (..., units)."""
    if isinstance(module, nn.RNNBase):
        output = output[0]
    if isinstance(output, nn.utils.rnn.PackedSequence):
        return output.data
    return (
        output.movedim(-1 - len(module.kernel_size), -1)
        if isinstance(module, nn.modules.conv._ConvNd)
        else output
    )


def writers_of(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, list[Slice]]:
    """Return for every set the "out" slices of weights, without biases.

    Raises:
        ConfigError: No weight writes the units of a set.
    """
    weights = set(prunable(model))
    found = {
        each.name: [part for part in each.slices if part.role == "out" and part.tensor in weights]
        for each in sets
    }
    for name, parts in found.items():
        if not parts:
            raise ConfigError(
                f"unit set '{name}': {_why_no_writer(model, next(each for each in sets if each.name == name))}"
            )
    return found


def _why_no_writer(model: nn.Module, unit_set: UnitSet) -> str:
    parameters = dict(model.named_parameters())
    names = [
        part.tensor for part in unit_set.slices if part.role == "out" and part.tensor in parameters
    ]
    frozen = [name for name in names if not parameters[name].requires_grad]
    if frozen:
        return (
            f"expected '{frozen[0]}' to require a gradient, got a frozen weight; unfreeze it or "
            f"leave the set out of unit_sets()"
        )
    return "expected a weight that writes its units, got none; declare an 'out' slice of one"


def needed(evidence: Evidence | None, criterion: str) -> Evidence:
    """Return the evidence.

    Raises:
        ConfigError: There is none.
    """
    if evidence is None:
        raise ConfigError(
            f"{criterion} criterion: expected validation data, got none; give the validation "
            f"batches and the loss"
        )
    return evidence


def _output_positions(module: nn.Module, part: Slice, set_name: str) -> Tensor:
    if isinstance(module, nn.RNNBase):
        return _recurrent_positions(module, part, set_name)
    transposed = isinstance(module, nn.modules.conv._ConvNd) and module.transposed
    known = isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    if (
        not known
        or part.leading != 1
        or part.dim != int(transposed)
        or (transposed and module.groups > 1)
    ):
        raise ConfigError(
            f"unit set '{set_name}': expected the units on the output of a linear, convolution "
            f"or recurrent layer, got slice "
            f"'{part.tensor}' (dim {part.dim}) of {type(module).__name__}; use the magnitude or "
            f"gradient criterion"
        )
    return part.index


def _recurrent_positions(module: nn.RNNBase, part: Slice, set_name: str) -> Tensor:
    """Map gate rows to hidden units: row r of any gate writes unit r modulo the hidden size."""
    if module.num_layers > 1 or module.proj_size or part.dim != 0 or part.leading != 1:
        raise ConfigError(
            f"unit set '{set_name}': expected gate rows of a one-layer recurrent layer without "
            f"projection, got '{part.tensor}' "
            f"(dim {part.dim}, {module.num_layers} layers, projection {module.proj_size}); "
            f"stack one-layer modules instead"
        )
    gates = module.weight_hh_l0.shape[0] // module.hidden_size
    hidden = (
        (part.index % module.hidden_size).sort(1).values[:, ::gates]
    )  # every unit appears once per gate
    return hidden + (module.hidden_size if part.tensor.endswith("_reverse") else 0)
