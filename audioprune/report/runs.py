"""Where the numbers of a report come from: run folders are found, read, and grouped by corpus and seed.

How their rows are joined to one table stands in entries.py; how a number is printed in tables.py.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from audioprune.errors import ConfigError
from audioprune.experiment.rows import QualityRow, Row, SparsityRow
from audioprune.files import read_lines
from audioprune.report.published import read_reported as read_reported

R = TypeVar("R", bound=Row)
RUN_FILES = ("run.json", "status.json", "results.jsonl")
SCALES_JOINED = " | "
UNTOLD_CORPUS = "Corpus: not recorded"
NO_SCALE = "scale not recorded"
# What changes from job to job without changing what is measured. A seed is what the mean runs
# over.
_VOLATILE = frozenset({"seed", "runtime", "hydra", "checkpoint", "name", "hash", "verb"})
# Keys of a corpus that do not touch its test mixtures.
OF_TRAINING = frozenset(
    (
        "train_mixtures",
        "valid_mixtures",
        "valid_share",
        "segment_s",
        "babble_share",
        "babble_talkers",
        "train_snr_db",
        "train_snr_step_db",
    )
)
_SHOWN_DIGITS = 12  # of a fingerprint, in tables
_UNTOLD = json.dumps({})  # the configuration of a corpus of which nothing is known
_TOLD_ELSEWHERE = frozenset({"model", "model.name", "pipeline", "pipeline.name", "scale"})


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

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind as the file holds them, in the order they were written."""
        return [row for row in self.rows if row.get("kind") == kind]

    def rows_of(self, kind: type[R]) -> list[R]:
        """Return the rows of one kind, in the order they were written."""
        return [kind.read(row) for row in self.of_kind(kind.KIND)]

    def iterations(self) -> list[SparsityRow]:
        """Return the rows of pruning iterations, counted from 1 where they have no number.

        Iteration 0 is the whole model.
        """
        rows = enumerate(self.rows_of(SparsityRow), 1)
        return [replace(row, iteration=row.iteration or place) for place, row in rows]


@dataclass(frozen=True)
class Corpus:
    """The corpus of some jobs.

    Attributes:
        name: Short name, such as ``synthetic_speech``.
        fingerprints: Its hash; one for each draw where the corpus follows the seed of the job.
        number: Counts corpora of one name without a fingerprint, whose configurations differ.
    """

    name: str = ""
    fingerprints: tuple[str, ...] = ()
    number: int = 1

    @property
    def title(self) -> str:
        """Line that names the corpus above its rows."""
        known = ", ".join(fingerprint[:_SHOWN_DIGITS] for fingerprint in self.fingerprints)
        drawn = "drawn anew for each seed, " if len(self.fingerprints) > 1 else ""
        word = (
            f"fingerprint{'s' * (len(self.fingerprints) > 1)} {known}"
            if known
            else "fingerprint not recorded"
        )
        count = f", configuration {self.number}" if self.number > 1 else ""
        told = f"Corpus: {self.name or 'name not recorded'} ({drawn}{word}{count})"
        return told if self.name or known or count else UNTOLD_CORPUS


@dataclass(frozen=True)
class Request:
    """What a report is asked for.

    Attributes:
        jobs: The runs.
        out: Folder to write to.
        reported: Published numbers of the papers, see ``read_reported``.
        ratings: Statistics of a listening test, a file or its folder.
        only: Parts of a paper's report to write; all of them and the page where none is named.
        claims: Papers whose claims a summary judges.
    """

    jobs: tuple[Job, ...]
    out: Path
    reported: Mapping[str, Any] | str | Path | None = None
    ratings: str | Path | None = None
    only: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


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
    folders = {file.parent.resolve() for name in RUN_FILES for file in path.rglob(name)}
    if not folders:
        raise ConfigError(
            f"expected run folders below {path}, got none with one of {', '.join(RUN_FILES)}; "
            f"run `audioprune train` first"
        )
    return sorted(folders)


def read_job(folder: Path) -> Job:
    """Read one run folder; a missing or damaged file makes the job unfinished and is named in its reason."""
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
        rows=tuple(rows),
        corpus=str(_first(rows, "corpus") or config.get("data.name") or ""),
        fingerprint=str(_first(rows, "corpus_fingerprint") or info.get("data_fingerprint") or ""),
        scale_differs=tuple(str(key) for key in info.get("scale_differs") or ()),
    )


def load_jobs(runs: str | Path | Iterable[str | Path]) -> tuple[Job, ...]:
    """Find and read run folders; arguments and errors are those of ``find_runs``."""
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
    """Read what Hydra stored of a job that failed before it described itself; unresolved values are left out."""
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


def scale_text(scale: Any) -> str:
    """Say a run's scale in words: a text as it is, a mapping as ``name value`` pairs."""
    if isinstance(scale, Mapping):
        return ", ".join(f"{name} {value}" for name, value in scale.items()) or NO_SCALE
    return str(scale) if scale else NO_SCALE


