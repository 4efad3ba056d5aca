"""``audioprune enhance``: run a trained enhancer on a file, a folder, a pipe or a microphone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audioprune import provenance
from audioprune.commands.messages import say
from audioprune.errors import ConfigError, DataError
from audioprune.experiment import agreement
from audioprune.experiment.config_hash import plain_values
from audioprune.files import sha256, sha256_file
from audioprune.inference.enhancer import Enhancer, load_enhancer
from audioprune.inference.files import CONTAINERS, enhance_file
from audioprune.inference.folders import Plan, Work, summary, work_through
from audioprune.inference.microphone import enhance_microphone, sound_device
from audioprune.inference.pipes import BLOCK_S, Raw, enhance_pipe, pipe_stream, raw_writer
from audioprune.interrupts import graceful
from audioprune.paths import model_file
from audioprune.training.devices import chosen_device

LOG = "enhanced.jsonl"


@dataclass(frozen=True)
class Request:
    """What a process needs to enhance files.

    Attributes:
        checkpoint: Model file or run folder.
        model: The user's own class, or None.
        task: Target and arguments of the task, or None for that of the file.
        dry: Share of the unprocessed signal, or None for that of the task.
        device: Where the model computes.
        threads: CPU threads of torch.
        block_s: Seconds of audio in memory at once.
        level: Root mean square that recordings are taken to have, or None.
        resample: Whether other rates than the model's are allowed.
        overwrite: Whether outputs that exist are replaced.
    """

    checkpoint: str
    model: dict[str, Any] | None
    task: dict[str, Any] | None
    dry: float | None
    device: str
    threads: int
    block_s: float
    level: float | None
    resample: bool
    overwrite: bool

    def enhancer(self) -> Enhancer:
        """Read the model."""
        torch.set_num_threads(self.threads)
        return load_enhancer(
            self.checkpoint, model=self.model, task=self.task, dry=self.dry, device=self.device
        )

    def made_by(self) -> str:
        """Return a hash of all that decides the outputs."""
        model = sha256_file(model_file(self.checkpoint))
        parts = ["enhance", model, self.model, self.task, self.dry, self.level]
        return sha256(json.dumps(parts, sort_keys=True).encode())[:16]


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Enhance what ``input`` names, or what the microphone hears.

    Raises:
        ConfigError: No model, no input or no output is given, or they do not fit.
        DataError: Files of a folder could not be enhanced; the others are.
    """
    plain = provenance.effective(plain_values(config), overrides)
    request = _request(plain)
    with graceful():
        if plain["listen"]:
            _listen(request)
            return
        source, target = plain["input"], plain["out"]
        if not source or not target:
            raise ConfigError(
                "expected in=FILE, FOLDER or - and out=FILE, FOLDER or -, got "
                f"in={source or 'none'} out={target or 'none'}; give both"
            )
        if "-" in (source, target):
            _through_pipe(plain, request)
        elif Path(source).is_dir():
            _folder(plain, request)
        else:
            _refuse_folder(source, target)
            enhancer = request.enhancer()
            say(enhancer.rule())
            print(_file_work(request, enhancer)(Path(source), Path(target))["line"])


def _request(plain: dict[str, Any]) -> Request:
    if not plain["checkpoint"]:
        raise ConfigError(
            "expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give the "
            "model that enhances"
        )
    level_db, task = plain["level_db"], plain["task"]
    return Request(
        plain["checkpoint"],
        plain["model"],
        agreement.complete_task(task) if task else None,
        plain["dry"],
        str(chosen_device(plain["runtime"]["device"])),
        plain["runtime"]["threads"] or len(os.sched_getaffinity(0)),
        plain["block_s"],
        None if level_db is None else 10 ** (level_db / 20),
        plain["resample"],
        plain["overwrite"],
    )


def _refuse_folder(source: str, target: str) -> None:
    if Path(target).is_dir() or target.endswith("/"):
        raise ConfigError(
            f"expected out=FILE for the single file {source}, got the folder {target}; give a name"
        )


def _file_work(request: Request, enhancer: Enhancer) -> Work:
    def work(source: Path, target: Path) -> dict[str, Any]:
        report = enhance_file(
            enhancer,
            source,
            target,
            block_s=request.block_s,
            level=request.level,
            resample=request.resample,
            overwrite=request.overwrite,
        )
        return {**report.as_dict(), "line": report.line()}

    return work


def _replacing(request: Request) -> Work:
    """Read the model in a process of a folder, whose outputs are known to be its own."""
    enhancer = request.enhancer()
    own = Request(**{**vars(request), "overwrite": True})
    return _file_work(own, enhancer)


def _folder(plain: dict[str, Any], request: Request) -> None:
    plan = Plan(
        Path(plain["input"]),
        Path(plain["out"]),
        _output_name,
        LOG,
        request.made_by(),
        request.overwrite,
    )
    plan.pairs()  # before a model is read
    say(request.enhancer().rule())
    outcome = work_through(plan, _replacing, request, jobs=plain["jobs"])
    print(summary(outcome, "enhanced"))
    if outcome.failed:
        first = outcome.failed[0]
        raise DataError(f"{len(outcome.failed)} files could not be enhanced; the first: {first}")


def _output_name(name: str) -> str:
    """Return the name of an output: that of the input where its container can be written."""
    path = Path(name)
    lossless = path.suffix.lower() in CONTAINERS and path.suffix.lower() != ".ogg"
    return name if lossless else f"{path.stem}.wav"


def _through_pipe(plain: dict[str, Any], request: Request) -> None:
    source, target = plain["input"], plain["out"]
    if source != "-" or target != "-":
        raise ConfigError(
            f"expected in=- out=- for a pipe of raw samples, got in={source} out={target}; give "
            f"both or none as a pipe"
        )
    raw = Raw(plain["pcm"], plain["rate"] or 0, plain["channels"])
    enhancer = request.enhancer()
    if not request.resample and raw.sample_rate != enhancer.sample_rate:
        raise ConfigError(
            f"expected rate={enhancer.sample_rate}, got {raw.sample_rate}; leave out "
            f"resample=false"
        )
    delay = enhancer.latency_s(raw.sample_rate, max(1, round(BLOCK_S * raw.sample_rate)))
    say(f"{enhancer.rule()}; output is {1e3 * delay:.0f} ms behind")
    stream = pipe_stream(enhancer, raw, request.level)
    report = enhance_pipe(stream, raw, sys.stdin.buffer, raw_writer(raw, sys.stdout.buffer))
    say(report.line())


def _listen(request: Request) -> None:
    sound_device()  # before a model is read
    enhancer = request.enhancer()
    delay = enhancer.latency_s(enhancer.sample_rate, round(BLOCK_S * enhancer.sample_rate))
    say(f"{enhancer.rule()}; {1e3 * delay:.0f} ms behind, besides the sound card; Ctrl-C ends")
    say(f"{enhance_microphone(enhancer, BLOCK_S, request.level):.1f} s of audio")
