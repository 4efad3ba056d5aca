"""Compare one-dimensional k-means with scipy and scikit-learn: time and squared error.

python scripts/benchmarks/kmeans.py --size 1048576 --levels 16 64 --repeats 3
Times move by a factor of two between runs on a shared machine; read the ratios of one run, not the
seconds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

for variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ[variable] = "1"  # before numpy and numba read them

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from audioprune.compress.quantize.kmeans import kmeans_1d  # noqa: E402

Values = NDArray[np.float32]


def ours(values: Values, k: int) -> NDArray[np.floating]:
    return kmeans_1d(values, k)[0]


def scikit_learn(values: Values, k: int) -> NDArray[np.floating]:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=1, random_state=0).fit(values[:, None]).cluster_centers_[:, 0]


def scipy_plus_plus(values: Values, k: int) -> NDArray[np.floating]:
    from scipy.cluster.vq import kmeans2

    return kmeans2(values.astype(np.float64), k, minit="++", rng=np.random.default_rng(0))[0]


def squared_error(values: Values, centroids: NDArray[np.floating]) -> float:
    """Score every method alike: squared distance to the nearest centroid, in float64."""
    ordered = np.sort(centroids.astype(np.float64))
    nearest = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)
    return float(np.square(values - ordered[nearest]).sum())


def measure(
    method: Callable[[Values, int], NDArray[np.floating]], values: Values, k: int, repeats: int
) -> tuple[float, float]:
    """Return the median time in seconds and the squared error."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        centroids = method(values, k)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), squared_error(values, centroids)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, default=1 << 20, help="number of weights (default: %(default)s)"
    )
    parser.add_argument(
        "--levels",
        type=int,
        nargs="+",
        default=[16, 64],
        help="numbers of shared values (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="runs of our method; the others run once (default: %(default)s)",
    )
    parser.add_argument("--alone", action="store_true", help="do not run the other packages")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    half = arguments.size // 2
    values = np.concatenate(
        [rng.normal(size=half), rng.laplace(size=arguments.size - half)]
    ).astype(np.float32)
    rng.shuffle(values)
    kmeans_1d(values[:1000], 4)  # compile
    others = (
        {}
        if arguments.alone
        else {
            "scikit-learn k-means++, 1 start": scikit_learn,
            "scipy kmeans2 ++, 10 iterations": scipy_plus_plus,
        }
    )
    print(f"{'method':34} {'K':>5} {'seconds':>9} {'x ours':>8} {'error / ours':>13}")
    for k in arguments.levels:
        base_s, base_error = measure(ours, values, k, arguments.repeats)
        print(f"{'audioprune':34} {k:5d} {base_s:9.4f} {1:8.1f} {1:13.6f}", flush=True)
        for name, method in others.items():
            seconds, error = measure(method, values, k, 1)
            print(
                f"{name:34} {k:5d} {seconds:9.4f} {seconds / base_s:8.1f} "
                f"{error / base_error:13.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
