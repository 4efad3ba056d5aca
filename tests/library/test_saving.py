"""What a program saves, the verbs read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from toys import ToyModel

import audioprune
from audioprune import cli, packing
from audioprune.errors import ConfigError

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def test_a_file_says_what_verbs_need(tmp_path: Path) -> None:
    given = {"arguments": {"width": 8}, "example": X}
    config = packing.inspect(audioprune.save(ToyModel(8), tmp_path / "a.apz", **given)).config
    assert config["model"] == {
        "name": "ToyModel",
        "_target_": "toys.ToyModel",
        "width": 8,
        "example": [3, 4],
    }
    with pytest.raises(ConfigError, match="ending of .apz or .safetensors"):
        audioprune.save(ToyModel(8), tmp_path / "a.bin")
    with pytest.raises(ConfigError, match="plain numbers, texts and lists"):
        audioprune.save(ToyModel(8), tmp_path / "a.apz", arguments={"width": torch.ones(1)})


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["info", "quantize"])
def test_verbs_take_a_network_of_ones_own(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = audioprune.trim(audioprune.prune(ToyModel(8), X, sparsity=0.5), X)
    audioprune.save(model, "net.apz", arguments={"width": 8}, example=X)
    GlobalHydra.instance().clear()
    assert cli.run_verb(verb, ["checkpoint=net.apz", "model._target_=toys.ToyModel"]) == 0
    GlobalHydra.instance().clear()
    if verb == "quantize":
        (packed,) = Path("runs").rglob("model.apz")
        assert audioprune.load(packed, model=ToyModel(8)).first.out_features == 4
