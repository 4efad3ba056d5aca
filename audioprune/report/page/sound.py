"""How a clip is stored in the page: small, and with the gain that makes all clips equally loud.

``Sounds`` encodes each file once, whichever items it belongs to, as Opus where PyAV can, else as
the FLAC that it is. A clip is never cut, and nothing but its loudness is changed when it plays.
"""

from __future__ import annotations

import base64
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audioprune.listening.loudness import SAMPLE_RATE, loudness_lufs
from audioprune.report.clips import beginning
from audioprune.report.page.pitch import pitch_hz

_SPEECH_RATE = 16000  # Hz; audio of a higher rate gets more bits
_BITS = {True: 32000, False: 64000}
_DIGEST = slice(26, 42)  # of the samples, in the first block of a FLAC file
NO_PYAV = (
    "The clips are FLAC, several times larger than Opus, for PyAV is not installed; "
    "pip install 'audioprune[codec]' makes the page smaller."
)
NO_OPUS = "The clips are FLAC, for this PyAV was built without an Opus encoder."


@dataclass(frozen=True)
class Sound:
    """A clip as the page stores it.

    Attributes:
        name: Its id on the page.
        address: Data address of the encoded audio.
        sample_rate: Of the file, in Hz.
        seconds: Its length.
        loudness: In LUFS; minus infinity for silence.
        pitch_hz: Of its loudest part, or None where it has none.
    """

    name: str
    address: str
    sample_rate: int
    seconds: float
    loudness: float
    pitch_hz: float | None


@dataclass
class Sounds:
    """All clips of a page, each stored once.

    Attributes:
        note: Why the clips are not Opus; empty where they are.
        size: Bytes of the page that they take.
    """

    note: str = ""
    size: int = 0
    _known: dict[bytes, Sound] = field(default_factory=dict)

    def sound(self, path: Path) -> Sound:
        """Return the clip of a file; two files of the same samples give one clip.

        Raises:
            OSError, RuntimeError: The file cannot be read.
        """
        head = beginning(path)
        digest = head[_DIGEST]
        # A writer that could not seek back leaves the digest zero.
        key = digest if head.startswith(b"fLaC") and any(digest) else os.fsencode(path)
        if key not in self._known:
            made = self._made(path, f"clip-{len(self._known) + 1}")
            self._known[key] = made
            self.size += len(made.address)
        return self._known[key]

    def _made(self, path: Path, name: str) -> Sound:
        import soundfile
        from scipy.signal import resample_poly  # slow to import; pages without clips do without

        signal, sample_rate = soundfile.read(os.fsencode(path), dtype="float64", always_2d=True)
        mono = signal.mean(axis=1)
        common = math.gcd(sample_rate, SAMPLE_RATE)
        at_48k = resample_poly(mono, SAMPLE_RATE // common, sample_rate // common)
        kind, data = self._encoded(path, at_48k, _BITS[sample_rate <= _SPEECH_RATE])
        address = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        loudness = loudness_lufs(at_48k) if mono.size else -math.inf
        seconds = mono.size / sample_rate
        return Sound(name, address, sample_rate, seconds, loudness, pitch_hz(mono, sample_rate))

    def _encoded(self, path: Path, at_48k: np.ndarray, bits: int) -> tuple[str, bytes]:
        if not self.note:
            try:
                return "audio/ogg", opus(at_48k, bits)
            except ModuleNotFoundError:
                self.note = NO_PYAV
            except ValueError:
                self.note = NO_OPUS
        return "audio/flac", path.read_bytes()


def opus(signal: np.ndarray, bits_per_second: int) -> bytes:
    """Encode a mono signal (T,) of 48 kHz as Opus in Ogg; the same signal gives the same bytes.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        ValueError: It was built without an Opus encoder.
    """
    import av

    stream = io.BytesIO()
    # Without this flag every file gets a serial number drawn at random.
    container = av.open(stream, "w", format="ogg", options={"fflags": "+bitexact"})
    with container:
        track = container.add_stream("libopus", rate=SAMPLE_RATE)
        track.bit_rate = bits_per_second
        track.codec_context.layout = "mono"
        track.codec_context.format = "flt"
        samples = np.clip(signal, -1, 1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = 0
        for packet in (*track.encode(frame), *track.encode(None)):
            container.mux(packet)
    return stream.getvalue()
