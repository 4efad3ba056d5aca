"""Which weights or units are kept, given their scores.

``local``, ``globally``, ``threshold`` and ``until_freed`` take scores by name and return kept
positions, bool, of the same shapes. Low scores go, exactly the asked number, ties by position.
Nothing here knows where scores come from, and no model is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audioprune.compress.masks import Mask
from audioprune.errors import ConfigError, DivergedError, unknown_name

Keeps = Mapping[str, Tensor] | Mask
Floats = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]


def share_of(share: float, count: int) -> int:
    """Return the number of items in a share, rounded to the nearest, halves up.

    The share is taken as the decimal number that it prints as, so that 0.15 of 10 is exactly 1.5
    and gives 2.

    Args:
        share: Fraction, 0..1.
        count: Number of items.

    Raises:
        ConfigError: The share is outside 0..1 or not a number.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"expected a fraction 0..1, got {share}; give 0.3 for 30 %")
    return int((2 * Fraction(repr(float(share))) * count + 1) // 2)


def smallest(scores: Tensor, count: int, eligible: Tensor | None = None) -> Tensor:
    """Mark exactly ``count`` positions with the smallest scores, equal ones by position.

    Args:
        scores: Scores of any shape; infinities are allowed.
        count: Number of positions to mark, 0 .. number of eligible positions.
        eligible: Positions that may be marked, bool, shape of ``scores``; by default all.

    Returns:
        Bool tensor, shape and device of ``scores``.

    Raises:
        ConfigError: ``count`` is outside its range, or the shapes differ.
        DivergedError: An eligible score is NaN.
    """
    (marked,) = _smallest_together([scores], count, [eligible])
    return marked


def _smallest_together(
    scores: Sequence[Tensor], count: int, eligible: Sequence[Tensor | None]
) -> list[Tensor]:
    """Mark the ``count`` smallest scores of several tensors, equal ones by order and position.

    One copy of the eligible scores is made, and no positions are listed but those of ties.
    """
    values = [_flat(each) for each in scores]
    may = [_flat_eligible(each, given) for each, given in zip(scores, eligible, strict=True)]
    ranked = np.concatenate([v if e is None else v[e] for v, e in zip(values, may, strict=True)])
    _refuse_nan(ranked)
    if not 0 <= count <= len(ranked):
        raise ConfigError(
            f"selection: expected a count of 0..{len(ranked)}, got {count}; lower the count"
        )
    if not count:
        return [torch.zeros_like(each, dtype=torch.bool) for each in scores]
    ranked.partition(count - 1)
    bound = ranked[count - 1]
    left = count - int(np.count_nonzero(ranked[:count] < bound))  # how many ties are taken
    del ranked
    found = []
    for whole, flat, where in zip(scores, values, may, strict=True):
        marked = flat < bound
        if where is not None:
            marked &= where
        ties = flat == bound if where is None else (flat == bound) & where
        chosen = np.flatnonzero(ties)[:left]
        marked[chosen] = True
        left -= len(chosen)
        found.append(torch.from_numpy(marked).view(whole.shape).to(whole.device))
    return found


def ranks(scores: Tensor, eligible: Tensor | None = None) -> Tensor:
    """Rank positions by score, ties by position.

    ``ranks(scores) < k`` marks what ``smallest(scores, k)`` marks.

    Args:
        scores: Scores of any shape.
        eligible: Positions that are ranked, bool, shape of ``scores``; by default all.

    Returns:
        int32 tensor, shape and device of ``scores``; positions that are not eligible get the
        largest int32.

    Raises:
        ConfigError: The shapes differ.
        DivergedError: An eligible score is NaN.
    """
    values, positions = _candidates(scores, eligible)
    ranked = np.full(scores.numel(), np.iinfo(np.int32).max, dtype=np.int32)
    ranked[positions[_order(values)]] = np.arange(len(values), dtype=np.int32)
    return torch.from_numpy(ranked).view(scores.shape).to(scores.device)


def local(
    scores: Mapping[str, Tensor],
    sparsity: float | Mapping[str, float],
    mask: Keeps | None = None,
    floors: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Keep the best of every tensor by itself.

    Args:
        scores: Name -> scores.
        sparsity: Removed fraction of all positions of a tensor after the call, 0..1; one for all
            or one per name.
        mask: Positions kept so far, by default all. Only they are ranked, and none is regained: a
            tensor that is already sparser stays as it is.
        floors: Name -> number of positions that stay kept in any case.

    Returns:
        Name -> kept positions, bool, shape of the scores.

    Raises:
        ConfigError: A sparsity is outside 0..1, or a name or shape does not match.
        DivergedError: A score of a kept position is NaN.
    """
    targets = dict(sparsity) if isinstance(sparsity, Mapping) else dict.fromkeys(scores, sparsity)
    _check_names(targets, scores)
    keeps = {}
    for name, target in targets.items():
        keep = _kept(name, scores[name], mask)
        gone = keep.numel() - int(keep.count_nonzero())
        free = _above_floor(name, scores[name], keep, floors)
        count = _between(share_of(target, keep.numel()) - gone, int(free.count_nonzero()))
        keeps[name] = keep & ~_smallest_of(name, scores[name], count, free)
    return keeps


def globally(
    scores: Mapping[str, Tensor],
    sparsity: float,
    mask: Keeps | None = None,
    floors: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Keep the best of all tensors together, equal scores by the order of names and positions.

    Args:
        scores: Name -> scores that can be compared across tensors, such as those of
            ``criteria.importance.scaled``.
        sparsity: Removed fraction of all positions of all tensors after the call, 0..1.
        mask: Positions kept so far, by default all; only they are ranked, and none is regained.
        floors: Name -> number of positions that stay kept in any case, even if the sparsity is not
            reached then.

    Returns:
        Name -> kept positions, bool, shape of the scores.

    Raises:
        ConfigError: The sparsity is outside 0..1, or a name or shape does not match.
        DivergedError: A score of a kept position is NaN.
    """
    keeps = {name: _kept(name, score, mask) for name, score in scores.items()}
    frees = {name: _above_floor(name, scores[name], keep, floors) for name, keep in keeps.items()}
    total = sum(keep.numel() for keep in keeps.values())
    gone = total - sum(int(keep.count_nonzero()) for keep in keeps.values())
    for name, free in frees.items():
        _smallest_of(name, scores[name], 0, free)  # names the tensor that holds a NaN
    most = sum(int(each.count_nonzero()) for each in frees.values())
    count = _between(share_of(sparsity, total) - gone, most)
    together = list(scores.values())
    removed = _smallest_together(together, count, list(frees.values())) if together else []
    return {name: keep & ~gone for (name, keep), gone in zip(keeps.items(), removed, strict=True)}


def threshold(
    scores: Mapping[str, Tensor], thresholds: Mapping[str, float], mask: Keeps | None = None
) -> dict[str, Tensor]:
    """Keep what scores above the threshold of its tensor; what equals the threshold is removed.

    Args:
        scores: Name -> scores.
        thresholds: Name -> threshold, at least 0; tensors without one are left out of the answer.
        mask: Positions kept so far, by default all; none is regained.

    Returns:
        Name -> kept positions, bool, shape of the scores. A threshold of 0 on magnitudes removes
        exact zeros only.

    Raises:
        ConfigError: A threshold is negative or not a number, or its name has no scores.
        DivergedError: A score of a kept position is NaN.

    Source: Plain & Biswas, sensitivity pruning: keep where |w| > sensitivity * std(w).
    """
    _check_names(thresholds, scores)
    keeps = {}
    for name, bound in thresholds.items():
        if not bound >= 0:
            raise ConfigError(
                f"threshold of '{name}': expected a number >= 0, got {bound}; correct it"
            )
        keep = _kept(name, scores[name], mask)
        _smallest_of(name, scores[name], 0, keep)
        keeps[name] = keep & (scores[name] > bound)
    return keeps


def places_within(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every score by its place within its own tensor, (rank + 0.5) / size.

    Equal scores are placed by position. A selection over all tensors together, such as
    ``until_freed``, then takes the same share of every one, one position at a time.

    Args:
        scores: Name -> scores.

    Returns:
        Name -> places between 0 and 1, float64, shape of the scores.

    Raises:
        DivergedError: A score is NaN.
    """
    return {
        name: (ranks(score).double() + 0.5) / max(1, score.numel())
        for name, score in scores.items()
    }


def until_freed(
    unit_scores: Mapping[str, Tensor],
    freed: Callable[[Mapping[str, int]], int],
    wanted: int,
    floors: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Remove the units with the lowest scores until a number of parameters is freed.

    Args:
        unit_scores: Set name -> scores, shape (U,), comparable across sets.
        freed: Parameters freed when so many units of each set go, see
            ``units.freed_parameters``; it must not fall when more go.
        wanted: Parameters to free at least, 0 or more. The removal stops at the first unit that
            reaches the number; it frees less only where the floors forbid more.
        floors: Set name -> number of units that stay in any case.

    Returns:
        Set name -> kept units, bool, shape (U,).

    Raises:
        ConfigError: ``wanted`` is negative.
        DivergedError: A score is NaN.

    Source: Esling et al., 30 % of the weights per iteration by structured removal (Sec. 2); that
    the share counts weights, not units, is our reading.
    """
    if wanted < 0:
        raise ConfigError(
            f"budget: expected a number of parameters >= 0, got {wanted}; correct it"
        )
    frees = {}
    for name, score in unit_scores.items():
        everything = torch.ones_like(score, dtype=torch.bool)
        frees[name] = _above_floor(name, score, everything, floors)
    free = _join(frees)
    ranked = ranks(_join(unit_scores), free)

    def removed(count: int) -> dict[str, Tensor]:
        return _split(ranked < count, unit_scores)

    def freed_by(count: int) -> int:
        return freed({name: int(part.count_nonzero()) for name, part in removed(count).items()})

    # the smallest prefix of the ranking that frees enough, or all of it
    low, high = 0, int(free.count_nonzero())
    while low < high:
        middle = (low + high) // 2
        if freed_by(middle) >= wanted:
            high = middle
        else:
            low = middle + 1
    return {name: ~part for name, part in removed(low).items()}


def _candidates(scores: Tensor, eligible: Tensor | None) -> tuple[Floats, Positions]:
    """Return values and flat positions of the eligible scores."""
    values, where = _flat(scores), _flat_eligible(scores, eligible)
    positions = np.arange(len(values)) if where is None else np.flatnonzero(where)
    values = values if where is None else values[positions]
    _refuse_nan(values)
    return values, positions


def _flat(scores: Tensor) -> Floats:
    flat = scores.detach().flatten().cpu()
    exact = flat.dtype in (torch.float32, torch.float64)
    return (flat if exact else flat.to(torch.float64)).numpy()


def _flat_eligible(scores: Tensor, eligible: Tensor | None) -> npt.NDArray[np.bool_] | None:
    if eligible is None:
        return None
    if eligible.shape != scores.shape:
        raise ConfigError(
            f"selection: expected an eligibility of shape {tuple(scores.shape)}, got "
            f"{tuple(eligible.shape)}"
        )
    flat: npt.NDArray[np.bool_] = eligible.flatten().cpu().numpy()
    return flat


def _refuse_nan(values: Floats) -> None:
    if np.isnan(values).any():
        raise DivergedError(
            "selection: expected scores without NaN, got NaN; the model has diverged, lower the "
            "learning rate"
        )


def _order(values: Floats) -> Positions:
    """Sort stably.

    For float32, value and position share one 64-bit key, which sorts several times faster than
    argsort.
    """
    if values.dtype != np.float32 or len(values) >= 2**32:
        return np.argsort(values, kind="stable")
    bits = (values + np.float32(0.0)).view(np.uint32)  # + 0 makes -0 equal to 0
    # order of floats as order of integers
    bits ^= np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    keys = (bits.astype(np.uint64) << np.uint64(32)) | np.arange(len(values), dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _between(count: int, most: int) -> int:
    return min(max(0, count), most)


def _smallest_of(name: str, scores: Tensor, count: int, eligible: Tensor) -> Tensor:
    try:
        return smallest(scores, count, eligible)
    except DivergedError as error:
        raise DivergedError(f"scores of '{name}': {error}") from error


def _kept(name: str, scores: Tensor, mask: Keeps | None) -> Tensor:
    if mask is None or name not in mask:
        return torch.ones_like(scores, dtype=torch.bool)
    keep = mask[name].to(scores.device)
    if keep.shape != scores.shape:
        raise ConfigError(
            f"mask of '{name}': expected shape {tuple(scores.shape)}, got {tuple(keep.shape)}; "
            f"build it from this model"
        )
    return keep


def _above_floor(
    name: str, scores: Tensor, keep: Tensor, floors: Mapping[str, int] | None
) -> Tensor:
    """Return the kept positions without the best ones that the floor protects."""
    floor = floors.get(name, 0) if floors else 0
    if floor <= 0:
        return keep
    return _smallest_of(name, scores, max(0, int(keep.count_nonzero()) - floor), keep)


def _check_names(given: Mapping[str, object], scores: Mapping[str, Tensor]) -> None:
    for name in given:
        if name not in scores:
            raise ConfigError(unknown_name("scored tensor", name, scores))


def _join(tensors: Mapping[str, Tensor]) -> Tensor:
    """Lay several tensors end to end; ``_split`` undoes it."""
    if not tensors:
        return torch.zeros(0)
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def _split(joined: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts, start = {}, 0
    for name, tensor in like.items():
        parts[name] = joined[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    return parts
