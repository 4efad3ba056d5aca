"""A training that many runs begin with is done once: ``once`` does it, or reads what it made.

Such runs differ only in what comes after it, such as the sparsities of a sweep. What it made is
kept in ``runs/shared/<key>``; the key is a digest of all that a training depends on: the first
weights, the corpus, the task, the step, its numbers, the seed, the program and the machine's way
to compute. A run then holds the same bits as without sharing. Nothing is trained here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

import audioprune
from audioprune import __version__, checkpoint
from audioprune.errors import CheckpointError
from audioprune.experiment.config_hash import foreign_code, variables
from audioprune.experiment.results import clean
from audioprune.experiment.run import Run
from audioprune.experiment.run_folder import read_json
from audioprune.files import drop_leftovers, lock_in_turn, write_atomic
from audioprune.interrupts import check_stop
from audioprune.protocols import KeepsState
from audioprune.records import write_record
from audioprune.training.devices import chosen_device
from audioprune.training.outcome import Outcome
from audioprune.training.processes import processes
from audioprune.training.settings import Settings

STARTED = "AUDIOPRUNE_STARTED"
"""Variable of the environment with the time at which the command began, for its processes."""
_STATE = "state.safetensors"
_MAKING = "making.json"
_LOG = "log.jsonl"
# The program that a training runs through; a change of the rest changes no training.
_ROOMS = (
    "compress",
    "data",
    "dsp",
    "metrics",
    "models",
    "optim",
    "protocols",
    "tasks",
    "training",
)
# Settings that leave every bit of a training as it is; one that is not named here is in the key.
_NEUTRAL = frozenset(
    [
        "workers",
        "metric_workers",
        "save_every_s",
        "tensorboard",
        "folder",
        "cache",
        "force",
        "share",
        "shared_folder",
        "rehearse",
        "device",
    ]
)
_IMPORTED = time.time()
_NOTES = logging.getLogger(__name__)


def once(
    run: Run,
    path: str,
    step: Mapping[str, Any],
    settings: Settings,
    train: Callable[[], Outcome],
    training: Path,
    files: Sequence[str] = (),
) -> tuple[Outcome, str]:
    """Train the run's model, or give it the result of the same training of another run.

    A training is shared where it is the first step of a run that began from no checkpoint, and
    where ``runtime.share`` allows it. Another run that needs it meanwhile waits. One that was
    killed goes on, in whichever run needs it next.

    Args:
        run: The run; its model and task end in the same bits either way.
        path: Path of the step.
        step: What the step does besides ``settings``, as plain values.
        settings: Training numbers.
        train: Trains the run's model.
        training: Folder of its checkpoints and its log.
        files: Files of the run folder that the training writes.

    Returns:
        What the training reported, and its key; an empty key where nothing is shared.
    """
    if not _is_shared(run, path):
        return train(), ""
    facts = _facts(run, step, settings)
    folder = _folder(run) / key_of(facts)
    outcome = _taken(run, path, folder, facts, training, files)
    if outcome is None:
        with lock_in_turn(folder, lambda told: _say_waiting(path, told), check_stop):
            drop_leftovers(folder)
            outcome = _taken(run, path, folder, facts, training, files)
            if outcome is None:
                outcome = _made(run, folder, facts, train, training, files)
    return outcome, folder.name


def _is_shared(run: Run, path: str) -> bool:
    first = next(iter(run.steps), None) == path and not run.completed
    fresh = not run.from_checkpoint and run.mask is None and run.beside is None
    alone = processes().count == 1
    return bool(run.runtime.get("share")) and first and fresh and alone


def _folder(run: Run) -> Path:
    """Return where trainings are shared."""
    return Path(run.runtime["shared_folder"] or Path(run.runtime["folder"]) / "shared")


def key_of(facts: Mapping[str, Any]) -> str:
    """Return sixteen hexadecimal digits that stand for all that a training depends on."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _facts(run: Run, step: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return all that a training depends on, as JSON has it."""
    device = chosen_device(run.runtime["device"])
    facts = {
        "step": dict(step),
        "settings": asdict(settings),
        "seed": run.seed,
        "weights": _digest(run),
        "model": run.model_config,
        "code": [*foreign_code(run.model_config), *foreign_code(run.task_config)],
        "task": run.task_config,
        "data": run.config["data"],
        "fingerprint": run.stamp["corpus_fingerprint"],
        "program": [__version__, _program(), torch.__version__],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "runtime": {key: run.runtime[key] for key in run.runtime if key not in _NEUTRAL},
        "variables": variables(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(clean(facts), sort_keys=True, default=str))
    return plain


def _digest(run: Run) -> str:
    """Return a digest of the weights that the training begins with, those of the task too."""
    tensors = dict(run.model.state_dict())
    if isinstance(run.task, KeepsState):
        tensors |= {f"task/{name}": value for name, value in run.task.state_dict().items()}
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"|{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        if value.numel():
            total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@cache
def _program() -> str:
    """Return a digest of the modules that a training runs through."""
    root = Path(audioprune.__file__).parent
    total = hashlib.sha256()
    for room in _ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            total.update(f"|{file.relative_to(root).as_posix()}|".encode())
            total.update(file.read_bytes())
    return total.hexdigest()


def _taken(
    run: Run,
    path: str,
    folder: Path,
    facts: Mapping[str, Any],
    training: Path,
    files: Sequence[str],
) -> Outcome | None:
    """Give the run what another training made, or return None where there is nothing."""
    state = folder / _STATE
    if not state.exists() or _is_to_be_made_anew(run, state):
        return None
    try:
        tensors, meta = checkpoint.read(state)
        kept = {name: checkpoint.under(tensors, f"file/{name}/")["bytes"] for name in files}
        if meta["facts"] != facts:
            raise CheckpointError(f"{state}: expected the training {folder.name}, got another one")
    except (CheckpointError, KeyError) as error:
        _NOTES.warning("%s: trained again, for %s", path, error)
        return None
    run.model.load_state_dict(checkpoint.under(tensors, "model/"))
    run.model.eval()
    if isinstance(run.task, KeepsState):
        run.task.load_state_dict(checkpoint.under(tensors, "task/"))
    checkpoint.restore_rng_state(checkpoint.under(tensors, "rng/"))
    for name, data in kept.items():
        write_atomic(run.folder / name, data.numpy().tobytes())
    log = "".join(json.dumps(row) + "\n" for row in meta["outcome"]["history"])
    write_atomic(training / _LOG, log)
    if meta["made_in"] == run.folder.name:
        (folder / _MAKING).unlink(missing_ok=True)  # this run was killed before it could
    else:
        told = "%s: taken from %s, trained in %.1f s by %s"
        _NOTES.info(told, path, folder, meta["outcome"]["seconds"], meta["made_in"])
    return Outcome(**meta["outcome"], mask=None)


def _is_to_be_made_anew(run: Run, state: Path) -> bool:
    """Tell whether ``runtime.force`` asks for another training than that of an earlier command."""
    begun = float(os.environ.get(STARTED) or _IMPORTED)
    return bool(run.runtime["force"]) and state.stat().st_mtime < begun


def _made(
    run: Run,
    folder: Path,
    facts: Mapping[str, Any],
    train: Callable[[], Outcome],
    training: Path,
    files: Sequence[str],
) -> Outcome:
    """Train, and keep what the training made."""
    _adopt(run, folder, training, files)
    write_record(folder / _MAKING, {"run": str(run.folder.absolute()), "training": training.name})
    outcome = train()
    tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    if isinstance(run.task, KeepsState):
        tensors |= {f"task/{name}": value for name, value in run.task.state_dict().items()}
    tensors |= {f"rng/{name}": value for name, value in checkpoint.rng_state().items()}
    for name in files:
        data = bytearray((run.folder / name).read_bytes())
        tensors[f"file/{name}/bytes"] = torch.frombuffer(data, dtype=torch.uint8)
    told = {key: value for key, value in vars(outcome).items() if key != "mask"}
    meta = {"facts": facts, "outcome": told, "made_in": run.folder.name}
    checkpoint.write(folder / _STATE, tensors, meta)
    (folder / _MAKING).unlink(missing_ok=True)
    return outcome


def _adopt(run: Run, folder: Path, training: Path, files: Sequence[str]) -> None:
    """Go on with the checkpoints of the run that was killed while it did this training.

    The lock of the shared folder keeps that run from changing them meanwhile.
    """
    making = read_json(folder / _MAKING)
    if not making or run.runtime["force"] or list(training.glob("last.safetensors*")):
        return
    theirs = Path(str(making.get("run")))
    left = theirs / "training" / str(making.get("training"))
    if theirs == run.folder.absolute() or not left.is_dir():
        return
    training.mkdir(parents=True, exist_ok=True)
    for file in [*left.glob("*.safetensors*"), *(theirs / name for name in files)]:
        if file.is_file() and ".tmp." not in file.name:
            target = training if file.parent == left else run.folder
            shutil.copyfile(file, target / file.name)
    _NOTES.info("%s: goes on where %s was stopped", training.name, theirs.name)


def _say_waiting(path: str, told: str) -> None:
    _NOTES.info("%s: waits for a run that does the same training: %s", path, told)
