"""The coder of quantised weights: exact round trips, and the gain from unequal scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioprune.compress.quantize.kmeans import kmeans_1d
from audioprune.packing.codes import read_codes, write_codes
from audioprune.packing.entropy import Reader, Writer


def coded_bits(codes: np.ndarray, keep: np.ndarray, centroids: np.ndarray) -> int:
    writer = Writer()
    write_codes(writer, codes, keep, centroids)
    coded = writer.finish()
    reader = Reader(coded)
    read = read_codes(reader, keep, centroids.size)
    reader.check_end()
    assert read.dtype == codes.dtype and np.array_equal(read, codes)
    return 8 * len(coded)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 14), max_size=4),
    st.floats(0, 1),
    st.sampled_from([1, 2, 16, 256, 300]),
    st.integers(0, 9),
)
def test_any_codes_round_trip(shape: list[int], density: float, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keep = rng.random(shape) < density
    codes = rng.integers(0, levels, np.count_nonzero(keep)).astype(
        np.uint8 if levels <= 256 else np.uint16
    )
    coded_bits(codes, keep, np.linspace(-1, 1, levels).astype(np.float32))


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_rows_and_columns_of_unequal_scale_cost_less(density: float) -> None:
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(0, 1, (200, 1)) + rng.normal(0, 0.5, (1, 160)))
    weight = (rng.normal(size=(200, 160)) * scale).astype(np.float32)
    keep = rng.random(weight.shape) < density
    centroids, codes = kmeans_1d(weight[keep], 32)
    counts = np.bincount(codes)
    entropy = float((counts * np.log2(codes.size / counts)).sum())
    assert coded_bits(codes, keep, centroids) < 0.9 * entropy


def test_even_scales_cost_the_entropy() -> None:
    weight = np.random.default_rng(0).laplace(size=(200, 150)).astype(np.float32)
    centroids, codes = kmeans_1d(weight, 32)
    counts = np.bincount(codes)
    entropy = float((counts * np.log2(codes.size / counts)).sum())
    assert coded_bits(codes, np.ones(weight.shape, bool), centroids) < 1.003 * entropy + 300
