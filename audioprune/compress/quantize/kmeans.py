"""How the surviving weights of a tensor become K shared values: k-means in one dimension.

``quantize_(model, mask, levels)`` does it in place and returns a ``Codebook`` per tensor;
``cluster`` serves one tensor, ``kmeans_1d`` any numbers. K is chosen elsewhere, and
audioprune.packing turns codebooks into bytes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioprune.compress.quantize.contract import (
    Channels,
    Quantized,
    check_kept,
    check_weight,
    quantize_with_,
)
from audioprune.errors import ConfigError, DivergedError

MAX_LEVELS = 65536
_EXACT_WORK = 1 << 22  # different values x K up to which the dynamic programme sees every value
_MIN_BINS, _MAX_BINS, _BINS_PER_LEVEL = 4096, 16384, 64
_MARKS = 65536  # points at which the density of the values is estimated
# Rounds and reach of the refinement of edges that bins have left on a grid: up to so many
# clusters, where it costs little, and above.
_FEW, _FINE, _QUICK = 32, (50, 8), (16, 4)
_DP_LEVELS = 1024  # above it the dynamic programme costs more than it gains
_MAX_ITERATIONS = 100_000


@dataclass(frozen=True, eq=False)
class Codebook:
    """The quantised form of the surviving weights of one tensor.

    Attributes:
        centroids: The K shared values, float32 (K,), strictly increasing.
        codes: The index of each survivor's value, uint8 (uint16 for K > 256), shape (S,),
            survivors in row-major order.
    """

    centroids: Tensor
    codes: Tensor
    has_zero = False

    @property
    def levels(self) -> int:
        """Number of shared values K; 0 if the tensor has no survivor."""
        return self.centroids.numel()

    @property
    def bits(self) -> float:
        """Bits of the codewords and the codebook: S log2 K + 32 K, without positions.

        Source: Tan & Wang, ICASSP 2021, accounting of quantized models.
        """
        return self.codes.numel() * math.log2(max(1, self.levels)) + self.side_bits

    @property
    def side_bits(self) -> float:
        """Bits of the codebook, 32 K."""
        return 32.0 * self.levels

    @property
    def told(self) -> str:
        """What tables call this form."""
        return f"k-means, {self.levels} values"

    def values(self) -> Tensor:
        """Return the quantised survivors, float32 (S,)."""
        return self.centroids[self.codes.long()]

    def restore(self, keep: Tensor) -> Tensor:
        """Return the whole tensor on the device of ``keep``.

        Survivors lie where ``keep`` is true, zeros elsewhere.

        Raises:
            ConfigError: ``keep`` does not have as many true positions as there are codes.
        """
        check_kept(keep, self.codes)
        whole = torch.zeros(keep.shape, dtype=torch.float32, device=keep.device)
        whole[keep] = self.values().to(keep.device)
        return whole

    def project(self, weight: Tensor, keep: Tensor) -> Tensor:
        """Return the nearest shared value of every weight, and zeros where ``keep`` is false.

        A weight half-way between two takes the lower one.
        """
        return torch.where(keep, self.centroids.to(weight.device)[self._nearest(weight)], 0.0)

    def passes(self, weight: Tensor) -> Tensor:
        """Return true of every weight: what lies beyond the last value is not clipped."""
        return torch.ones_like(weight, dtype=torch.bool)

    def recoded(self, weight: Tensor, keep: Tensor) -> Codebook:
        """Return the codebook of a tensor that holds few values already: those that occur."""
        values, codes = torch.unique(weight.detach()[keep].cpu() + 0.0, return_inverse=True)
        kind = torch.uint8 if len(values) <= 256 else torch.uint16
        return Codebook(values, codes.to(kind))

    def tensors(self) -> dict[str, Tensor]:
        """Return what stores this form, by the name of each part."""
        return {"centroids": self.centroids, "codes": self.codes}

    def _nearest(self, weight: Tensor) -> Tensor:
        """Return the code of the nearest shared value of every weight."""
        values = self.centroids.to(weight.device, torch.float64)
        return torch.bucketize(weight.detach().double(), (values[1:] + values[:-1]) / 2)


@dataclass(frozen=True)
class KMeans:
    """Quantise a tensor to its own K shared values of least squared error, see ``kmeans_1d``.

    There is one codebook a tensor: one for each channel would cost as much as it saves.

    Attributes:
        levels: Number of shared values K, 1..65536; a tensor with fewer different weights uses
            fewer and is unchanged.
    """

    levels: int

    @property
    def per(self) -> str:
        """What shares a codebook."""
        return "tensor"

    def kept(self, weight: Tensor) -> Tensor:
        """Return which weights are not zero: no mean of others is zero."""
        return weight.detach() != 0

    def quantize(self, weight: Tensor, channels: Channels, keep: Tensor | None) -> Codebook:
        """Return the codebook of a tensor; see ``cluster``."""
        return cluster(weight, self.levels, keep)


def kmeans_1d(
    values: NDArray[np.floating] | Tensor, k: int
) -> tuple[NDArray[np.float32], NDArray[np.unsignedinteger]]:
    """Cluster numbers into at most ``k`` groups of least squared error.

    The start is the best partition of the sorted values into ``k`` runs, found by dynamic
    programming. It is the optimum (up to rounding) if the number of different values times ``k``
    is at most 4,194,304. Above that the values are first gathered in 4,096 to 16,384 bins, spread
    as the cube root of the density, and the edges that come out are refined together; for k > 1024
    the same rule spreads the clusters themselves.
    Lloyd's iteration on the sorted values then runs to its fixpoint: each value belongs to the
    nearest centroid, each centroid is the mean of its values. The result depends on the multiset
    of the values alone, and that of -w mirrors that of w.

    Args:
        values: Finite numbers of any shape and order; they are compared as float32. They are not
            masked: pass survivors only.
        k: Number of clusters, 1..65536; at most as many as there are different values are used,
            which is then lossless.

    Returns:
        The centroids, float32 (K,), strictly increasing, and the code of each value, uint8 (uint16
        for K > 256), shape (n,). A value half-way between two centroids takes the lower one, or
        the higher one if the minimum is the larger extreme. A mean of zero over values that are
        not zero becomes the smallest normal number, so that no weight vanishes unnoticed.

    Raises:
        ConfigError: ``k`` is not a whole number of 1..65536, or the values are not real
            floating-point numbers.
        DivergedError: A value is NaN or infinite.

    Source: Tan & Wang (ICASSP 2021), k-means weight quantization; their start of the iteration is
    not given.
    """
    levels = _checked_level(k)
    array = _as_float32(values)
    if array.size == 0:
        return np.empty(0, np.float32), np.empty(0, np.uint8)
    from audioprune.compress.quantize import kmeans_kernels as kernels

    ordered = np.sort(array)
    flip = bool(kernels.leans_negative(ordered))
    if flip:
        ordered = -ordered[::-1]
    centroids = _centroids(ordered, levels)
    kind = np.uint8 if centroids.size <= 256 else np.uint16
    codes: NDArray[np.unsignedinteger] = np.empty(array.size, kind)
    kernels.assign(array, centroids, flip, codes)
    turned: NDArray[np.float32] = -centroids[::-1] if flip else centroids
    return turned + np.float32(0), codes  # + 0 makes -0 equal to 0


def squared_error(
    values: NDArray[np.floating] | Tensor,
    centroids: NDArray[np.floating],
    codes: NDArray[np.unsignedinteger],
) -> float:
    """Return the sum over all values of (value - its centroid)^2, in float64."""
    array = _as_float32(values).astype(np.float64)
    return float(np.square(array - np.asarray(centroids, np.float64)[codes]).sum())


def cluster(weight: Tensor, k: int, keep: Tensor | None = None) -> Codebook:
    """Quantise the survivors of one tensor without changing it.

    Args:
        weight: float32 tensor of any shape.
        k: Number of shared values, 1..65536.
        keep: Bool tensor of the same shape, true for survivors; None takes every weight that is
            not zero.

    Raises:
        ConfigError: ``k`` is out of range, ``weight`` is not float32, or ``keep`` has another
            shape.
        DivergedError: A surviving weight is NaN or infinite.
    """
    check_weight(weight, keep, "k-means")
    kept = weight.detach() != 0 if keep is None else keep.to(weight.device)
    centroids, codes = kmeans_1d(weight.detach()[kept], k)
    return Codebook(torch.from_numpy(centroids), torch.from_numpy(codes))


def quantize_(
    model: nn.Module, mask: Mapping[str, Tensor] | None, levels: Mapping[str, int]
) -> dict[str, Quantized]:
    """Replace the surviving weights of the named tensors by their centroids, in place.

    Removed weights stay zero. All arguments and all weights are checked before the first tensor is
    changed.

    Args:
        model: The network.
        mask: Survivors by parameter name (a ``Mask`` or a dict of bool tensors). A tensor that has
            no entry keeps its zeros: its survivors are the weights that are not zero.
        levels: K by parameter name, 1..65536; a tensor with fewer different weights uses fewer and
            is unchanged.

    Returns:
        The codebook of each named tensor, in the order of ``levels``, on the CPU.

    Raises:
        ConfigError: A name is no parameter of the model, a K is out of range, or two parameters
            share memory, see ``check_ties``.
        DivergedError: A weight is NaN or infinite; the message names the tensor.
    """
    return quantize_with_(model, mask, {name: KMeans(k) for name, k in levels.items()})


def _checked_level(k: int) -> int:
    try:
        level = operator.index(k)
    except TypeError:
        raise ConfigError(
            f"expected a whole number of shared values K, got {k!r}; use 1..{MAX_LEVELS}"
        ) from None
    if isinstance(k, bool) or not 1 <= level <= MAX_LEVELS:
        raise ConfigError(
            f"expected a number of shared values K of 1..{MAX_LEVELS}, got {k}; use for example 64"
        )
    return level


def _as_float32(values: NDArray[np.floating] | Tensor) -> NDArray[np.float32]:
    """Return the values as a flat float32 array, checked."""
    given = values if isinstance(values, Tensor) else np.asarray(values)
    real = given.is_floating_point() if isinstance(given, Tensor) else given.dtype.kind == "f"
    if not real:
        raise ConfigError(
            f"expected floating-point values for k-means, got {given.dtype}; convert them first"
        )
    array = given.detach().float().cpu().numpy() if isinstance(given, Tensor) else given
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(array.reshape(-1), dtype=np.float32)
    if not np.isfinite(flat).all():
        bad = flat.size - int(np.isfinite(flat).sum())
        raise DivergedError(
            f"expected finite weights, got {bad} of {flat.size} NaN or infinite; quantize an "
            f"earlier checkpoint"
        )
    return flat


def _centroids(ordered: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Return the centroids of sorted values, strictly increasing."""
    from audioprune.compress.quantize import kmeans_kernels as kernels

    distinct = int(kernels.count_distinct(ordered))
    if k >= distinct:
        return ordered[kernels.distinct_edges(ordered, distinct)[:-1]]
    shift = float(ordered.mean(dtype=np.float64))
    sums = kernels.prefix_sums(ordered, shift)
    cuts = _first_partition(ordered, sums, distinct, k)
    kernels.lloyd(ordered, sums, shift, cuts, False, _MAX_ITERATIONS)
    return kernels.lloyd(ordered, sums, shift, cuts, True, _MAX_ITERATIONS)[0]


