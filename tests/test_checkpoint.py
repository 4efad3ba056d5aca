"""Checkpoints: bit-exact round trips, every damaged bit found, optimiser state in and out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from audioprune import checkpoint
from audioprune.errors import CheckpointError


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(5, 3, generator=generator),
        "b": torch.tensor([float("nan"), -0.0, float("inf")]),
        "c": torch.arange(4, dtype=torch.uint8),
        "d": torch.tensor([True, False]),
        "e": torch.zeros(0, 2),
        "f": torch.randn(3, generator=generator).to(torch.bfloat16),
    }


def test_round_trip_is_bit_exact(tmp_path: Path) -> None:
    written = _tensors()
    path = checkpoint.write(
        tmp_path / "x.safetensors", written, {"epoch": 3, "nested": {"a": [1, 2.5]}}
    )
    read, meta = checkpoint.read(path)
    assert meta["epoch"] == 3 and meta["nested"] == {"a": [1, 2.5]}
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape
        assert torch.equal(
            read[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8)
        )


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path / "x.safetensors", _tensors(), {"epoch": 3})
    good = path.read_bytes()
    pick = random.Random(0)
    for _ in range(300):
        bad = bytearray(good)
        place = pick.randrange(len(bad))
        bad[place] ^= 1 << pick.randrange(8)
        path.write_bytes(bytes(bad))
        try:
            read, meta = checkpoint.read(path)
        except CheckpointError:
            continue
        assert meta["epoch"] == 3 and torch.equal(read["a"], _tensors()["a"]), (
            f"bit flip at byte {place} went unnoticed"
        )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_cut_files_are_refused(tmp_path: Path, share: float) -> None:
    path = checkpoint.write(tmp_path / "x.safetensors", _tensors(), {})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="not a readable checkpoint|checksum"):
        checkpoint.read(path)


def test_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    assert checkpoint.read_newest(path) is None
    checkpoint.write_rotating(path, {"a": torch.zeros(1)}, {"n": 1})
    checkpoint.write_rotating(path, {"a": torch.ones(1)}, {"n": 2})
    assert checkpoint.read_newest(path)[1]["n"] == 2
    path.write_bytes(path.read_bytes()[:-1])
    assert checkpoint.read_newest(path)[1]["n"] == 1
    path.with_name(path.name + ".previous").write_bytes(b"")
    with pytest.raises(CheckpointError):
        checkpoint.read_newest(path)


def test_newer_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_VERSION", 99)
    path = checkpoint.write(tmp_path / "x.safetensors", {}, {})
    monkeypatch.setattr(checkpoint, "_VERSION", 1)
    with pytest.raises(CheckpointError, match="version 99"):
        checkpoint.read(path)


@pytest.mark.parametrize("kind", ["adam", "amsgrad", "momentum", "rmsprop"])
def test_optimiser_state_survives_exactly(kind: str) -> None:
    def build() -> tuple[nn.Linear, torch.optim.Optimizer]:
        model = nn.Linear(3, 2)
        torch.nn.init.constant_(model.weight, 0.1)
        torch.nn.init.zeros_(model.bias)
        makers = {
            "adam": lambda p: torch.optim.Adam(p, lr=0.1),
            "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True, betas=(0.8, 0.9)),
            "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
            "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
        }
        return model, makers[kind](model.parameters())

    def steps(model: nn.Linear, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            optimizer.zero_grad()
            model(torch.full((1, 3), float(number))).square().sum().backward()
            optimizer.step()

    straight, optimizer = build()
    steps(straight, optimizer, range(6))
    first, optimizer = build()
    steps(first, optimizer, range(3))
    tensors, facts = checkpoint.split_optimizer(optimizer)
    second, fresh = build()
    second.load_state_dict(first.state_dict())
    checkpoint.join_optimizer(fresh, tensors, facts)
    steps(second, fresh, range(3, 6))
    assert torch.equal(second.weight, straight.weight)


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    tensors = {
        "b": torch.arange(5.0),
        "a": torch.ones(2, 3, dtype=torch.int8),
        "é": torch.zeros(0),
    }
    files = [
        checkpoint.write(
            tmp_path / f"{index}.safetensors", tensors, {"model": {"width": 3}, "note": "ü"}
        )
        for index in range(20)
    ]
    assert len({file.read_bytes() for file in files}) == 1
    found, meta = checkpoint.read(files[0])
    assert (
        all(torch.equal(found[name], value) for name, value in tensors.items())
        and meta["note"] == "ü"
    )
    header = int.from_bytes(files[0].read_bytes()[:8], "little")
    assert header % 8 == 0  # tensors stay aligned


def test_files_of_either_order_are_read(tmp_path: Path) -> None:
    file = checkpoint.write(tmp_path / "a.safetensors", {"a": torch.ones(2)}, {})
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(reversed(header["__metadata__"].items()))
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert torch.equal(checkpoint.read(file)[0]["a"], torch.ones(2))
