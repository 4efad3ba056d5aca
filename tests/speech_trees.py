"""Small folders of generated speech and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audioprune.data.splits.sources import Source

RATE = 16000
HOSTILE = "x y/é ü/漢字 %=[],"


def tone(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """Return noise that swells, so that every file is different and none is silent."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    return 0.05 * rng.standard_normal(count) * (1.2 + np.sin(np.arange(count) * 7 / rate))


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    """Write samples as an audio file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), samples, rate, subtype=subtype)
    return path


def speech_tree(
    root: Path,
    splits: tuple[str, ...] = ("train", "valid", "test"),
    speakers: int = 4,
    utterances: int = 2,
) -> Path:
    """Write ``root/<split>/<speaker>/<n>.wav``; without splits ``root/<speaker>/<n>.wav``."""
    for place, split in enumerate(splits or ("",)):
        for speaker in range(speakers):
            for number in range(utterances):
                seed = 10_000 + 100 * place + 10 * speaker + number
                name = f"{split or 'all'}{speaker}"
                write(root / split / name / f"{name}_{number}.wav", tone(0.7 + 0.1 * number, seed))
    return root


def noise_tree(root: Path, seconds: float = 6.0) -> Path:
    """Write three training noises and the test noises babble (two files) and cafeteria."""
    for number, name in enumerate(
        (
            "train/fan_1",
            "train/rain_1",
            "train/wind_1",
            "test/babble_1",
            "test/babble_2",
            "test/cafeteria_1",
        )
    ):
        write(root / f"{name}.wav", tone(seconds, 20_000 + number))
    return root


def source(root: Path, name: str, split: str, group: str, samples: np.ndarray) -> Source:
    """Write samples as a file and return it as a source of a corpus."""
    path = write(root / f"{name}.wav", samples, subtype="FLOAT")
    return Source(
        path,
        f"{name}.wav",
        split,
        group,
        name,
        len(samples) / RATE,
        float(np.sqrt(np.mean(samples**2))),
    )


def write_pair(
    root: Path, side: tuple[str, str], name: str, seed: int, seconds: float = 0.7
) -> None:
    clean = tone(seconds, seed)
    write(root / side[0] / name, clean)
    write(root / side[1] / name, clean + 0.5 * tone(seconds, seed + 5000))