def honest_scale(scale: str) -> str:
    """Add "not a reproduction" to every scale but the paper's own; several scales are told one by one."""
    return SCALES_JOINED.join(dict.fromkeys(_honest(each) for each in scale.split(SCALES_JOINED)))


def _honest(scale: str) -> str:
    own = scale.strip().lower()
    return (
        scale
        if own.startswith("paper") or "not a reproduction" in own
        else f"{scale}, not a reproduction"
    )


def joined_scales(scales: Iterable[str]) -> str:
    """Say all different scales of the jobs behind one row."""
    return SCALES_JOINED.join(dict.fromkeys(scale for scale in scales if scale)) or NO_SCALE


def label_of(job: Job) -> str:
    """Return the name of a job's model as its rows print it, or that of its configuration before there are rows."""
    rows = (QualityRow.read(row) for kind in ("score", "lottery") for row in job.of_kind(kind))
    labels = (row.label for row in rows if row.label and row.variant != "mixture")
    return next(labels, job.model.upper() or job.name)


def scale_notes(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Say in one sentence for each set of keys by which jobs of scale ``custom`` differ from their preset."""
    told = dict.fromkeys((label_of(job), job.scale_differs) for job in jobs if job.scale_differs)
    return tuple(
        f"Scale custom: {label} differs from its preset in {', '.join(keys)}."
        for label, keys in told
    )


def validation_text(items: Any) -> str:
    """Say over which validation items a number is a mean: a number of them, or all where none is given."""
    count = int(items) if isinstance(items, int | float) and not isinstance(items, bool) else None
    return (
        "the validation set"
        if count is None
        else f"{count} item{'s' * (count != 1)} of the validation set"
    )


def width_in(scale: str) -> str:
    """Return the width that a scale tells, all of them where several scales are joined, or an empty text."""
    parts = (
        part
        for one in scale.split(SCALES_JOINED)
        for part in one.split("; ")
        if part.startswith("width ")
    )
    return SCALES_JOINED.join(dict.fromkeys(part.removeprefix("width ") for part in parts))


def without_width(scale: str) -> str:
    """Return a scale without the part that tells the width of the model: what its data and training were."""
    each = (
        "; ".join(part for part in one.split("; ") if not part.startswith("width "))
        for one in scale.split(SCALES_JOINED)
    )
    return SCALES_JOINED.join(dict.fromkeys(each))


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

    Older runs call the reach of a regulariser a budget; the budget of a ticket is a word.
    """
    before, now = "pipeline.budget", "pipeline.reach"
    if before not in config or isinstance(config[before], str):
        return config
    return {now if key == before else key: value for key, value in config.items()}


def volatile_keys(jobs: Iterable[Job]) -> frozenset[str]:
    """Return the configuration keys that leave the experiment the same: seeds that follow the job's own, folders, names.

    A seed of its own, such as a fixed seed of the data, is no such key: another value is another
    experiment.
    """
    jobs = list(jobs)
    keys = {key for job in jobs for key in job.config}
    return frozenset(key for key in keys if _is_volatile(key, jobs))


def _is_volatile(key: str, jobs: list[Job]) -> bool:
    parts = key.split(".")
    if parts[-1] == "seed":
        return all(job.config[key] == job.seed for job in jobs if key in job.config)
    return parts[0] in _VOLATILE or parts[-1] == "name"


def differences(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the configuration keys whose values differ between jobs that have them.

    Left out are volatile keys, the names of model and pipeline, keys of a model or a step that
    these names already tell, and a step's copy of a key that stands nearer to the root.
    """
    jobs = [job for job in jobs if job.config]
    keys = sorted(
        {key for job in jobs for key in job.config}, key=lambda key: (key.count("."), key)
    )
    chosen: dict[tuple[str, tuple[str, ...]], str] = {}
    left_out = volatile_keys(jobs) | _TOLD_ELSEWHERE
    for key in keys:
        if key not in left_out and _differs(key, jobs):
            values = tuple(repr(job.config.get(key)) for job in jobs)
            chosen.setdefault((key.rpartition(".")[2], values), key)
    return tuple(sorted(chosen.values()))


def _differs(key: str, jobs: list[Job]) -> bool:
    values = {repr(job.config[key]) for job in jobs if key in job.config}
    return len(values) > 1 and not _told_by_name(key, jobs)


def _told_by_name(key: str, jobs: list[Job]) -> bool:
    """Tell whether the name of the model or of the pipeline, which every table shows, already says the value."""
    names = {"model": lambda job: job.model, "pipeline.steps": lambda job: job.pipeline}
    name_of = next((names[part] for part in names if key.startswith(f"{part}.")), None)
    if name_of is None:
        return False
    seen = {(name_of(job), repr(job.config[key])) for job in jobs if key in job.config}
    return len(seen) == len({name for name, _ in seen})


def models_in_turn(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Put the first job of every model first, then the second of every model, and so on: where few are shown, no model is left out."""
    seen: dict[str, int] = {}
    placed = []
    for job in jobs:
        seen[job.model] = seen.get(job.model, 0) + 1
        placed.append((seen[job.model], job))
    return tuple(job for _, job in sorted(placed, key=lambda each: each[0]))


def join_seeds(jobs: Iterable[Job]) -> list[tuple[Job, ...]]:
    """Group jobs that differ by their seed only and were run on one corpus, see ``by_corpus``.

    Two jobs of one seed never fall into one group: such a group is split by its checkpoint, and if
    that agrees too, job by job.
    """
    jobs = list(jobs)
    left_out = volatile_keys(jobs)
    groups = [
        group
        for _, members in by_corpus(jobs)
        for group in grouped(members, lambda job: _signature(job, left_out))
    ]
    split = [
        part
        for group in groups
        for part in (grouped(group, _checkpoint) if _repeats(group) else [group])
    ]
    return [
        part
        for group in split
        for part in ([(job,) for job in group] if _repeats(group) else [group])
    ]


def by_corpus(jobs: Iterable[Job]) -> list[tuple[Corpus, tuple[Job, ...]]]:
    """Group jobs by the corpus that they worked on, in the order of their first jobs.

    A corpus is told by its fingerprint. Where the seeds of the corpus follow the seeds of the
    jobs, and nothing else of its configuration differs, each seed has a fingerprint of its own by
    design: these are draws of one corpus. A job that recorded no fingerprint goes by what is
    configured of its test data; a job that failed before it recorded anything joins the first
    corpus.
    """
    jobs = list(jobs)
    names = _corpus_names(jobs)
    found: list[tuple[Corpus, tuple[Job, ...]]] = []
    for group in grouped(jobs, lambda job: names[id(job)]):
        corpus = _corpus_of(group)
        alike = sum(not other.fingerprints and other.name == corpus.name for other, _ in found)
        found.append((corpus if corpus.fingerprints else replace(corpus, number=1 + alike), group))
    return found


def _corpus_names(jobs: list[Job]) -> dict[int, str]:
    """Return for each job, by its identity, the text that tells its corpus."""
    names: dict[int, str] = {}
    for group in grouped(jobs, _corpus_config):
        follows = _follows_the_seed(group)
        known = next((job.fingerprint for job in group if job.fingerprint), "")
        for job in group:
            names[id(job)] = (
                _corpus_config(job)
                if follows
                else job.fingerprint or known or _corpus_config(job, OF_TRAINING)
            )
    first = next((name for name in names.values() if name != _UNTOLD), _UNTOLD)
    untold = [id(job) for job in jobs if names[id(job)] == _UNTOLD and not job.rows]
    return {**names, **dict.fromkeys(untold, first)}


def _data_keys(job: Job) -> list[str]:
    return [key for key in job.config if key.startswith("data.")]


def _corpus_config(job: Job, left_out: frozenset[str] = frozenset()) -> str:
    """Return the configuration of a job's corpus without its seeds, as text."""
    keys = [
        key
        for key in sorted(_data_keys(job))
        if not _is_seed(key) and key.rpartition(".")[2] not in left_out
    ]
    return json.dumps({key: repr(job.config[key]) for key in keys})


def _is_seed(key: str) -> bool:
    return key.rpartition(".")[2] == "seed"


def _follows_the_seed(group: Sequence[Job]) -> bool:
    """Tell whether the corpus is drawn anew for each seed: its seeds are the jobs' own, and each seed has one fingerprint."""
    seeds = [
        job.config[key] == job.seed for job in group for key in _data_keys(job) if _is_seed(key)
    ]
    draws = {(job.seed, job.fingerprint) for job in group if job.fingerprint}
    several = len({seed for seed, _ in draws}) > 1
    return (
        bool(seeds) and all(seeds) and several and len(draws) == len({seed for seed, _ in draws})
    )


def _corpus_of(group: Sequence[Job]) -> Corpus:
    name = next((job.corpus for job in group if job.corpus), "")
    return Corpus(name, tuple(dict.fromkeys(job.fingerprint for job in group if job.fingerprint)))


def grouped(jobs: Iterable[Job], key: Callable[[Job], str]) -> list[tuple[Job, ...]]:
    """Group jobs by a key, groups and members in the order given."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(key(job), []).append(job)
    return [tuple(group) for group in groups.values()]


def _repeats(group: tuple[Job, ...]) -> bool:
    return len({job.seed for job in group}) < len(group)


def _signature(job: Job, left_out: frozenset[str]) -> str:
    kept = {key: repr(value) for key, value in job.config.items() if key not in left_out}
    return json.dumps(
        [job.verb, job.model, job.pipeline, job.scale, kept or str(job.folder)], sort_keys=True
    )


def _checkpoint(job: Job) -> str:
    return str(job.config.get("checkpoint"))
