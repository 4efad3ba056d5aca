"""What proves that units are complete: a masked and a trimmed model must give the same outputs.

``verify_units`` refuses wrong sets, ``refuted_units`` names them. Both remove random units from
copies of a model; nothing is chosen by importance, and the model itself is not changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trace.tape import FAILS, held_in
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.compress.weight_norm import copy_of, fold_norms_
from audioprune.errors import AudiopruneError, ConfigError

IN_TRAINING = "in training mode"
"""What the reason of a set begins with that holds in evaluation mode alone."""
_FAILS = (AudiopruneError, *FAILS)
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def verify_units(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    example_inputs: Any,
    atol: float = 1e-5,
    seed: int = 0,
) -> float:
    """Prove unit sets, or refuse them.

    A random half of the units is zeroed in one copy of the model and trimmed in another; both must
    agree. Both copies have randomly changed parameters and statistics, so that no zero of an
    initialisation hides an error. Sets that are not exact are only trimmed; the model must run and
    stay finite.

    Args:
        model: The model, run in evaluation mode.
        unit_sets: Its unit sets; weight groups are left out.
        example_inputs: Argument, arguments or keyword arguments of its forward pass.
        atol: Largest allowed difference, as a fraction of the largest value of each output.
        seed: Seed of the random choices. From seed 1 on the inputs are changed too.

    Returns:
        Largest difference of the exact sets, as a fraction of the largest value of its output.

    Raises:
        ConfigError: Masked and trimmed outputs differ, or the trimmed model does not run; the
            message names the sets that do so alone.
    """
    # a model that does not run fails here, in its own words; it may remember the pass
    outputs_of(copy_of(model), arguments_of(example_inputs))
    trial = _Trial(model, unit_sets, example_inputs, atol, seed)
    error, why = trial.difference(each for each in trial.chosen if each.exact)
    crossed, crossed_why = 0.0, ""
    if not all(each.exact for each in trial.chosen):
        crossed, crossed_why = trial.difference(trial.chosen)
    if error <= atol and crossed < inf:
        return error
    guilty = []
    for each in trial.chosen:
        reason = trial.objection([each])
        if reason:
            guilty.append(f"'{each.name}' ({reason})")
    raise ConfigError(
        f"unit sets: expected masked and trimmed outputs within {atol}, got "
        f"{why or crossed_why or f'a difference of {error:.1e}'}; "
        f"correct {', '.join(guilty) or 'the sets, which are only wrong together'}"
    )


def refuted_units(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    example_inputs: Any,
    atol: float = 1e-5,
    seed: int = 0,
    *,
    fewest: bool = False,
    training: bool = False,
) -> dict[str, str]:
    """Name the unit sets that ``verify_units`` would refuse; the others hold together.

    Args:
        model: The model, run in evaluation mode.
        unit_sets: Its unit sets; weight groups are left out.
        example_inputs: Argument, arguments or keyword arguments of its forward pass.
        atol: Largest allowed difference, as a fraction of the largest value of each output.
        seed: Seed of the random choices. From seed 1 on the inputs are changed too.
        fewest: Keep no more units of a set than it must, where an axis of one position may be
            taken for none.
        training: Let the trimmed model run in training mode too, where the model does.

    Returns:
        Set name -> reason.
    """
    trial = _Trial(model, unit_sets, example_inputs, atol, seed, fewest, training)
    proved: list[UnitSet] = []
    refuted: dict[str, str] = {}
    _divide(trial, trial.chosen, proved, refuted)
    return refuted


def _divide(
    trial: _Trial, sets: list[UnitSet], proved: list[UnitSet], refuted: dict[str, str]
) -> None:
    """Prove sets together with those proved before; halve what fails until one set is left."""
    reason = trial.objection([*proved, *sets]) if sets else ""
    if not reason:
        proved += sets
    elif len(sets) == 1:
        refuted[sets[0].name] = reason
    else:
        middle = len(sets) // 2
        _divide(trial, sets[:middle], proved, refuted)
        _divide(trial, sets[middle:], proved, refuted)


def arguments_of(example_inputs: Any) -> Arguments:
    """Return an example as positional and keyword arguments.

    A mapping holds keyword arguments, a sequence positional ones; anything else is one argument.
    """
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Tensor) or not isinstance(example_inputs, Sequence):
        return (example_inputs,), {}
    return tuple(example_inputs), {}


class _Trial:
    """A changed copy of a model, and a random half of every unit set to remove from it."""

    def __init__(
        self,
        model: nn.Module,
        unit_sets: Sequence[UnitSet],
        example_inputs: Any,
        atol: float,
        seed: int,
        fewest: bool = False,
        training: bool = False,
    ) -> None:
        inputs = arguments_of(example_inputs)
        self._unit_sets, self._atol = unit_sets, atol
        self.chosen = [each for each in unit_sets if each.removable]
        generator = torch.Generator().manual_seed(seed)
        twin = copy_of(model)
        fold_norms_(twin)
        self._model = _shaken(twin, generator)
        self._keep = {
            each.name: _random_keep(each, generator, None if fewest else place)
            for place, each in enumerate(self.chosen)
        }
        self._given = inputs
        self._inputs = _softer(inputs, generator) if seed else inputs
        self._training = _shapes_in_training(self._model, inputs) if training else None

    def objection(self, sets: Sequence[UnitSet]) -> str:
        """Return what speaks against removing units of some sets, or nothing."""
        error, why = self.difference(sets)
        if error == inf:
            return why
        exact = [each for each in sets if each.exact]
        if len(exact) < len(sets):
            error, why = self.difference(exact)
        return "" if error <= self._atol else why or f"a difference of {error:.1e}"

    def difference(self, sets: Iterable[UnitSet]) -> tuple[float, str]:
        """Return how far masked and trimmed outputs differ, and why the trimmed model fails."""
        keep = {each.name: self._keep[each.name] for each in sets}
        try:
            return self._compare(keep), ""
        except _FAILS as error:
            return inf, (str(error) or type(error).__name__).splitlines()[0]

    def _compare(self, keep: dict[str, Tensor]) -> float:
        masked, trimmed = copy.deepcopy(self._model), copy.deepcopy(self._model)
        zero_units_(masked, self._unit_sets, keep)
        trim_(trimmed, self._unit_sets, keep)
        wanted = self._outputs_of_masked(masked)
        got = outputs_of(trimmed, self._inputs)
        if not wanted:
            raise ConfigError("outputs that hold no tensor, which proves nothing; return tensors")
        if not any(bool(value.any()) for value in wanted):
            raise ConfigError(
                "outputs that are all zero, which proves nothing; try another seed or example"
            )
        if [value.shape for value in wanted] != [value.shape for value in got]:
            raise ConfigError("another shape of the output")
        error = max(_distance(a, b) for a, b in zip(wanted, got, strict=True))
        if self._training is not None:
            shapes = _shapes_in_training(trimmed, self._inputs, fails=True)
            if shapes != self._training:
                raise ConfigError(f"{IN_TRAINING}: another shape of the output")
        return error

    def _outputs_of_masked(self, masked: nn.Module) -> list[Tensor]:
        """Run the masked model on the changed inputs, or on the given ones if it fails."""
        if self._inputs is not self._given:
            try:
                outputs = outputs_of(copy.deepcopy(masked), self._inputs)
                if all(bool(each.isfinite().all()) for each in outputs):
                    return outputs
            except _FAILS:
                pass  # such as a distribution that has to sum to 1
            self._inputs = self._given
        return outputs_of(masked, self._inputs)


def _softer(inputs: Arguments, generator: torch.Generator) -> Arguments:
    """Make every number of the inputs a little softer; signs and zeros stay."""

    def changed(value: Any) -> Any:
        if not isinstance(value, Tensor) or not torch.is_floating_point(value):
            return value
        return value * (0.5 + 0.5 * torch.rand(value.shape, generator=generator)).to(value)

    softer: Arguments = tree_map(changed, inputs)
    return softer


def _distance(wanted: Tensor, got: Tensor) -> float:
    """Return the largest difference of an output, as a part of its largest value."""
    difference = torch.where(wanted == got, 0.0, got - wanted).abs()  # infinities may be equal
    error = float(difference.max()) if difference.numel() else 0.0
    finite = wanted[wanted.isfinite()]
    if not error < inf:
        raise ConfigError("outputs that are not finite")
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return error / scale if scale else error


def _shapes_in_training(
    model: nn.Module, inputs: Arguments, fails: bool = False
) -> list[torch.Size] | None:
    """Return the shapes of the outputs in training mode, or None of a model that does not run.

    Args:
        model: The model; a copy of it runs.
        inputs: Arguments of its forward pass.
        fails: Whether a model that does not run raises its error.
    """
    twin = copy.deepcopy(model).train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            args, kwargs = cloned(inputs)
            return [value.shape for value in held_in(twin(*args, **kwargs))]
    except _FAILS as error:
        if not fails:
            return None  # such as a batch of one, which has no statistics
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{IN_TRAINING}: {reason}") from error


def outputs_of(model: nn.Module, inputs: Arguments) -> list[Tensor]:
    """Run a model from the current state of the random generator, which stays.

    A model that draws noise thus draws the same every time.
    """
    with torch.no_grad(), evaluating(model), torch.random.fork_rng(devices=[]):
        args, kwargs = cloned(inputs)
        values = list(held_in(model(*args, **kwargs)))
    return [torch.view_as_real(each) if each.is_complex() else each.float() for each in values]


def cloned(inputs: Arguments) -> Arguments:
    """Return arguments with tensors of their own: a model may change its input."""

    def own(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    copies: Arguments = tree_map(own, inputs)
    return copies


def _shaken(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Change all parameters and running statistics a little, in place."""

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like)

    with torch.no_grad():
        for parameter in model.parameters():
            deviation = 0.1
            if parameter.dim() > 1:
                # about as large as a weight of that many inputs
                deviation = 0.3 * (parameter.shape[0] / parameter.numel()) ** 0.5
            parameter.add_(noise(parameter) * deviation)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(noise(buffer) * 0.1)
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator).to(buffer))
    return model


def _random_keep(each: UnitSet, generator: torch.Generator, place: int | None) -> Tensor:
    """Choose about half of the units, of every set another number, or as few as may stay.

    A model that reads the width of one layer to reshape another runs while both lose as many.

    Args:
        each: The set.
        generator: Source of the choice.
        place: Number of the set, or None to keep as few units as the set allows.
    """
    keep = torch.ones(each.size, dtype=torch.bool)
    most = each.size - each.min_units
    count = most if place is None else (each.size + 1) // 2 - place % (each.size // 4 + 1)
    count = max(0, min(count, most))
    keep[torch.randperm(each.size, generator=generator)[:count]] = False
    return keep
