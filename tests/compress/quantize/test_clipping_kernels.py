"""The best scale is the best of all scales: compared with every way in which codes can fall."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.compress.quantize import clipping_kernels as kernels


def error(up: np.ndarray, down: np.ndarray, most: tuple[int, int], scale: float) -> float:
    """Return the squared error of one scale."""
    near = [np.minimum(np.rint(side / scale), q) for side, q in zip((up, down), most, strict=True)]
    return sum(((side - scale * k) ** 2).sum() for side, k in zip((up, down), near, strict=True))


def by_enumeration(up: np.ndarray, down: np.ndarray, most: tuple[int, int]) -> float:
    """Return the least error: codes are constant between two neighbouring events."""
    events = {w / (m - 0.5) for w in up for m in range(1, most[0] + 1)}
    events |= {w / (m - 0.5) for w in down for m in range(1, most[1] + 1)}
    ordered = sorted(events)
    inside = [ordered[0] / 2, *(sum(pair) / 2 for pair in zip(ordered, ordered[1:], strict=False))]
    found = []
    for scale in inside:
        k, j = np.minimum(np.rint(up / scale), most[0]), np.minimum(np.rint(down / scale), most[1])
        best = (k @ up + j @ down) / (k @ k + j @ j)
        found.append(error(up, down, most, best))
    return min(found)


@pytest.mark.parametrize("most", [(1, 1), (3, 3), (5, 2), (7, 0), (0, 4), (20, 20)])
@pytest.mark.parametrize("leaf", [True, False])
def test_the_scale_has_the_least_error(most: tuple[int, int], leaf: bool) -> None:
    rng = np.random.default_rng(sum(most))
    for count in (2, 9, 60) if leaf else (400,):
        values = rng.standard_t(3, count if leaf else count * 8)
        if not leaf:
            values = np.round(values, 1)  # few events by enumeration, many for the search
        up, down = np.sort(values[values > 0]), np.sort(-values[values < 0])
        scale, found = kernels.best_scale(up, down, *most)
        if scale == 0:
            assert found == pytest.approx((values**2).sum())
            continue
        assert found == pytest.approx(error(up, down, most, scale))
        few = np.unique(up), np.unique(down)
        if leaf:
            assert found == pytest.approx(by_enumeration(up, down, most), rel=1e-9)
        else:
            tried = np.geomspace(few[0][0] / 50, 2 * max(few[0][-1], few[1][-1]), 4000)
            assert found <= min(error(up, down, most, each) for each in tried) * (1 + 1e-9)


def test_values_without_a_code_are_all_error() -> None:
    scale, found = kernels.best_scale(np.empty(0), np.array([1.0, 2.0]), 3, 0)
    assert scale == 0 and found == 5
