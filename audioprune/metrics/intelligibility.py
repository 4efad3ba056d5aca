"""How much of speech can be understood: STOI and ESTOI of one recording (T,), in few milliseconds.

``band_pair`` is what both scores are made of: the third-octave bands of the clean and
of the other signal, without the frames in which the clean one is silent. What is known of a clean
signal is kept and used again for every other signal that is scored against it. Checks and reasons
are in speech.py; the loops in stoi_kernels.py.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Places = NDArray[np.int64]

RATE = 10_000
FRAME = 256
HOP = 128
N_FFT = 512
BANDS = 15
LOWEST_HZ = 150.0
DYNAMIC_RANGE_DB = 40.0
SEGMENT = 30
CLIP = 1 + 10 ** (15 / 20)
"""How far a band may lie above the clean one: a signal-to-distortion ratio of -15 dB."""
_EPS = np.finfo(np.float64).eps
_WINDOW = np.hanning(FRAME + 2)[1:-1]


class TooFewFrames(Exception):
    """Fewer than 30 frames of speech remain without the silent ones."""


@dataclass(frozen=True)
class Clean:
    """What is known of a clean signal.

    Attributes:
        starts: First samples at 10 kHz of the frames that hold speech, (N + 1,).
        bands: Third-octave magnitudes of these frames, (15, N).
    """

    starts: Places
    bands: Values

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory."""
        return self.starts.nbytes + self.bands.nbytes


@dataclass(frozen=True)
class Pair:
    """The third-octave magnitudes of a clean and another signal, each (15, N)."""

    clean: Values
    other: Values

    @property
    def nbytes(self) -> int:
        """Bytes that it holds in memory."""
        return self.clean.nbytes + self.other.nbytes


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)