def _first_partition(
    ordered: NDArray[np.float32], sums: NDArray[np.float64], distinct: int, k: int
) -> NDArray[np.int64]:
    """Return cluster edges as positions in the sorted values, int64 (k + 1)."""
    from audioprune.compress.quantize import kmeans_kernels as kernels

    edges = kernels.distinct_edges(ordered, distinct)
    if distinct * k > _EXACT_WORK and k > _DP_LEVELS:
        return _by_density(ordered, edges, k)
    if distinct * k > _EXACT_WORK:
        bins = min(max(_BINS_PER_LEVEL * k, _MIN_BINS), _MAX_BINS, distinct)
        places = _by_density(ordered, edges, bins)
        cuts = kernels.best_partition(places, sums[places], k)
        return _refined(sums, cuts)
    return kernels.best_partition(edges, sums[edges], k)


def _refined(sums: NDArray[np.float64], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the best of the partitions near one of bins.

    A symmetric density has optima that differ by a shift of all edges, and bins are too coarse to
    tell which is the best: so of few clusters both sides are tried.
    """
    from audioprune.compress.quantize import kmeans_kernels as kernels

    counts, starts, few = np.diff(cuts), [cuts.copy()], cuts.size <= _FEW + 1
    for left in (True, False) if few else ():
        shift = np.zeros_like(cuts)
        shift[1:-1] = -(counts[:-1] // 8) if left else counts[1:] // 8
        starts.append(cuts + shift)
    for start in starts:
        kernels.refine_partition(sums, start, *(_FINE if few else _QUICK))
    gains = [float((np.diff(sums[each]) ** 2 / np.diff(each)).sum()) for each in starts]
    return starts[int(np.argmax(gains))]


def _by_density(
    ordered: NDArray[np.float32], edges: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """Spread cluster edges over the different values with the cube root of the density.

    No cluster is empty.
    """
    distinct = edges.size - 1
    marks = np.unique(np.arange(_MARKS + 1) * distinct // _MARKS)
    left = ordered[edges[np.minimum(marks, distinct - 1)]].astype(np.float64)
    counts = np.diff(edges[marks]).astype(np.float64)
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(counts * np.diff(left) ** 2))])
    position = np.interp(np.arange(k + 1) / k * share[-1], share, marks).astype(np.int64)
    # at least one value for every cluster, from the left and from the right
    position = np.maximum.accumulate(position - np.arange(k + 1)) + np.arange(k + 1)
    position = np.minimum(position, distinct - k + np.arange(k + 1))
    position[0], position[-1] = 0, distinct
    spread: NDArray[np.int64] = edges[position]
    return spread
