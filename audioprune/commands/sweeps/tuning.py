"""``+tune=smallest``: what is tried, what a trial is worth, and what is said of all of them.

`prepare` tells the sweeper before the first job, a job asks `measure`, the end of a sweep is
`finish`. Trials are chosen by Optuna and kept in
trial_storage.py. No torch is loaded here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audioprune import schema
from audioprune.commands.configuration import typed
from audioprune.commands.messages import written
from audioprune.commands.sweeps import TUNE_FOLDER
from audioprune.commands.sweeps.objective import Objective, drop
from audioprune.errors import ConfigError
from audioprune.experiment.config_hash import plain_values, result_config
from audioprune.experiment.results import UNCOMPRESSED
from audioprune.files import append_line, read_lines
from audioprune.report.tables import FORMATS, metric_column
from audioprune.terminal.streams import shown_form

JOURNAL = "trials.jsonl"
"""What was tried, in the sweep's folder."""
JOBS = "jobs.jsonl"
"""How the jobs of all calls of the command ended, in the sweep's folder."""
COMPLETE = "COMPLETE"


def check(config: Any) -> None:
    """Refuse a sweep that could not find anything, before its first job.

    Raises:
        ConfigError: The bound is missing, or nothing is to be tried.
    """
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config.tune, "max_drop"):
        unit = FORMATS[metric_column(config.tune.metric, "").style].unit
        raise ConfigError(
            f"tune.max_drop: expected how much worse {config.tune.metric} may become"
            f"{f' (points of {unit})' if unit else ''}, got none; give tune.max_drop=..."
        )
    schema.check(OmegaConf.masked_copy(config, ["tune"]))
    if not search_space(config) and not _swept(config):
        known = ", ".join(sorted(config.tune.space))
        raise ConfigError(
            f"tune.space: expected keys to try for pipeline '{config.pipeline.name}', got none "
            f"(there are some for {known}); give some, such as 'pipeline.KEY=choice(1,2,4)'"
        )


def prepare(config: Any) -> None:
    """Tell the sweeper what is tried and how many trials are left.

    Raises:
        ConfigError: The bound is missing, or nothing is to be tried.
    """
    from omegaconf import open_dict

    check(config)
    with open_dict(config.hydra.sweeper):
        config.hydra.sweeper.params = search_space(config)
        config.hydra.sweeper.n_trials = trials_left(config)


def sweep_name(root: Any) -> str:
    """Return the name of the sweep's folder: another bound or other keys are another sweep.

    Jobs, whose configuration holds the values of one trial, are told it by the first process.
    """
    if not os.environ.get(TUNE_FOLDER):
        os.environ[TUNE_FOLDER] = _name_of(root)
    return os.environ[TUNE_FOLDER]


def _name_of(root: Any) -> str:
    from omegaconf import OmegaConf

    rest = OmegaConf.masked_copy(root, [key for key in root if key not in ("hydra", "verb")])
    plain = plain_values(rest)
    # What is swept has no value of its own yet.
    for key in {*search_space(root), *swept_keys(root)}:
        _leave_out(plain, key.lstrip("+"))
    tune = {name: plain["tune"][name] for name in ("metric", "max_drop", "size", "seed")}
    facts = [result_config(plain), tune, sorted(search_space(root).items()), sorted(_swept(root))]
    text = json.dumps(facts, sort_keys=True, default=str)
    names = [str(plain[group].get("name") or "custom") for group in ("model", "pipeline")]
    return "-".join([*names, hashlib.sha256(text.encode()).hexdigest()[:10]])


def _leave_out(plain: dict[str, Any], key: str) -> None:
    """Take a dotted key out of nested mappings, where it is."""
    *groups, name = key.split(".")
    node: Any = plain
    for group in groups:
        node = node.get(group) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(name, None)


def search_space(root: Any) -> dict[str, str]:
    """Return what is tried of each key where the command line says nothing of it."""
    chosen = root.tune.space.get(root.pipeline.name) or {}
    return {str(key): str(value) for key, value in chosen.items()}


def swept_keys(root: Any) -> list[str]:
    """Return the keys that the command line sweeps over."""
    return [text.partition("=")[0].lstrip("+") for text in _swept(root)]


