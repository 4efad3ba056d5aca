"""The model file: exact round trips, and refusal of damaged, hostile, foreign or newer files."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packed_files import HASH, build, parts, refused, reseal
from torch import nn

from audioprune import packing
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.kmeans import Codebook, cluster, quantize_
from audioprune.errors import CheckpointError, ConfigError, OutputError
from audioprune.packing.tensors import to_bytes

CONFIG = {
    "model": {"_target_": "audioprune.models.fdnn.FDNN", "width": 12},
    "task": {"name": "irm"},
    "sample_rate": 16000,
}


def small_model(seed: int = 0) -> tuple[nn.Module, Mask, dict[str, Codebook]]:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(20, 30), nn.BatchNorm1d(30), nn.Conv1d(6, 8, 3), nn.Linear(30, 5)
    )
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    names = ("0.weight", "2.weight")
    mask = Mask(
        {
            name: torch.rand(model.get_parameter(name).shape, generator=generator) < 0.4
            for name in names
        }
    )
    mask.apply_(model)
    return model, mask, quantize_(model, mask, {"0.weight": 8, "3.weight": 16})


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    model, mask, books = small_model()
    packing.pack(
        tmp_path / "model.apz",
        model.state_dict(),
        mask=mask,
        codebooks=books,
        config=CONFIG,
        meta={"seed": 1},
    )
    return tmp_path / "model.apz"


def test_round_trip(packed: Path) -> None:
    model, mask, books = small_model()
    read = packing.unpack(packed)
    assert read.config == CONFIG and read.meta == {"seed": 1} and read.mask == mask
    state = model.state_dict()
    assert list(read.state) == list(state)
    for name, tensor in state.items():
        assert to_bytes(read.state[name]).tobytes() == to_bytes(tensor).tobytes()
    assert list(read.codebooks) == list(books)
    for name, book in books.items():
        assert torch.equal(read.codebooks[name].centroids, book.centroids)
        assert torch.equal(read.codebooks[name].codes, book.codes)
    other = small_model(seed=9)[0]
    other.load_state_dict(read.state)
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("what", ["plain", "masked", "quantised", "buffers only", "nothing"])
def test_round_trip_of_partly_compressed_models(tmp_path: Path, what: str) -> None:
    model, mask, _ = small_model()
    state = {
        "plain": model.state_dict(),
        "buffers only": dict(model.named_buffers()),
        "nothing": {},
    }.get(what, model.state_dict())
    books = quantize_(model, None, {"3.weight": 3}) if what == "quantised" else None
    report = packing.pack(
        tmp_path / "m.apz",
        state,
        mask=mask if what == "masked" else None,
        codebooks=books,
        config={},
    )
    read = packing.unpack(tmp_path / "m.apz")
    assert all(
        to_bytes(read.state[name]).tobytes() == to_bytes(tensor).tobytes()
        for name, tensor in state.items()
    )
    assert (read.mask is None) == (what != "masked") and bool(read.codebooks) == (
        what == "quantised"
    )
    assert len(report.tensors) == len(state)


def test_sizes_add_up(tmp_path: Path) -> None:
    model, mask, books = small_model()
    path = tmp_path / "m.apz"
    report = packing.pack(path, model.state_dict(), mask=mask, codebooks=books, config=CONFIG)
    assert (
        report.disk_bytes
        == path.stat().st_size
        == report.overhead_bytes + sum(size.disk_bytes for size in report.tensors)
    )
    listing = str(packing.inspect(path))
    assert (
        "0.weight [30, 20] float32 sparse-codes K=8" in listing
        and str(report.disk_bytes) in listing
    )
    assert packing.inspect(path).config == CONFIG


@pytest.mark.parametrize(("sparsity", "levels"), [(0.5, 16), (0.8, 64), (0.9, 16), (0.9, 64)])
def test_file_is_within_one_percent_of_the_entropy(
    tmp_path: Path, sparsity: float, levels: int
) -> None:
    """Weights without structure, so that no model of the positions can help."""
    model = nn.Linear(400, 250, bias=False)
    model.weight.data = torch.from_numpy(
        np.random.default_rng(0).laplace(size=(250, 400)).astype(np.float32)
    )
    magnitude = model.weight.detach().abs()
    mask = Mask(
        {
            "weight": magnitude
            > magnitude.flatten().kthvalue(int(sparsity * magnitude.numel())).values
        }
    )
    mask.apply_(model)
    books = quantize_(model, mask, {"weight": levels})
    report = packing.pack(
        tmp_path / "m.apz", model.state_dict(), mask=mask, codebooks=books, config={}
    )
    assert report.disk_bytes <= 1.01 * packing.storage_of(model, mask, books).bytes_ideal


def test_same_model_same_bytes(packed: Path, tmp_path: Path) -> None:
    model, mask, books = small_model()
    packing.pack(
        tmp_path / "again.apz",
        model.state_dict(),
        mask=mask,
        codebooks=books,
        config=CONFIG,
        meta={"seed": 1},
    )
    assert (tmp_path / "again.apz").read_bytes() == packed.read_bytes()


def test_every_flipped_bit_of_the_header_and_400_others(packed: Path) -> None:
    data = packed.read_bytes()
    header_end = 10 + int.from_bytes(data[6:10], "little")
    rng = np.random.default_rng(0)
    bits = [8 * byte + int(rng.integers(8)) for byte in range(header_end)] + rng.integers(
        0, 8 * len(data), 400
    ).tolist()
    for bit in bits:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        packed.write_bytes(changed)
        with pytest.raises(CheckpointError):
            packing.unpack(packed)


def test_damage_names_the_tensor(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[-HASH - 3] ^= 16
    last = packing.inspect(packed).records[-1].name
    refused(packed, bytes(data), f"checksum mismatch in tensor '{last}'")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_truncation(packed: Path, share: float) -> None:
    data = packed.read_bytes()
    refused(packed, data[: int(share * len(data))])


def test_trailing_bytes(packed: Path) -> None:
    data = packed.read_bytes()
    refused(packed, data + b"\0", "checksum mismatch")
    refused(packed, reseal(data[:-HASH] + b"\0"), "the records end")


def test_swapped_records(packed: Path) -> None:
    data = packed.read_bytes()
    header, rest = parts(data)
    header["tensors"][0][0], header["tensors"][-1][0] = (
        header["tensors"][-1][0],
        header["tensors"][0][0],
    )
    refused(packed, build(header, rest), "checksum mismatch in tensor")
    sums = 12 * len(header["tensors"])
    header, rest = parts(data)
    swapped = rest[12:24] + rest[:12] + rest[24:sums] + rest[sums:]
    refused(packed, build(header, swapped), "checksum mismatch in tensor")


def test_newer_version(packed: Path) -> None:
    header, rest = parts(packed.read_bytes())
    refused(
        packed,
        build(header, rest, version=3),
        "expected format version 1 or 2, got 3; update audioprune",
    )


def test_the_second_version_is_that_of_files_with_grids(packed: Path) -> None:
    header, rest = parts(packed.read_bytes())
    refused(packed, build(header, rest, version=2), "format version 2 with tensors of 1")


def test_rebuilding_an_honest_file_works(packed: Path) -> None:
    """Guards the tests of hostile headers: what they change is what gets them refused."""
    header, rest = parts(packed.read_bytes())
    packed.write_bytes(build(header, rest))
    assert packing.unpack(packed).config == CONFIG


def test_inspect_verifies_before_it_reports(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum mismatch"):
        packing.inspect(packed)


def field(index: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header["tensors"][0][index] = value

    return change


def entry(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header[key] = value

    return change


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "huge tensor": field(1, [1 << 47]),
    "large but empty body": field(1, [30 << 20]),
    "overflowing product": field(1, [1 << 40, 1 << 40, 1 << 40]),
    "empty and overflowing": field(1, [0, 1 << 47, 1 << 47]),
    "negative axis": field(1, [-30, -20]),
    "fractional axis": field(1, [30.0, 20]),
    "boolean axis": field(1, [True, 600]),
    "too many axes": field(1, [1] * 40),
    "no shape": field(1, None),
    "other shape": field(1, [20, 30]),
    "unknown dtype": field(2, "object"),
    "dtype no text": field(2, ["float32"]),
    "other dtype": field(2, "int32"),
    "unknown kind": field(3, "pickle"),
    "other kind": field(3, "codes"),
    "not masked": field(4, 0),
    "masked 2": field(4, 2),
    "no level": field(5, 0),
    "fewer levels": field(5, 7),
    "more levels": field(5, 9),
    "too many levels": field(5, 65537),
    "negative length": field(6, -4),
    "odd length": field(6, 7),
    "huge length": field(6, 1 << 62),
    "other raw length": field(7, 4),
    "number as name": field(0, 5),
    "empty name": field(0, ""),
    "long name": field(0, "x" * 1000),
    "renamed": field(0, "../../etc/passwd"),
    "duplicate name": field(0, "0.bias"),
    "short record": lambda header: header["tensors"][0].pop(),
    "offset field": lambda header: header["tensors"][0].append(0),
    "missing record": lambda header: header["tensors"].pop(),
    "doubled record": lambda header: header["tensors"].append(header["tensors"][0]),
    "extra key": entry("code", "import os"),
    "config no dict": entry("config", []),
    "tensors no list": entry("tensors", {}),
    "tensors of numbers": entry("tensors", [1, 2]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers(packed: Path, change: Callable[[dict[str, Any]], None]) -> None:
    header, rest = parts(packed.read_bytes())
    change(header)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(packed, build(header, rest))
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


TEXTS = {
    "no JSON": b"\x80\x04\x95 pickle",
    "nested": b"[" * 100_000,
    "twice the same key": b'{"config":{"a":1,"a":2},"meta":{},"tensors":[]}',
    "not a number": b'{"config":{"a":NaN},"meta":{},"tensors":[]}',
    "long number": b'{"config":{"a":' + b"9" * 100_000 + b'},"meta":{},"tensors":[]}',
    "missing key": b'{"config":{},"tensors":[]}',
    "list": b"[]",
    "no UTF-8": b'{"config":{"\xff":1},"meta":{},"tensors":[]}',
    "200 MB of zeros": bytes(200 << 20),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_hostile_header_texts(tmp_path: Path, text: bytes) -> None:
    data = build(text, b"")
    start = time.perf_counter()
    refused(tmp_path / "m.apz", data, "header")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("length", [0, 1, 1 << 20, (1 << 32) - 1])
def test_lying_header_length(packed: Path, length: int) -> None:
    data = packed.read_bytes()[:-HASH]
    refused(packed, reseal(data[:6] + length.to_bytes(4, "little") + data[10:]))


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "m.apz"
    for data, match in [
        (b"", "empty"),
        (b"PK\3\4zip", "another kind"),
        (b"\x89APZ", "checksum"),
        (b"\x80\x02}q\0.", "another kind"),
    ]:
        refused(path, data, match)
    with pytest.raises(CheckpointError, match="check the path"):
        packing.unpack(tmp_path / "none.apz")
    with pytest.raises(CheckpointError, match="check the path"):
        packing.unpack(tmp_path)


def test_pack_checks_its_arguments(tmp_path: Path) -> None:
    model, mask, books = small_model()
    state, path = model.state_dict(), tmp_path / "m.apz"
    with pytest.raises(ConfigError, match="plain JSON"):
        packing.pack(path, state, mask=mask, codebooks=books, config={"path": Path("x")})
    with pytest.raises(ConfigError, match="plain JSON"):
        packing.pack(
            path, state, mask=mask, codebooks=books, config={}, meta={"loss": float("nan")}
        )
    with pytest.raises(ConfigError, match="closest: 0.weight"):
        packing.pack(path, state, mask=Mask({"0.weigth": mask["0.weight"]}), config={})
    with pytest.raises(ConfigError, match="codebook"):
        packing.pack(
            path, state, mask=mask, codebooks={"0.weight": cluster(torch.ones(3), 1)}, config={}
        )
    with pytest.raises(ConfigError, match="at most"):
        packing.pack(path, state, config={"x": "y" * (5 << 20)})
    assert not list(tmp_path.iterdir())


def test_failed_write_keeps_the_old_file(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = packed.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="disk full"):
        packing.pack(packed, {"w": torch.ones(3)}, config={})
    assert packed.read_bytes() == before and len(list(packed.parent.iterdir())) == 1


def test_the_listing_and_the_report_say_every_size(tmp_path: Path) -> None:
    path, config, meta = tmp_path / "m.apz", {"sample_rate": 16000}, {"seed": 1}
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    book = cluster(weights, 2, weights != 0)
    state = {"w": book.restore(weights != 0), "b": torch.tensor([1.5, -2.0])}
    report = packing.pack(
        path,
        state,
        mask=Mask({"w": weights != 0}),
        codebooks={"w": book},
        config=config,
        meta=meta,
    )
    found = packing.inspect(path)
    w, b = found.records
    size = path.stat().st_size
    assert (report.path, report.disk_bytes, found.path, found.disk_bytes) == (
        path,
        size,
        path,
        size,
    )
    rows = [
        (each.name, each.kind, each.weights, each.levels, each.disk_bytes)
        for each in report.tensors
    ]
    assert rows == [("w", "sparse-codes", 4, 2, w.coded + 12), ("b", "raw", 2, 0, 20)]
    assert report.overhead_bytes == size - w.coded - 12 - 20
    assert str(found).splitlines() == [
        f"{path}: {size} bytes, 2 tensors, format 1",
        'config {"sample_rate": 16000}',
        'meta {"seed": 1}',
        f"w [2, 2] float32 sparse-codes K=2: {w.coded} of 16 bytes",
        "b [2] float32 raw: 8 of 8 bytes",
    ]
    assert packing.unpack(str(path)).meta == meta and packing.inspect(str(path)).meta == meta


def test_refusals_of_packing_say_what_was_got(tmp_path: Path) -> None:
    state, path = {"w": torch.ones(3)}, tmp_path / "m.apz"
    cases: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
        (
            state,
            {"mask": Mask({"v": torch.ones(3, dtype=torch.bool)})},
            "unknown tensor of a mask 'v' (known: w)",
        ),
        (
            state,
            {"codebooks": {"v": cluster(torch.ones(3), 1)}},
            "unknown tensor of a codebook 'v' (known: w)",
        ),
        (
            {"": torch.ones(1)},
            {},
            "expected tensor names of 1..512 characters, got 0; rename the parameter",
        ),
        (
            {"x" * 513: torch.ones(1)},
            {},
            "expected tensor names of 1..512 characters, got 513; rename the parameter",
        ),
    )
    for tensors, options, message in cases:
        with pytest.raises(ConfigError) as caught:
            packing.pack(path, tensors, config={}, **options)
        assert str(caught.value) == message
    assert not list(tmp_path.iterdir())
    packing.pack(path, {"x" * 512: torch.ones(1)}, config={})
    assert list(packing.unpack(path).state) == ["x" * 512]


REASONS = {
    "no shape": "tensor '0.weight' has a bad shape",
    "unknown dtype": "tensor '0.weight' has an unknown dtype or kind",
    "unknown kind": "tensor '0.weight' has an unknown dtype or kind",
    "masked 2": "tensor '0.weight' has a bad length",
    "odd length": "tensor '0.weight' has a bad length",
    "too many levels": "tensor '0.weight' has a bad codebook",
    "empty name": "a tensor has a bad name",
    "duplicate name": "a tensor stands twice",
    "short record": "a record has the wrong fields",
    "extra key": "expected config, meta and tensors",
    "config no dict": "config, meta or tensors are of the wrong type",
}


@pytest.mark.parametrize("name", REASONS)
def test_bad_headers_are_told_by_their_fault(packed: Path, name: str) -> None:
    header, rest = parts(packed.read_bytes())
    HOSTILE[name](header)
    packed.write_bytes(build(header, rest))
    with pytest.raises(CheckpointError) as caught:
        packing.unpack(packed)
    assert (
        str(caught.value)
        == f"{packed}: bad header of a packed model ({REASONS[name]}); write the file again"
    )


def test_tensors_without_elements_keep_their_shape(tmp_path: Path) -> None:
    state = {"none": torch.zeros(0, 3), "some": torch.ones(2)}
    packing.pack(tmp_path / "model.apz", state, config={"a": 1})
    assert packing.unpack(tmp_path / "model.apz").state["none"].shape == (0, 3)
