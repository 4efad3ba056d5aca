"""What one run folder says: its configuration, how it ended, and its rows.

``load_jobs`` finds and reads run folders. Jobs are grouped by corpus in corpora.py and by seed in
seeds.py; how their rows are joined is written in entries.py.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from audioprune.errors import ConfigError
from audioprune.experiment.rows import QualityRow, Row, SparsityRow
from audioprune.files import read_lines
from audioprune.report.runs.scales import NO_SCALE, scale_text

R = TypeVar("R", bound=Row)
RUN_FILES = ("run.json", "status.json", "results.jsonl")


@dataclass(frozen=True)
class Job:
    """What one run folder says.

    Attributes:
        config: The resolved configuration, flat: ``{"pipeline.lambda_1": 0.1}``.
        status: ``"finished"``, ``"failed"``, ``"interrupted"`` or ``"unfinished"`` (no status
            file).
        reason: Why the job is not finished.
        rows: The records of ``results.jsonl``; a later record with the same key has replaced the
            earlier one.
        corpus: Short name of the corpus that its rows speak of.
        fingerprint: Hash of that corpus; empty where none was recorded.
        scale_differs: Configuration keys that differ from the preset, where the scale is
            ``custom``.
    """

    folder: Path
    name: str
    verb: str = ""
    hash: str = ""
    model: str = ""
    pipeline: str = ""
    seed: int | None = None
    scale: str = NO_SCALE
    config: Mapping[str, Any] = field(default_factory=dict)
    status: str = "finished"
    reason: str = ""
    rows: tuple[dict[str, Any], ...] = ()
    corpus: str = ""
    fingerprint: str = ""
    scale_differs: tuple[str, ...] = ()
    _read: dict[type[Row], Sequence[Row]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind as the file holds them, in the order they were written."""
        return [row for row in self.rows if row.get("kind") == kind]

    def rows_of(self, kind: type[R]) -> list[R]:
        """Return the rows of one kind, in the order they were written."""
        if kind not in self._read:
            self._read[kind] = [kind.read(row) for row in self.of_kind(kind.KIND)]
        return list(cast("Sequence[R]", self._read[kind]))

    def iterations(self) -> list[SparsityRow]:
        """Return the rows of pruning iterations, counted from 1 where they have no number.

        Iteration 0 is the whole model.
        """
        rows = enumerate(self.rows_of(SparsityRow), 1)
        return [replace(row, iteration=row.iteration or place) for place, row in rows]


def find_runs(runs: str | Path | Iterable[str | Path]) -> list[Path]:
    """Find run folders.

    Args:
        runs: A run folder, a folder that holds run folders at any depth, a glob, or a list of
            these.

    Returns:
        The folders without duplicates, in the order given and by name inside one folder or glob.

    Raises:
        ConfigError: A path does not exist, a glob matches nothing, or no run folder is found at a
            path.
    """
    specs = [runs] if isinstance(runs, str | Path) else list(runs)
    if not specs:
        raise ConfigError("expected at least one run folder, got none; give runs=FOLDER")
    found: dict[Path, None] = {}
    for spec in specs:
        for path in _expand(spec):
            found.update((folder, None) for folder in _runs_below(path))
    return list(found)


def _expand(spec: str | Path) -> list[Path]:
    path = Path(spec).expanduser()
    if path.exists():
        return [path]
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    folders = [match for match in matches if match.is_dir()]
    if not folders:
        raise ConfigError(
            f"expected a run folder or a glob that matches some, got '{spec}'; check the path"
        )
    # A glob may pass by folders that hold no run, a plain path may not.
    return [folder for folder in folders if _holds_run(folder)] or folders


def _holds_run(folder: Path) -> bool:
    return any(next(folder.rglob(name), None) for name in RUN_FILES)


def _runs_below(path: Path) -> list[Path]:
    if any((path / name).is_file() for name in RUN_FILES):
        return [path.resolve()]
    found = {file.parent for name in RUN_FILES for file in path.rglob(name)}
    # processes of a run that goes on have folders in a hidden one
    folders = {folder.resolve() for folder in found if not folder.parent.name.startswith(".")}
    if not folders:
        raise ConfigError(
            f"expected run folders below {path}, got none with one of {', '.join(RUN_FILES)}; "
            f"run `audioprune train` first"
        )
    return sorted(folders)


