"""Which units or weights the next lottery ticket keeps.

``choose_units`` returns kept units for a trim, ``choose_weights`` a mask; ``Selection`` says how.
``cut_to_`` cuts a network of full size to the units of a ticket. Training, rewinding and the
rounds themselves are steps of a pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audioprune.compress import select
from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import (
    SCALINGS,
    criterion,
    scaled,
    weight_gradient,
    weight_magnitude,
)
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.units.declare import UnitSet, check_unit_sets
from audioprune.compress.units.freed_parameters import freed_parameters
from audioprune.compress.units.trim import Trimmed, trim_
from audioprune.compress.units.weight_groups import any_kept, layout_of
from audioprune.errors import ConfigError, unknown_name

SCOPES = ("local", "global")
COUNTED = ("weights", "units")
WEIGHT_CRITERIA = ("magnitude", "gradient")
Kept = dict[str, list[int]]


@dataclass(frozen=True)
class Selection:
    """How tickets are drawn.

    Attributes:
        criterion: Name of a unit criterion; for masks, which score single weights, ``magnitude``
            or ``gradient``.
        scope: ``local`` removes the same share of every unit set or tensor, ``global`` ranks all
            together.
        scaling: ``max``, ``dimension`` or ``none``; makes the scores of several sets comparable,
            so that only ``global`` needs it.
        counted: What the wanted density counts: parameters (``weights``) or units (``units``).
        fraction: Share removed by each round, 0..1, exclusive.
        min_units: Units that every set keeps; a set's own floor holds too.

    Raises:
        ConfigError: A name is unknown or a number lies outside its range.

    Source: Esling et al., Sec. 3.2 to 3.4 and 4.3. That 30 % "of the weights" counts parameters in
    trimming too is our reading; trimming 30 % of the units of every set removes about half of the
    parameters.
    """

    criterion: str = "information"
    scope: str = "global"
    scaling: str = "max"
    counted: str = "weights"
    fraction: float = 0.3
    min_units: int = 1

    def __post_init__(self) -> None:
        criterion("unit", self.criterion)
        for what, given, known in (
            ("scope", self.scope, SCOPES),
            ("scaling", self.scaling, SCALINGS),
            ("counted", self.counted, COUNTED),
        ):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        if not 0 < self.fraction < 1 or self.min_units < 1:
            got = f"{self.fraction} and {self.min_units}"
            raise ConfigError(
                f"lottery: expected a fraction between 0 and 1 and min_units >= 1, got {got}; "
                f"give for instance 0.3 and 1"
            )

    def density(self, rounds: int) -> float:
        """Return the share that is to be left after some rounds, ``(1 - fraction) ** rounds``."""
        return (1.0 - self.fraction) ** rounds


@dataclass(frozen=True)
class Origin:
    """How large the network was before the first round.

    Attributes:
        params: Number of parameters.
        units: Set name -> number of units.
    """

    params: int
    units: Mapping[str, int]

    @classmethod
    def of(cls, model: nn.Module, sets: Sequence[UnitSet]) -> Origin:
        """Count a model."""
        return cls(parameters_of(model), {each.name: each.size for each in sets})


def parameters_of(model: nn.Module) -> int:
    """Count the parameters of a model; a shared one counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def choose_units(
    model: nn.Module,
    sets: Sequence[UnitSet],
    selection: Selection,
    rounds: int,
    origin: Origin,
    data: CalibrationData | None = None,
) -> dict[str, Tensor]:
    """Choose the units that stay when a trained network is trimmed for the n-th time.

    What the last round removed too much is removed less now, so that the density follows ``(1 -
    fraction) ** n`` within the cost of one unit as long as the floors allow. Sets that the
    criterion cannot score stay whole.

    Args:
        model: The trained network, as small as earlier rounds left it.
        sets: Its unit sets.
        selection: How to choose.
        rounds: Number n of this round, counted from 1.
        origin: The network before the first round.
        data: Validation data, for the criteria that need it.

    Returns:
        Set name -> kept units, bool, shape (U,), of the sets that were scored.

    Raises:
        ConfigError: The criterion does not fit the model or lacks data.
        DivergedError: A score is not a number.
    """
    check_unit_sets(model, sets)
    movable = [each for each in sets if each.removable]
    scores = criterion("unit", selection.criterion)(model, movable, data)
    scores = scaled(scores, selection.scaling, model, movable)
    scored = [each for each in movable if each.name in scores]
    floors = {}
    for each in scored:
        floors[each.name] = max(each.min_units, min(selection.min_units, each.size))
    left = selection.density(rounds)
    if selection.counted == "weights":
        ranked = scores if selection.scope == "global" else select.places_within(scores)
        wanted = max(0, math.ceil(parameters_of(model) - left * origin.params))
        return select.until_freed(ranked, freed_parameters(model, scored), wanted, floors)
    sizes = {each.name: each.size for each in scored}
    if selection.scope == "local":
        shares = {}
        for name, size in sizes.items():
            shares[name] = _excess(size, left, origin.units[name]) / size
        return select.local(scores, shares, floors=floors)
    total, before = sum(sizes.values()), sum(origin.units[name] for name in sizes)
    return select.globally(scores, _excess(total, left, before) / total, floors=floors)


