"""The verb ``export``: which model it takes, what it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from composing import composed, hydra_started

from audioprune.commands import export
from audioprune.errors import ConfigError, DataError
from audioprune.export.runtimes.script import FACTS

TINY = ("model=lstm", "model.width=8", "model.depth=1", "task=magnitude", "format=torchscript")


@pytest.fixture(autouse=True, scope="module")
def _composing():
    with hydra_started():
        yield


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def recording(path: Path, rate: int) -> Path:
    noise = np.random.default_rng(0).normal(0, 0.1, (rate // 4, 2))
    soundfile.write(path, noise, rate)
    return path


@pytest.mark.slow
def test_samples_in_and_out_on_a_recording(capsys):
    recording(Path("a.wav"), 16000)
    words = ("transform=inside", "streaming=true", "audio=a.wav", "shown=json", "out=m.pt")
    export.run(composed("export", *TINY, *words))
    (row,) = json.loads(capsys.readouterr().out)
    assert row["parity"] < 1e-5 and row["streaming"] and row["path"] == "m.pt"
    extra = {FACTS: ""}
    torch.jit.load("m.pt", _extra_files=extra)
    facts = json.loads(extra[FACTS])
    wanted = {"sample_rate": "16000", "hop_length": "160", "window": "hamming"}
    assert wanted.items() <= facts.items() and facts["delay_samples"] == "160"


def test_a_table_names_the_file(capsys):
    export.run(composed("export", *TINY))
    assert "model.pt" in capsys.readouterr().out and Path("model.pt").is_file()


def test_another_rate_is_refused():
    recording(Path("a.wav"), 8000)
    with pytest.raises(DataError, match="expected 16000 Hz, got 8000 Hz"):
        export.run(composed("export", *TINY, "audio=a.wav"))
    assert not Path("model.pt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected checkpoint="),
        (("model=ddsp_tiny", "audio=none.wav"), "expected a task of speech enhancement"),
        (("model=ddsp_tiny", "transform=inside"), "transform=outside"),
    ],
)
def test_what_is_missing_is_one_line(words, message):
    with pytest.raises(ConfigError, match=message):
        export.run(composed("export", *words))
