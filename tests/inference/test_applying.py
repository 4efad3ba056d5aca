"""What a network says of a recording becomes rows with names and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from made_enhancers import enhancer_file, recording
from torch import Tensor, nn

import audioprune
from audioprune.data.scenes.features import Normalisation, SceneFeatures
from audioprune.data.scenes.reading import Reading
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.inference.applying import Applier, as_csv, load_applier, read_names
from audioprune.models.zoo.silero_vad import SileroVAD
from audioprune.packing import pack
from audioprune.tasks.foreign.front_ends import FrontEnd
from audioprune.tasks.scenes import SceneClassification

FRONT = FrontEnd("waveform", None, 16000, 320, 160, 64)


class Corpus:
    """Features of a recording are its first values."""

    def class_names(self) -> tuple[str, ...]:
        return ("bus", "park", "tram")

    def prepare(self) -> None:
        return

    def features_of(self, path: Path) -> Tensor:
        return torch.tensor([1.0, 3.0, 2.0])


class Frames(nn.Module):
    """Two values for every 160 samples, and their number."""

    frames_per_second = 100.0
    time_dim = 1

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        means = audio.unfold(1, 160, 160).mean(2)
        return torch.stack((means, -means), 2), torch.tensor([[7.0]])

    def example_input(self) -> Tensor:
        return torch.zeros(1, 1600)


def _applier(model: nn.Module, **options: Any) -> Applier:
    given = {"task": None, "corpus": None, "top": None, "names": (), "output": None, **options}
    return Applier(model.eval(), front=FRONT, **given)


def test_a_classifier_names_the_likeliest_classes(tmp_path: Path) -> None:
    corpus, task = Corpus(), SceneClassification(classes=3)
    names = corpus.class_names()
    model = _applier(nn.Identity(), task=task, corpus=corpus, top=2, names=names)
    (row,) = model.rows(recording(tmp_path / "a.wav"))
    shares = torch.tensor([1.0, 3.0, 2.0]).softmax(0)
    assert [row["class_1"], row["class_2"]] == ["park", "tram"]
    assert row["value_1"] == pytest.approx(float(shares[1])) and "time_s" not in row


def test_frames_have_their_times(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav", 0.05, channels=2)
    rows = _applier(Frames(), output="0", names=("up", "down")).rows(path)
    mono = soundfile.read(path, dtype="float32")[0].mean(1).reshape(5, 160).mean(1)
    assert [row["time_s"] for row in rows] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert np.allclose([row["up"] for row in rows], mono, atol=1e-7)
    assert np.allclose([row["down"] for row in rows], -mono, atol=1e-7)
    (one,) = _applier(Frames(), output="1").rows(path)
    assert one == {"file": str(path), "value": 7.0}
    with pytest.raises(ConfigError, match="one of the outputs 0, 1, got none"):
        _applier(Frames()).rows(path)
    with pytest.raises(ConfigError, match="expected 2 names"):
        _applier(Frames(), output="0", names=("up",)).rows(path)


def test_a_network_is_read_with_the_rate_that_it_knows(tmp_path: Path) -> None:
    path = audioprune.save(SileroVAD(), tmp_path / "vad.apz", arguments={})
    rows = load_applier(str(path)).rows(recording(tmp_path / "a.wav", 0.5, rate=8000))
    assert len(rows) == 16 and rows[1]["time_s"] == 0.032 and 0 <= rows[0]["value"] <= 1
    assert as_csv(rows).splitlines()[0] == "file,time_s,value"


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use audioprune enhance"):
        load_applier(str(enhancer_file(tmp_path / "model.apz")))
    task = {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": 3}
    path = audioprune.save(SileroVAD(), tmp_path / "c.apz", arguments={}, task=task)
    with pytest.raises(ConfigError, match="expected the corpus"):
        load_applier(str(path))
    with pytest.raises(ConfigError, match="cannot read"):
        read_names(str(tmp_path / "none.txt"))


def test_a_classifier_is_read_without_its_corpus(tmp_path: Path) -> None:
    features = SceneFeatures(n_fft=512, hop_length=256, mels=16, duration_s=0.3)
    mean, std = np.arange(16, dtype=np.float32), np.full(16, 2.0, np.float32)
    reading = Reading(("bus", "park", "tram"), features, Normalisation(mean, std))
    task = {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": 3}
    network = classifier()
    name = f"{__name__}.classifier"
    config = {"model": {"_target_": name}, "task": task, "reading": reading.facts()}
    pack(tmp_path / "c.apz", network.state_dict(), config=config)
    found = load_applier(str(tmp_path / "c.apz"), model={"_target_": name})
    path = recording(tmp_path / "a.wav", 0.3, channels=2)
    (row,) = found.rows(path)
    with torch.no_grad():
        shares = found.model(reading.features_of(path)[None]).softmax(1)[0]
    assert row["class_1"] == reading.classes[int(shares.argmax())]
    assert row["value_1"] == pytest.approx(float(shares.max()))
    renamed = load_applier(str(tmp_path / "c.apz"), model={"_target_": name}, names=list("abc"))
    assert renamed.rows(path)[0]["class_1"] in "abc"


def classifier() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


def test_bad_recordings_and_outputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(1000, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="expected finite samples"):
        _applier(Frames(), output="0").rows(path)
    broken = nn.Linear(320, 1)
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(DivergedError, match="finite outputs"):
        _applier(broken).rows(recording(tmp_path / "a.wav", 0.02))
