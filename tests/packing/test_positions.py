"""The mask coder: exact round trips, near the entropy at random, far below it with structure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioprune.packing.entropy import Reader, Writer
from audioprune.packing.positions import read_positions, write_positions


def coded_bits(keep: np.ndarray) -> int:
    writer = Writer()
    write_positions(writer, keep)
    coded = writer.finish()
    reader = Reader(coded)
    assert np.array_equal(read_positions(reader, keep.shape), keep)
    reader.check_end()
    return 8 * len(coded)


def entropy_bits(keep: np.ndarray) -> float:
    p = keep.mean()
    return 0.0 if p in (0, 1) else float(keep.size * (-p * np.log2(p) - (1 - p) * np.log2(1 - p)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=4), st.floats(0, 1), st.integers(0, 9))
def test_any_mask_round_trips(shape: list[int], density: float, seed: int) -> None:
    coded_bits(np.random.default_rng(seed).random(shape) < density)


@pytest.mark.parametrize("density", [0.5, 0.2, 0.05, 0.02, 0.999])
def test_random_masks_cost_their_entropy(density: float) -> None:
    keep = np.random.default_rng(0).random((400, 500)) < density
    assert coded_bits(keep) <= 1.002 * entropy_bits(keep) + 128


def test_rows_and_columns_of_unequal_density_cost_less() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 2, (300, 1)) + rng.normal(0, 2, (1, 200))
    truth = 1 / (1 + np.exp(-logit))
    keep = rng.random(truth.shape) < truth
    model_bits = -np.log2(np.where(keep, truth, 1 - truth)).sum()
    assert coded_bits(keep) < 0.8 * entropy_bits(keep)
    assert coded_bits(keep) < 1.1 * model_bits


@pytest.mark.parametrize(
    ("shape", "axis"), [((64, 80), 0), ((64, 80), 1), ((16, 24, 3, 3), 0), ((16, 24, 3, 3), 1)]
)
def test_whole_rows_columns_and_kernels_cost_almost_nothing(
    shape: tuple[int, ...], axis: int
) -> None:
    rng = np.random.default_rng(0)
    line = [1] * len(shape)
    line[axis] = shape[axis]
    keep = np.broadcast_to(rng.random(line) < 0.5, shape).copy()
    assert coded_bits(keep) <= 0.1 * entropy_bits(keep)
    kernels = np.broadcast_to(rng.random((16, 24, 1, 1)) < 0.5, (16, 24, 3, 3)).copy()
    assert coded_bits(kernels) <= 0.2 * entropy_bits(kernels)


@pytest.mark.parametrize("fill", [True, False])
def test_full_and_empty_masks_cost_a_few_bytes(fill: bool) -> None:
    assert coded_bits(np.full((1000, 700), fill)) <= 128
