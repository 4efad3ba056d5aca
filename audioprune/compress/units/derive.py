"""Which units of an unknown model can be removed: ``derive_units``, from one traced forward pass.

Any module will do: branches, gates, groups, recurrent states and functions are followed. What is
offered was proved by masking and trimming copies of the model; the rest has a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from audioprune.compress.ties import join_views_
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trace.record import record
from audioprune.compress.units.trace.solve import Solution, solve
from audioprune.compress.units.verify import arguments_of, outputs_of, refuted_units
from audioprune.compress.weight_norm import copy_of, fold_norms_
from audioprune.errors import ConfigError

_TRIES = 3  # other ways to see rows and columns of an axis
_DRAWS = 2  # random halves of the units that are removed
_PAIRS = 8  # pairs of failed sets that are tried as one


def derive_units(model: nn.Module, example_input: Any) -> tuple[list[UnitSet], list[str]]:
    """Derive unit sets from one forward pass of a copy of a model, and prove them.

    The output channels of every layer are followed through the operations of the pass. Sums,
    products and gates tie the units of all their branches; joins and parts keep them apart. Units
    that leave the model, meet an input of it or an operation of unknown effect stay. Normalised
    weights are folded in the copy; fold them in the model before it is trimmed.

    Args:
        model: Any module; not changed.
        example_input: Argument, arguments or keyword arguments of its forward pass, with a batch
            axis.

    Returns:
        The sets, named as the first layer that writes their units, and one reason for every layer
        that writes none that can be removed.

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
        tape = record(twin, *tree_map(_cloned, arguments_of(example_input)))
        solution, refuted = _proved(twin, example_input, tape)
    sets = [each for each in solution.sets if each.name not in refuted]
    written = {
        part.tensor.rpartition(".")[0]
        for each in sets
        for part in each.slices
        if part.role == "out"
    }
    kind = type(model).__name__  # for parameters of its own
    reasons = [f"'{name or kind}': {why}" for name, why in solution.reasons.items()]
    for each in solution.sets:
        if each.name in refuted:
            why = f"the masked and the trimmed model do not agree ({refuted[each.name]})"
            for name in _writers(each):
                if name not in written:
                    reasons.append(f"'{name or kind}': {why}")
    return sets, list(dict.fromkeys(reasons))


def _cloned(value: Any) -> Any:
    """Return what a model may change without harm."""
    return value.clone() if isinstance(value, Tensor) else value


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


def _proved(twin: nn.Module, example_input: Any, tape: Any) -> tuple[Solution, dict[str, str]]:
    """Prove the sets; where a view speaks against them, see its rows as columns and try again."""
    turned: set[int] = set()
    best: tuple[Solution, dict[str, str]] | None = None
    for _ in range(_TRIES):
        solution = solve(tape, twin, turned)
        refuted: dict[str, str] = {}
        for seed in range(_DRAWS):
            left = [each for each in solution.sets if each.name not in refuted]
            refuted |= refuted_units(twin, left, example_input, seed=seed)
        if best is None or _layers(solution, refuted) > _layers(*best):
            best = solution, refuted
        more = {number for name in refuted for number in solution.choices[name]} - turned
        if not more:
            break
        turned |= more
    assert best is not None
    return _joined(twin, example_input, *best)


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
