"""``audioprune apply``: tell what a classifier, or any other network, says of audio files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audioprune import provenance
from audioprune.commands.messages import say
from audioprune.data.files.audio import find_audio
from audioprune.errors import AudiopruneError, ConfigError, DataError, InterruptedRun, OutputError
from audioprune.experiment import agreement
from audioprune.experiment.config_hash import plain_values
from audioprune.files import sha256, sha256_file, write_atomic
from audioprune.inference.applying import Applier, Row, as_csv, load_applier, read_names
from audioprune.inference.folders import Plan, Work, summary, work_through
from audioprune.inference.pipes import Raw
from audioprune.inference.telling import hearing_of, tell_pipe
from audioprune.interrupts import check_stop, graceful
from audioprune.paths import model_file
from audioprune.training.devices import chosen_device

LOG = "applied.jsonl"
TABLES = (".csv", ".json")


@dataclass(frozen=True)
class Request:
    """What a process needs to tell what a network says of files.

    Attributes:
        checkpoint: Model file or run folder.
        parts: Configurations of model, task and corpus, each a mapping or None.
        told: Keyword arguments of `load_applier` that choose what is written.
        device: Where the model computes.
        threads: CPU threads of torch.
        format: ``csv`` or ``json``.
    """

    checkpoint: str
    parts: dict[str, Any]
    told: dict[str, Any]
    device: str
    threads: int
    format: str

    def applier(self) -> Applier:
        """Read the network."""
        torch.set_num_threads(self.threads)
        return load_applier(self.checkpoint, **self.parts, **self.told, device=self.device)

    def made_by(self) -> str:
        """Return a hash of all that decides the outputs."""
        model = sha256_file(model_file(self.checkpoint))
        parts = ["apply", model, self.parts, self.told, self.format]
        return sha256(json.dumps(parts, sort_keys=True).encode())[:16]


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write or print the tables.

    Raises:
        ConfigError: No model or no input is given, or they do not fit.
        DataError: Some files could not be read; the others are in the table.
    """
    plain = provenance.effective(plain_values(config), overrides)
    if plain["out"] == "-":
        plain = {**plain, "out": None}
    request = _request(plain, overrides)
    out = plain["out"]
    with graceful():
        if plain["input"] == "-":
            _from_pipe(plain, request)
        elif out and Path(out).suffix not in TABLES:
            _into_folder(plain, request)
        else:
            _into_table(plain, request)


def _request(plain: dict[str, Any], overrides: Sequence[str]) -> Request:
    if not plain["checkpoint"] or not plain["input"]:
        raise ConfigError(
            "expected checkpoint=FILE and in=FILE, FOLDER or -, got "
            f"{plain['checkpoint'] or 'none'} "
            f"and {plain['input'] or 'none'}; give both"
        )
    task = plain["task"]
    named = provenance.touches(overrides, "data")
    parts = {"model": plain["model"], "data": plain["data"] if named else None}
    parts["task"] = agreement.complete_task(task) if task else None
    told = {key: plain[key] for key in ("top", "output")}
    told["heard" if plain["input"] == "-" else "rate"] = plain["rate"]
    told["names"] = read_names(plain["names"])
    threads = plain["runtime"]["threads"] or len(os.sched_getaffinity(0))
    device = str(chosen_device(plain["runtime"]["device"]))
    return Request(plain["checkpoint"], parts, told, device, threads, plain["format"])


def _into_table(plain: dict[str, Any], request: Request) -> None:
    """Write one table of all files, or print it."""
    source, out = Path(plain["input"]), plain["out"]
    if out and Path(out).exists() and not plain["overwrite"]:
        raise OutputError(f"{out}: exists already; choose another name or give overwrite=true")
    files = find_audio(source) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: expected audio files, got none; see docs/data.md")
    applier = request.applier()
    rows: list[Row] = []
    failed: list[str] = []
    for path in files:
        check_stop()
        try:
            rows += applier.rows(path)
        except (ConfigError, InterruptedRun):
            raise
        except AudiopruneError as error:
            if len(files) == 1:
                raise
            failed.append(str(error))
            print(f"failed: {error}")
    kind = Path(out).suffix[1:] if out else request.format
    text = _text(rows, kind)
    if out:
        write_atomic(out, text)
        print(f"{out}: {len(files) - len(failed)} files, {len(rows)} rows")
    else:
        print(text, end="")
    if failed:
        raise DataError(f"{len(failed)} files could not be read; the first: {failed[0]}")


def _into_folder(plain: dict[str, Any], request: Request) -> None:
    """Write a table for every file of a folder."""
    if not Path(plain["input"]).is_dir():
        raise ConfigError(
            f"expected out=FILE.csv or FILE.json for a single file, got out={plain['out']}; give "
            f"a name with one of these endings"
        )
    plan = Plan(
        Path(plain["input"]),
        Path(plain["out"]),
        _table_name(request.format),
        LOG,
        request.made_by(),
        plain["overwrite"],
    )
    outcome = work_through(plan, _begin, request, jobs=plain["jobs"])
    print(summary(outcome, "told"))
    if outcome.failed:
        first = outcome.failed[0]
        raise DataError(f"{len(outcome.failed)} files could not be read; the first: {first}")


def _from_pipe(plain: dict[str, Any], request: Request) -> None:
    """Print rows of raw samples while they come, JSON one object a line."""
    if plain["out"]:
        raise ConfigError(
            f"expected out=- for a pipe of raw samples, got out={plain['out']}; rows are printed: "
            f"give > {plain['out']} to keep them"
        )
    raw = Raw(plain["pcm"], plain["rate"] or 0, plain["channels"])
    applier = request.applier()
    hearing = hearing_of(applier)
    say(f"{type(applier.model).__name__} is told {hearing.what}")
    seconds = tell_pipe(applier, hearing, raw, sys.stdin.buffer, _teller(request.format))
    say(f"{seconds:.1f} s of audio")


def _teller(kind: str) -> Callable[[Row], None]:
    """Return what prints a row at once, the first of a table below its head."""
    begun = False

    def tell(row: Row) -> None:
        nonlocal begun
        text = json.dumps(row) + "\n" if kind == "json" else as_csv([row])
        skipped = begun and kind == "csv"
        begun = True
        try:
            print(text.partition("\n")[2] if skipped else text, end="", flush=True)
        except BrokenPipeError as error:
            raise OutputError("the program that reads the output has ended") from error

    return tell


def _begin(request: Request) -> Work:
    applier = request.applier()

    def work(source: Path, target: Path) -> dict[str, Any]:
        rows = applier.rows(source)
        write_atomic(target, _text(rows, request.format))
        return {"rows": len(rows), "line": f"{target}: {len(rows)} rows"}

    return work


def _table_name(kind: str) -> Any:
    return lambda name: f"{name}.{kind}"


def _text(rows: list[Row], kind: str) -> str:
    return as_csv(rows) if kind == "csv" else json.dumps(rows, indent=1) + "\n"
