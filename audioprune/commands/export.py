"""``audioprune export``: write a model for another runtime, and say what it is worth there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from audioprune import provenance
from audioprune.commands.file_scores import scoring_of
from audioprune.data.files.audio import read_audio
from audioprune.dsp import resampling
from audioprune.errors import ConfigError, DataError
from audioprune.experiment import agreement
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.model_io import build_model, instantiate, load_model_file
from audioprune.export.samples import OnSamples, with_transform
from audioprune.export.writing import FORMATS, ExportRow, export
from audioprune.files import check_writable, sha256_file
from audioprune.paths import model_file
from audioprune.protocols import Enhances
from audioprune.report.platforms import bounds, read_platforms
from audioprune.terminal.records import csv_text

_LEAST_RMS = 1e-8


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the files and print one row for each.

    Raises:
        ConfigError: The model cannot be exported so; nothing is written.
        DataError: The recording does not fit.
    """
    plain = provenance.effective(plain_values(config), overrides)
    torch.set_num_threads(plain["threads"])
    task = instantiate(agreement.complete_task(plain["task"])) if plain["task"] else None
    model = _model(plain, task)
    signal = _signal(plain["audio"], task) if plain["audio"] else None
    if plain["transform"] == "inside":
        model = with_transform(model, task)
    path = _path(plain)
    check_writable(path.parent)
    score, why = scoring_of(plain, task) if plain["int8"] else (None, "")
    rows = export(
        model,
        path,
        None if signal is None else _input(model, task, signal),
        format=plain["format"],
        streaming=plain["streaming"],
        time_dim=plain["time_dim"],
        int8=plain["int8"],
        metadata=_facts(plain, model, task),
        score=score,
    )
    if why:
        rows = [
            rows[0],
            *(replace(row, note=_joined(row.note, f"not scored: {why}")) for row in rows[1:]),
        ]
    records = [row.as_dict() for row in rows]
    if plain["shown"] == "json":
        print(json.dumps(records))
    elif plain["shown"] == "csv":
        print(csv_text(records), end="")
    else:
        print(_table(rows))


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _model(plain: dict[str, Any], task: Any) -> nn.Module:
    wanted = agreement.complete_model(plain["model"], task) if plain["model"] else None
    if plain["checkpoint"]:
        return load_model_file(plain["checkpoint"], wanted).model.eval()
    if wanted is None:
        raise ConfigError(
            "expected checkpoint=<model.apz, .safetensors, .pt or run folder> or model=NAME, got "
            "neither; give the model to export"
        )
    return build_model(wanted, trusted=True).eval()


def _path(plain: dict[str, Any]) -> Path:
    ending = FORMATS.get(plain["format"], "")
    return Path(plain["out"] or f"model{ending}")


def _signal(name: str, task: Any) -> Tensor:
    """Read a recording at the task's rate, as (1, T) at RMS 1."""
    if not isinstance(task, Enhances):
        raise ConfigError(
            "audio: expected a task of speech enhancement, whose inputs are made of a recording, "
            "got another; leave audio out"
        )
    channels, rate = read_audio(Path(name))
    if rate != task.sample_rate:
        raise DataError(
            f"{name}: expected {task.sample_rate} Hz, got {rate} Hz; resample the recording"
        )
    signal = torch.from_numpy(resampling.mixdown(channels.T)).float()[None]
    return signal / signal.square().mean().sqrt().clamp_min(_LEAST_RMS)


def _input(model: nn.Module, task: Any, signal: Tensor) -> Tensor:
    if isinstance(model, OnSamples):
        count = signal.shape[1] // model.hop
        return signal[:, : count * model.hop].reshape(1, count, model.hop)
    return cast(Tensor, task.target.inputs(signal))


def _facts(plain: dict[str, Any], model: nn.Module, task: Any) -> dict[str, str]:
    """Return what the file says about itself."""
    found = {"made_by": "audioprune", "transform": plain["transform"]}
    if plain["checkpoint"]:
        file = model_file(plain["checkpoint"])
        found["source_sha256"] = sha256_file(file)
    for key in ("sample_rate", "frame_length", "hop_length", "window"):
        value = getattr(task, key, None)
        if value is not None:
            found[key] = str(value)
    target = getattr(task, "target", None)
    stft = getattr(target, "stft", None)
    if stft is not None:
        found["window"] = str(stft.window)
    if target is not None:
        found |= {"target": type(target).__name__, "input_rms": "1"}
        for key in ("feature", "output", "ola_norm"):
            value = getattr(target, key, None)
            if value is not None:
                found[key] = str(value)
    if plain["task"]:
        found["task"] = str(plain["task"].get("name") or plain["task"]["_target_"])
    if isinstance(model, OnSamples):
        found["delay_samples"] = str(model.delay)
    return found


def _table(rows: Sequence[ExportRow]) -> str:
    head = f"{'file':36} {'numbers':12} {'bytes':>12} {'off torch':>10} {'SNR dB':>7} "
    lines = [head + f"{'real time':>9} {'worst ms':>9}"]
    for row in rows:
        factor = "-" if row.real_time_factor is None else f"{row.real_time_factor:.4f}"
        lines.append(
            f"{row.path:36} {row.numbers:12} {row.file_bytes:12,} {row.parity:10.1e} "
            f"{row.snr_db:7.1f} {factor:>9} {row.worst_frame_ms:9.2f}"
        )
        if row.score is not None and row.score_float is not None:
            change = row.score - row.score_float
            lines.append(f"  {row.metric} {row.score:.4g} ({change:+.2g} beside float32)")
        if row.note:
            lines.append(f"  {row.note}")
        lines += [f"  {line}" for line in _on_platforms(row)]
    what = "frame" if rows[0].streaming else "whole signal"
    lines.append(
        f"off torch: largest difference as a share of the peak; SNR: what torch gives over the "
        f"difference to it; real time: seconds for one second of audio, on one thread; worst ms: "
        f"the slowest {what}"
    )
    return "\n".join(lines)


def _on_platforms(row: ExportRow) -> list[str]:
    """Say on which of the small machines of P3 a model in C runs; two operations are a MAC."""
    if row.rom_bytes is None or row.ram_bytes is None or row.macs is None:
        return []
    if row.frames_per_second is None:
        return []
    work = 2 * row.macs * row.frames_per_second
    found = []
    for platform in read_platforms():
        limits = bounds(platform, work, row.rom_bytes, row.ram_bytes)
        lacks = [
            name
            for name, kept in (
                ("ROM", limits.fits_drive),
                ("RAM", limits.fits_memory),
                ("speed", limits.real_time),
            )
            if not kept
        ]
        found.append(f"{platform.name} {'runs it' if not lacks else 'lacks ' + ', '.join(lacks)}")
    return [f"{work / 1e6:.3g} M operations a second: {'; '.join(found)}"]
