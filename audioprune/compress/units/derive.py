"""Which units of an unknown model can be removed: ``derive_units``, from one traced forward pass.

Any module will do: branches, gates, groups, recurrent states and functions are followed. What is
offered was proved by masking and trimming copies of the model; the rest has a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import nn

from audioprune.compress.ties import join_views_
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trace.record import record
from audioprune.compress.units.trace.solve import Solution, solve
from audioprune.compress.units.verify import (
    IN_TRAINING,
    arguments_of,
    cloned,
    outputs_of,
    refuted_units,
)
from audioprune.compress.weight_norm import copy_of, fold_norms_
from audioprune.errors import ConfigError

_TRIES = 3  # other ways to see rows and columns of an axis
_DRAWS = 2  # random halves of the units that are removed
_ALONE = 2  # units that stay where one alone would be taken for no axis
_PAIRS = 8  # pairs of failed sets that are tried as one


@dataclass(frozen=True)
class Derived:
    """What one traced forward pass told.

    Attributes:
        sets: The sets that were proved, named as the first layer that writes their units.
        reasons: One reason for every layer that writes no units that can be removed.
        crossed: Name of a set that is not exact -> why zero units and removed ones differ.
    """

    sets: list[UnitSet]
    reasons: list[str]
    crossed: dict[str, str]


def derive_units(model: nn.Module, example_input: Any) -> tuple[list[UnitSet], list[str]]:
    """Derive unit sets as ``derived`` does, and return sets and reasons."""
    found = derived(model, example_input)
    return found.sets, found.reasons


def derived(model: nn.Module, example_input: Any) -> Derived:
    """Derive unit sets from one forward pass of a copy of a model, and prove them.

    The output channels of every layer are followed through the operations of the pass. Sums,
    products and gates tie the units of all their branches; joins and parts keep them apart. Units
    that leave the model, meet an input of it or an operation of unknown effect stay. Where sets do
    not hold in training mode, a pass in that mode is followed too. Normalised weights are folded
    in the copy; fold them in the model before it is trimmed.

    Args:
        model: Any module; not changed.
        example_input: Argument, arguments or keyword arguments of its forward pass, with a batch
            axis.

    Raises:
        ConfigError: The model is a TorchScript module, or folding its normalised weights changes
            its output.
    """
    refuse_scripts(model)
    with torch.random.fork_rng(devices=[]):  # a model may draw noise
        twin = copy_of(model).cpu()
        if fold_norms_(twin):
            _check_fold(model, twin, example_input)
        join_views_(twin)
        solution, refuted = _proved(twin, example_input)
        if any(IN_TRAINING in why for why in refuted.values()):
            solution, refuted = _proved(twin, example_input, training=True)
        solution, refuted = _with_company(twin, example_input, solution, refuted)
    sets = [each for each in solution.sets if each.name not in refuted]
    reasons = _reasons(type(model).__name__, solution, sets, refuted)
    return Derived(
        sets, reasons, {each.name: solution.crossed.get(each.name, "") for each in sets}
    )


def _reasons(
    kind: str, solution: Solution, sets: Iterable[UnitSet], refuted: Mapping[str, str]
) -> list[str]:
    """Return one line for every layer that is left out, which begins with its name in quotes."""
    written = {name for each in sets for name in _writers(each)}
    # parameters of its own go by the model's class
    reasons = [f"'{name or kind}': {why}" for name, why in solution.reasons.items()]
    for each in solution.sets:
        if each.name in refuted:
            why = f"the masked and the trimmed model do not agree ({refuted[each.name]})"
            if refuted[each.name].startswith("a difference"):
                why += ", as where the code counts its units or knows their number"
            reasons += [
                f"'{name or kind}': {why}" for name in _writers(each) if name not in written
            ]
    return list(dict.fromkeys(reasons))


def _check_fold(model: nn.Module, twin: nn.Module, example_input: Any) -> None:
    """Show that a copy with folded weights gives the same output."""
    before = outputs_of(copy_of(model).cpu(), arguments_of(example_input))
    after = outputs_of(twin, arguments_of(example_input))
    for one, other in zip(before, after, strict=True):
        if not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
            raise ConfigError(
                f"{type(model).__name__}: expected the same output with folded weights, got a "
                f"difference of {float((one - other).abs().max()):.1e}; fold them by hand"
            )


def refuse_scripts(model: nn.Module) -> None:
    """Refuse TorchScript modules, whose layers cannot be changed.

    Raises:
        ConfigError: The model is one or holds one; the message says what to give.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigError(
                f"'{name or type(model).__name__}': expected a module whose layers can be made "
                f"smaller, got TorchScript; give the module: build it in Python and load the "
                f"weights, module.load_state_dict(torch.jit.load(file).state_dict())"
            )


