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
from torch.utils._pytree import tree_leaves, tree_map

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.compress.weight_norm import copy_of, fold_norms_
from audioprune.errors import AudiopruneError, ConfigError

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
        atol: Largest allowed difference, as a fraction of the largest output.
        seed: Seed of the random choices.

    Returns:
        Largest difference of the exact sets, as a fraction of the largest output.

    Raises:
        ConfigError: Masked and trimmed outputs differ, or the trimmed model does not run; the
            message names the sets that do so alone.
    """
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
) -> dict[str, str]:
    """Name the unit sets that ``verify_units`` would refuse; the others hold together.

    Args:
        model: The model, run in evaluation mode.
        unit_sets: Its unit sets; weight groups are left out.
        example_inputs: Argument, arguments or keyword arguments of its forward pass.
        atol: Largest allowed difference, as a fraction of the largest output.
        seed: Seed of the random choices.

    Returns:
        Set name -> reason.
    """
    trial = _Trial(model, unit_sets, example_inputs, atol, seed)
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
    ) -> None:
        self._inputs = arguments_of(example_inputs)
        outputs_of(model, self._inputs)  # a model that does not run fails here, in its own words
        self._unit_sets, self._atol = unit_sets, atol
        self.chosen = [each for each in unit_sets if each.removable]
        generator = torch.Generator().manual_seed(seed)
        twin = copy_of(model)
        fold_norms_(twin)
        self._model = _shaken(twin, generator)
        self._keep = {
            each.name: _random_keep(each, generator, place)
            for place, each in enumerate(self.chosen)
        }

    def objection(self, sets: Sequence[UnitSet]) -> str:
        """Return what speaks against removing units of some sets, or nothing."""
        error, why = self.difference(sets)
        if error == inf:
            return why
        exact = [each for each in sets if each.exact]
        if len(exact) < len(sets):
            error, why = self.difference(exact)
        return "" if error <= self._atol else why or f"{error:.1e}"

    def difference(self, sets: Iterable[UnitSet]) -> tuple[float, str]:
        """Return how far masked and trimmed outputs differ, and why the trimmed model fails."""
        keep = {each.name: self._keep[each.name] for each in sets}
        try:
            return self._compare(keep), ""
        except (
            AudiopruneError,
            ArithmeticError,
            AssertionError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            return inf, (str(error) or type(error).__name__).splitlines()[0]

    def _compare(self, keep: dict[str, Tensor]) -> float:
        masked, trimmed = copy.deepcopy(self._model), copy.deepcopy(self._model)
        zero_units_(masked, self._unit_sets, keep)
        trim_(trimmed, self._unit_sets, keep)
        wanted, got = outputs_of(masked, self._inputs), outputs_of(trimmed, self._inputs)
        scale = max((float(value.abs().max()) for value in wanted), default=0.0)
        if scale == 0:
            raise ConfigError(
                "outputs that are all zero, which proves nothing; try another seed or example"
            )
        if [value.shape for value in wanted] != [value.shape for value in got]:
            raise ConfigError("another shape of the output")
        errors = [float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True)]
        if not all(error < inf for error in errors):
            raise ConfigError("outputs that are not finite")
        return max(errors) / scale


def outputs_of(model: nn.Module, inputs: Arguments) -> list[Tensor]:
    """Run a model from the current state of the random generator, which stays.

    A model that draws noise thus draws the same every time.
    """
    with torch.no_grad(), evaluating(model), torch.random.fork_rng(devices=[]):
        args, kwargs = tree_map(_cloned, inputs)  # a model may change its input
        leaves = tree_leaves(model(*args, **kwargs))
    values = [value for value in leaves if isinstance(value, Tensor)]
    return [torch.view_as_real(each) if each.is_complex() else each.float() for each in values]


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


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


def _random_keep(each: UnitSet, generator: torch.Generator, place: int) -> Tensor:
    """Choose about half of the units, of every set another number.

    A model that reads the width of one layer to reshape another runs while both lose as many.
    """
    keep = torch.ones(each.size, dtype=torch.bool)
    fewer = place % (each.size // 4 + 1)
    count = max(0, min((each.size + 1) // 2 - fewer, each.size - each.min_units))
    keep[torch.randperm(each.size, generator=generator)[:count]] = False
    return keep
