"""Which files are copies of one another at another level, sample rate or format.

``likeness_of`` describes audio (T,) by a short text, ``alike`` compares such texts. It finds
copies, not recordings that resemble one another: two takes, and two pieces of one steady noise,
differ.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FRAME_S = 0.1
LONGEST_S = 6.0
"""Only this much of the begin is compared, which takes a few milliseconds at any length."""
EDGES_HZ = (100, 200, 320, 460, 630, 850, 1150, 1600, 2200, 3000)
"""Bands that audio of 8 kHz and above has."""
TOLERANCE_DB = 0.75
"""Largest root mean square of differences between copies; pieces of one noise differ by 1.7 dB."""
LENGTH_S = 0.06
"""Largest difference in length between copies."""
MOST_FILES = 50_000
"""Among more files nobody looks for copies; equal samples are found among any number."""
_RANGE_DB = 50.0
_STEP_DB = 0.2
_FEWEST_FRAMES = 4
_SHARE = 0.3
_LEAST_MOVE_DB = 0.5
_AT_ONCE = 1000

Envelope = NDArray[np.float64]


def likeness_of(samples: np.ndarray, sample_rate: int) -> str:
    """Return the levels of nine bands in frames of 0.1 s, relative to the strongest, as text.

    Args:
        samples: Mono samples, shape (T,); those beyond ``LONGEST_S`` are not looked at.
        sample_rate: In Hz.

    Returns:
        The levels; empty for audio that is too short, silent, or of too low a rate to
        compare.
    """
    count = int(min(len(samples) / sample_rate, LONGEST_S) / FRAME_S + 1e-6)
    length = round(FRAME_S * sample_rate)
    if count < _FEWEST_FRAMES or sample_rate < 2 * EDGES_HZ[-1]:
        return ""
    starts = np.round(np.arange(count) * FRAME_S * sample_rate).astype(int)
    starts = np.minimum(starts, len(samples) - length)
    # Frames (N, length), their power (N, F), and the power of each band (N, 9).
    frames = samples[starts[:, None] + np.arange(length)] * np.hanning(length)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.round(np.array(EDGES_HZ) * length / sample_rate).astype(int)
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    strongest = float(bands.max())
    if not np.isfinite(strongest) or strongest <= 0:
        return ""
    levels = 10 * np.log10(np.maximum(bands / strongest, 10 ** (-_RANGE_DB / 10))) + _RANGE_DB
    return base64.b85encode(np.round(levels / _STEP_DB).astype(np.uint8).tobytes()).decode()


def alike(prints: Sequence[str], durations_s: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Yield the places of files that sound like copies of one another, each pair once.

    Copies have the same length within ``LENGTH_S``; their bands differ by ``TOLERANCE_DB`` at
    most, and by less than a share of how much the bands move, so that steady tones are not taken
    for copies.

    Args:
        prints: Fingerprint of each file; those without one are like none.
        durations_s: Length of each file in seconds.
    """
    places = [place for place, text in enumerate(prints) if text]
    if len(places) < 2:
        return
    envelopes = [_decode(prints[place]) for place in places]
    pairs = zip(places, envelopes, strict=True)
    outlines = np.array([_outline(envelope, durations_s[place]) for place, envelope in pairs])
    tree = cKDTree(outlines)
    for start in range(0, len(places), _AT_ONCE):
        part = outlines[start : start + _AT_ONCE]
        near = tree.query_ball_point(part, 1.0, p=np.inf, return_sorted=True)
        for second, candidates in enumerate(near, start):
            for first in (place for place in candidates if place < second):
                if _same(envelopes[first], envelopes[second]):
                    yield places[first], places[second]


def _outline(envelope: Envelope, duration_s: float) -> NDArray[np.float64]:
    """Return few numbers that differ by less than 1 between copies.

    They are the length, the mean of each band, and the mean of its begin.
    """
    profile = envelope.mean(axis=0)
    begin = envelope[:_FEWEST_FRAMES].mean(axis=0)
    bands = np.concatenate([(profile - profile.mean()) / 3, (begin - profile.mean()) / 6])
    return np.concatenate([[duration_s / LENGTH_S], bands / TOLERANCE_DB])


def _decode(text: str) -> Envelope:
    levels = np.frombuffer(base64.b85decode(text), dtype=np.uint8)
    return levels.reshape(-1, len(EDGES_HZ) - 1).astype(np.float64) * _STEP_DB


def _same(first: Envelope, second: Envelope) -> bool:
    """Tell whether two envelopes (N, 9) in dB differ by no more than a constant."""
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    difference = first - second
    difference = difference - np.median(difference)
    heard = (first > _STEP_DB) & (second > _STEP_DB)
    if heard.sum() < first.size / 2:
        return False
    apart = float(np.sqrt(np.mean(difference[heard] ** 2)))
    moves = float(np.sqrt(np.mean((first - first.mean(axis=0))[heard] ** 2)))
    return moves >= _LEAST_MOVE_DB and apart <= min(TOLERANCE_DB, _SHARE * moves)
