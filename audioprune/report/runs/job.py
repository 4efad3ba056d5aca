"""What one run folder says: its configuration, how it ended, and its rows.

``load_jobs`` finds and reads run folders, and files of collected runs (see collected.py). Jobs are
grouped by corpus in corpora.py and by seed in seeds.py; how their rows are joined is written in
entries.py.
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from audioprune.errors import CheckpointError, ConfigError, DataError
from audioprune.experiment.results import read_items
from audioprune.experiment.rows import QualityRow, Row, SparsityRow, finite_or_none
from audioprune.files import read_lines
from audioprune.plain import yaml_text
from audioprune.records import read_record, rows_and_damage
from audioprune.report.runs.config_keys import flatten, of_today, present_keys, present_row
from audioprune.report.runs.scales import NO_SCALE, scale_text

R = TypeVar("R", bound=Row)
RUN_FILES = ("run.json", "status.json", "results.jsonl")
COLLECTED = "rows.jsonl"
"""Name of a file that holds many runs, as collected.py writes it."""


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
        environment: Versions, machine and commit, as ``env.json`` holds them.
        command: The command that makes the same run.
        seconds: How long it took, where that was recorded.
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
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    seconds: float | None = None
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
        The folders without duplicates, in the order given and by name inside one folder or glob;
        files of collected runs among them.

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
    folders = [match for match in matches if match.is_dir() or match.name == COLLECTED]
    if not folders:
        raise ConfigError(
            f"expected a run folder or a glob that matches some, got '{spec}'; check the path"
        )
    # A glob may pass by folders that hold no run, a plain path may not.
    return [folder for folder in folders if _holds_run(folder)] or folders


def _holds_run(folder: Path) -> bool:
    names = (*RUN_FILES, COLLECTED)
    return folder.is_file() or any(next(folder.rglob(name), None) for name in names)


def _runs_below(path: Path) -> list[Path]:
    if path.name == COLLECTED or any((path / name).is_file() for name in RUN_FILES):
        return [path.resolve()]
    found = {file.parent for name in RUN_FILES for file in path.rglob(name)}
    # processes of a run that goes on have folders in a hidden one
    folders = {folder.resolve() for folder in found if not folder.parent.name.startswith(".")}
    folders |= {file.resolve() for file in path.rglob(COLLECTED)}
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
    if not isinstance(info.get("config"), dict):
        info = {**info, "config": _hydra_config(folder)}
    if not state.get("status"):
        reason = broken_state or "no status file: the job is still running or was killed"
        state = {**state, "status": "unfinished", "reason": reason}
    rows, broken_rows = rows_and_damage(folder / "results.jsonl")
    rows = _last_of_each_key(rows)
    if broken_rows and state["status"] == "finished":
        state["status"] = "unfinished"
    reasons = (str(state.get("reason") or ""), broken, broken_rows)
    state["reason"] = "; ".join(filter(None, reasons))
    items = read_items(folder)
    rows = [
        {**row, "items": items[key]} if (key := str(row.get("key"))) in items else row
        for row in rows
    ]
    environment, _ = _read_json(folder / "env.json")
    command = _command(str(info.get("verb") or ""), folder)
    return job_of(folder, info, state, rows, environment, command)


def job_of(
    folder: Path,
    info: Mapping[str, Any],
    state: Mapping[str, Any],
    rows: list[dict[str, Any]],
    environment: Mapping[str, Any],
    command: str,
) -> Job:
    """Return what a run said.

    Args:
        folder: Its folder, or the name that stands for it in a file of collected runs.
        info: What run.json holds, with the configuration nested or flat.
        state: What status.json holds.
        rows: The rows of results.jsonl, score rows with the ``items`` of results.py.
        environment: What env.json holds.
        command: The command that makes the same run.
    """
    config = present_keys(flatten(info["config"]))
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
        status=str(state["status"]),
        reason=str(state.get("reason") or ""),
        rows=tuple(map(present_row, rows)),
        corpus=str(_first(rows, "corpus") or config.get("data.name") or ""),
        fingerprint=str(_first(rows, "corpus_fingerprint") or info.get("data_fingerprint") or ""),
        scale_differs=tuple(str(key) for key in info.get("scale_differs") or ()),
        environment=environment,
        command=command,
        seconds=finite_or_none(state.get("seconds")),
    )


def load_jobs(runs: str | Path | Iterable[str | Path]) -> tuple[Job, ...]:
    """Find and read run folders; see ``find_runs`` for arguments and errors."""
    jobs: list[Job] = []
    for path in find_runs(runs):
        jobs += read_collected(path) if path.name == COLLECTED else [read_job(path)]
    known = of_today([job.config for job in jobs])
    return tuple(replace(job, config=config) for job, config in zip(jobs, known, strict=True))


def read_collected(path: Path) -> list[Job]:
    """Read a file of collected runs: lines that say what a run is, each before its rows.

    Raises:
        DataError: It holds no run, or a row before the first one.
    """
    runs: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for line in read_lines(path):
        if line.get("kind") == "run":
            runs.append((line, []))
        elif runs:
            runs[-1][1].append(line)
        else:
            break
    if not runs:
        raise DataError(
            f"expected a line of kind run before its rows in {path}, got none; collect the runs "
            f"again"
        )
    return [_collected(path, head, rows) for head, rows in runs]


def _collected(path: Path, head: Mapping[str, Any], rows: list[dict[str, Any]]) -> Job:
    """Return one run of a file of collected runs.

    Raises:
        DataError: It is not as collected.py writes it.
    """
    try:
        place, parts = path / str(head["folder"]), _whole(head, rows)
        return job_of(place, head, head["state"], parts, head["env"], str(head["command"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a run and its rows as they were collected, got others "
            f"({type(error).__name__}: {error}); collect the runs again"
        ) from error


def _whole(head: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with what the run says once, and with a name for every item.

    The digest of the true names and the place: two runs have the same names where they had the
    same items.
    """
    whole = []
    for row in rows:
        row = {**head["common"], **row}
        if "items" in row:
            count = max(len(each) for key, each in row["items"].items() if key != "id")
            names = [f"{row['items']['id']}-{place}" for place in range(count)]
            row["items"] = {**row["items"], "id": names}
        whole.append(row)
    return whole


def _command(verb: str, folder: Path) -> str:
    """Return the command of a run as Hydra recorded it, without what changes no result."""
    try:
        words = yaml_text.parse((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    words = words if isinstance(words, list) else []
    told = [word for word in map(str, words) if not word.startswith(("runtime.", "hydra"))]
    return " ".join(["audioprune", verb, *map(shlex.quote, told)])


def _first(rows: list[dict[str, Any]], name: str) -> Any:
    return next((row[name] for row in rows if row.get(name) is not None), None)


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    try:
        return read_record(path), ""
    except CheckpointError:
        return {}, f"{path.name} is damaged"


def _hydra_config(folder: Path) -> dict[str, Any]:
    """Read what Hydra stored of a job that failed before it described itself.

    Unresolved values are left out.
    """
    try:
        value = yaml_text.parse((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
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
            key = row.get("key")
            kept[key if isinstance(key, str) else position] = row
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
