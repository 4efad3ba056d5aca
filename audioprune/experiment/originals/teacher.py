"""Which network a task imitates: ``give_teacher`` finds it for a run, and keeps what is needed.

The original is a model file: the one that ``task.teacher`` names, the one that the checkpoint
itself imitated, else the checkpoint. Its hash is written into every file of the run, and the file
is kept in the cache folder under that hash, so that it is found again when it has moved. Nothing
is trained here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audioprune import provenance
from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.run import Run
from audioprune.files import sha256_file, write_atomic
from audioprune.paths import cache_folder, model_file
from audioprune.protocols import HasTeacher


def give_teacher(run: Run) -> None:
    """Give the task of a run its original, where it imitates one.

    Raises:
        ConfigError: There is no checkpoint to imitate.
        CheckpointError: The original is not where it was, and not in the cache folder.
    """
    if not isinstance(run.task, HasTeacher):
        return
    named, wanted = _named(run)
    file = _found(named, wanted, run)
    digest = sha256_file(file)
    _keep(file, digest, run)
    run.task_config = {**run.task_config, "teacher": named, "teacher_sha256": digest}
    run.task.teach(load_model_file(file, run.model_config, run.task_config).model.to(run.device))


def _named(run: Run) -> tuple[str, str | None]:
    """Return the file of the original and its hash, None where it is not known yet."""
    checkpoint = run.config.get("checkpoint")
    if run.task_config.get("teacher"):
        return str(run.task_config["teacher"]), run.task_config.get("teacher_sha256")
    if not checkpoint:
        raise ConfigError(
            "task=imitate: expected an original to imitate, got no checkpoint; give "
            "checkpoint=..., model=zoo/... or task.teacher=..."
        )
    before: Any = provenance.read_facts(checkpoint).get("task")
    if isinstance(before, dict) and isinstance(before.get("teacher"), str):
        digest = before.get("teacher_sha256")
        return before["teacher"], digest if isinstance(digest, str) else None
    return str(checkpoint), None


def _found(named: str, wanted: str | None, run: Run) -> Path:
    """Return the first file that may be the original and is.

    Raises:
        CheckpointError: None is; the message names the file and its hash.
    """
    for path in _places(named, wanted, run):
        if path.is_file() and (wanted is None or sha256_file(path) == wanted):
            return path
    there = "another file" if model_file(named).is_file() else "no such file"
    which = f" (SHA-256 {wanted[:12]}...)" if wanted else ""
    raise CheckpointError(
        f"{named}: expected the original that this model imitates{which}, got {there}; give it "
        f"with task.teacher=..."
    )


def _places(named: str, wanted: str | None, run: Run) -> Iterator[Path]:
    yield model_file(named)
    if wanted:
        yield from sorted(_kept(run).glob(f"{wanted}.*"))
        yield cache_folder() / "published" / Path(named).name
    if run.config.get("checkpoint"):
        checkpoint = Path(run.config["checkpoint"])
        yield (checkpoint if checkpoint.is_dir() else checkpoint.parent) / Path(named).name


def _kept(run: Run) -> Path:
    return cache_folder(str(run.runtime.get("cache") or "")) / "originals"


def _keep(file: Path, digest: str, run: Run) -> None:
    """Keep a copy under its hash, unless the file is in the cache folder already."""
    target = _kept(run) / f"{digest}{file.suffix}"
    if target.exists() or target.parent.parent in file.resolve().parents:
        return
    write_atomic(target, file.read_bytes())
