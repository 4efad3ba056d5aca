"""How fast is one-dimensional k-means beside others, at which squared error? ``ITEM``.

Every method gets the same float32 array; errors are taken by one scorer in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioprune.compress.quantize.kmeans import kmeans_1d
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least

Values = NDArray[np.float32]
LARGE, SMALL = 1 << 22, 1 << 16
AGAINST_FLASH = {16: 8.0, 64: 8.0, 256: 4.0}


def weights(size: int) -> Values:
    """Return a shuffled mixture of Gaussian and Laplacian numbers, float32 (size,)."""
    rng = np.random.default_rng(0)
    half = size // 2
    found = np.concatenate([rng.normal(size=half), rng.laplace(size=size - half)])
    rng.shuffle(found)
    return found.astype(np.float32)


def error(values: Values, centroids: Any) -> float:
    """Return the squared distance to the nearest centroid, in float64."""
    ordered = np.sort(np.asarray(centroids, np.float64).reshape(-1))
    nearest = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)
    return float(np.square(values - ordered[nearest]).sum())


def no_worse(values: Values, within: float, mine: Any, other: Any) -> str:
    """Say both errors; refuse an error above the peer's by more than a share."""
    ours, theirs = error(values, mine), error(values, other)
    if ours > theirs * (1 + within):
        raise Unequal(f"squared error {ours / theirs:.7f} of the peer's")
    return f"squared error {ours / theirs:.7f} of the peer's"


def codes_alone(values: Values, centroids: Any) -> Any:
    """Return the code of every weight for given centroids."""
    from audioprune.compress.quantize import kmeans_kernels as kernels

    codes = np.empty(values.size, np.uint8)
    kernels.assign(values, centroids, False, codes)
    return codes


def rows(run: Run) -> Iterator[Row]:
    """Measure fits and codes of one large tensor, the exact optimum, and many channels."""
    flash, exact = run.peer("flash1dkmeans"), run.peer("kmeans1d")
    clusters, faiss = run.peer("sklearn.cluster", "scikit-learn"), run.peer("faiss", "faiss-cpu")
    values = weights(LARGE)
    kmeans_1d(values[:1000], 4)  # compile
    for k, goal in AGAINST_FLASH.items():
        peers: dict[str, Peer] = {}
        if flash:
            fit = partial(flash.kmeans_1d, values, k, random_state=0)
            peers["flash1dkmeans, warm"] = Peer(
                lambda fit=fit: fit()[0], at_least(goal), 3 if run.quick else 5, warm=True
            )
        if clusters and (k == 16 or not run.quick):
            peers["scikit-learn k-means++"] = Peer(
                partial(_plus_plus, clusters.KMeans, values, k), at_least(60.0), 1
            )
        if faiss and not run.quick:
            peers["faiss, 25 iterations"] = Peer(partial(_faiss, faiss, values, k), None, 1)
        yield from run.against(
            f"fit and codes, {LARGE:,} weights, K = {k}",
            lambda k=k: kmeans_1d(values, k)[0],
            peers,
            check=partial(no_worse, values, 0.0),
            unit="ms",
        )
    run.profile(
        f"fit and codes, {LARGE:,} weights, K = 64",
        {
            "whole": lambda: kmeans_1d(values, 64),
            "sort": lambda: np.sort(values),
            "codes": partial(codes_alone, values, kmeans_1d(values[:4096], 64)[0]),
        },
    )
    few = values[: SMALL if run.quick else 1 << 20]
    for k in (16, 64):
        if exact:
            optimum = Peer(lambda k=k: exact.cluster(few, k).centroids, None, 1)
            yield from run.against(
                f"fit and codes, {few.size:,} weights, K = {k}",
                lambda k=k: kmeans_1d(few, k)[0],
                {"kmeans1d, the exact optimum": optimum},
                check=partial(no_worse, few, 1e-6),
                unit="ms",
            )


def _plus_plus(kind: Callable[..., Any], values: Values, k: int) -> Any:
    return kind(k, n_init=1, random_state=0).fit(values[:, None]).cluster_centers_[:, 0]


def _faiss(faiss: Any, values: Values, k: int) -> Any:
    found = faiss.Kmeans(1, k, niter=25, max_points_per_centroid=values.size)
    found.train(values[:, None])
    return found.centroids[:, 0]


ITEM = Item(
    title="k-means of one tensor",
    about="Shared values of a mixture of Gaussian and Laplacian weights, float32. All return "
    "centroids and the code of every weight; faiss returns centroids alone. No squared error may "
    "lie above a peer's, nor above the exact optimum of kmeans1d by more than a millionth.",
    rows=rows,
    why="The sort of all weights, and a code for each of them, are most of the time at K = 16 and "
    "64; at 256 the dynamic programme over 16,384 bins is as long. A fit on a histogram needs "
    "no sort and is several times as fast, but its error lies above the optimum by some 1e-5. "
    "There is one codebook a tensor; one for each channel is not offered, as it costs as much "
    "as it saves.",
    order=10,
)