def read_job(folder: Path) -> Job:
    """Read one run folder.

    A missing or damaged file makes the job unfinished, and its reason names the file.
    """
    info, broken = _read_json(folder / "run.json")
    state, broken_state = _read_json(folder / "status.json")
    rows = _last_of_each_key(read_lines(folder / "results.jsonl"))
    nested = info["config"] if isinstance(info.get("config"), dict) else _hydra_config(folder)
    config = _present_keys(flatten(nested))
    status, reason = str(state.get("status") or ""), str(state.get("reason") or "")
    if not status:
        status, reason = (
            "unfinished",
            broken_state or "no status file: the job is still running or was killed",
        )
    return Job(
        folder=folder,
        name=str(info.get("name") or folder.name),
        verb=str(info.get("verb") or ""),
        hash=str(info.get("hash") or ""),
        model=str(info.get("model") or config.get("model.name") or _first(rows, "model") or ""),
        pipeline=str(info.get("pipeline") or config.get("pipeline.name") or ""),
        seed=info.get("seed", config.get("seed", _first(rows, "seed"))),
        scale=scale_text(info.get("scale") or _first(rows, "scale") or config.get("scale")),
        config=config,
        status=status,
        reason="; ".join(filter(None, (reason, broken))),
        rows=tuple(map(_present_row, rows)),
        corpus=str(_first(rows, "corpus") or config.get("data.name") or ""),
        fingerprint=str(_first(rows, "corpus_fingerprint") or info.get("data_fingerprint") or ""),
        scale_differs=tuple(str(key) for key in info.get("scale_differs") or ()),
    )


def load_jobs(runs: str | Path | Iterable[str | Path]) -> tuple[Job, ...]:
    """Find and read run folders; see ``find_runs`` for arguments and errors."""
    return tuple(read_job(folder) for folder in find_runs(runs))


def _first(rows: list[dict[str, Any]], name: str) -> Any:
    return next((row[name] for row in rows if row.get(name) is not None), None)


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError):
        return {}, f"{path.name} cannot be read"
    return (value, "") if isinstance(value, dict) else ({}, f"{path.name} holds no record")


def _hydra_config(folder: Path) -> dict[str, Any]:
    """Read what Hydra stored of a job that failed before it described itself.

    Unresolved values are left out.
    """
    try:
        value = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return _resolved(value) if isinstance(value, dict) else {}


def _resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _resolved(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
    }
    return {
        key: value
        for key, value in nested.items()
        if not (isinstance(value, str) and "${" in value)
    }


def _last_of_each_key(rows: list[Any]) -> list[dict[str, Any]]:
    kept: dict[Any, dict[str, Any]] = {}
    for position, row in enumerate(rows):
        if isinstance(row, dict):
            kept[row.get("key", position)] = row
    return list(kept.values())


def label_of(job: Job) -> str:
    """Return the name of a job's model: as its rows print it, or else as it is configured."""
    rows = (QualityRow.read(row) for kind in ("score", "lottery") for row in job.of_kind(kind))
    labels = (row.label for row in rows if row.label and row.variant != "mixture")
    return next(labels, job.model.upper() or job.name)


def scale_notes(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Say by which keys jobs of scale ``custom`` differ from their preset."""
    told = dict.fromkeys((label_of(job), job.scale_differs) for job in jobs if job.scale_differs)
    return tuple(
        f"Scale custom: {label} differs from its preset in {', '.join(keys)}."
        for label, keys in told
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as dotted keys; lists become JSON text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = (
                json.dumps(value, sort_keys=True) if isinstance(value, list | Mapping) else value
            )
    return flat


def _present_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return a flat configuration under the keys of today.

    Older runs say ``budget`` for the reach of a regulariser, and for what a ticket counts.
    """
    before = "pipeline.budget"
    if before not in config:
        return config
    now = f"pipeline.{_name_of_budget(config[before])}"
    return {now if key == before else key: value for key, value in config.items()}


def _present_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row under the keys of today, as ``_present_keys`` does."""
    if "budget" not in row:
        return row
    now = _name_of_budget(row["budget"])
    return {now if key == "budget" else key: value for key, value in row.items()}


def _name_of_budget(value: Any) -> str:
    return "counted" if isinstance(value, str) else "reach"
