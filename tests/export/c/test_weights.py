"""Whether a weight in ROM is what it was: codebooks, grids, packing, transposed layouts."""

from __future__ import annotations

import pytest
import torch

from audioprune.export.c.weights import Layout, Weight, packed, rounded, stored


def read(found: Weight, layout: Layout, shape: torch.Size) -> torch.Tensor:
    """Return the values that the C of kernels.h reads, by its own definition."""
    if found.values is not None:
        return found.values.reshape(shape)
    data, values = packed(found.codes, found.bits), []
    for i in range(found.codes.numel()):
        bit = i * found.bits
        two = data[bit // 8] | (data[bit // 8 + 1] << 8 if found.bits != 8 else 0)
        values.append(two >> bit % 8 & (1 << found.bits) - 1)
    codes = torch.tensor(values)
    assert torch.equal(codes, found.codes)
    if found.book is not None:
        whole = found.book[codes].reshape(shape)
        rows = layout.rows(whole)
    else:
        rows = layout.rows(codes.reshape(shape)).float() - found.zero[:, None]
    if found.scale is not None:
        rows = rows * found.scale[:, None]
    return layout.flat(rows, shape).reshape(shape)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("layout", [Layout(), Layout(True), Layout(True, 2)])
def test_a_codebook_is_kept_bit_for_bit(bits, layout):
    generator = torch.Generator().manual_seed(bits)
    book = torch.randn(2**bits, generator=generator)
    value = book[torch.randint(2**bits, (64, 10, 3), generator=generator)]
    value.view(-1)[: 2**bits] = book
    found = stored(value, layout)
    assert found.bits == bits and torch.equal(read(found, layout, value.shape), value)
    spare = bits < 8
    assert found.rom_bytes == (1920 * bits + 7) // 8 + spare + 4 * 2**bits


@pytest.mark.parametrize("layout", [Layout(), Layout(True), Layout(True, 2)])
@pytest.mark.parametrize(("bits", "low"), [(2, -1), (4, -8), (7, 0), (8, -128)])
def test_grids_of_each_output_become_codes(bits, low, layout):
    generator = torch.Generator().manual_seed(bits)
    shape = torch.Size((6, 10, 7))
    codes = torch.randint(low, low + 2**bits, shape, generator=generator)
    rows = layout.rows(codes.double())
    rows[1] = 0  # an output that is nothing
    rows[2] = rows[2].div(3, rounding_mode="floor") * 3  # and one with holes
    steps = torch.rand(len(rows), 1, generator=generator) + 0.01
    value = layout.flat(rows * steps, shape).reshape(shape).float()
    found = stored(value, layout)
    assert found.book is None and found.bits <= bits and found.zero is not None
    assert (read(found, layout, shape) - value).abs().max() < 1e-6 * value.abs().max()


def test_other_weights_stay_floats_and_a_scale_goes_where_it_can():
    value = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    scale = torch.linspace(-1, 2, 8)
    assert stored(value, Layout()).values is not None
    found = stored(value, Layout(), scale)
    assert found.scale is None and torch.allclose(found.values, (value * scale[:, None]).flatten())
    two = stored(value.sign(), Layout(), scale)
    assert two.bits == 1 and torch.equal(two.scale, scale)
    assert torch.equal(read(two, Layout(), value.shape), value.sign() * scale[:, None])


@pytest.mark.parametrize("layout", [Layout(), Layout(True, 2)])
def test_rounding_keeps_the_largest_of_each_output_and_is_off_by_half_a_step(layout):
    value = torch.randn(8, 12, 3, generator=torch.Generator().manual_seed(0))
    rows, found = layout.rows(value), layout.rows(rounded(value, layout))
    peak = rows.abs().amax(1, keepdim=True)
    assert torch.allclose(found.abs().amax(1, keepdim=True), peak)
    assert ((rows - found).abs() <= peak / 254 * 1.0001).all()
    assert stored(rounded(value, layout), layout).bits == 8
