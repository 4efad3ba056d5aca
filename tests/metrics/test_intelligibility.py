"""What is known of a clean signal is used again, and never for another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pystoi
import pytest

from audioprune.metrics import intelligibility
from audioprune.metrics.intelligibility import TooFewFrames, band_pair, estoi, stoi

RATE = 10000


def _signal(seed, seconds=0.6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(int(seconds * RATE)) * (0.3 + rng.random())


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(intelligibility, "_CLEAN", intelligibility._Recent(1 << 20))
    monkeypatch.setattr(intelligibility, "_PAIRS", intelligibility._Recent(1 << 20))


def test_the_clean_signal_is_analysed_once(monkeypatch):
    calls = []
    real = intelligibility._clean
    monkeypatch.setattr(intelligibility, "_clean", lambda x: calls.append(1) or real(x))
    clean, others = _signal(0), [_signal(0) + _signal(seed) for seed in (1, 2, 3)]
    first = [stoi(band_pair(clean, other, RATE)) for other in others]
    assert [stoi(band_pair(clean, other, RATE)) for other in others] == first
    assert len(calls) == 1 and len(set(first)) == 3
    assert estoi(band_pair(clean, others[0], RATE)) != first[0]
    band_pair(_signal(4), others[0], RATE)
    assert len(calls) == 2


def test_names_that_are_given_spare_a_digest(monkeypatch):
    clean, other = _signal(0), _signal(1)
    wanted = stoi(band_pair(clean, other, RATE))
    monkeypatch.setattr(intelligibility, "_named", None)
    with intelligibility.named("one", "one and two"):
        assert stoi(band_pair(clean, other, RATE)) == wanted
        assert stoi(band_pair(other, clean, RATE)) == wanted  # it is the name that counts


def test_memory_is_bounded_and_the_latest_stay():
    recent = intelligibility._Recent(1000)
    for number in range(20):
        recent.put(str(number), np.zeros(40))  # 320 bytes each
        recent.get("0")
    assert [key for key in map(str, range(20)) if recent.get(key) is not None] == ["0", "18", "19"]
    recent.put("large", np.zeros(1000))
    assert recent.get("large") is not None and recent.get("0") is None


def test_several_threads_may_score_at_once():
    pairs = [(_signal(seed % 3), _signal(seed % 3) + _signal(9 + seed)) for seed in range(12)]
    here = [stoi(band_pair(*pair, RATE)) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda pair: stoi(band_pair(*pair, RATE)), pairs)
        assert list(found) == here


def test_too_little_speech_is_refused():
    # 31 frames, joined, have 30 frames that begin within them: one segment
    enough = _signal(0, (128 * 30 + 257) / RATE)
    assert band_pair(enough, enough, RATE).clean.shape == (15, 30)
    with pytest.raises(TooFewFrames):
        band_pair(enough[:-1], enough[:-1], RATE)


@pytest.mark.parametrize("rate", [8000, 10000, 16000, 48000])
def test_scores_of_any_length_are_those_of_pystoi(rate):
    rng = np.random.default_rng(rate)
    for _ in range(4):
        clean = rng.standard_normal(int(rng.integers(0.5 * rate, 0.9 * rate)))
        clean *= np.repeat(rng.choice([1e-4, 0.1, 1.0], 16), len(clean) // 16 + 1)[: len(clean)]
        clean[: rate // 3] += rng.standard_normal(rate // 3)  # enough that is not silent
        other = clean * rng.uniform(0.1, 3) + rng.choice([0.01, 0.3, 2]) * rng.standard_normal(
            len(clean)
        )
        try:
            pair = band_pair(clean, other, rate)
        except TooFewFrames:
            with pytest.warns(RuntimeWarning, match="Not enough STFT frames"):
                pystoi.stoi(clean, other, rate)
            continue
        assert stoi(pair) == pytest.approx(pystoi.stoi(clean, other, rate), abs=1e-9)
        # pystoi adds random numbers of 2e-16 to the segments of ESTOI
        theirs = pystoi.stoi(clean, other, rate, extended=True)
        assert estoi(pair) == pytest.approx(theirs, abs=1e-9)
