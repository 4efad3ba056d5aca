from __future__ import annotations

import sys

import numpy as np
import pytest

from audioprune.data.coded.alignment import aligned_within, measure_lag
from audioprune.data.coded.codec import CODECS, Codec, libavcodec_version
from audioprune.data.speech.speech_synthesis import draw_voice, speak
from audioprune.dsp import resample
from audioprune.errors import ConfigError, DataError

RATES = (16000, 24000, 32000, 44100, 48000)


def _noise(length: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Return one second of a made-up voice at 16 kHz."""
    rng = np.random.default_rng(3)
    return speak(draw_voice(rng), 1.0, rng)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("rate", RATES)
def test_what_comes_back_is_aligned_and_as_long(name: str, rate: int, speech: np.ndarray) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    if name == "opus" and rate in (32000, 44100):
        with pytest.raises(ConfigError, match=f"that opus codes .*, got {rate}"):
            Codec(name, 24, rate)
        return
    codec = Codec(name, 24, rate)
    voice = resample(speech, 16000, rate)
    for signal, least, slack in (
        (_noise(rate // 2 + 77), 0.2, 0),
        (voice, 0.9, aligned_within(rate) if name == "opus" else 0),
    ):
        coded = codec.round_trip(signal)
        assert coded.samples.shape == signal.shape and coded.samples.dtype == np.float32
        lag = measure_lag(signal, coded.samples, rate)
        assert abs(lag.samples) <= slack and lag.correlation > least
        assert 8 * coded.payload_bytes * rate / len(signal) / 1000 == pytest.approx(coded.kbps)
    error = coded.samples - signal
    assert 10 * np.log10(np.square(signal).sum() / np.square(error).sum()) > 3


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("length", [1, 100, 575, 1023, 1024, 1025, 1152, 2305, 5000])
def test_any_length(name: str, length: int) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    signal = _noise(length)
    samples = Codec(name, 64, 16000).round_trip(signal).samples
    assert len(samples) == length and np.isfinite(samples).all()
    if length >= 1023:
        assert measure_lag(signal, samples, 16000).samples == 0


@pytest.mark.parametrize("name", CODECS)
def test_silence_determinism_and_levels_above_full_scale(name: str) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    codec = Codec(name, 32, 16000)
    assert np.abs(codec.round_trip(np.zeros(3000, np.float32)).samples).max() < 1e-3
    first, second = codec.round_trip(_noise(4000)), codec.round_trip(_noise(4000))
    assert (
        np.array_equal(first.samples, second.samples)
        and first.payload_bytes == second.payload_bytes
    )
    if name == "aac":
        assert (
            1.2
            < np.abs(
                codec.round_trip(1.5 * np.sin(np.arange(8000) / 10).astype(np.float32)).samples
            ).max()
            < 2
        )


def test_bitrates() -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    signal = _noise(8 * 16000)
    assert [
        Codec("aac", kbps, 16000).round_trip(signal).kbps for kbps in (16, 24, 48)
    ] == pytest.approx([16, 24, 48], rel=0.05)
    assert Codec("mp3", 24, 16000).round_trip(signal).kbps == pytest.approx(24, rel=0.05)
    assert Codec("mp3", 24, 48000).round_trip(signal).kbps == pytest.approx(
        32, rel=0.05
    )  # the floor of MPEG-1
    coarse, fine = (
        Codec("aac", kbps, 16000).round_trip(signal).samples - signal for kbps in (16, 48)
    )
    assert np.square(fine).sum() < np.square(coarse).sum()


def test_names() -> None:
    assert (
        Codec().label == "aac-24k"
        and Codec("opus", 12.5).label == "opus-12.5k"
        and Codec("mp3").encoder == "libmp3lame"
    )
    pytest.importorskip("av", reason="needs audioprune[codec]")
    assert [part.isdigit() for part in libavcodec_version().split(".")] == [True] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("acc",), "unknown codec 'acc'; closest: aac"),
        (("aac", 0), "kbps from 6 to 512"),
        (("aac", float("nan")), "kbps from 6 to 512"),
        (("mp3", 24, 96000), "that mp3 codes"),
        (("aac", 24, 15999), "choose one of them"),
    ],
)
def test_wrong_options_are_refused(options: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Codec(*options)


@pytest.mark.parametrize(
    "signal",
    [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.array([np.nan], np.float32)],
)
def test_wrong_signals_are_refused(signal: np.ndarray) -> None:
    with pytest.raises(DataError, match="finite mono signal"):
        Codec().round_trip(signal)


def test_a_missing_extra_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'audioprune\[codec\]'") as caught:
        Codec().round_trip(_noise(100))
    assert "\n" not in str(caught.value) and "coded_root" in str(caught.value)