def _swept(root: Any) -> list[str]:
    """Return the overrides of the command line that sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    texts = typed(root.hydra.overrides.task)
    parsed = OverridesParser.create().parse_overrides(texts)
    return [text for text, each in zip(texts, parsed, strict=True) if each.is_sweep_override()]


def trials_left(root: Any) -> int:
    """Return how many trials are still to be finished."""
    journal = Path(root.hydra.sweep.dir) / JOURNAL
    done = sum(each["state"] == COMPLETE for each in read_journal(journal).values())
    return max(0, int(root.tune.trials) - done)


def read_journal(file: Path) -> dict[int, dict[str, Any]]:
    """Return the newest of every trial by its number: params, distributions, state, values."""
    found: dict[int, dict[str, Any]] = {}
    for event in read_lines(file):
        blank = {"params": {}, "distributions": {}, "state": "", "values": []}
        trial = found.setdefault(int(event["trial"]), blank)
        if "key" in event:
            trial["params"][event["key"]] = event["value"]
            trial["distributions"][event["key"]] = event["distribution"]
        else:
            trial["state"], trial["values"] = event["state"], event.get("values") or []
    return found


@dataclass(frozen=True)
class Measured:
    """What a finished trial is worth.

    Attributes:
        size: Size of the last model of the run.
        dense_size: Size of the uncompressed model.
        score: Its mean score over all test conditions, as stored.
        dense_score: That of the uncompressed model.
        drop: By how much the score is worse, in the unit of the tables.
        max_drop: How much worse it may be.
    """

    size: float
    dense_size: float
    score: float
    dense_score: float
    drop: float
    max_drop: float

    @property
    def keeps(self) -> bool:
        """Whether the drop is within the bound."""
        return self.drop <= self.max_drop

    def told(self) -> list[float]:
        """Return what Optuna is told: size and drop, both to be made small.

        A trial beyond the bound is told as larger than the uncompressed model, the more so the
        further beyond it is: every trial within the bound then beats it, and of two beyond it the
        nearer one wins.
        """
        if self.keeps:
            return [self.size, self.drop]
        excess = self.drop - self.max_drop
        return [max(self.size, self.dense_size) * (1 + excess / (1 + excess)), self.drop]

    def as_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return asdict(self)


def measure(rows: Sequence[Mapping[str, Any]], tune: Mapping[str, Any]) -> Measured:
    """Return what a finished run is worth.

    Args:
        rows: All rows of the run in the order of its results.jsonl.
        tune: The keys of ``tune``.

    Raises:
        ConfigError: The run has no such size or score, or no uncompressed model.
    """
    metric, size = str(tune["metric"]), str(tune["size"])
    dense = next((str(row["variant"]) for row in rows if row.get("variant") in UNCOMPRESSED), "")
    if not dense:
        raise ConfigError(
            "tune: expected a pipeline that scores the uncompressed model, which the drop is "
            "measured against, got none; choose another pipeline"
        )
    score, dense_score = (Objective(metric, state).value(rows) for state in ("", dense))
    factor = FORMATS[metric_column(metric, "").style].factor
    return Measured(
        size=Objective(size).value(rows),
        dense_size=Objective(size, dense).value(rows),
        score=score,
        dense_score=dense_score,
        # Ten digits, so that a bound such as 0.1 is kept by a drop of 0.1.
        drop=round(factor * drop(metric, dense_score, score), 10),
        max_drop=float(tune["max_drop"]),
    )


def note(folder: Path, record: Mapping[str, Any]) -> None:
    """Record how a job ended, for the table of this call of the command and of later ones."""
    append_line(folder / JOBS, dict(record))


def command_of(verb: str, overrides: Sequence[str]) -> str:
    """Return the command that makes the run of one trial."""
    words = [each for each in overrides if not each.lstrip("+").startswith(("tune=", "tune."))]
    return shlex.join(["audioprune", verb, *words])


def finish(folder: Path) -> bool:
    """Write the table and the front of all trials so far, and say which one is best.

    Returns:
        Whether a trial keeps the bound.
    """
    from audioprune.report.shown.printing import show
    from audioprune.report.trials import Trial, Trials, write_trials

    records = read_lines(folder / JOBS)
    trials = []
    tune: Mapping[str, Any] = {}
    for number, tried in sorted(read_journal(folder / JOURNAL).items()):
        words = {f"{key}={value}" for key, value in tried["params"].items()}
        own = [each for each in records if words <= set(each["overrides"])]
        record = own[-1] if own else {}
        tune = record.get("tune") or tune
        measured = record.get("measured")
        trials.append(
            Trial(
                number=number,
                status=str(record.get("status") or "unfinished"),
                params=tried["params"],
                measured=Measured(**measured) if measured else None,
                folder=str(record.get("folder") or ""),
                reason=str(record.get("reason") or ""),
                command=command_of(record["verb"], record["overrides"]) if own else "",
            )
        )
    if not tune:
        return False
    found = Trials(str(tune["metric"]), str(tune["size"]), float(tune["max_drop"]), trials)
    files = write_trials(folder, found)
    show([found.table()], [str(folder / "trials.csv")])
    if shown_form() == "table":
        print(found.told(), flush=True)
    written(files)
    return found.best() is not None