class _Recent(Generic[Kept]):
    """The values used last, of at most so many bytes; several threads may ask at once."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._values: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Kept | None:
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: str, value: Kept) -> None:
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._bytes += value.nbytes
            while self._bytes > self._most and len(self._values) > 1:
                self._bytes -= self._values.popitem(last=False)[1].nbytes


_CLEAN: _Recent[Clean] = _Recent(64 << 20)
# STOI and ESTOI of a signal are asked for one after the other.
_PAIRS: _Recent[Pair] = _Recent(4 << 20)
_NAMES: ContextVar[tuple[str, str] | None] = ContextVar("names of both signals", default=None)


def stoi(pair: Pair) -> float:
    """Return the mean correlation of clipped band segments, at most 1.

    Source: Taal, Hendriks, Heusdens & Jensen (2011).
    """
    from audioprune.metrics.stoi_kernels import clipped_correlations

    total = clipped_correlations(pair.clean, pair.other, SEGMENT, CLIP)
    return float(total / ((pair.clean.shape[1] - SEGMENT + 1) * BANDS))


def estoi(pair: Pair) -> float:
    """Return the mean correlation of normalised segments, at most 1.

    Source: Jensen & Taal (2016).
    """
    from audioprune.metrics.stoi_kernels import unit_correlations

    total = unit_correlations(pair.clean, pair.other, SEGMENT)
    return float(total / ((pair.clean.shape[1] - SEGMENT + 1) * SEGMENT))


def band_pair(reference: Values, estimate: Values, sample_rate: int) -> Pair:
    """Return the bands of both signals.

    Args:
        reference: Clean samples, float64 (T,), finite, of 0.4 s at least.
        estimate: Samples to score, the same shape.
        sample_rate: Of both in Hz.

    Raises:
        TooFewFrames: Too little speech remains.
    """
    reference, estimate = np.ascontiguousarray(reference), np.ascontiguousarray(estimate)
    key, both = _NAMES.get() or _named(reference, estimate, sample_rate)
    known = _PAIRS.get(both)
    if known is not None:
        return known
    clean = _CLEAN.get(key)
    if clean is None:
        clean = _clean(_at_scoring_rate(reference, sample_rate))
        _CLEAN.put(key, clean)
    other = _bands(_at_scoring_rate(estimate, sample_rate), clean.starts)
    pair = Pair(clean.bands, other)
    _PAIRS.put(both, pair)
    return pair


@contextmanager
def named(reference: str, pair: str) -> Iterator[None]:
    """Let a caller who knows digests of the signals spare others in a with-block.

    Args:
        reference: Names the samples and the sample rate of the clean signal.
        pair: Names both signals and their sample rate.
    """
    before = _NAMES.set((reference, pair))
    try:
        yield
    finally:
        _NAMES.reset(before)


def _named(reference: Values, estimate: Values, sample_rate: int) -> tuple[str, str]:
    # 64 bits of a hash with a secret key tell the signals of one process apart, and take less than
    # half the time of a digest.
    key = f"{sample_rate} {len(reference)} {hash(reference.tobytes())}"
    return key, f"{key} {hash(estimate.tobytes())}"


def _clean(reference: Values) -> Clean:
    from audioprune.metrics.stoi_kernels import frame_powers

    level = 20 * np.log10(np.sqrt(frame_powers(reference, _WINDOW, HOP)) + _EPS)
    starts = HOP * np.flatnonzero(level > level.max() - DYNAMIC_RANGE_DB)
    if len(starts) <= SEGMENT:  # the last frame begins no other one
        raise TooFewFrames
    return Clean(starts, _bands(reference, starts))


def _bands(signal: Values, starts: Places) -> Values:
    """Return third-octave magnitudes (15, N) of what the frames that begin there are joined to."""
    from audioprune.metrics.stoi_kernels import band_magnitudes, joined_frames

    frames = joined_frames(signal, _WINDOW, starts)
    return band_magnitudes(np.fft.rfft(frames, N_FFT), _band_edges())


@lru_cache(maxsize=1)
def _band_edges() -> NDArray[np.int64]:
    """Return the first bin of each band and the bin behind the last one, (16,).

    Bands are a third of an octave wide, each begins where the one before it ends; edges lie on
    the nearest bin.
    """
    frequencies = np.linspace(0, RATE, N_FFT + 1)[: N_FFT // 2 + 1]
    edges = LOWEST_HZ * 2 ** ((2 * np.arange(BANDS + 1) - 1) / 6)
    return np.asarray(np.abs(frequencies[None] - edges[:, None]).argmin(axis=1))


def _at_scoring_rate(signal: Values, sample_rate: int) -> Values:
    """Return a signal at 10 kHz, resampled as GNU Octave's ``resample`` does."""
    if sample_rate == RATE:
        return signal
    common = math.gcd(RATE, sample_rate)
    up, down = RATE // common, sample_rate // common
    from audioprune.metrics.stoi_kernels import resampled

    taps, before = _phases(up, down)
    count = -(-len(signal) * up // down)
    last = (count - 1) * down // up + taps.shape[1]
    padded = np.zeros(max(last, before + len(signal)))
    padded[before : before + len(signal)] = signal
    return resampled(padded, taps, up, down, count)


@lru_cache(maxsize=8)
def _low_pass(up: int, down: int) -> Values:
    """Return the low pass of a change of rate, of unit sum: a sinc under a Kaiser window.

    Its stop band begins at the lower of both Nyquist frequencies, 60 dB down; the transition is a
    tenth of it wide.
    """
    rejection_db = 60.0
    edge = 1 / (2 * max(up, down))  # in cycles per sample at up times the rate
    half = math.ceil((rejection_db - 8) / (28.714 * edge / 10))
    places = np.arange(-half, half + 1)
    beta = 0.1102 * (rejection_db - 8.7)
    taps = np.kaiser(2 * half + 1, beta) * np.sinc(2 * edge * places)
    return np.asarray(taps / taps.sum())


@lru_cache(maxsize=8)
def _phases(up: int, down: int) -> tuple[Values, int]:
    """Return the taps (up, width) of each phase for ascending samples, and how many lie before.

    Output m is at the sample m * down / up; its phase is the remainder in steps of 1 / up.
    """
    taps = up * _low_pass(up, down)
    half = len(taps) // 2
    before = half // up
    width = before + (half + up - 1) // up + 1
    # tap of sample first - before + i at the phase: the middle, moved by the distance in steps
    phase, place = np.arange(up)[:, None], np.arange(width)[None]
    index = half + phase - (place - before) * up
    inside = (index >= 0) & (index < len(taps))
    return np.where(inside, taps[index.clip(0, len(taps) - 1)], 0.0), before
