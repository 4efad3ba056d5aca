from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import HOSTILE, RATE, tone, write

from audioprune.data.files.checks import check_audio, inspect_file
from audioprune.data.splits.tree_check import check_tree
from audioprune.errors import DataError


def _cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def _sphere(path: Path) -> Path:
    soundfile.write(path, tone(0.5, 1), RATE, format="NIST", subtype="PCM_16")
    return path


def _with(path: Path, value: float) -> Path:
    samples = tone(0.5, 1)
    samples[1000] = value
    return write(path, samples, subtype="FLOAT")


def _channels(path: Path, right: float) -> Path:
    left = tone(0.5, 2)
    return write(path, np.stack([left, right * left], axis=1))


def _whole(samples: np.ndarray) -> np.ndarray:
    return (samples * 32768).astype(np.int16)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


ERRORS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "half.wav": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7978 of 16000 bytes"),
    "header.wav": (
        lambda p: p.write_bytes(write(p, tone(0.5, 1)).read_bytes()[:44]),
        "truncated",
        "0 of 16000",
    ),
    "nodata.wav": (
        lambda p: p.write_bytes(write(p, tone(0.5, 1)).read_bytes()[:36]),
        "truncated",
        "without samples",
    ),
    "half.aiff": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "cut short"),
    "half.w64": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7948 of 16000 bytes"),
    "half.rf64": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7948 of 16000 bytes"),
    "half.au": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "7988 of 16000 bytes"),
    "half.caf": (lambda p: _cut(write(p, tone(0.5, 1))), "truncated", "cut short"),
    "half.sph": (lambda p: _cut(_sphere(p)), "truncated", "7488 of 16000 bytes"),
    "half.ogg": (lambda p: _cut(write(p, tone(2.0, 1))), "truncated", "of its last page"),
    "half.mp3": (lambda p: _cut(write(p, tone(2.0, 1))), "truncated", "frames"),
    "none.wav": (lambda p: write(p, np.zeros(0)), "no_samples", "without samples"),
    "half.flac": (lambda p: _cut(write(p, tone(0.5, 1))), "cut", "not decodable"),
    "zero.wav": (_bytes(b""), "unreadable", "0 bytes"),
    "garbage.wav": (_bytes(bytes(range(256)) * 9), "unreadable", "not decodable"),
    "text.flac": (_bytes(b"just text\n" * 20), "unreadable", "not decodable"),
    "directory.wav": (lambda p: p.mkdir(), "unreadable", "folder"),
    "dangling.wav": (lambda p: os.symlink("gone", p), "unreadable", "link to gone"),
    "nan.wav": (lambda p: _with(p, float("nan")), "not_finite", "1 samples are NaN"),
    "inf.wav": (lambda p: _with(p, float("inf")), "not_finite", "1 samples are NaN or infinite"),
    "big.wav": (lambda p: _with(p, 1e29), "absurd", "1e+29"),
    "packed.wv1": (
        _bytes(b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\n" + b"\0" * 999),
        "unreadable",
        "sph2pipe",
    ),
}
WARNINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "loud.wav": (lambda p: _with(p, 1.7), "over_full_scale"),
    "silent.wav": (lambda p: write(p, np.zeros(8000)), "silent"),
    "antiphase.wav": (lambda p: _channels(p, -1.0), "antiphase"),
    "clipped.wav": (lambda p: write(p, np.clip(40 * tone(0.5, 3), -1, 1)), "clipped"),
    "offset.wav": (lambda p: write(p, 0.3 + tone(0.5, 4)), "offset"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_named(tmp_path: Path, name: str) -> None:
    make, code, reason = ERRORS[name]
    path = tmp_path / name
    make(path)
    (finding,) = check_audio(path)
    assert (finding.severity, finding.code) == ("error", code)
    assert reason in finding.reason and str(path) in finding.line() and "\n" not in finding.line()


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_are_named(tmp_path: Path, name: str) -> None:
    make, code = WARNINGS[name]
    make(tmp_path / name)
    found = check_audio(tmp_path / name)
    assert code in [finding.code for finding in found] and not [
        finding for finding in found if finding.severity == "error"
    ]


def test_antiphase_is_also_silent_as_mono(tmp_path: Path) -> None:
    assert inspect_file(_channels(tmp_path / "a.wav", -1.0)).has("silent")
    assert not check_audio(_channels(tmp_path / "b.wav", 0.5))


def test_good_files_have_no_finding_whatever_their_name_says(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", tone(0.5, 5))
    renamed = tmp_path / "really_flac.wav"
    renamed.write_bytes(flac.read_bytes())
    odd = write(tmp_path / "odd.wav", tone(0.3, 6)[:4799], subtype="PCM_24")
    streamed = write(tmp_path / "streamed.wav", tone(0.3, 7))
    data = bytearray(streamed.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"  # what a program writes to a pipe
    streamed.write_bytes(data)
    for path in (flac, renamed, odd, streamed):
        assert check_audio(path) == []


def test_rate_and_length_depend_on_the_use(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.05, 8, 8000), 8000)
    codes = [finding.code for finding in check_audio(path, sample_rate=RATE, shortest_s=0.1)]
    assert codes == ["rate", "short"]
    assert check_audio(path, sample_rate=8000, shortest_s=0.01) == []
    one = write(tmp_path / "one.wav", np.array([0.5]))
    assert [finding.code for finding in check_audio(one)] == ["offset", "short"]


def test_same_audio_has_one_hash_in_any_lossless_format(tmp_path: Path) -> None:
    samples = _whole(tone(0.5, 9))
    facts = [
        inspect_file(write(tmp_path / name, samples)) for name in ("a.wav", "a.flac", "a.aiff")
    ]
    stereo = inspect_file(write(tmp_path / "stereo.wav", np.stack([samples, samples], axis=1)))
    assert (
        len({fact.audio_sha256 for fact in (*facts, stereo)}) == 1
        and len({fact.sha256 for fact in facts}) == 3
    )
    assert facts[0].level == pytest.approx(np.sqrt(np.mean((samples / 32768.0) ** 2)), rel=1e-6)
    other_rate = inspect_file(write(tmp_path / "b.wav", samples, 8000))
    assert other_rate.audio_sha256 != facts[0].audio_sha256


def test_tree_lists_every_file_and_counts(tmp_path: Path) -> None:
    root = tmp_path / "data" / HOSTILE
    root.mkdir(parents=True)
    for name, (make, *_) in {**ERRORS, **WARNINGS}.items():
        make(root / name)
    write(root / "good.wav", _whole(tone(0.5, 10)))
    write(root / "again.flac", _whole(tone(0.5, 10)))
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
    write(tmp_path / "train" / "a.wav", _whole(tone(0.5, 1)))
    write(tmp_path / "test" / "b.flac", _whole(tone(0.5, 1)))
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
