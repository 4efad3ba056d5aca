"""Small corpora of scenes on disk: both TUT layouts in 24-bit stereo, folders of classes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audioprune.data.scenes.corpora import TutScenes

SMALL: dict[str, Any] = {"n_fft": 512, "hop_length": 256, "mels": 16, "duration_s": 0.3}
"""Features that are quick to compute."""

DEVELOPMENT_2017 = "TUT-acoustic-scenes-2017-development"
EVALUATION_2017 = "TUT-acoustic-scenes-2017-evaluation"
DEVELOPMENT_2018 = "TUT-urban-acoustic-scenes-2018-development"
LABELS_2017 = ("beach", "cafe/restaurant", "tram")
LABELS_2018 = ("airport", "bus", "park")


def write_clip(
    path: Path,
    seed: int,
    *,
    sample_rate: int = 44100,
    seconds: float = 0.3,
    channels: int = 2,
    subtype: str = "PCM_24",
) -> Path:
    """Write noise that follows from a seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(
        (round(seconds * sample_rate), channels)
    )
    soundfile.write(path, samples, sample_rate, subtype=subtype)
    return path


def write_list(
    path: Path,
    rows: Iterable[Sequence[str]],
    *,
    header: Sequence[str] = (),
    end: str = "\n",
    bom: bool = False,
) -> Path:
    """Write a list with tabs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) + end for row in ([header] if header else []) + list(rows)]
    path.write_bytes(("".join(lines)).encode("utf-8-sig" if bom else "utf-8"))
    return path


def tut_2017(root: Path, *, end: str = "\r\n", bom: bool = True) -> Path:
    """Write three classes: three recordings of two clips each, and one clip for evaluation."""
    rows, test_rows = [], []
    for place, label in enumerate(LABELS_2017):
        for recording in range(3):
            for start in (0, 10):
                name = f"audio/{label[0]}{recording:03d}_{start}_{start + 10}.wav"
                write_clip(
                    root / DEVELOPMENT_2017 / name, 1000 + 100 * place + 20 * recording + start
                )
                rows.append((name, label, f"{label[0]}{recording:03d}"))
        name = f"audio/{label[0]}9{place:02d}_0_10.wav"
        write_clip(root / EVALUATION_2017 / name, 5000 + place)
        test_rows.append((name, label))
    write_list(root / DEVELOPMENT_2017 / "meta.txt", rows, end=end, bom=bom)
    write_list(root / EVALUATION_2017 / "evaluation_setup" / "evaluate.txt", test_rows, end=end)
    write_list(
        root / EVALUATION_2017 / "evaluation_setup" / "test.txt", [row[:1] for row in test_rows]
    )
    return root


def tut_2018(root: Path, suffix: str = ".txt") -> Path:
    """Write three classes: two training recordings of two clips, one test clip each."""
    rows, train, test = [], [], []
    folder = root / DEVELOPMENT_2018
    for place, label in enumerate(LABELS_2018):
        for location in range(3):
            for segment in range(2 if location < 2 else 1):
                name = f"audio/{label}-paris-{10 * place + location}-{segment}-a.wav"
                write_clip(folder / name, 100 * place + 10 * location + segment, sample_rate=48000)
                rows.append((name, label, f"paris-{10 * place + location}", "a"))
                (train if location < 2 else test).append((name, label))
    header = ("filename", "scene_label") if suffix == ".csv" else ()
    write_list(
        folder / "meta.csv", rows, header=("filename", "scene_label", "identifier", "source_label")
    )
    write_list(folder / "evaluation_setup" / f"fold1_train{suffix}", train, header=header)
    write_list(folder / "evaluation_setup" / f"fold1_evaluate{suffix}", test, header=header)
    return root


def class_folder(
    root: Path, splits: Sequence[str] = ("",), recordings: int = 4, clips: int = 2
) -> Path:
    """Write two classes in folders, clips named ``<recording>_<number>.wav``."""
    for split in splits:
        for label in ("dog", "rain"):
            for recording in range(recordings):
                for clip in range(clips):
                    seed = zlib.crc32(f"{split}{label}{recording}.{clip}".encode())
                    path = root / split / label / f"{split}{recording:02d}_{clip}.wav"
                    write_clip(path, seed, sample_rate=22050, channels=1, subtype="PCM_16")
    return root


def small_tut(root: Path, **options: Any) -> TutScenes:
    return TutScenes(
        root, **{"cache_dir": str(root / "cache"), "valid_fraction": 0.3, **SMALL, **options}
    )
