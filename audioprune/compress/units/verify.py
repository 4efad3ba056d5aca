"""What proves that declared units are complete: zeroed and trimmed units must give the same outputs.

Nothing here chooses units by importance; the proof removes random ones from copies of a model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.criteria.activations import evaluating
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_, zero_units_
from audioprune.errors import AudiopruneError, ConfigError


def verify_units(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    example_inputs: Tensor | Sequence[Tensor],
    atol: float = 1e-5,
    seed: int = 0,
) -> float:
    """Prove unit sets: random halves of the units are zeroed in one copy of the model and trimmed in another, which must agree.

    Both copies have randomly changed parameters and statistics, so that no zero of an
    initialisation hides an error. Sets that are not exact are only trimmed; the model must run and
    stay finite. The model itself is not changed.

    Args:
        model: The model, run in evaluation mode.
        unit_sets: Its unit sets; weight groups are left out.
        example_inputs: Argument or arguments of its forward pass.
        atol: Largest allowed difference, as a fraction of the largest output.
        seed: Seed of the random choices.

    Returns:
        Largest difference of the exact sets, as a fraction of the largest output.

    Raises:
        ConfigError: Masked and trimmed outputs differ, or the trimmed model does not run; the
            message names the sets that do so alone.
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    chosen = [each for each in unit_sets if each.removable]
    generator = torch.Generator().manual_seed(seed)
    _outputs(model, inputs)  # a model that does not run at all fails here, with its own message
    shaken = _shaken(copy.deepcopy(model), generator)
    keep = {each.name: _random_keep(each, generator) for each in chosen}

    def trial(sets: Iterable[UnitSet]) -> float:
        return _difference(
            shaken, unit_sets, {each.name: keep[each.name] for each in sets}, inputs
        )

    exact = [each for each in chosen if each.exact]
    error, why = _attempt(trial, exact)
    crossed, crossed_why = _attempt(trial, chosen)
    if error <= atol and crossed < float("inf"):
        return error
    alone = [(each, *_attempt(trial, [each])) for each in chosen]
    wrong = [
        (each, off, reason)
        for each, off, reason in alone
        if off == float("inf") or (each.exact and off > atol)
    ]
    guilty = [f"'{each.name}' ({reason or f'{off:.1e}'})" for each, off, reason in wrong]
    raise ConfigError(
        f"unit sets: expected masked and trimmed outputs within {atol}, got "
        f"{why or crossed_why or f'a difference of {error:.1e}'}; "
        f"correct {', '.join(guilty) or 'the sets, which are only wrong together'}"
    )


def _attempt(
    trial: Callable[[Iterable[UnitSet]], float], sets: list[UnitSet]
) -> tuple[float, str]:
    try:
        return trial(sets), ""
    except (AudiopruneError, RuntimeError, ValueError, IndexError) as error:
        return float("inf"), str(error).splitlines()[0]


def _difference(
    model: nn.Module,
    unit_sets: Sequence[UnitSet],
    keep: dict[str, Tensor],
    inputs: tuple[Tensor, ...],
) -> float:
    masked, trimmed = copy.deepcopy(model), copy.deepcopy(model)
    zero_units_(masked, unit_sets, keep)
    trim_(trimmed, unit_sets, keep)
    wanted, got = _outputs(masked, inputs), _outputs(trimmed, inputs)
    scale = max((float(value.abs().max()) for value in wanted), default=0.0)
    if scale == 0:
        raise ConfigError(
            "outputs that are all zero, which proves nothing; try another seed or example"
        )
    if [value.shape for value in wanted] != [value.shape for value in got]:
        raise ConfigError("another shape of the output")
    errors = [float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True)]
    if not all(error < float("inf") for error in errors):
        raise ConfigError("outputs that are not finite")
    return max(errors) / scale


def _outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Run a model from the current state of the random generator, which stays: one that draws noise draws the same every time."""
    with torch.no_grad(), evaluating(model), torch.random.fork_rng(devices=[]):
        return [
            value.float() for value in tree_leaves(model(*inputs)) if isinstance(value, Tensor)
        ]


def _shaken(model: nn.Module, generator: torch.Generator) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            deviation = (
                0.1
                if parameter.dim() < 2
                else 0.3 * (parameter.shape[0] / parameter.numel()) ** 0.5
            )
            parameter.add_(
                torch.randn(parameter.shape, generator=generator).to(parameter) * deviation
            )
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(torch.randn(buffer.shape, generator=generator).to(buffer) * 0.1)
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator).to(buffer))
    return model


def _random_keep(each: UnitSet, generator: torch.Generator) -> Tensor:
    keep = torch.ones(each.size, dtype=torch.bool)
    count = max(0, min((each.size + 1) // 2, each.size - each.min_units))
    keep[torch.randperm(each.size, generator=generator)[:count]] = False
    return keep
