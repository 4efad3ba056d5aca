"""A folder of audio is checked, and what it leaks between splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_audio import ERRORS, WARNINGS, as_int16
from speech_trees import HOSTILE, RATE, tone, write

from audioprune.data.splits.tree_check import Report, check_tree
from audioprune.dsp import resample
from audioprune.errors import DataError


def test_tree_lists_every_file_and_counts(tmp_path: Path) -> None:
    root = tmp_path / "data" / HOSTILE
    root.mkdir(parents=True)
    for name, (make, *_) in {**ERRORS, **WARNINGS}.items():
        make(root / name)
    write(root / "good.wav", as_int16(tone(0.5, 10)))
    write(root / "again.flac", as_int16(tone(0.5, 10)))
    for _ in range(2):  # the second time from memory
        report = check_tree(root, cache_dir=str(tmp_path / "cache"))
        assert {finding.path.name for finding in report.errors} == set(ERRORS)
        assert {finding.path.name for finding in report.warnings} == {*WARNINGS, "good.wav"} - {
            "again.flac"
        }
        assert report.files == len(ERRORS) + len(WARNINGS) + 2
        assert len(report.lines()) == len(report.errors) + len(report.warnings) + 1
        assert f"{len(report.errors)} errors" in report.lines()[-1]


def test_same_audio_in_training_and_test_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.wav", as_int16(tone(0.5, 1)))
    write(tmp_path / "test" / "b.flac", as_int16(tone(0.5, 1)))
    write(tmp_path / "train" / "c.wav", tone(0.5, 2))
    write(tmp_path / "train" / "d.wav", tone(0.5, 2))
    report = check_tree(tmp_path, cache_dir=str(tmp_path / "cache"))
    assert [finding.code for finding in report.errors] == ["leak"] and [
        finding.code for finding in report.warnings
    ] == ["doubled"]


def test_missing_or_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of audio files"):
        check_tree(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected audio files below"):
        check_tree(tmp_path)


def _check(root: Path) -> Report:
    return check_tree(root, cache_dir=str(root.parent / "cache"))


def _named(findings: list[Any]) -> str:
    assert all("\n" not in finding.line() for finding in findings)
    return " | ".join(finding.line() for finding in findings)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (
            "train/metro_000.wav",
            "test/metro_001.wav",
            "recording 'metro' is in train (metro_000.wav) and test (metro_001.wav)",
        ),
        (
            "train/x/babble-part3.wav",
            "valid/x/babble-part4.wav",
            "recording 'x/babble' is in train",
        ),
        (
            "train/NOISE/ch01.wav",
            "test/NOISE/ch01.wav",
            "recording 'NOISE' is in train (ch01.wav) and test (ch01.wav)",
        ),
        ("train/rain.wav", "test/rain (2).wav", "recording 'rain' is in train"),
        ("train/spk03/session1/a.wav", "test/session2/spk03/b.wav", "speaker 'spk03' is in train"),
        (
            "train-clean-100/103/1/103-1-0000.wav",
            "test-clean/x/103-2-0000.wav",
            "speaker '103' is in train",
        ),
        ("train/011a0101.wav", "dev/011a0102.wav", "speaker '011' is in train"),
        ("noisy/train/p225_001.wav", "noisy/test/p225_002.wav", "speaker 'p225' is in train"),
        (
            "train/airport/airport-oslo-1-2-a.wav",
            "test/airport/airport-oslo-1-3-a.wav",
            "recording 'oslo-1' is in train",
        ),
    ],
)
def test_names_that_are_in_two_splits_are_suspected(
    tmp_path: Path, first: str, second: str, reason: str
) -> None:
    write(tmp_path / "x" / first, tone(0.5, 1))
    write(tmp_path / "x" / second, tone(0.5, 2))
    report = _check(tmp_path / "x")
    (finding,) = report.findings
    assert (finding.severity, finding.code) == ("warning", "suspect") and reason in finding.reason
    assert finding.path == tmp_path / "x" / second


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train/1.wav", "test/1.wav"),
        ("train/dog/dog_1.wav", "test/dog/dog_2.wav"),
        ("train/anna/a.wav", "test/ben/a.wav"),
        ("train/metro_0.wav", "train/metro_1.wav"),
    ],
)
def test_names_that_say_nothing_are_not_suspected(tmp_path: Path, first: str, second: str) -> None:
    write(tmp_path / "x" / first, tone(0.5, 1))
    write(tmp_path / "x" / second, tone(0.5, 2))
    assert not _check(tmp_path / "x").findings


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "val"), ("dev", "test")])
def test_the_same_audio_in_any_two_splits_is_an_error(
    tmp_path: Path, splits: tuple[str, str]
) -> None:
    samples = (tone(0.5, 1) * 32768).astype(np.int16)
    write(tmp_path / "x" / splits[0] / "a.wav", samples)
    write(tmp_path / "x" / splits[1] / "b.flac", samples)
    (finding,) = _check(tmp_path / "x").errors
    assert finding.code == "leak" and all(name in finding.line() for name in ("a.wav", "b.flac"))


def test_copies_at_another_level_and_rate_are_suspected(tmp_path: Path) -> None:
    samples = tone(1.0, 1)
    write(tmp_path / "x" / "train" / "a.wav", samples)
    write(tmp_path / "x" / "test" / "b.wav", 0.2 * samples)
    write(
        tmp_path / "x" / "test" / "c.wav", resample(samples.astype(np.float32), RATE, 44100), 44100
    )
    report = _check(tmp_path / "x")
    told = _named(report.warnings)
    assert not report.errors and told.count("sounds like a copy of") == 2
    for name in ("b.wav: in test", "c.wav: in test"):
        assert (
            f"{name}, sounds like a copy of {tmp_path / 'x' / 'train' / 'a.wav'} in train" in told
        )
    flat = tmp_path / "flat"
    write(flat / "a.wav", samples)
    write(flat / "b.wav", 0.2 * samples)
    assert [finding.code for finding in _check(flat).findings] == ["alike"]
