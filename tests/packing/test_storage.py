"""The counted sizes: the arithmetic of Tan & Wang's Table 2, sums over tensors, entropies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from audioprune.compress.masks import Mask
from audioprune.compress.quantize.kmeans import cluster, quantize_
from audioprune.errors import ConfigError
from audioprune.packing import storage, storage_of

MIB = 2**20


@pytest.mark.parametrize(
    ("params", "mib", "compressed_mib", "ratio"),
    [
        (9_054_369, 34.5397, 0.1007, 343),
        (30_217_377, 115.2701, 2.49, 46.3),
        (5_053_682, 19.2783, 0.56, 34.4),
        (9_771_340, 37.2747, 1.11, 33.6),
        (9_771_340, 37.2747, 4.11, 9.07),
    ],
    ids=["FDNN", "LSTM", "TCNN", "GCRN", "GCRN structured"],
)
def test_table_2_of_tan_and_wang(
    params: int, mib: float, compressed_mib: float, ratio: float
) -> None:
    sizes = storage({"w": torch.empty(params, device="cpu").expand(params)})
    assert sizes.bytes_fp32 / MIB == pytest.approx(mib, abs=5e-5)
    assert sizes.bytes_fp32 / (compressed_mib * MIB) == pytest.approx(ratio, rel=2e-3)
    assert sizes.bytes_paper == sizes.bytes_ideal == sizes.bytes_fp32


def test_worked_example() -> None:
    weights = torch.tensor([-2, -1.9, 0, -0.1, 0.1, 0.2, 0, 1, 1.1, 1.2])
    keep = weights != 0
    book = cluster(weights, 4, keep)
    sizes = storage({"w": book.restore(keep)}, {"w": keep}, {"w": book})
    assert sizes.bytes_paper == (8 * 2 + 4 * 32) / 8
    positions = 8 * math.log2(10 / 8) + 2 * math.log2(10 / 2)
    counts = torch.bincount(book.codes.long()).double()
    codes = float((counts * torch.log2(8 / counts)).sum())
    assert sizes.bytes_ideal == pytest.approx((positions + codes + 4 * 32) / 8)
    assert sizes.per_tensor[0].kept == 8 and sizes.per_tensor[0].levels == 4


def test_levels_that_are_no_power_of_two_are_not_rounded() -> None:
    book = cluster(torch.arange(30.0) + 1, 3)
    assert storage({"w": book.values()}, None, {"w": book}).bytes_paper == pytest.approx(
        (30 * math.log2(3) + 96) / 8
    )


def test_model_sums_and_buffers() -> None:
    model = nn.Sequential(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8), nn.Linear(8, 4))
    mask = Mask.ones(model, ["0.weight", "2.weight"])
    mask = mask.updated(
        {"0.weight": torch.rand(8, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.3}
    )
    mask.apply_(model)
    books = quantize_(model, mask, {"0.weight": 4})
    sizes = storage_of(model, mask, books)
    assert sizes.bytes_fp32 == 4 * sum(parameter.numel() for parameter in model.parameters())
    kept = int(mask["0.weight"].sum())
    rest = 8 + 8 + 8 + 32 + 4
    assert sizes.bytes_paper == pytest.approx((kept * 2 + 4 * 32 + 32 * rest) / 8)
    rows = {row.name: row for row in sizes.per_tensor}
    assert rows["1.running_mean"].bytes_fp32 == rows["1.running_mean"].bytes_paper == 0
    assert (
        rows["1.running_mean"].bytes_ideal == 32 and rows["1.num_batches_tracked"].bytes_ideal == 8
    )
    for field in ("bytes_fp32", "bytes_paper", "bytes_ideal"):
        assert getattr(sizes, field) == pytest.approx(
            sum(getattr(row, field) for row in sizes.per_tensor)
        )


def test_zeros_without_a_mask_are_removed_weights() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10), nn.Linear(10, 3))
    with torch.no_grad():
        model[0].weight[1:] = 0.0
    sizes = storage_of(model)
    assert sizes.bytes_fp32 == 4 * (110 + 20 + 33)
    assert (
        sizes.bytes_paper == sizes.bytes_fp32 - 4 * 90
    )  # the zero shifts of the normalisation count as they are
    row = sizes.per_tensor[0]
    positions = 10 * math.log2(10) + 90 * math.log2(100 / 90)
    assert row.kept == 10 and row.bytes_ideal == pytest.approx((32 * 10 + positions) / 8)


def test_zeros_of_a_constant_are_not_removed() -> None:
    model = nn.Sequential(nn.Linear(10, 10, bias=False).requires_grad_(False), nn.Linear(10, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(10))
    sizes = storage_of(model)
    assert sizes.bytes_paper == sizes.bytes_fp32 == sizes.bytes_ideal == 4 * 133
    assert sizes.per_tensor[0].kept == 100


def test_nothing_left() -> None:
    weights, keep = torch.zeros(6), torch.zeros(6, dtype=torch.bool)
    book = cluster(weights, 4, keep)
    sizes = storage({"w": weights}, {"w": keep}, {"w": book})
    assert sizes.bytes_paper == sizes.bytes_ideal == 0


def test_what_does_not_fit_is_refused() -> None:
    weights = torch.ones(6)
    with pytest.raises(ConfigError, match="'v'"):
        storage({"w": weights}, {"v": weights > 0})
    with pytest.raises(ConfigError, match="6 codes"):
        storage({"w": weights}, {"w": weights > 0}, {"w": cluster(weights[:3], 2)})


def test_every_number_of_a_row() -> None:
    weights = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])
    mask, book = weights != 0, cluster(weights, 2, weights != 0)
    state = {
        "plain": weights,
        "masked": weights,
        "shared": book.restore(mask),
        "bias": torch.zeros(3),
        "count": torch.tensor(7),
    }
    parameters = ["plain", "masked", "shared", "bias"]
    sizes = storage(
        state, {"masked": mask, "shared": mask}, {"shared": book}, parameters=parameters
    )
    positions = 6.0  # bits of 3 of 6
    codes = math.log2(3) + 2 * math.log2(3 / 2)
    rows = [
        ("plain", 6, 3, 0, 24, 12.0, (96 + positions) / 8),
        ("masked", 6, 3, 0, 24, 12.0, (96 + positions) / 8),
        ("shared", 6, 3, 2, 24, (3 + 64) / 8, (64 + codes + positions) / 8),
        ("bias", 3, 3, 0, 12, 12.0, 12.0),
        ("count", 1, 1, 0, 0, 0.0, 8.0),
    ]
    found = [
        (r.name, r.weights, r.kept, r.levels, r.bytes_fp32, r.bytes_paper, r.bytes_ideal)
        for r in sizes.per_tensor
    ]
    assert found == [(*row[:-1], pytest.approx(row[-1])) for row in rows]
    assert (sizes.bytes_fp32, sizes.bytes_paper) == (84, 12 + 12 + 67 / 8 + 12)
    assert (
        storage({"count": torch.tensor(7)}).bytes_fp32 == 4
    )  # without names everything is a parameter


def test_refusals_say_what_was_got() -> None:
    weights = torch.ones(6)
    cases = (
        (
            lambda: storage({"w": weights}, {"v": weights > 0}),
            "expected masks and codebooks of tensors in the state, got 'v'; use those of the "
            "same model",
        ),
        (
            lambda: storage({"w": weights}, None, {"v": cluster(weights, 1)}),
            "expected masks and codebooks of tensors in the state, got 'v'; use those of the "
            "same model",
        ),
        (
            lambda: storage({"w": weights}, {"w": weights > 0}, {"w": cluster(weights[:3], 2)}),
            "w: expected 6 codes, one for each kept weight, got 3; quantize with this mask",
        ),
    )
    for call, message in cases:
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == message
