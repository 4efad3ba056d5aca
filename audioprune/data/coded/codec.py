"""A signal through a lossy codec and back, sample-aligned: ``Codec.round_trip``.

AAC-LC, MP3 and Opus are encoded by FFmpeg, through PyAV; signals are mono (T,) float32. No
container and no file is involved. Which corpora are coded is decided in pairs.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

from audioprune.data.files.audio import Samples
from audioprune.dsp import resample
from audioprune.errors import ConfigError, DataError, unknown_name

_SHORTEST = 2304
"""Shorter signals are filled with zeros before coding, up to two frames of MPEG-1.

Decoders trim odd first frames wrongly.
"""


@dataclass(frozen=True)
class _Kind:
    """One codec as libavcodec names it.

    Attributes:
        encoder: Name of the encoder.
        decoder: Name of the decoder.
        format: Sample format of the encoder, floating point, so that levels above 1 survive.
        rates: Sample rates that the encoder takes, in Hz.
        delay: Samples of priming that the decoder leaves at the begin; 0 where it removes them
            itself.
        decoded_rate: Rate of the decoder in Hz, None for the encoder's.
    """

    encoder: str
    decoder: str
    format: str
    rates: tuple[int, ...]
    delay: int = 0
    decoded_rate: int | None = None


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_KINDS = {
    "aac": _Kind("aac", "aac", "fltp", (7350, *_MPEG_RATES, 64000, 88200, 96000), delay=1024),
    "mp3": _Kind("libmp3lame", "mp3float", "fltp", _MPEG_RATES),
    "opus": _Kind(
        "libopus", "libopus", "flt", (8000, 12000, 16000, 24000, 48000), decoded_rate=48000
    ),
}
CODECS = tuple(_KINDS)


@dataclass(frozen=True)
class CodedSignal:
    """What came back from a codec.

    Attributes:
        samples: Decoded signal, shape (T,), aligned with the original and exactly as long; it may
            exceed full scale 1.
        payload_bytes: Size of the encoded packets.
        kbps: Real bitrate of the payload in kbit/s, without any container.
    """

    samples: Samples
    payload_bytes: int
    kbps: float


@dataclass(frozen=True)
class Codec:
    """One codec at one bitrate and sample rate, mono.

    ``"aac"`` is FFmpeg's own AAC-LC encoder, ``"mp3"`` LAME, ``"opus"`` libopus. From 32 kHz on
    MP3 has no bitrate below 32 kbit/s (MPEG-1), so that a lower wish is not met; the real bitrate
    is measured. Opus decodes at 48 kHz and is resampled.

    Attributes:
        name: One of CODECS.
        kbps: Wanted bitrate in kbit/s, 6..512.
        sample_rate: Rate of the signals in Hz.

    Raises:
        ConfigError: The name is unknown, the bitrate out of its range, or the codec does not know
            the sample rate.

    Source: Plain & Biswas: AAC at 24 kbit/s, mono. Which encoder they used is not known, so that
    absolute quality may differ.
    """

    name: str = "aac"
    kbps: float = 24.0
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        if self.name not in _KINDS:
            raise ConfigError(unknown_name("codec", self.name, CODECS))
        if not (math.isfinite(self.kbps) and 6 <= self.kbps <= 512):
            raise ConfigError(
                f"expected kbps from 6 to 512 kbit/s, got {self.kbps}; use for instance 24"
            )
        rates = self._kind.rates
        if self.sample_rate not in rates:
            known = ", ".join(map(str, rates))
            raise ConfigError(
                f"expected a sample rate that {self.name} codes ({known} Hz), got "
                f"{self.sample_rate}; choose one of them"
            )

    @property
    def label(self) -> str:
        """Name in tables, such as ``"aac-24k"``."""
        return f"{self.name}-{self.kbps:g}k"

    @property
    def encoder(self) -> str:
        """Encoder as libavcodec names it, such as ``"libmp3lame"``."""
        return self._kind.encoder

    def round_trip(self, samples: Samples) -> CodedSignal:
        """Encode and decode a signal.

        Args:
            samples: Shape (T,), at least one sample, finite, full scale 1.0.

        Raises:
            DataError: The signal is empty, has another shape or is not finite.
            ConfigError: PyAV is not installed, or its libavcodec lacks the codec.
        """
        if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
            raise DataError(
                f"expected a finite mono signal (T,) to code, got shape {samples.shape}; leave "
                f"this signal out"
            )
        filled = np.pad(samples.astype(np.float32), (0, max(0, _SHORTEST - len(samples))))
        packets, extradata = self._encode(filled)
        decoded = self._decode(packets, extradata)[self._kind.delay :]
        if self._kind.decoded_rate:
            decoded = resample(decoded, self._kind.decoded_rate, self.sample_rate)
        if len(decoded) < len(samples):
            raise DataError(
                f"expected {len(samples)} samples from the decoder of {self.label}, got "
                f"{len(decoded)}; try another codec"
            )
        size = sum(packet.size for packet in packets)
        kbps = size * 8 / (len(filled) / self.sample_rate) / 1000
        aligned = np.ascontiguousarray(decoded[: len(samples)], dtype=np.float32)
        return CodedSignal(aligned, size, kbps)

    @property
    def _kind(self) -> _Kind:
        return _KINDS[self.name]

    def _encode(self, samples: Samples) -> tuple[list[Any], bytes | None]:
        """Return the packets of a signal and the decoder's setup."""
        av = _pyav()
        context = self._open(av, self._kind.encoder, "w")
        context.sample_rate = self.sample_rate
        context.format = self._kind.format
        context.bit_rate = round(1000 * self.kbps)
        context.time_base = Fraction(1, self.sample_rate)
        context.open()
        packets = []
        for start in range(0, len(samples), context.frame_size):
            part = np.ascontiguousarray(samples[None, start : start + context.frame_size])
            frame = av.AudioFrame.from_ndarray(part, format=self._kind.format, layout="mono")
            frame.sample_rate = self.sample_rate
            frame.pts, frame.time_base = start, context.time_base
            packets += context.encode(frame)
        packets += context.encode(None)
        return packets, bytes(context.extradata) if context.extradata else None

    def _decode(self, packets: list[Any], extradata: bytes | None) -> Samples:
        """Return everything that the decoder gives, at its own rate, as float32."""
        context = self._open(_pyav(), self._kind.decoder, "r")
        context.sample_rate = self._kind.decoded_rate or self.sample_rate
        if extradata:
            context.extradata = extradata
        parts = [np.zeros(0, np.float32)]
        for packet in (*packets, None):  # None asks for what the decoder still holds
            parts += [_as_float(frame.to_ndarray().ravel()) for frame in context.decode(packet)]
        return np.concatenate(parts)

    def _open(self, av: ModuleType, name: str, mode: str) -> Any:
        try:
            context = av.CodecContext.create(name, mode)
        except av.FFmpegError as error:
            raise ConfigError(
                f"expected a libavcodec with '{name}', got {libavcodec_version()} without it; "
                f"take another codec"
            ) from error
        context.layout = "mono"
        context.thread_count = 1
        return context


def libavcodec_version() -> str:
    """Return the version of libavcodec that codes, such as ``"62.28.102"``.

    Raises:
        ConfigError: PyAV is not installed.
    """
    return ".".join(map(str, _pyav().library_versions["libavcodec"]))


def _as_float(samples: np.ndarray) -> Samples:
    """Return decoded samples at full scale 1.0; some decoders give 16-bit numbers."""
    if np.issubdtype(samples.dtype, np.integer):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return samples.astype(np.float32)


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            "coding needs PyAV; run: pip install 'audioprune[codec]', or give decoded files "
            "with data=coded_folder data.coded_root=..."
        ) from error
    return av
