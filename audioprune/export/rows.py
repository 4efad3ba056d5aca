"""What an export says of a file that it wrote: ``ExportRow``; nothing is measured here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ExportRow:
    """What was written and what it does.

    Attributes:
        path: The file, or the folder of C files.
        format: ``onnx``, ``torchscript`` or ``c``.
        streaming: Whether it maps one frame, else whole signals.
        numbers: ``float32``, ``int8 dynamic`` or ``int8 static``.
        file_bytes: Bytes of the file.
        parity: Largest difference to torch, as a share of the output's peak.
        snr_db: Torch's output over this difference, in dB, on the longer signal.
        real_time_factor: Seconds that one second of audio takes; None where the model does not
            say how many frames a second has.
        worst_frame_ms: The slowest frame, or whole signal, in milliseconds.
        note: What else is to be known.
        rom_bytes: Bytes of constants, of C alone.
        ram_bytes: Bytes of states and intermediate values, of C alone.
        macs: Multiplications of one frame, of C alone.
        frames_per_second: Frames in a second, where the model says it.
        metric: Name of the task's own measure, where the file was scored.
        score: What the file scores by it.
        score_float: What the float32 file scores.
    """

    path: str
    format: str
    streaming: bool
    numbers: str
    file_bytes: int
    parity: float
    snr_db: float
    real_time_factor: float | None
    worst_frame_ms: float
    note: str = ""
    rom_bytes: int | None = None
    ram_bytes: int | None = None
    macs: int | None = None
    frames_per_second: float | None = None
    metric: str = ""
    score: float | None = None
    score_float: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON can hold them."""
        return asdict(self)