def choose_weights(
    model: nn.Module,
    names: Sequence[str],
    selection: Selection,
    rounds: int,
    mask: Mask,
    data: CalibrationData | None = None,
) -> Mask:
    """Choose the weights that stay when a trained network is masked for the n-th time.

    No weight is regained.

    Args:
        model: The trained network.
        names: Weights that may be masked.
        selection: How to choose; what is counted and floors mean nothing here.
        rounds: Number n of this round, counted from 1.
        mask: Weights kept so far.
        data: Validation data, for the gradient criterion.

    Raises:
        ConfigError: The criterion scores no single weights, or lacks data.
        DivergedError: A score is not a number.

    Source: Frankle & Carbin's iterative pruning, as Esling et al., Sec. 2.2.2, describe it.
    """
    if selection.criterion not in WEIGHT_CRITERIA:
        raise ConfigError(
            f"masks score single weights: expected the criterion "
            f"{' or '.join(WEIGHT_CRITERIA)}, got {selection.criterion}; "
            "choose one of them or pipeline.mode=trim"
        )
    weights = dict(model.named_parameters())
    chosen = {name: weights[name] for name in names}
    if selection.criterion == "magnitude":
        scores = weight_magnitude(chosen)
    else:
        scores = weight_gradient(model, names, data)
    sparsity = 1.0 - selection.density(rounds)
    if selection.scope == "local":
        return mask.updated(select.local(scores, sparsity, mask))
    comparable = {}
    for name in names:
        comparable[name] = _scaled_weights(model, name, scores[name], selection.scaling)
    return mask.updated(select.globally(comparable, sparsity, mask))


def maskable(model: nn.Module, sets: Sequence[UnitSet]) -> list[str]:
    """List the weights that masks may cover: all prunable ones but the output layers.

    Output layers are the last weights, in the order of definition, that write no units; without
    unit sets the last weight.
    """
    names = prunable(model)
    parts = [part for each in sets for part in each.slices]
    written = {part.tensor for part in parts if part.role == "out"}
    places = [place for place, name in enumerate(names) if name in written]
    last = max(places, default=len(names) - 2)
    return names[: last + 1]


def fully_masked(sets: Sequence[UnitSet], mask: Mask) -> dict[str, Tensor]:
    """Tell which units could be removed after masking.

    All masked weights that write them are gone; their bias does not count.

    Args:
        sets: Unit sets of the model.
        mask: Kept weights.

    Returns:
        Set name -> bool tensor, shape (U,); sets that no masked weight writes are left out.

    Source: Esling et al., Sec. 2.2.3 and Figure 1, "units that are entirely masked".
    """
    found = {}
    for each in sets:
        writers = [part for part in each.slices if part.role == "out" and part.tensor in mask]
        if writers:
            kept = [any_kept(part, mask[part.tensor]) for part in writers]
            found[each.name] = ~torch.stack(kept).any(0)
    return found


def narrowed(
    kept: Mapping[str, Sequence[int]], keep: Mapping[str, Tensor], sets: Sequence[UnitSet]
) -> Kept:
    """Return the original indices of the units that are left after another round.

    Args:
        kept: Set name -> original indices left so far, ascending; empty before the first round.
        keep: Set name -> kept units among those, bool; sets without an entry stay.
        sets: Unit sets of the model before this round.
    """
    left = {}
    for each in sets:
        if each.removable:
            indices = list(kept.get(each.name, range(each.size)))
            stays = keep[each.name].tolist() if each.name in keep else [True] * len(indices)
            pairs = zip(indices, stays, strict=True)
            left[each.name] = [index for index, stay in pairs if stay]
    return left


def cut_to_(
    model: nn.Module, sets: Sequence[UnitSet], kept: Mapping[str, Sequence[int]]
) -> Trimmed:
    """Cut a network of its full size to a ticket, in place.

    Args:
        model: The network, such as an early snapshot or a fresh draw.
        sets: Its unit sets.
        kept: Set name -> original indices that stay.

    Raises:
        ConfigError: An index or a set does not exist.
    """
    sizes = {each.name: each.size for each in sets}
    keep = {}
    for name, indices in kept.items():
        if name not in sizes or any(not 0 <= index < sizes[name] for index in indices):
            raise ConfigError(
                f"ticket: expected units of '{name}' within the full network, got others; it "
                f"belongs to another model"
            )
        keep[name] = torch.zeros(sizes[name], dtype=torch.bool)
        keep[name][list(indices)] = True
    return trim_(model, sets, keep)


@torch.no_grad()
def rescale_cut_(model: nn.Module, full: Mapping[str, Sequence[int]]) -> None:
    """Multiply the weights of a cut network by sqrt(inputs before / inputs left), in place.

    Biases stay. Sums over fewer inputs are smaller, layer upon layer: an early network without
    normalisation that is cut to a tenth of its units gives back almost nothing, its biases
    outweigh its input, and rectified units are dead before training begins.

    Args:
        model: The network, cut from its full size.
        full: Parameter name -> shape before.
    """
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            output = layout_of(model, name, weight.shape).output_axis
            before = math.prod(full[name]) / full[name][output]
            left = weight.numel() / weight.shape[output]
            weight.mul_((before / left) ** 0.5)


def _excess(size: int, left: float, origin: int) -> int:
    """Count the units that are to go so that a share of the original number is left."""
    return max(0, size - select.share_of(left, origin))


def _scaled_weights(model: nn.Module, name: str, scores: Tensor, scaling: str) -> Tensor:
    """Scale the scores of single weights.

    A weight of fan-in n has a spread near 1 / sqrt(n), so that ``dimension`` multiplies by its
    root.
    """
    if scaling == "max":
        largest = scores.max()
        return scores / largest if largest > 0 else scores
    if scaling == "dimension":
        outputs = scores.shape[layout_of(model, name, scores.shape).output_axis]
        fan_in = scores.numel() / outputs
        return scores * float(fan_in**0.5)
    return scores
