"""How much one variable tells about another, in bits, from samples alone: the estimator EDGE.

``edge_mutual_information(x, y)`` takes samples (N, d) of both. It hashes each variable into cells;
the counts of cells and of pairs of cells give the estimate. It knows nothing of models; units are
sampled in information.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audioprune.errors import ConfigError, DivergedError

MAX_DIMENSIONS = 6
FEWEST_SAMPLES = 20
_LEAST_BITS, _MOST_BITS = 0.001, 10.0
_NEIGHBOUR_POINTS = 500
_WIDTH_FLOOR = 1e-4
_WIDTH_FACTOR, _GAMMA_FACTOR, _WIDEST = 18.0, 0.4, 1.1
# up to this number, cells and pairs of cells are counted without sorting
_COUNTED_DIRECTLY = 1 << 16
Array = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """One variable, ready to be compared with others.

    What does not depend on the partner is computed once.

    Attributes:
        values: Samples, shape (N, d).
        widths: Width of a cell on every axis before it is scaled, shape (d,).
    """

    values: Array
    widths: Array


def prepare(values: npt.ArrayLike, seed: int = 0) -> Samples:
    """Check samples and measure how far apart neighbours are.

    Args:
        values: Samples, shape (N,) or (N, d); N at least 20, d at most 6.
        seed: Of the points whose neighbours are measured.

    Raises:
        ConfigError: The shape is wrong, there are too few samples or too many axes.
        DivergedError: A sample is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    enough = array.ndim == 2 and array.shape[0] >= FEWEST_SAMPLES
    if not enough or not 1 <= array.shape[1] <= MAX_DIMENSIONS:
        raise ConfigError(
            f"mutual information: expected at least {FEWEST_SAMPLES} samples of 1 to "
            f"{MAX_DIMENSIONS} numbers, got shape {array.shape}; "
            "with more numbers every sample gets a cell of its own and all estimates become "
            "log2 N, so reduce them first"
        )
    if not np.isfinite(array).all():
        raise DivergedError(
            "mutual information: expected finite samples, got NaN or infinity; the model has "
            "diverged"
        )
    count, axes = array.shape
    # the point itself is its first neighbour
    neighbours = int(0.43 * count ** (2 / 3 + 0.17 * axes / (axes + 1))) - 1
    random = np.random.default_rng(seed)
    places = random.choice(count, min(_NEIGHBOUR_POINTS, count), replace=False)
    spread = np.array([_neighbour_distance(column, places, neighbours) for column in array.T])
    widths = (spread + _WIDTH_FLOOR) * _WIDTH_FACTOR * axes / max(1.0 + math.log(axes), 1.0)
    return Samples(array, widths)


def edge_mutual_information(
    x: npt.ArrayLike | Samples,
    y: npt.ArrayLike | Samples,
    seed: int = 0,
    *,
    gamma: Sequence[float] = (1.0, 1.0),
    ensemble: int = 10,
) -> float:
    """Estimate I(x; y) with EDGE.

    Continuous variables need no setting. Equal samples of a variable with few values lie at
    distance 0, so that every value gets a cell of its own as long as it is frequent. Give such a
    variable a gamma of 0.001 where rare values shall have their own cells too.

    Args:
        x: Samples, shape (N,) or (N, d), d at most 6, or what ``prepare`` made of them.
        y: The other variable, N samples likewise.
        seed: Of the points whose neighbours set the width of the cells; numpy's global generator
            is left alone.
        gamma: Factors of the width of the cells of x and y.
        ensemble: Number of cell widths and shifts; the result is the median of their estimates.

    Returns:
        Bits, between 0.001 and 10.

    Raises:
        ConfigError: A shape or a number is wrong, or the variables differ in their number of
            samples.
        DivergedError: A sample is not finite.

    Source: Noshad, Zeng & Hero, "Scalable mutual information estimation using dependence graphs"
    (EDGE), as its authors' version 4.4.1 computes it; random projections of variables with more
    than six axes are refused instead. Used by Esling et al., Sec. 3.3.
    """
    one = x if isinstance(x, Samples) else prepare(x, seed)
    other = y if isinstance(y, Samples) else prepare(y, seed)
    if len(one.values) != len(other.values):
        raise ConfigError(
            f"mutual information: expected equally many samples, got {len(one.values)} and "
            f"{len(other.values)}; pair them"
        )
    if ensemble < 1 or len(gamma) != 2 or not all(0 < factor < math.inf for factor in gamma):
        raise ConfigError(
            f"mutual information: expected ensemble >= 1 and two gammas > 0, got {ensemble} and "
            f"{list(gamma)}; correct it"
        )
    # the more x tells about y, the finer are the cells of the second estimate
    first = _ensemble(one, other, gamma, ensemble)
    shrink = _GAMMA_FACTOR * 2.0 ** (0.5 / first - math.sqrt(2.0 * first))
    return _ensemble(one, other, [factor * shrink for factor in gamma], ensemble)


