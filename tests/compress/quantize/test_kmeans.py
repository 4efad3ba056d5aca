"""k-means: the worked example, optima of small inputs, fixpoints of large ones, on a model."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audioprune.compress.masks import Mask
from audioprune.compress.quantize import kmeans
from audioprune.compress.quantize.kmeans import (
    Codebook,
    cluster,
    kmeans_1d,
    quantize_,
    squared_error,
)
from audioprune.errors import ConfigError, DivergedError

EXAMPLE = np.array([-2, -1.9, -0.1, 0.1, 0.2, 1, 1.1, 1.2], np.float32)
floats = st.floats(-100, 100, width=32, allow_subnormal=False)


def laplace(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, size]).laplace(size=size).astype(np.float32)


def quantised(values: np.ndarray, k: int) -> np.ndarray:
    centroids, codes = kmeans_1d(values, k)
    return centroids[codes]


def best_error(values: np.ndarray, k: int) -> float:
    """Least squared error over all partitions of the sorted values into runs."""
    ordered = np.sort(values.astype(np.float64))
    best = np.inf
    for cuts in combinations(range(1, ordered.size), k - 1):
        best = min(
            best, sum(np.square(part - part.mean()).sum() for part in np.split(ordered, cuts))
        )
    return best


def assert_fixpoint(values: np.ndarray, centroids: np.ndarray, codes: np.ndarray) -> None:
    """Each value is at its nearest centroid, each centroid is the mean of its values."""
    assert centroids.dtype == np.float32 and (np.diff(centroids) > 0).all()
    assert np.bincount(codes, minlength=centroids.size).min() > 0
    wide = values.astype(np.float64)
    distance = np.abs(wide - centroids[codes].astype(np.float64))
    for shift in (-1, 1):
        other = np.clip(codes.astype(int) + shift, 0, centroids.size - 1)
        assert (distance <= np.abs(wide - centroids[other].astype(np.float64))).all()
    means = np.bincount(codes, weights=wide) / np.bincount(codes)
    np.testing.assert_allclose(centroids, means, rtol=1.2e-7, atol=1e-12 * np.abs(wide).max())


def test_worked_example() -> None:
    centroids, codes = kmeans_1d(EXAMPLE, 3)
    np.testing.assert_allclose(centroids, [-1.95, 0.2 / 3, 1.1], rtol=1e-6)
    assert codes.tolist() == [0, 0, 1, 1, 1, 2, 2, 2] and codes.dtype == np.uint8
    assert squared_error(EXAMPLE, centroids, codes) == pytest.approx(0.0716667, abs=1e-6)
    book = cluster(torch.from_numpy(EXAMPLE), 4)
    assert book.bits == 8 * 2 + 4 * 32
    assert cluster(torch.from_numpy(EXAMPLE), 3).bits == pytest.approx(8 * np.log2(3) + 96)


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=2, max_size=9, unique=True), st.integers(1, 5))
def test_small_inputs_reach_the_optimum(values: list[float], k: int) -> None:
    array = np.array(values, np.float32)
    k = min(k, array.size)
    error = squared_error(array, *kmeans_1d(array, k))
    optimum = best_error(array, k)
    assert error <= optimum * (1 + 1e-6) + 1e-10 * float(np.square(array).max()) + 1e-30


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=40), st.integers(1, 12))
def test_invariants_on_any_values(values: list[float], k: int) -> None:
    array = np.array(values, np.float32)
    centroids, codes = kmeans_1d(array, k)
    once = centroids[codes]
    assert centroids.size == min(k, np.unique(array).size)
    assert np.array_equal(quantised(once, k), once)
    order = np.random.default_rng(0).permutation(array.size)
    assert np.array_equal(quantised(array[order], k), once[order])
    assert not ((once == 0) & (array != 0)).any()
    if k >= np.unique(array).size:
        assert np.array_equal(once, array)


@pytest.mark.parametrize("k", [1, 2, 7, 16, 64])
def test_fixpoint_in_the_exact_regime(k: int) -> None:
    values = laplace(20_000)
    assert_fixpoint(values, *kmeans_1d(values, k))


@pytest.mark.parametrize(
    ("size", "k"), [(400_000, 16), (300_000, 64), (200_000, 256), (100_000, 300), (60_000, 2000)]
)
def test_fixpoint_on_large_tensors(size: int, k: int) -> None:
    values = laplace(size)
    centroids, codes = kmeans_1d(values, k)
    assert centroids.size == k and codes.dtype == (np.uint8 if k <= 256 else np.uint16)
    assert_fixpoint(values, centroids, codes)


def test_large_tensors_are_near_the_optimum() -> None:
    from audioprune.compress.quantize import kmeans_kernels as kernels

    for values in (
        laplace(150_000),
        np.random.default_rng(1).standard_cauchy(150_000).astype(np.float32),
    ):
        ordered, k = np.sort(values), 32
        edges = kernels.distinct_edges(ordered, kernels.count_distinct(ordered))
        shift = float(ordered.mean(dtype=np.float64))
        sums = kernels.prefix_sums(ordered, shift)
        centroids, _ = kernels.lloyd(
            ordered, sums, shift, kernels.best_partition(edges, sums[edges], k), True, 100
        )
        nearest = np.searchsorted((centroids[1:].astype(np.float64) + centroids[:-1]) / 2, values)
        optimum = squared_error(values, centroids, nearest.astype(np.uint8))
        assert squared_error(values, *kmeans_1d(values, k)) <= optimum * (1 + 1e-4)


def test_error_never_grows_with_more_levels() -> None:
    values = laplace(5_000)
    errors = [squared_error(values, *kmeans_1d(values, k)) for k in range(1, 40)]
    assert all(after <= before for before, after in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize(("size", "k"), [(999, 5), (400_000, 16), (60_000, 1500)])
def test_mirror_image(size: int, k: int) -> None:
    values = laplace(size, seed=3)
    centroids, codes = kmeans_1d(values, k)
    mirrored, mirrored_codes = kmeans_1d(-values, k)
    assert np.array_equal(mirrored, -centroids[::-1])
    assert np.array_equal(mirrored_codes, centroids.size - 1 - codes.astype(int))


def test_outliers_do_not_starve_the_bulk() -> None:
    values = np.concatenate([laplace(400_000), np.float32([1e6, -3e7])])
    centroids, codes = kmeans_1d(values, 16)
    bulk = codes[:-2]
    assert np.unique(bulk).size == 14
    assert squared_error(values[:-2], centroids, bulk) < 1.3 * squared_error(
        values[:-2], *kmeans_1d(values[:-2], 14)
    )


def test_same_bits_on_every_call() -> None:
    values = laplace(300_000)
    first, again = kmeans_1d(values, 32), kmeans_1d(values.copy(), 32)
    assert first[0].tobytes() == again[0].tobytes() and first[1].tobytes() == again[1].tobytes()


@pytest.mark.parametrize(
    "values", [[0.5] * 9, [0.0, 0.0], [-0.0, 1.0], [3.4e38, -3.4e38, 0.0], [1e-45, 3e-45, -1e-45]]
)
def test_lossless_with_enough_levels(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert np.array_equal(quantised(array, 256), array)


def test_no_survivor_becomes_zero() -> None:
    for values in ([-1.0, 1.0], [-1e-45, 1e-45], [-1e-45, 0.0], [-2.0, -1.0, 1.0, 2.0]):
        array = np.array(values, np.float32)
        assert (quantised(array, 1)[array != 0] != 0).all()


def test_many_duplicates_and_the_widest_code() -> None:
    values = np.repeat(np.arange(70_000, dtype=np.float32), 2)
    centroids, codes = kmeans_1d(values, 65536)
    assert centroids.size == 65536 and codes.dtype == np.uint16 and int(codes.max()) == 65535
    assert_fixpoint(values, centroids, codes)


def test_no_values() -> None:
    centroids, codes = kmeans_1d(np.empty(0, np.float32), 8)
    assert centroids.size == codes.size == 0


def test_accepts_tensors_of_other_precision() -> None:
    values = torch.tensor(EXAMPLE)
    assert np.array_equal(kmeans_1d(values.double(), 3)[1], kmeans_1d(values, 3)[1])
    assert kmeans_1d(values.bfloat16(), 8)[0].size == 8


@pytest.mark.parametrize("k", [0, -1, 65537, 2.5, True, "4", None])
def test_bad_level_counts(k: object) -> None:
    with pytest.raises(ConfigError, match="K"):
        kmeans_1d(EXAMPLE, k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_values(bad: float) -> None:
    with pytest.raises(DivergedError, match="1 of 9"):
        kmeans_1d(np.append(EXAMPLE, np.float32(bad)), 3)
    with pytest.raises(ConfigError, match="int64"):
        kmeans_1d(np.arange(4), 2)


def net() -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def test_quantize_keeps_the_mask_and_shares_values() -> None:
    model = net()
    mask = Mask(
        {name: model.get_parameter(name).detach().abs() > 0.5 for name in ("0.weight", "1.weight")}
    )
    mask.apply_(model)
    bias = model[0].bias.detach().clone()
    books = quantize_(model, mask, {"0.weight": 8, "1.weight": 16})
    for name, book in books.items():
        weight = model.get_parameter(name).detach()
        assert torch.equal(weight != 0, mask[name])
        assert torch.equal(book.restore(mask[name]), weight)
        assert book.levels == weight[mask[name]].unique().numel()
        assert book.codes.numel() == int(mask[name].sum())
    assert torch.equal(model[0].bias, bias)
    again = quantize_(model, mask, {"0.weight": 8})
    assert torch.equal(again["0.weight"].codes, books["0.weight"].codes)


def test_quantize_without_a_mask_keeps_zeros() -> None:
    model = net()
    model[0].weight.data[:10] = 0
    books = quantize_(model, None, {"0.weight": 4})
    assert int((model[0].weight != 0).sum()) == 20 * 20 == books["0.weight"].codes.numel()
    assert (model[0].weight.data[:10] == 0).all()


def test_a_kept_zero_is_a_survivor() -> None:
    model = net()
    model[1].weight.data[0, :5] = 0
    mask = Mask.ones(model, ["1.weight"])
    book = quantize_(model, mask, {"1.weight": 4})["1.weight"]
    assert book.codes.numel() == 300 and int((model[1].weight == 0).sum()) == 0


def test_a_tensor_may_be_gone() -> None:
    model = net()
    mask = Mask({"1.weight": torch.zeros(10, 30, dtype=torch.bool)})
    mask.apply_(model)
    book = quantize_(model, mask, {"1.weight": 16})["1.weight"]
    assert book.levels == 0 and book.bits == 0 and (model[1].weight == 0).all()


def test_quantize_checks_before_it_changes() -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=r"^unknown parameter '0\.weigth'; closest: 0\.weight"):
        quantize_(model, None, {"1.weight": 4, "0.weigth": 4})
    with pytest.raises(ConfigError, match="0.weight: expected a number"):
        quantize_(model, None, {"1.weight": 4, "0.weight": 0})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model[0].weight.data[0, 0] = float("nan")
    with pytest.raises(DivergedError, match="0.weight"):
        quantize_(model, None, {"1.weight": 4, "0.weight": 4})
    assert torch.equal(model[1].weight, before["1.weight"])
    with pytest.raises(ConfigError, match="float32"):
        quantize_(net().half(), None, {"0.weight": 4})
    with pytest.raises(ConfigError, match="bool mask"):
        cluster(torch.ones(3), 2, torch.ones(4, dtype=torch.bool))


def test_codebook_refuses_another_mask() -> None:
    book = Codebook(torch.tensor([1.0]), torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="keeps 3"):
        book.restore(torch.ones(4, dtype=torch.bool))


def test_numba_is_imported_only_when_needed() -> None:
    tree = ast.parse(Path(kmeans.__file__).read_text(encoding="utf-8"))
    assert not [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom | ast.Import) and "kernels" in ast.unparse(node)
    ]


@pytest.mark.parametrize("k", [5, 16])
def test_edges_that_bins_left_on_a_grid_are_refined_to_the_optimum(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(k).laplace(size=20_000).astype(np.float32)
    best = squared_error(values, *kmeans_1d(values, k))
    monkeypatch.setattr(kmeans, "_EXACT_WORK", 1 << 10)
    monkeypatch.setattr(kmeans, "_MIN_BINS", 128)
    monkeypatch.setattr(kmeans, "_BINS_PER_LEVEL", 8)
    assert squared_error(values, *kmeans_1d(values, k)) <= best * (1 + 1e-9)
