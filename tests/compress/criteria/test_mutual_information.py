"""EDGE against closed forms, a plain restatement and the facts known of the released estimator."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from audioprune.compress.criteria.mutual_information import edge_mutual_information, prepare
from audioprune.errors import ConfigError, DivergedError


def _gaussians(rho: float, count: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, other = np.random.default_rng(seed).standard_normal((2, count))
    return x, rho * x + math.sqrt(1 - rho**2) * other


def _entropy(values: np.ndarray) -> float:
    shares = np.array(list(Counter(values.tolist()).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def test_independent_variables_share_nothing() -> None:
    assert edge_mutual_information(*np.random.default_rng(0).uniform(size=(2, 1000))) <= 0.01
    discrete = np.random.default_rng(1).integers(0, 8, (2, 5000)).astype(float)
    assert edge_mutual_information(*discrete) <= 0.07


@pytest.mark.parametrize(("values", "gamma"), [(2, 1.0), (8, 1.0), (64, 0.001)])
def test_a_discrete_variable_tells_its_entropy_about_itself(values: int, gamma: float) -> None:
    x = np.random.default_rng(values).integers(0, values, 1000).astype(float)
    bits = edge_mutual_information(x, x, gamma=(gamma, gamma))
    assert bits == pytest.approx(_entropy(x), abs=1e-9) and bits <= math.log2(values)


def test_correlated_gaussians_come_near_the_closed_form_and_rise() -> None:
    found = [edge_mutual_information(*_gaussians(rho)) for rho in (0.0, 0.3, 0.6, 0.9, 0.99)]
    assert found == sorted(found) and 1.15 <= found[3] <= 1.45 and found[0] <= 0.01
    true = [-0.5 * math.log2(1 - rho**2) for rho in (0.3, 0.6, 0.9, 0.99)]
    assert np.allclose(found[1:], true, atol=0.35)


def test_either_order_and_any_order_of_samples() -> None:
    x, y = _gaussians(0.8)
    bits = edge_mutual_information(x, y)
    assert edge_mutual_information(y, x) == pytest.approx(bits, abs=0.05)
    order = np.random.default_rng(5).permutation(len(x))
    assert edge_mutual_information(x[order], y[order]) == pytest.approx(bits, abs=1e-12)


def test_a_constant_tells_nothing() -> None:
    assert (
        edge_mutual_information(np.ones(1000), np.random.default_rng(0).standard_normal(1000))
        <= 0.001
    )


def test_same_seed_same_value_and_the_global_generator_is_left_alone() -> None:
    x, y = _gaussians(0.7)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    assert (
        edge_mutual_information(x, y, seed=3)
        == edge_mutual_information(x, y, seed=3)
        == edge_mutual_information(prepare(x, 3), y, 3)
    )
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("axes", [1, 2])
def test_equals_a_plain_restatement(axes: int) -> None:
    x, y = _gaussians(0.6, 400)
    y = y if axes == 1 else np.stack([y, np.random.default_rng(9).standard_normal(400)], axis=1)
    assert edge_mutual_information(x, y, ensemble=4) == pytest.approx(
        _plain(x[:, None], y.reshape(400, -1), 4), abs=1e-9
    )


def test_gamma_narrows_the_cells() -> None:
    x, y = _gaussians(0.6)
    assert (
        edge_mutual_information(x, y, gamma=(0.001, 0.001)) > 9
    )  # every sample has a cell of its own


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            np.zeros((1000, 100)),
            np.zeros(1000),
            ConfigError,
            "1 to 6 numbers, got shape \\(1000, 100\\); with more numbers every sample",
        ),
        (np.zeros(19), np.zeros(19), ConfigError, "at least 20 samples"),
        (np.zeros(30), np.zeros(31), ConfigError, "equally many samples, got 30 and 31"),
        (np.full(30, np.nan), np.zeros(30), DivergedError, "finite samples"),
    ],
)
def test_what_is_refused(
    x: np.ndarray, y: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        edge_mutual_information(x, y)
    with pytest.raises(ConfigError, match="ensemble >= 1 and two gammas > 0, got 0"):
        edge_mutual_information(np.arange(30.0), np.arange(30.0), ensemble=0)


def _plain(x: np.ndarray, y: np.ndarray, ensemble: int) -> float:
    """Compute EDGE with loops and counters, on the points that the package draws."""
    count = len(x)
    points = np.random.default_rng(0).choice(count, min(500, count), replace=False)

    def width(column: np.ndarray, axes: int) -> float:
        k = math.floor(0.43 * count ** (2 / 3 + 0.17 * axes / (axes + 1)))
        return (
            float(
                np.sort(np.abs(np.sort(column)[points][:, None] - column[None]), axis=1)[
                    :, k - 1
                ].mean()
            )
            + 1e-4
        )

    def once(gamma: float) -> float:
        found = []
        for member, factor in enumerate(np.linspace(1, 1.1, ensemble)):
            hashed = []
            for values in (x, y):
                axes = values.shape[1]
                cell = (
                    np.array([width(column, axes) for column in values.T])
                    * 18
                    * axes
                    / max(1 + math.log(axes), 1)
                    * gamma
                    * factor
                )
                hashed.append(
                    [tuple(row) for row in np.floor((values + member / ensemble * cell) / cell)]
                )
            left, right, both = (
                Counter(hashed[0]),
                Counter(hashed[1]),
                Counter(zip(*hashed, strict=True)),
            )
            ratios = {
                (i, j): math.log2(n * count / (left[i] * right[j])) for (i, j), n in both.items()
            }
            found.append(
                sum(both[pair] * min(max(ratio, 0.001), 10) for pair, ratio in ratios.items())
                / count
            )
        return float(np.median(found))

    first = once(0.4)
    return once(0.4 * 0.4 * 2 ** (-math.sqrt(2 * first) + 0.5 / first))
