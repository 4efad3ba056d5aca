"""Grids in packed files: bit for bit, smaller than plain codes, and refused where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from packed_files import build, parts, refused
from torch import Tensor, nn

from audioprune import packing
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.contract import Channels, quantize_with_
from audioprune.compress.quantize.kmeans import KMeans
from audioprune.compress.quantize.uniform import Grid, Uniform
from audioprune.errors import ConfigError
from audioprune.packing.entropy import BadStream, Reader, Writer
from audioprune.packing.grids import STEPS, read_grid, write_grid


def through(grid: Grid, keep: np.ndarray) -> Grid:
    writer = Writer()
    write_grid(writer, grid, keep)
    reader = Reader(writer.finish())
    read = read_grid(reader, grid.steps, keep)
    reader.check_end()
    return read


def same(one: Grid, other: Grid) -> bool:
    pairs = zip(one.tensors().values(), other.tensors().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_grids_come_back_bit_for_bit(bits: int, symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(bits)
    for shape, channels in (
        ((64, 48), Channels(0, 64)),
        ((64, 48), Channels(0, 4)),
        ((6, 8, 5), Channels(1, 8)),
        ((30,), Channels()),
        ((0, 4), Channels()),
        ((), Channels()),
    ):
        tensor = torch.randn(shape, generator=generator)
        for keep in (torch.ones(shape) > 0, torch.rand(shape, generator=generator) < 0.4):
            grid = Uniform(bits, symmetric).quantize(tensor, channels, keep)
            assert same(through(grid, keep.numpy()), grid)


def packed(tmp_path: Path, mask: Mask | None = None, bits: int = 4) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 64), nn.GRU(64, 32), nn.Linear(32, 8))
    if mask is not None:
        mask.apply_(model)
    names = [name for name, each in model.named_parameters() if each.dim() > 1]
    forms = quantize_with_(
        model, mask, dict.fromkeys(names, Uniform(bits)) | {"2.weight": KMeans(8)}
    )
    path = tmp_path / "model.apz"
    packing.pack(path, model.state_dict(), mask=mask, codebooks=forms, config={})
    read = packing.unpack(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(read.state[name].view(torch.int32), tensor.view(torch.int32))
    assert same(read.codebooks["0.weight"], forms["0.weight"])
    assert (read.mask or {}) == (mask or {})
    return model, path


def test_a_file_with_grids_is_of_the_second_version(tmp_path: Path) -> None:
    _, path = packed(tmp_path)
    data = path.read_bytes()
    assert int.from_bytes(data[4:6], "little") == 2
    told = str(packing.inspect(path))
    assert "format 2" in told and "grid K=15" in told and "codes K=8" in told
    header, rest = parts(data)
    path.write_bytes(build(header, rest, version=2))
    packing.unpack(path)
    refused(path, build(header, rest, version=1), "format version 1 with tensors of 2")


def test_codes_are_entropy_coded_and_sizes_are_told(tmp_path: Path) -> None:
    model, path = packed(tmp_path)
    read = packing.unpack(path)
    sizes = {
        each.name: each for each in packing.storage_of(model, None, read.codebooks).per_tensor
    }
    grid = sizes["0.weight"]
    assert grid.bytes_paper == (96 * 64 * 4 + 64 * 32) / 8 and grid.levels == 15
    assert grid.kept == 96 * 64 and grid.bytes_ideal < grid.bytes_paper
    record = next(each for each in packing.inspect(path).records if each.name == "0.weight")
    assert record.coded + record.raw < grid.bytes_ideal


def test_a_mask_and_weights_that_round_to_zero_stay_apart(tmp_path: Path) -> None:
    keep = torch.rand(64, 96, generator=torch.Generator().manual_seed(3)) < 0.3
    model, path = packed(tmp_path, Mask({"0.weight": keep}), bits=2)
    read = packing.unpack(path)
    assert read.mask is not None and torch.equal(read.mask["0.weight"], keep)
    assert bool((read.state["0.weight"][keep] == 0).any())
    assert read.codebooks["0.weight"].codes.numel() == int(keep.sum())


@pytest.mark.parametrize("field", ["levels", "kind", "dtype"])
def test_a_header_that_lies_is_refused(tmp_path: Path, field: str) -> None:
    _, path = packed(tmp_path)
    header, rest = parts(path.read_bytes())
    row = header["tensors"][0]
    row[{"levels": 5, "kind": 3, "dtype": 2}[field]] = {
        "levels": 9,
        "kind": "grids",
        "dtype": "float64",
    }[field]
    refused(path, build(header, rest, version=2), "tensor '0.weight' has")


def test_bad_fields_of_a_grid_are_refused() -> None:
    keep = np.ones((4, 6), bool)
    grid = Uniform(4).quantize(torch.randn(4, 6), Channels(0, 4))

    def written(scales: Tensor) -> Reader:
        writer = Writer()
        write_grid(writer, Grid(scales, grid.zeros, grid.steps, 0, grid.codes), keep)
        return Reader(writer.finish())

    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(BadStream, match="scale is not above zero"):
            read_grid(written(torch.tensor([1.0, wrong, 1.0, 1.0])), 15, keep)
    writer = Writer()
    writer.uniform(np.array([0]), 2)
    writer.uniform(np.array([2]), 4)
    with pytest.raises(BadStream, match="3 scales for an axis of 4"):
        read_grid(Reader(writer.finish()), 15, keep)


@pytest.mark.parametrize("part", ["scales", "zeros", "codes", "steps", "axis", "weight"])
def test_a_grid_that_is_not_that_of_its_weights_is_not_written(tmp_path: Path, part: str) -> None:
    model = nn.Linear(6, 4)
    grid = quantize_with_(model, None, {"weight": Uniform(4)})["weight"]
    assert isinstance(grid, Grid) and grid.steps in STEPS
    changed = {
        "scales": Grid(grid.scales[:3], grid.zeros[:3], 15, 0, grid.codes),
        "zeros": Grid(grid.scales, grid.zeros + 1, 15, 0, grid.codes),
        "codes": Grid(grid.scales, grid.zeros, 15, 0, grid.codes.flip(0)),
        "steps": Grid(grid.scales, grid.zeros, 17, 0, grid.codes),
        "axis": Grid(grid.scales, grid.zeros, 15, 1, grid.codes),
        "weight": grid,
    }[part]
    if part == "weight":
        with torch.no_grad():
            model.weight[0, 0] += 1e-3
    with pytest.raises(ConfigError, match="values of their codebook"):
        packing.pack(
            tmp_path / "m.apz", model.state_dict(), codebooks={"weight": changed}, config={}
        )
    assert not (tmp_path / "m.apz").exists()