def _proved(
    twin: nn.Module, example_input: Any, training: bool = False
) -> tuple[Solution, dict[str, str]]:
    """Prove the sets; where a view speaks against them, see its rows as columns and try again."""
    recorded = copy_of(twin)  # a model may remember what it was given
    args, kwargs = cloned(arguments_of(example_input))
    tape = record(recorded, args, kwargs, training)
    turned: set[int] = set()
    best: tuple[Solution, dict[str, str]] | None = None
    for _ in range(_TRIES):
        solution = solve(tape, recorded, turned)
        refuted: dict[str, str] = {}
        for seed in range(_DRAWS):
            left = [each for each in solution.sets if each.name not in refuted]
            # the training mode is asked once, what it changes is no number
            refuted |= refuted_units(twin, left, example_input, seed=seed, training=not seed)
        if best is None or _layers(solution, refuted) > _layers(*best):
            best = solution, refuted
        more = {number for name in refuted for number in solution.choices[name]} - turned
        if not more:
            break
        turned |= more
    assert best is not None
    return _joined(twin, example_input, *best)


def _with_company(
    twin: nn.Module, example_input: Any, solution: Solution, refuted: Mapping[str, str]
) -> tuple[Solution, dict[str, str]]:
    """Leave two units where one alone changes what the model does, as a squeeze of its axis."""
    sets, left = list(solution.sets), dict(refuted)
    offered = [each for each in sets if each.name not in left]
    lonely = refuted_units(twin, offered, example_input, fewest=True)
    for name, why in lonely.items():
        place = next(number for number, each in enumerate(sets) if each.name == name)
        sets[place] = replace(sets[place], min_units=_ALONE)
        if sets[place].size <= _ALONE:
            left[name] = why
    if lonely:
        offered = [each for each in sets if each.name not in left]
        left |= refuted_units(twin, offered, example_input, fewest=True)
    return replace(solution, sets=sets), left


def _joined(
    twin: nn.Module, example_input: Any, solution: Solution, refuted: Mapping[str, str]
) -> tuple[Solution, dict[str, str]]:
    """Join refuted sets that only hold together.

    Such a pair comes about where a model reads a size from one tensor and shapes another by it:
    the trace sees a plain number there.
    """
    sets, left = list(solution.sets), dict(refuted)
    failed = [each for each in sets if each.name in left]
    for one, other in list(combinations(failed, 2))[:_PAIRS]:
        if one.name not in left or other.name not in left or not _may_be_one(one, other):
            continue
        pair = replace(one, slices=one.slices + other.slices, exact=one.exact and other.exact)
        others = [each for each in sets if each.name not in left]
        if any(
            refuted_units(twin, [*others, pair], example_input, seed=seed)
            for seed in range(_DRAWS)
        ):
            continue
        sets = [pair if each is one else each for each in sets if each is not other]
        del left[one.name], left[other.name]
    return replace(solution, sets=sets), left


def _may_be_one(one: UnitSet, other: UnitSet) -> bool:
    """Tell whether two sets have as many units and share no position of a tensor."""
    return one.size == other.size and not _positions(one) & _positions(other)


def _positions(each: UnitSet) -> set[tuple[str, int, int]]:
    """Return all that units own: tensor, axis, place on it."""
    return {
        (part.tensor, part.dim, place)
        for part in each.slices
        for place in part.index.flatten().tolist()
    }


def _layers(solution: Solution, refuted: Mapping[str, str]) -> int:
    left = [each for each in solution.sets if each.name not in refuted]
    return len({name for each in left for name in _writers(each)})


def _writers(each: UnitSet) -> list[str]:
    """Return the layers that write a set."""
    names = [part.tensor.rpartition(".")[0] for part in each.slices if part.role == "out"]
    return list(dict.fromkeys(names))
