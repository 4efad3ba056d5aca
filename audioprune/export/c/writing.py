"""How a model is written as C: ``export_c(model, folder)``, compared with torch over 10 s.

With ``int8`` a second folder holds weights of 8 bits; its C is compared with torch on these very
weights, and the row tells the signal over what rounding changed.

The comparison needs a C compiler; where there is none the row says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.c.compiled import Compiled, compilers
from audioprune.export.c.files import Written, c_files
from audioprune.export.c.rounding import rounded_weights
from audioprune.export.rows import ExportRow
from audioprune.export.running import FileModel, Score, scored
from audioprune.export.streaming import (
    StreamingModel,
    positions_per_second,
    same_length,
    streaming_of,
    whole_of,
)
from audioprune.export.timing import gap, longer, noise_db, timed
from audioprune.files import write_atomic

TOLERANCE = 1e-4
SECONDS = 10.0
_FRAMES = 1000  # where the model does not say how long a frame is, and at most


def export_c(
    model: nn.Module,
    folder: str | Path,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    streaming: bool = True,
    time_dim: int | Sequence[int] | None = None,
    int8: bool = False,
    frames_per_second: float | None = None,
    metadata: Mapping[str, str] | None = None,
    score: Score | None = None,
) -> list[ExportRow]:
    """Write a model as C99.

    Args:
        model: A causal model; any model of known sizes where it is written as a whole.
        folder: Where the files are written; its name begins the names in C.
        example: An input or a tuple of them; by default the model's own.
        streaming: Whether a step maps one frame; else it maps a signal as long as the example.
        time_dim: Axis of time, or one for each input; by default the model's own.
        int8: Whether the same with weights of 8 bits is written beside it, ``FOLDER_int8``.
        frames_per_second: Positions along time in a second; by default the model's own.
        metadata: What the header says about the model.
        score: See ``export``.

    Raises:
        ConfigError: The model looks ahead, has an operator without a C form, or its C differs from
            torch by more than 1e-4 of the peak; nothing is written.
    """
    folder = Path(folder)
    if frames_per_second is None:
        frames_per_second = positions_per_second(model)
    part, stream = (streaming_of if streaming else whole_of)(model, example, time_dim)
    seconds = stream.frame / frames_per_second if frames_per_second else None
    wanted = [_Wish(folder, stream, "float32")]
    if int8:
        beside = folder.with_name(f"{folder.name}_int8")
        wanted.append(_Wish(beside, rounded_weights(stream), "int8 weights"))
    made = [c_files(wish.stream, wish.name, metadata or {}) for wish in wanted]
    signals = _signals(stream, streaming, seconds) if compilers() else []
    plain = [_outputs(part, each) for each in signals]
    rows = []
    for wish, written in zip(wanted, made, strict=True):
        row = _row(wish, written, streaming, seconds)
        if signals:
            rounded = wish.stream is not stream
            exact = [wish.stream.run(*each) for each in signals] if rounded else plain
            row = _compared(row, wish, written, signals, exact, plain)
        rows.append(row)
    if score is not None and int8:
        # the C was compared with these, and equals them
        rows = scored(rows, [FileModel(wish.stream, wish.stream) for wish in wanted], score)
    for wish, written in zip(wanted, made, strict=True):
        for file, text in written.files.items():
            write_atomic(wish.folder / file, text)
    return rows


@dataclass(frozen=True)
class _Wish:
    """A folder of C, and the form that its numbers come from."""

    folder: Path
    stream: StreamingModel
    numbers: str

    @property
    def name(self) -> str:
        """What names in C begin with."""
        name = "".join(letter if letter.isalnum() else "_" for letter in self.folder.name)
        if not name.isidentifier() or not name.isascii():
            raise ConfigError(
                f"{self.folder}: expected a folder whose name may begin a name in C, got "
                f"'{self.folder.name}'; use letters, numbers and _"
            )
        return name


def _row(wish: _Wish, written: Written, streaming: bool, seconds: float | None) -> ExportRow:
    """Return the row of a folder that was not compared."""
    need = written.need
    return ExportRow(
        str(wish.folder),
        "c",
        streaming,
        wish.numbers,
        sum(len(text.encode()) for text in written.files.values()),
        math.nan,
        math.nan,
        None,
        math.nan,
        f"{need}; not compared, for there is neither gcc nor clang",
        need.rom_bytes,
        need.ram_bytes,
        need.macs,
        1 / seconds if seconds else None,
    )


def _compared(
    row: ExportRow,
    wish: _Wish,
    written: Written,
    signals: Sequence[tuple[Tensor, ...]],
    exact: Sequence[Sequence[Tensor]],
    plain: Sequence[Sequence[Tensor]],
) -> ExportRow:
    """Return the row of a folder that was compiled, compared and timed.

    Args:
        row: What is known without.
        wish: The folder.
        written: Its files.
        signals: What is compared on.
        exact: What torch makes of each with the same numbers, and ``plain`` by the model.
    """
    stream, found = wish.stream, compilers()
    worst, db = 0.0, math.inf
    for compiler in found:
        compiled = Compiled(written.files, wish.name, written.shapes, compiler)
        for each, wanted, of_model in zip(signals, exact, plain, strict=True):
            compiled.reset()
            made = stream.joined([compiled.step(*frame) for frame in stream.frames(each)])
            worst = max(worst, gap(*_cut(made, wanted, stream)))
            db = min(db, noise_db(*_cut(made, of_model, stream)))
    count = signals[0][0].shape[stream.time_dims[0]] // stream.frame
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"format=c: expected the outputs of torch to {TOLERANCE} over {count} frames, got a "
            f"difference of {worst:.2g} of the peak; use format=onnx"
        )
    frame = stream.frames(signals[0])[0]
    timing = timed(lambda: compiled.step(*frame))
    per_second = row.frames_per_second
    what = f"{count} frames" if row.streaming else f"{len(signals)} signals"
    return replace(
        row,
        parity=worst,
        snr_db=db,
        real_time_factor=timing.mean_s * per_second if per_second else None,
        worst_frame_ms=1000 * timing.worst_s,
        note=f"{written.need}; {what} compared by {' and '.join(found)}",
    )


def _signals(
    stream: StreamingModel, streaming: bool, seconds: float | None
) -> list[tuple[Tensor, ...]]:
    """Return ten seconds of frames, or two whole signals."""
    if not streaming:
        return [stream.example, tuple(value.flip(-1) for value in stream.example)]
    count = min(_FRAMES, int(SECONDS / seconds) + 1) if seconds else _FRAMES
    pairs = zip(stream.example, stream.time_dims, strict=True)
    return [tuple(longer(value, axis, count * stream.frame) for value, axis in pairs)]


@torch.no_grad()
def _outputs(model: nn.Module, signals: tuple[Tensor, ...]) -> list[Tensor]:
    """Return what the model makes of signals."""
    with evaluating(model):
        return [leaf for leaf in tree_leaves(model(*signals)) if isinstance(leaf, Tensor)]


def _cut(
    made: Sequence[Tensor], wanted: Sequence[Tensor], stream: StreamingModel
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs that both have, of one length."""
    if len(wanted) > len(made):
        wanted = [wanted[place] for place in stream.output_places]
    pairs = [
        same_length(value, other, axis)
        for value, other, axis in zip(made, wanted, stream.output_dims, strict=True)
    ]
    return [value for value, _ in pairs], [other for _, other in pairs]
