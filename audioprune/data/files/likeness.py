"""Which files are copies of one another at another level, sample rate or format.

``likeness_of`` describes audio (T,) by a short text, ``alike`` compares such texts. It finds
copies, not recordings that resemble one another: two takes, and two pieces of one steady noise,
differ.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

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
_MOST_PAIRS = 1 << 21
_MOST_VALUES = 1 << 22
_BANDS = len(EDGES_HZ) - 1
_DIGITS = np.zeros(256, np.int64)
_DIGITS[[base64.b85encode(bytes([0, 0, 0, digit]))[-1] for digit in range(85)]] = np.arange(85)
"""Value of each character of a fingerprint."""

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
    levels, frames = _decode_all([prints[place] for place in places])
    seconds = np.array([durations_s[place] for place in places])
    for pairs in _near(_outlines(levels, frames, seconds)):
        for second, first in pairs[_may_be_same(pairs, levels, frames)].tolist():
            count = int(min(frames[first], frames[second]))
            if _same(levels[first, :count], levels[second, :count]):
                yield places[first], places[second]


def _near(outlines: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (P, 2) of rows whose outlines differ by 1 at most everywhere, later row first.

    Rows are sorted into cells of width 1 by the three numbers that vary most, so that only rows of
    neighbouring cells are compared.
    """
    widest = np.argsort(-outlines.std(axis=0))[:3]
    cells = np.floor(outlines[:, widest]).astype(np.int64)
    cells += 1 - cells.min(axis=0)
    sizes = cells.max(axis=0) + 2
    keys = _key(cells, sizes)
    order = np.argsort(keys, kind="stable")
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    wanted = np.stack([_key(cells + step, sizes) for step in steps])
    begins = np.searchsorted(keys[order], wanted, "left")
    counts = np.searchsorted(keys[order], wanted, "right") - begins
    done = np.cumsum(counts.sum(axis=0)) // _MOST_PAIRS
    for rows in np.split(np.arange(len(outlines)), np.flatnonzero(np.diff(done)) + 1):
        found = []
        for begin, count in zip(begins[:, rows], counts[:, rows], strict=True):
            second = np.repeat(rows, count)
            within = np.arange(len(second)) - np.repeat(np.cumsum(count) - count, count)
            first = order[np.repeat(begin, count) + within]
            found.append(np.stack([second, first], axis=1)[first < second])
        pairs = np.concatenate(found)
        for numbers in outlines.T:
            pairs = pairs[np.abs(numbers[pairs[:, 0]] - numbers[pairs[:, 1]]) <= 1]
        yield pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _key(cells: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]


def _outlines(
    levels: Envelope, frames: NDArray[np.int64], durations_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return few numbers (P, 19) that differ by less than 1 between copies.

    They are the length, the mean of each band, and the mean of its begin.
    """
    profiles = levels.sum(axis=1) / frames[:, None]
    begins = levels[:, :_FEWEST_FRAMES].mean(axis=1)
    middles = profiles.mean(axis=1, keepdims=True)
    bands = np.concatenate([(profiles - middles) / 3, (begins - middles) / 6], axis=1)
    return np.concatenate([durations_s[:, None] / LENGTH_S, bands / TOLERANCE_DB], axis=1)


def _decode_all(texts: Sequence[str]) -> tuple[Envelope, NDArray[np.int64]]:
    """Return the envelopes of texts in dB, (P, N, 9) with zeros behind each end, and each N.

    This is ``base64.b85decode`` of many texts at once.
    """
    lengths = np.array([len(text) for text in texts])
    sizes = (lengths // 5) * 4 + np.maximum(lengths % 5 - 1, 0)
    frames = sizes // _BANDS
    found = np.zeros((len(texts), int(frames.max()), _BANDS))
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        joined = "".join(texts[row] for row in rows.tolist())
        digits = _DIGITS[np.frombuffer(joined.encode(), np.uint8)]
        missing = -int(length) % 5
        digits = np.pad(digits.reshape(len(rows), -1), ((0, 0), (0, missing)), constant_values=84)
        values = digits.reshape(len(rows), -1, 5) @ (85 ** np.arange(4, -1, -1))
        stored = values.astype(">u4").view(np.uint8).reshape(len(rows), -1)
        levels = stored[:, : stored.shape[1] - missing].reshape(len(rows), -1, _BANDS)
        found[rows, : levels.shape[1]] = levels * _STEP_DB
    return found, frames


def _may_be_same(
    pairs: NDArray[np.int64], levels: Envelope, frames: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which pairs ``_same`` could find equal, many at once.

    Around their own mean the differences are smaller than around any other number; rounding is
    left to ``_same``.
    """
    counts = np.minimum(frames[pairs[:, 0]], frames[pairs[:, 1]])
    flat = levels.reshape(len(levels), -1).astype(np.float32)
    kept = np.zeros(len(pairs), dtype=bool)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        size = int(count) * _BANDS
        for part in np.array_split(rows, math.ceil(len(rows) * size / _MOST_VALUES)):
            first, second = (flat[:, :size].take(pairs[part, side], axis=0) for side in (0, 1))
            heard = np.minimum(first, second) > _STEP_DB
            first -= second
            first *= heard
            total = np.maximum(1, heard.sum(axis=1))
            apart = np.einsum("pv,pv->p", first, first) - first.sum(axis=1) ** 2 / total
            kept[part] = apart <= TOLERANCE_DB**2 * total * (1 + 1e-3) + 0.1
    return kept


def _same(first: Envelope, second: Envelope) -> bool:
    """Tell whether two envelopes (N, 9) in dB differ by no more than a constant."""
    difference = first - second
    difference = difference - np.median(difference)
    heard = (first > _STEP_DB) & (second > _STEP_DB)
    if heard.sum() < first.size / 2:
        return False
    apart = float(np.sqrt(np.mean(difference[heard] ** 2)))
    moves = float(np.sqrt(np.mean((first - first.mean(axis=0))[heard] ** 2)))
    return moves >= _LEAST_MOVE_DB and apart <= min(TOLERANCE_DB, _SHARE * moves)
