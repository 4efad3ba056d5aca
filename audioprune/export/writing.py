"""How a model is written for another runtime: ``export(model, path)``, its parity and its speed.

Formats are ``onnx``, ``torchscript`` and ``c``; ``streaming=True`` writes the form that maps one
frame and named states to one frame, see `streaming`. What was written is run again and compared
with torch on signals of two lengths before the file takes its name: nothing is left of a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError, unknown_name
from audioprune.export.c.writing import export_c
from audioprune.export.rows import ExportRow
from audioprune.export.running import FileModel, Score, scored
from audioprune.export.runtimes import int8 as int8_tools
from audioprune.export.runtimes.onnx_file import Session, streaming_graph, whole_graph
from audioprune.export.runtimes.script import loaded, script_of
from audioprune.export.streaming import (
    LENGTHS,
    StreamingModel,
    inputs_of,
    positions_per_second,
    streaming_of,
)
from audioprune.export.timing import (
    Function,
    Timing,
    gap,
    longer,
    noise_db,
    timed,
)
from audioprune.export.trace import trace
from audioprune.files import sha256, write_atomic

FORMATS = {"onnx": ".onnx", "torchscript": ".pt", "c": ""}
INT8 = {"onnx": ("dynamic", "static"), "c": ("weights",)}
"""Which eight-bit forms a format has."""
TOLERANCE = 1e-5
_CALIBRATED = 100  # frames


@dataclass(frozen=True)
class _Form:
    """What is exported: a module with its example, and signals to compare it on."""

    module: nn.Module
    example: tuple[Tensor, ...]
    stream: StreamingModel | None
    signals: tuple[tuple[Tensor, ...], ...]
    wanted: tuple[list[tuple[Tensor, ...]], ...]
    seconds: float | None


def export(
    model: nn.Module,
    path: str | Path,
    example: Tensor | Sequence[Tensor] | None = None,
    *,
    format: str = "onnx",
    streaming: bool = False,
    time_dim: int | Sequence[int] | None = None,
    int8: Sequence[str] = (),
    frames_per_second: float | None = None,
    metadata: Mapping[str, str] | None = None,
    score: Score | None = None,
) -> list[ExportRow]:
    """Write a model for another runtime, compare it with torch, and time it.

    Args:
        model: Any module whose inputs are tensors, batch first; it is run in evaluation mode.
        path: The file to write, ``.onnx`` or ``.pt``; for C a folder.
        example: An input or a tuple of them; by default the model's own.
        format: ``onnx``, with an open batch and number of frames, ``torchscript``, or ``c``.
        streaming: Whether to write the form that maps one frame and its states. C without it maps
            signals as long as the example.
        time_dim: Axis of time, or one for each input; by default the model's own.
        int8: Which eight-bit forms to write beside it: ``dynamic`` or ``static`` of an ONNX file,
            ``weights`` of C.
        frames_per_second: Positions along time in a second; by default the model's own.
        metadata: What the file says about itself, beside the names of its streams.
        score: Scores a module in the place of the model, and names the measure; called for each
            file where eight-bit ones are written.

    Returns:
        One row for each file.

    Raises:
        ConfigError: An argument is unknown, the model cannot be exported, which names the layer,
            or the file differs from torch by more than 1e-5 of the peak; nothing is written.
    """
    path = _checked(path, format, int8)
    if format == "c":
        return export_c(
            model,
            path,
            example,
            streaming=streaming,
            time_dim=time_dim,
            int8=bool(int8),
            frames_per_second=frames_per_second,
            metadata=metadata,
            score=score,
        )
    form = _form(model, example, time_dim, frames_per_second, streaming)
    facts = _facts(form, model, metadata or {})
    if format == "torchscript":
        data = script_of(form.module, form.example, facts)
        files = {"float32": (path, data, _function(loaded(data)))}
        note = ""
    else:
        files, note = _onnx_files(form, path, facts, int8)
    rows = []
    for numbers, (file, data, run) in files.items():
        row = _row(form, run, file, format, numbers, len(data), note)
        if numbers == "float32" and not row.parity <= TOLERANCE:
            raise ConfigError(
                f"{file.name}: expected the outputs of torch to {TOLERANCE}, got a difference of "
                f"{row.parity:.2g} of the peak; use another format"
            )
        rows.append(row)
    if score is not None and int8:
        runs = [FileModel(run, form.stream) for _, _, run in files.values()]
        rows = scored(rows, runs, score)
    for file, data, _ in files.values():
        write_atomic(file, data)
    return rows


def _checked(path: str | Path, format: str, int8: Sequence[str]) -> Path:
    if format == "executorch":
        raise ConfigError(_no_executorch())
    if format not in FORMATS:
        raise ConfigError(unknown_name("format", format, (*FORMATS, "executorch")))
    known = INT8.get(format, ())
    for each in int8:
        if each not in known:
            wanted = f"one of {', '.join(known)} with" if known else "nothing with"
            raise ConfigError(f"int8: expected {wanted} format={format}, got {each}; leave it out")
    path = Path(path)
    if format == "c":
        if path.is_file():
            raise ConfigError(f"{path}: expected a folder for C, got a file; give another")
        return path
    if path.suffix != FORMATS[format]:
        raise ConfigError(
            f"{path}: expected a file name that ends in {FORMATS[format]}, got "
            f"'{path.suffix}'; rename it"
        )
    if path.is_dir():
        raise ConfigError(f"{path}: expected a file name, got a folder; give another")
    return path


def _no_executorch() -> str:
    """Say which release goes with the installed torch; 1.0 went with 2.9, and so on from there."""
    major, minor = (int(each) for each in torch.__version__.split(".")[:2])
    pair = f"executorch 1.{minor - 9}" if major == 2 and minor >= 9 else "an older executorch"
    return (
        f"format=executorch: expected one of {', '.join(FORMATS)}, got one that needs a package "
        f"for one torch alone, which is not part of this one ({pair} goes with torch "
        f"{major}.{minor}); lower torch.export's graph with that package, or use format=onnx"
    )


def _form(
    model: nn.Module,
    example: Tensor | Sequence[Tensor] | None,
    time_dim: int | Sequence[int] | None,
    frames_per_second: float | None,
    wants_stream: bool,
) -> _Form:
    if frames_per_second is None:
        frames_per_second = positions_per_second(model)
    if wants_stream:
        part, stream = streaming_of(model, example, time_dim)
        inputs, axes, frame = stream.example, stream.time_dims, stream.frame
        lengths = tuple(frames * frame for frames in LENGTHS)
        frames_of_one = frame
    else:
        part, stream = model, None
        inputs, axes = inputs_of(model, example, time_dim)
        inputs = tuple(value[:1] for value in inputs)
        size = inputs[0].shape[axes[0]]
        lengths, frames_of_one = (size, 2 * size), size
    signals = tuple(
        tuple(longer(value, axis, length) for value, axis in zip(inputs, axes, strict=True))
        for length in lengths
    )
    if stream is None:
        signals = _accepted(model, signals)
    wanted = tuple(_whole(part, each, stream) for each in signals)
    module: nn.Module = part
    given = inputs
    if stream is not None:
        module, given = stream, (*stream.example_frames(), *stream.initial_state(1))
    seconds = frames_of_one / frames_per_second if frames_per_second else None
    return _Form(module, given, stream, signals, wanted, seconds)


@torch.no_grad()
def _accepted(
    model: nn.Module, signals: tuple[tuple[Tensor, ...], ...]
) -> tuple[tuple[Tensor, ...], ...]:
    """Leave out signals of a length that the model does not take."""
    found = []
    for i, each in enumerate(signals):
        try:
            with evaluating(model):
                model(*each)
        except Exception:  # whatever a model raises for a length that it does not know
            if i == 0:
                raise
            continue
        found.append(each)
    return tuple(found)


@torch.no_grad()
def _whole(
    model: nn.Module, signals: tuple[Tensor, ...], stream: StreamingModel | None
) -> list[tuple[Tensor, ...]]:
    """Return the outputs of the whole pass, cut into frames for a streaming form."""
    with evaluating(model):
        leaves = tree_leaves(model(*signals))
    if stream is None:
        return [tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))]
    kept = [leaves[place] for place in stream.output_places]
    sizes = list(zip(kept, stream.output_dims, stream.output_frames, strict=True))
    counts = [value.shape[axis] // size for value, axis, size in sizes]
    count = min(signals[0].shape[stream.time_dims[0]] // stream.frame, *counts)
    return [
        tuple(value.narrow(axis, t * size, size) for value, axis, size in sizes)
        for t in range(count)
    ]


def _facts(form: _Form, model: nn.Module, given: Mapping[str, str]) -> dict[str, str]:
    state = b"".join(
        name.encode()
        + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for name, value in sorted(model.state_dict().items())
        if value.numel()
    )
    facts = {"model": type(model).__name__, "weights_sha256": sha256(state)}
    if form.stream is not None:
        facts |= {
            "streaming": "true",
            "frame": str(form.stream.frame),
            "inputs": ",".join(form.stream.input_names),
            "outputs": ",".join(form.stream.output_names),
            "states": ",".join(form.stream.state_names),
        }
    if form.seconds is not None and form.stream is not None:
        facts["frames_per_second"] = f"{1 / form.seconds:g}"
    return facts | dict(given)


def _onnx_files(
    form: _Form, path: Path, facts: Mapping[str, str], int8: Sequence[str]
) -> tuple[dict[str, tuple[Path, bytes, Function]], str]:
    note = ""
    if form.stream is not None:
        graph = streaming_graph(form.stream, facts)
    else:
        axes = _axes(form)
        traced = trace(form.module, form.example, axes, fixed=True)
        graph = whole_graph(traced, facts)
        if not traced.open_time:
            note = f"takes {form.example[0].shape[axes[0]]} frames alone"
    data = graph.SerializeToString()
    session = Session(data)
    files = {"float32": (path, data, session.module())}
    for each in int8:
        made = (
            int8_tools.dynamic(data)
            if each == "dynamic"
            else int8_tools.static(data, _calibration(form, session))
        )
        name = path.with_name(f"{path.stem}_int8_{each}{path.suffix}")
        files[f"int8 {each}"] = (name, made, Session(made).module())
    return files, note


def _axes(form: _Form) -> tuple[int, ...]:
    """Return the axis along which the compared signals differ, for each input."""
    if len(form.signals) < 2:
        return tuple(1 for _ in form.example)
    return tuple(
        next(i for i, (a, b) in enumerate(zip(one.shape, two.shape, strict=True)) if a != b)
        for one, two in zip(*form.signals, strict=True)
    )


def _calibration(form: _Form, session: Session) -> list[dict[str, Any]]:
    """Return the inputs of the graph on the longer signal, with the states as they come."""
    run, names = session.module(), session.inputs
    if form.stream is None:
        return [dict(zip(names, [each.numpy() for each in form.signals[-1]], strict=True))]
    found: list[dict[str, Any]] = []

    def kept(*values: Tensor) -> tuple[Tensor, ...]:
        found.append(dict(zip(names, [each.numpy() for each in values], strict=True)))
        return run(*values)

    signals = tuple(
        longer(value, axis, _CALIBRATED * form.stream.frame)
        for value, axis in zip(form.stream.example, form.stream.time_dims, strict=True)
    )
    form.stream.stepped(kept, signals)
    return found


def _function(module: nn.Module) -> Function:
    def run(*values: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(tree_leaves(module(*values)))

    return run


def _row(
    form: _Form, run: Function, path: Path, format: str, numbers: str, size: int, note: str
) -> ExportRow:
    worst, db = 0.0, 0.0
    for signals, wanted in zip(form.signals, form.wanted, strict=True):
        stream = form.stream
        found = stream.stepped(run, signals) if stream is not None else [run(*signals)]
        found = found[: len(wanted)]  # a model may leave out its last frames
        peaks = _joined(wanted)
        worst = max(worst, gap(_joined(found), peaks))
        db = noise_db(_joined(found), peaks)
    timing = _timing(form, run)
    factor = timing.mean_s / form.seconds if form.seconds else None
    return ExportRow(
        str(path),
        format,
        form.stream is not None,
        numbers,
        size,
        worst,
        db,
        factor,
        1000 * timing.worst_s,
        note,
    )


def _joined(frames: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """Join the frames of each output, each flat."""
    return [torch.cat([value.flatten() for value in each]) for each in zip(*frames, strict=True)]


def _timing(form: _Form, run: Function) -> Timing:
    if form.stream is None:
        signals = form.signals[0]
        return timed(lambda: run(*signals))
    states: list[Tensor] = list(form.stream.initial_state(1))
    frames = form.stream.frames(form.signals[-1])
    count, place = len(form.stream.output_names), 0

    def step() -> None:
        nonlocal place
        made = run(*frames[place % len(frames)], *states)
        states[:] = made[count:]
        place += 1

    return timed(step)
