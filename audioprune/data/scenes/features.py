"""What a classifier of acoustic scenes sees: ``SceneFeatures``, weighted mel spectra.

Features are (2, M, N) float32: both channels, M mel bands, N frames. ``FeatureStore`` keeps them
on disk, ``Normalisation`` belongs to a training set. Which clips there are is decided in lists.py.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from audioprune.data.files.audio import read_audio, read_info
from audioprune.data.files.parallel import loader_processes
from audioprune.dsp import mixdown, resample
from audioprune.errors import ConfigError, DataError, OutputError
from audioprune.files import sha256, write_atomic, write_json
from audioprune.paths import cache_folder
from audioprune.plain.sealing import parse
from audioprune.ranges import Range

CHANNELS = 2
POWER_FLOOR = 1e-10
TOP_DB = 80.0
_VERSION = 1
"""Raised whenever the same file gives other features."""
_DIGEST_BYTES = 32
_MARGIN_S = 0.1
"""What is read beyond the length of a clip, so that resampling has it at the end."""
_LEAST_STD = 1e-5
_LOG = logging.getLogger(__name__)

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SceneFeatures:
    """Mel spectra of A-weighted levels in dB, two channels.

    The power spectrum of each channel becomes dB, not below 1e-10 and not more than 80 dB below
    the channel's highest value; the A-weighting is added, and the mel filters then average the dB
    values. A mono clip gives two equal channels; of more than two channels the average is taken. A
    clip that is too short is repeated, one that is too long is cut at its end.

    Attributes:
        sample_rate: Rate to which clips are resampled, in Hz.
        n_fft: Length of window and transform in samples.
        hop_length: Samples from one frame to the next.
        mels: Number of mel bands M.
        duration_s: Length of a clip in seconds.

    Raises:
        ConfigError: A value is out of its range.

    Source: Koutini et al. (EUSIPCO 2019), the setting that Chen compares with; Chen does not print
    features. That filters average dB values, not powers, is theirs. The resampler is another.
    """

    sample_rate: Annotated[int, Range(1000, 192_000)] = 22050
    n_fft: Annotated[int, Range(64)] = 2048
    hop_length: Annotated[int, Range(1)] = 512
    mels: Annotated[int, Range(1, 4096)] = 256
    duration_s: Annotated[float, Range(above=0, most=600)] = 10.0

    def __post_init__(self) -> None:
        _require(
            _whole(self.sample_rate) and self.sample_rate >= 1000,
            "sample_rate of at least 1000 Hz",
            self.sample_rate,
        )
        _require(
            _whole(self.n_fft) and self.n_fft >= 64 and self.n_fft % 2 == 0,
            "an even n_fft of at least 64",
            self.n_fft,
        )
        _require(
            _whole(self.hop_length) and 1 <= self.hop_length <= self.n_fft,
            f"hop_length from 1 to {self.n_fft}",
            self.hop_length,
        )
        _require(
            _whole(self.mels) and 1 <= self.mels <= self.n_fft // 2,
            f"mels from 1 to {self.n_fft // 2}",
            self.mels,
        )
        shortest_s = self.n_fft / self.sample_rate
        finite = isinstance(self.duration_s, int | float) and math.isfinite(self.duration_s)
        _require(
            finite and shortest_s <= self.duration_s <= 600,
            f"duration_s from {shortest_s:.3g} to 600 s",
            self.duration_s,
        )

    @property
    def length(self) -> int:
        """Samples of a clip."""
        return round(self.duration_s * self.sample_rate)

    @property
    def frames(self) -> int:
        """Number of frames N of a clip."""
        return self.length // self.hop_length + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, mel bands and frames of a clip."""
        return CHANNELS, self.mels, self.frames

    def key(self) -> str:
        """Return 16 digits, a hash of all numbers of the computation."""
        numbers = asdict(self) | {"duration_s": float(self.duration_s)}  # 10 and 10.0 are the same
        everything = [_VERSION, POWER_FLOOR, TOP_DB, numbers]
        return sha256(json.dumps(everything, sort_keys=True).encode())[:16]

    def warm_up(self) -> None:
        """Compute the filters, which several threads then share.

        Raises:
            ConfigError: Some filters hold no frequency.
        """
        _mel_and_weighting(self.sample_rate, self.n_fft, self.mels)

    def of_file(self, path: Path) -> Features:
        """Return the features of an audio file, shape (2, M, N).

        Raises:
            DataError: The file cannot be decoded or holds no sample.
        """
        wanted = math.ceil((self.duration_s + _MARGIN_S) * read_info(path).sample_rate)
        samples, sample_rate = read_audio(path, 0, wanted)
        if len(samples) == 0:
            raise DataError(
                f"{path}: expected samples, got a header without any; replace or remove the file"
            )
        channels = np.ascontiguousarray(samples.T)
        return self.compute(resample(channels, sample_rate, self.sample_rate))

    def compute(self, channels: Features) -> Features:
        """Return the features of samples (C, T) at ``sample_rate``, shape (2, M, N)."""
        stereo = channels
        if len(channels) != CHANNELS:
            stereo = np.stack([mixdown(channels)] * CHANNELS)
        clip = stereo[:, : self.length]
        if stereo.shape[1] < self.length:
            clip = np.take(stereo, np.arange(self.length), axis=1, mode="wrap")
        # Levels in dB, (2, N, F), within 80 dB of the loudest value of their channel.
        level = 10 * np.log10(np.maximum(self._power(clip), POWER_FLOOR))
        level = np.maximum(level, level.max(axis=(1, 2), keepdims=True) - TOP_DB)
        filters, weighting = _mel_and_weighting(self.sample_rate, self.n_fft, self.mels)
        # (M, F) @ (2, F, N): each band is an average of dB values.
        return np.ascontiguousarray(filters @ (level + weighting).swapaxes(1, 2), dtype=np.float32)

    def _power(self, clip: Features) -> Features:
        """Return the power spectrum of samples (2, T), shape (2, N, F)."""
        # Frames are centred: half a window is mirrored at both ends.
        half = self.n_fft // 2
        padded = np.pad(clip.astype(np.float32), ((0, 0), (half, half)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft, axis=1)
        frames = windows[:, :: self.hop_length]  # (2, N, n_fft)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        spectrum = scipy.fft.rfft(frames * hann.astype(np.float32))
        return spectrum.real**2 + spectrum.imag**2


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of every mel band, the same for both channels.

    Attributes:
        mean: Shape (M,).
        std: Shape (M,), positive.
    """

    mean: Features
    std: Features

    def apply(self, features: Features) -> Features:
        """Return normalised features (2, M, N)."""
        return (features - self.mean[:, None]) / self.std[:, None]


def measure_normalisation(clips: Iterable[Features]) -> Normalisation:
    """Return mean and standard deviation of every band over clips (2, M, N).

    Both channels and all frames count alike.

    Raises:
        DataError: There are no clips.
    """
    sums: NDArray[np.float64] = np.zeros(1)
    squares: NDArray[np.float64] = np.zeros(1)
    count = 0
    for clip in clips:
        # Sums over channels and frames, (M,), in double precision.
        sums = sums + clip.sum(axis=(0, 2), dtype=np.float64)
        squares = squares + np.square(clip, dtype=np.float64).sum(axis=(0, 2))
        count += clip.shape[0] * clip.shape[2]
    if count == 0:
        raise DataError("expected training clips to normalise by, got none; check the splits")
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Normalisation(mean.astype(np.float32), np.maximum(std, _LEAST_STD).astype(np.float32))


@dataclass
class FeatureStore:
    """Features of audio files by the content of the files, computed once.

    They are kept on disk and, up to a number of bytes, in memory. A file on disk holds the SHA-256
    of the values and the values; one that is damaged is computed again. Several processes may
    share a folder.

    Attributes:
        features: What is computed.
        cache_dir: Cache folder; empty for the user's.
        memory_bytes: Most bytes of features in memory, of all processes that load data.
    """

    features: SceneFeatures
    cache_dir: str = ""
    memory_bytes: int = 1 << 30
    _held: dict[str, Features] = field(default_factory=dict, repr=False)
    _held_bytes: int = 0

    def has(self, content: str) -> bool:
        """Tell whether the features of a file with this hash are in memory or on disk.

        Damage is found by ``get`` only.
        """
        if content in self._held:
            return True
        place = self._place(content)
        return place.is_file() and place.stat().st_size == self._disk_bytes()

    def get(self, path: Path, content: str) -> Features:
        """Return the features of a file, shape (2, M, N); the array must not be changed.

        Args:
            path: The file.
            content: SHA-256 of its bytes.

        Raises:
            DataError: The file cannot be decoded.
        """
        held = self._held.get(content)
        if held is not None:
            return held
        place = self._place(content)
        found = self._read(place)
        if found is None:
            found = self.features.of_file(path)
            self._write(place, found)
        if self._held_bytes + found.nbytes <= self.memory_bytes // loader_processes():
            self._held[content] = found
            self._held_bytes += found.nbytes
        return found

    def normalisation(
        self, training: str, clips: Callable[[], Iterable[Features]]
    ) -> Normalisation:
        """Return the normalisation of a training set, remembered under a hash of its files.

        Args:
            training: Hash that stands for the training set.
            clips: Gives the features of all its clips; called only when the result is not known.
        """
        place = self._folder() / f"normalisation-{training[:32]}.json"
        try:
            stored = parse(place.read_text(encoding="utf-8"))
            body = {"mean": stored["mean"], "std": stored["std"]}
            if (
                stored["check"] == sha256(json.dumps(body).encode())
                and len(body["mean"]) == self.features.mels
            ):
                return Normalisation(
                    np.array(body["mean"], np.float32), np.array(body["std"], np.float32)
                )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there or damaged: measured again
        measured = measure_normalisation(clips())
        body = {"mean": measured.mean.tolist(), "std": measured.std.tolist()}
        try:
            write_json(place, {**body, "check": sha256(json.dumps(body).encode())})
        except OutputError as error:
            _LOG.warning("%s; the normalisation is measured again at every start", error)
        return measured

    def _folder(self) -> Path:
        return cache_folder(self.cache_dir) / "scene_features" / self.features.key()

    def _place(self, content: str) -> Path:
        return self._folder() / content[:2] / f"{content}.f32"

    def _disk_bytes(self) -> int:
        return _DIGEST_BYTES + 4 * math.prod(self.features.shape)

    def _read(self, place: Path) -> Features | None:
        """Return stored features; None when they are not there or not as they were written."""
        try:
            stored = place.read_bytes()
        except OSError:
            return None
        digest, values = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if len(stored) != self._disk_bytes() or hashlib.sha256(values).digest() != digest:
            return None
        return np.frombuffer(values, dtype="<f4").reshape(self.features.shape)

    def _write(self, place: Path, features: Features) -> None:
        values = features.astype("<f4").tobytes()
        try:
            write_atomic(place, hashlib.sha256(values).digest() + values)
        except OutputError as error:
            _LOG.warning("%s; features are computed again each time", error)


@lru_cache(maxsize=8)
def _mel_and_weighting(sample_rate: int, n_fft: int, mels: int) -> tuple[Features, Features]:
    """Return the mel filters (M, F), of equal area, and the A-weighting (F,), at least -80 dB."""
    import librosa  # here, since it takes a second that cached features need not pay

    # Frequency 0 divides by zero; empty filters, of which librosa warns, are refused below.
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        weighting = librosa.A_weighting(librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft))
        filters = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=mels)
    empty = int((filters.max(axis=1) == 0).sum())
    if empty:
        raise ConfigError(
            f"expected mel bands that hold a frequency, got {empty} of {mels} without one; use "
            f"fewer mels or a larger n_fft"
        )
    return filters.astype(np.float32), weighting.astype(np.float32)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(fine: bool, expected: str, given: object) -> None:
    if not fine:
        raise ConfigError(f"expected {expected}, got {given}; correct the data configuration")
