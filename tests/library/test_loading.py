"""What was saved is loaded again, and no file runs code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import ToyModel

import audioprune
from audioprune import packing
from audioprune.errors import CheckpointError, ConfigError
from audioprune.models.lstm import LSTM

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def _small() -> ToyModel:
    """Return a network of which half the units are gone, with few values."""
    torch.manual_seed(0)
    model = ToyModel(8)
    audioprune.trim(audioprune.prune(model, X, sparsity=0.5), X)
    return audioprune.quantize(audioprune.prune(model, sparsity=0.25, units=None), levels=4)


@pytest.mark.parametrize("ending", [".apz", ".safetensors"])
def test_a_network_of_ones_own_is_rebuilt_in_place(ending: str, tmp_path: Path) -> None:
    model = _small().eval()
    path = audioprune.save(model, tmp_path / f"net{ending}", arguments={"width": 8})
    fresh = ToyModel(8)
    found = audioprune.load(path, model=fresh)
    assert found is fresh and not found.training
    assert found.first.out_features == 4
    assert torch.equal(found(X), model(X))


def test_zeros_and_few_values_are_seen_in_the_weights(tmp_path: Path) -> None:
    model = _small()
    packed = packing.unpack(audioprune.save(model, tmp_path / "net.apz"))
    assert packed.mask is not None and packed.mask.kept() == 12 + 6
    assert packed.codebooks["first.weight"].levels == 4
    assert packed.config["model"]["_target_"] == "toys.ToyModel"


def test_a_model_of_this_package_needs_no_class(tmp_path: Path) -> None:
    arguments = {"width": 4, "depth": 1}
    model = LSTM(**arguments).eval()
    path = audioprune.save(model, tmp_path / "a.apz", arguments=arguments)
    found = audioprune.load(path)
    frames = torch.rand(1, 5, 161)
    assert torch.equal(found(frames), model(frames))
    again = audioprune.load(audioprune.save(found, tmp_path / "b.apz"))
    assert torch.equal(again(frames), model(frames))
    with pytest.raises(ConfigError, match="arguments"):
        audioprune.save(model, tmp_path / "c.apz")


def test_a_state_dict_is_loaded_into_a_network(tmp_path: Path) -> None:
    model = ToyModel(8).eval()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    assert torch.equal(audioprune.load(tmp_path / "w.pt", model=ToyModel(8))(X), model(X))
    with pytest.raises(CheckpointError, match=r"load\(..., model=MyNet\(\)\)"):
        audioprune.load(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="differ in shape"):
        audioprune.load(tmp_path / "w.pt", model=ToyModel(4))


def test_the_class_of_someone_else_is_not_built(tmp_path: Path) -> None:
    path = audioprune.save(_small(), tmp_path / "net.apz")
    with pytest.raises(CheckpointError, match=r"'toys.ToyModel', .*model=ToyModel\(...\)"):
        audioprune.load(path)
    with pytest.raises(ConfigError, match="torch.nn.Module, got str"):
        audioprune.load(path, model="toys.ToyModel")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="does not fit Linear"):
        audioprune.load(path, model=torch.nn.Linear(4, 2))


class Evil:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path("touched").touch, ())


@pytest.mark.parametrize("given", [None, ToyModel(4)])
def test_no_file_runs_code(given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pt", "b.bin", "c.safetensors", "d.apz"):
        Path(name).write_bytes(pickle.dumps(Evil()))
        with pytest.raises(CheckpointError):
            audioprune.load(name, model=given)
    config = {"model": {"_target_": "os.system", "command": "touch touched"}, "task": None}
    packing.pack("e.apz", {"x": torch.zeros(1)}, config=config)
    task = {"model": {"_target_": "toys.ToyModel"}, "task": {"_target_": "os.system"}}
    packing.pack("f.apz", ToyModel(4).state_dict(), config=task)
    for name in ("e.apz", "f.apz"):
        with pytest.raises(CheckpointError):
            audioprune.load(name, model=given)
    assert not Path("touched").exists()