def _ensemble(x: Samples, y: Samples, gamma: Sequence[float], ensemble: int) -> float:
    bits = []
    for member, factor in enumerate(np.linspace(1.0, _WIDEST, ensemble)):
        scale, shift = factor * _GAMMA_FACTOR, member / ensemble
        x_cells = _cells(x, gamma[0] * scale, shift)
        y_cells = _cells(y, gamma[1] * scale, shift)
        bits.append(_dependence(x_cells, y_cells))
    return float(np.median(bits))


def _dependence(x_cells: Cells, y_cells: Cells) -> float:
    """Return the mean log-ratio of joint counts and product of margins over all pairs of cells."""
    count = len(x_cells)
    x_counts, y_counts = np.bincount(x_cells), np.bincount(y_cells)
    pairs = x_cells * len(y_counts) + y_cells
    if len(x_counts) * len(y_counts) <= _COUNTED_DIRECTLY:
        joint = np.bincount(pairs)
        pairs = np.flatnonzero(joint)
        joint = joint[pairs]
    else:
        pairs, joint = np.unique(pairs, return_counts=True)
    product = x_counts[pairs // len(y_counts)] * y_counts[pairs % len(y_counts)]
    bits = np.clip(np.log2(joint * (count / product)), _LEAST_BITS, _MOST_BITS)
    return float(np.sum(joint * bits) / count)


def _cells(samples: Samples, scale: float, shift: float) -> Cells:
    """Return the number of the cell that each sample falls into."""
    cells = np.zeros(len(samples.values), dtype=np.int64)
    for column, width in zip(samples.values.T, samples.widths * scale, strict=True):
        numbers = _numbered(np.floor(column / width + shift))
        cells = _numbered(cells * (numbers.max() + 1) + numbers)
    return cells


def _numbered(hashes: npt.NDArray[Any]) -> Cells:
    """Return whole numbers from 0, equal for equal hashes.

    Gaps are left where the numbers are small anyway.
    """
    first, last = hashes.min(), hashes.max()
    if last - first < _COUNTED_DIRECTLY // 16:
        numbers: Cells = (hashes - first).astype(np.int64)
        return numbers
    return np.unique(hashes, return_inverse=True)[1].reshape(-1)


def _neighbour_distance(column: Array, places: Cells, neighbours: int) -> float:
    """Return the mean distance of some samples to their k-th nearest other one.

    Args:
        column: Samples, shape (N,).
        places: Places of the samples in the sorted order.
        neighbours: k.
    """
    ordered = np.sort(column)
    points = ordered[places]
    first = np.maximum(places - neighbours, 0)
    # bisect for the window of k + 1 samples around each point whose farther end is nearest
    low, high = first, np.minimum(places, len(ordered) - 1 - neighbours)
    while (low < high).any():
        middle = (low + high) // 2
        left_is_farther = points - ordered[middle] > ordered[middle + neighbours] - points
        open_yet = low < high
        low = np.where(left_is_farther & open_yet, middle + 1, low)
        high = np.where(left_is_farther | ~open_yet, high, middle)
    starts = np.stack([low, np.maximum(low - 1, first)])
    farther = np.maximum(points - ordered[starts], ordered[starts + neighbours] - points)
    return float(farther.min(axis=0).mean())
