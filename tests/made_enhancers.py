"""A tiny enhancer on disk, and recordings of noise to run it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

import audioprune
from audioprune.models.lstm import LSTM

ARGUMENTS = {"width": 8, "depth": 1, "activation": "sigmoid"}
TASK = {
    "_target_": "audioprune.tasks.enhancement.Enhancement",
    "target": "irm",
    "sample_rate": 16000,
}


def enhancer_file(path: Path) -> Path:
    """Write an untrained LSTM as a packed file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LSTM(**ARGUMENTS)
    return audioprune.save(model, path, arguments=ARGUMENTS, task=TASK)


def recording(
    path: Path, seconds: float = 0.3, rate: int = 16000, channels: int = 1, subtype: str = "PCM_16"
) -> Path:
    """Write noise as an audio file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, 0.1 * noise, rate, subtype=subtype)
    return path
