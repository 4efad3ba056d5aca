"""What comes through a pipe is told as the whole recording is, and while it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.inference.applying import Applier
from audioprune.inference.pipes import Raw
from audioprune.inference.telling import hearing_of, tell_pipe
from audioprune.models.zoo.crepe import Crepe
from audioprune.models.zoo.silero_vad import SileroVAD
from audioprune.tasks.foreign.front_ends import FrontEnd
from audioprune.tasks.scenes import SceneClassification


class Frames(nn.Module):
    """Frames of 64 samples around every 32nd one, or a sum over all of them."""

    frames_per_second, sample_rate = 500.0, 16000

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.alone, self.time_dim = alone, 0

    def front_end(self, waveform: Tensor) -> Tensor:
        frames = nn.functional.pad(waveform, (32, 32)).unfold(1, 64, 32).flatten(0, 1)
        return frames if self.alone else frames / frames.abs().max()

    def forward(self, frames: Tensor) -> Tensor:
        return torch.stack((frames[:, 0], frames.sum(1)), 1)

    def example_input(self) -> Tensor:
        return torch.zeros(3, 64)


def _applier(model: nn.Module, **options: Any) -> Applier:
    given = {"task": None, "corpus": None, "top": None, "names": (), "output": None, **options}
    return Applier(model.eval(), front=FrontEnd("model", None, 16000, 320, 160, 64), **given)


def _told(applier: Applier, samples: np.ndarray, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return how a pipe is heard and the rows, of which some are there before its end."""
    raw = Raw("f32le", 16000)
    (folder / "raw").write_bytes(raw.encode(samples[:, None])[0])
    hearing, rows = hearing_of(applier), list[dict[str, Any]]()
    with open(folder / "raw", "rb") as source:
        assert tell_pipe(applier, hearing, raw, source, rows.append) == len(samples) / 16000
    return hearing.what, rows


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (SileroVAD(), "step by step"),
        (Crepe(size="tiny"), "frame by frame"),
        (Frames(True), "frame by frame"),
        (Frames(False), "at the end of the pipe, since it hears a whole"),
    ],
)
def test_rows_are_those_of_the_whole(model: nn.Module, what: str, tmp_path: Path) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(2900).astype(np.float32)
    applier = _applier(model)
    how, rows = _told(applier, samples, tmp_path)
    with torch.no_grad():
        whole = applier.values_of(torch.from_numpy(samples)[None], len(samples) / 16000)
    found = torch.tensor([[row[key] for key in list(row)[2:]] for row in rows])
    assert how == what
    assert torch.allclose(found, whole, atol=1e-5)
    assert rows[1]["time_s"] == round(1 / model.frames_per_second, 6)


def test_rows_come_before_the_end() -> None:
    hearing = hearing_of(_applier(SileroVAD()))
    silence = torch.zeros(1, 500)
    counts = [len(hearing.push(silence, False)) for _ in range(4)]
    assert counts == [0, 1, 1, 1] and len(hearing.push(silence[:, :0], True)) == 1


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    class Corpus:
        def class_names(self) -> tuple[str, ...]:
            return ("bus",)

    task = SceneClassification(classes=2, sample_rate=16000)
    with pytest.raises(ConfigError, match="got a classifier of recordings"):
        hearing_of(_applier(SileroVAD(), corpus=Corpus(), task=task))
    with pytest.raises(DataError, match="got none"):
        _told(_applier(Frames(True)), np.zeros(0, np.float32), tmp_path)
    with pytest.raises(DataError, match="expected finite samples"):
        _told(_applier(Frames(True)), np.full(99, np.nan, np.float32), tmp_path)
    model = SileroVAD()
    nn.init.constant_(model.final.bias, float("nan"))
    with pytest.raises(DivergedError, match="expected finite outputs"):
        _told(_applier(model), np.zeros(2000, np.float32), tmp_path)
