"""How a model is written as C: ``export_c(model, folder)``, compared with torch over 10 s.

The comparison needs a C compiler; where there is none the row says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.c.compiled import Compiled, compilers
from audioprune.export.c.files import c_files
from audioprune.export.rows import ExportRow
from audioprune.export.streaming import StreamingModel, streaming_of
from audioprune.export.timing import frames_of, gap, longer, noise_db, timed
from audioprune.files import write_atomic
from audioprune.protocols import Costed

TOLERANCE = 1e-4
SECONDS = 10.0
_FRAMES = 1000  # where the model does not say how long a frame is, and at most


def export_c(
    model: nn.Module,
    folder: str | Path,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    time_dim: int | Sequence[int] | None = None,
    frames_per_second: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ExportRow:
    """Write the streaming form of a model as C99.

    Args:
        model: A causal model.
        folder: Where the files are written; its name begins the names in C.
        example: An input or a tuple of them; by default the model's own.
        time_dim: Axis of time, or one for each input; by default the model's own.
        frames_per_second: Positions along time in a second; by default the model's own.
        metadata: What the header says about the model.

    Raises:
        ConfigError: The model looks ahead, has an operator without a C form, or its C differs from
            torch by more than 1e-4 of the peak; nothing is written.
    """
    folder = Path(folder)
    name = "".join(letter if letter.isalnum() else "_" for letter in folder.name)
    if not name.isidentifier() or not name.isascii():
        raise ConfigError(
            f"{folder}: expected a folder whose name may begin a name in C, got '{folder.name}'; "
            f"use letters, numbers and _"
        )
    if frames_per_second is None and isinstance(model, Costed):
        frames_per_second = model.frames_per_second
    part, stream = streaming_of(model, example, time_dim)
    files, shapes, need = c_files(stream, name, metadata or {})
    seconds = stream.frame / frames_per_second if frames_per_second else None
    row = _compared(part, stream, files, name, shapes, seconds, need, folder)
    for file, text in files.items():
        write_atomic(folder / file, text)
    return row


@torch.no_grad()
def _compared(
    model: nn.Module,
    stream: StreamingModel,
    files: Mapping[str, str],
    name: str,
    shapes: Sequence[tuple[int, ...]],
    seconds: float | None,
    need: str,
    folder: Path,
) -> ExportRow:
    size = sum(len(text.encode()) for text in files.values())
    found = compilers()
    if not found:
        note = f"{need}; not compared, for there is neither gcc nor clang"
        nothing = float("nan")
        return ExportRow(
            str(folder), "c", True, "float32", size, nothing, nothing, None, nothing, note
        )
    count = min(_FRAMES, int(SECONDS / seconds) + 1) if seconds else _FRAMES
    signals = tuple(
        longer(value, axis, count * stream.frame)
        for value, axis in zip(stream.example, stream.time_dims, strict=True)
    )
    with evaluating(model):
        leaves = tree_leaves(model(*signals))
    wanted = [leaves[place] for place in stream.output_places]
    frames = frames_of(stream, signals)
    worst, db = 0.0, float("inf")
    for compiler in found:
        compiled = Compiled(files, name, shapes, compiler)
        made = [compiled.step(*frame) for frame in frames]
        joined = [
            torch.cat(parts, axis)
            for parts, axis in zip(zip(*made, strict=True), stream.output_dims, strict=True)
        ]
        cut = [
            value.narrow(axis, 0, other.shape[axis])
            for value, other, axis in zip(wanted, joined, stream.output_dims, strict=True)
        ]
        worst, db = max(worst, gap(joined, cut)), min(db, noise_db(joined, cut))
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"format=c: expected the outputs of torch to {TOLERANCE} over {count} frames, got a "
            f"difference of {worst:.2g} of the peak; use format=onnx"
        )
    timing = timed(lambda: compiled.step(*frames[0]))
    factor = timing.mean_s / seconds if seconds else None
    note = f"{need}; {count} frames compared by {' and '.join(found)}"
    slowest = 1000 * timing.worst_s
    return ExportRow(str(folder), "c", True, "float32", size, worst, db, factor, slowest, note)
