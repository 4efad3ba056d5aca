"""Bad files are named with their reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_audio import ERRORS, WARNINGS, as_int16, two_channels
from speech_trees import RATE, tone, write

from audioprune.data.files.checks import SHORTEST_S, Finding, inspect_file, use_findings


def _check(
    path: Path, sample_rate: int | None = None, shortest_s: float = SHORTEST_S
) -> list[Finding]:
    facts = inspect_file(path)
    return [*facts.findings, *use_findings(facts, sample_rate, shortest_s)]


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_named(tmp_path: Path, name: str) -> None:
    make, code, reason = ERRORS[name]
    path = tmp_path / name
    make(path)
    (finding,) = _check(path)
    assert (finding.severity, finding.code) == ("error", code)
    assert reason in finding.reason and str(path) in finding.line() and "\n" not in finding.line()


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_are_named(tmp_path: Path, name: str) -> None:
    make, code = WARNINGS[name]
    make(tmp_path / name)
    found = _check(tmp_path / name)
    assert code in [finding.code for finding in found] and not [
        finding for finding in found if finding.severity == "error"
    ]


def test_antiphase_is_also_silent_as_mono(tmp_path: Path) -> None:
    assert inspect_file(two_channels(tmp_path / "a.wav", -1.0)).has("silent")
    assert not _check(two_channels(tmp_path / "b.wav", 0.5))


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
        assert _check(path) == []


def test_rate_and_length_depend_on_the_use(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.05, 8, 8000), 8000)
    codes = [finding.code for finding in _check(path, sample_rate=RATE, shortest_s=0.1)]
    assert codes == ["rate", "short"]
    assert _check(path, sample_rate=8000, shortest_s=0.01) == []
    one = write(tmp_path / "one.wav", np.array([0.5]))
    assert [finding.code for finding in _check(one)] == ["offset", "short"]


def test_same_audio_has_one_hash_in_any_lossless_format(tmp_path: Path) -> None:
    samples = as_int16(tone(0.5, 9))
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
