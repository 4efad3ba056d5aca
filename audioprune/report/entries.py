"""How the rows of many jobs become one table: jobs that differ by their seed only are joined to means and deviations.

Nothing is formatted here; an entry holds numbers in the stored units (fractions, bytes).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from audioprune.report.model_states import (
    GIVEN,
    Condition,
    condition_of,
    finite_or_none,
    states_of,
)
from audioprune.report.runs import (
    OF_TRAINING,
    Corpus,
    Job,
    by_corpus,
    differences,
    join_seeds,
    joined_scales,
    scale_text,
    volatile_keys,
    width_in,
    without_width,
)

VARIANTS = ("mixture", "uncompressed", GIVEN, "baseline", "pruned", "trimmed", "compressed")
PESQ_MODES = ("pesq_raw_nb", "pesq_nb", "pesq_wb")
STATUS_WORDS = {"failed": "FAILED", "interrupted": "INTERRUPTED", "unfinished": "UNFINISHED"}
_NO_RATE = "no uncompressed model was measured in this run"
_DERIVED = {
    "rate_paper": ("bytes_uncompressed", "bytes_paper", 1),
    "rate_file": ("bytes_uncompressed", "bytes_file", 1),
    "bits_per_weight": ("bytes_paper", "nonzero", 8),
}


@dataclass(frozen=True)
class Value:
    """One measured number, joined over seeds.

    Attributes:
        mean: Mean over the seeds, in the stored unit; None when nothing was measured.
        std: Sample standard deviation over the seeds; None with fewer than two seeds.
        seeds: Number of seeds that entered the mean.
        n: Number of files asked for, where the number is a mean over files.
        n_valid: Number of those files that gave a number.
        reason: Why the mean is None, or what the mean leaves out.
    """

    mean: float | None
    std: float | None = None
    seeds: int = 1
    n: int | None = None
    n_valid: int | None = None
    reason: str = ""


def mean_of(
    values: Iterable[float | None],
    n: int | None = None,
    n_valid: int | None = None,
    reason: str = "",
) -> Value:
    """Join one number per seed to a mean and a sample standard deviation; None and non-finite numbers are left out."""
    finite = [number for number in map(finite_or_none, values) if number is not None]
    if not finite:
        return Value(None, None, 0, n, n_valid, reason or "not measured")
    std = statistics.stdev(finite) if len(finite) > 1 else None
    return Value(statistics.fmean(finite), std, len(finite), n, n_valid, reason)


@dataclass(frozen=True)
class Entry:
    """One state of one model (or the mixture, or a job that failed), joined over seeds.

    Attributes:
        label: Name of the model as tables print it.
        variant: ``"mixture"``, ``"uncompressed"``, ``"pruned"``, ``"compressed"``, ...; empty for
            a job that failed.
        iteration: Number of the pruning iteration, or None for a final state.
        step: Pipeline step that measured it, only where one job measured the same variant twice.
        seeds: Seed of every joined job.
        scale: Scale of its own rows; all of them, where joined jobs differ.
        config: Values of the configuration keys that differ between the jobs of the report.
        jobs: The jobs behind it; more than the seeds where equal rows of several jobs were joined
            to one.
        scores: Per seed, the score row of every (noise, SNR).
        sizes: Per seed, the size row; empty where none was written.
        corpus: What it was scored on.
    """

    label: str
    variant: str
    model: str = ""
    pipeline: str = ""
    iteration: int | None = None
    step: str = ""
    scale: str = ""
    seeds: tuple[int | None, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    status: str = ""
    reason: str = ""
    jobs: tuple[Job, ...] = ()
    scores: tuple[Mapping[Condition, dict[str, Any]], ...] = ()
    sizes: tuple[dict[str, Any], ...] = ()
    corpus: Corpus = Corpus()

    @property
    def title(self) -> str:
        """Name of the row: ``Mixture``, ``FDNN compressed`` or ``FDNN FAILED``."""
        if self.variant == "mixture":
            return "Mixture"
        iteration = "" if self.iteration is None else f"iteration {self.iteration}"
        return " ".join(
            filter(
                None,
                (self.label, self.variant, iteration, self.step and f"({self.step})", self.status),
            )
        )

    def conditions(self) -> list[Condition]:
        """Return all (noise, SNR) of all seeds, SNRs rising."""
        found = {condition for cells in self.scores for condition in cells}
        return sorted(found, key=lambda item: (item[1] is None, item[1] or 0.0, item[0]))

    def snrs(self) -> list[float | None]:
        """Return all SNRs in dB, rising; None stands for a score without SNR."""
        return list(dict.fromkeys(snr for _, snr in self.conditions()))

    def metrics(self) -> list[str]:
        """Return the names of all metrics, in the order they were measured."""
        return list(
            dict.fromkeys(
                name
                for cells in self.scores
                for row in cells.values()
                for name in row.get("metrics") or {}
            )
        )

    def score(
        self, metric: str, snr: float | None | str = "all", noise: str | None = None
    ) -> Value:
        """Return a metric: per seed the mean over noises (and SNRs), then mean and deviation over seeds.

        Args:
            metric: Name such as ``"stoi"``.
            snr: SNR in dB, None for scores without SNR, or ``"all"``.
            noise: One noise, or None for the unweighted mean over all.
        """
        wanted = [
            key for key in self.conditions() if snr in ("all", key[1]) and noise in (None, key[0])
        ]
        cells = [[per.get(key) or _absent(key) for key in wanted] for per in self.scores]
        rows = [row for per in cells for row in per]
        missing = [row for row in rows if _metric(row, metric) is None]
        n, n_valid = _total(rows, "n", metric), _total(rows, "n_valid", metric)
        per_seed = [_mean([_metric(row, metric) for row in per]) for per in cells]
        return mean_of(
            per_seed, n, n_valid if n_valid is not None else n, _missing_text(missing, len(rows))
        )

    def by_seed(
        self, metric: str, conditions: Iterable[Condition]
    ) -> dict[int | None, float | None]:
        """Return for every seed the mean of a metric over the given conditions; None where any of them gave no number."""
        wanted = list(conditions)
        found: dict[int | None, float | None] = {}
        for seed, per in zip(self.seeds, self.scores, strict=False):
            values = [_metric(per.get(key) or {}, metric) for key in wanted]
            found[seed] = statistics.fmean(values) if values and None not in values else None
        return found

    def size_by_seed(self, name: str) -> dict[int | None, float | None]:
        """Return a number of the size rows, see ``size``, for every seed."""
        return {seed: _size(row, name) for seed, row in zip(self.seeds, self.sizes, strict=False)}

    def size(self, name: str) -> Value:
        """Return a number of the size rows, or one of ``rate_paper``, ``rate_file``, ``bits_per_weight``."""
        reasons = [str(row["reason"]) for row in self.sizes if row.get("reason")]
        reasons += (
            [_NO_RATE]
            if name.startswith("rate_") and any(row.get("bytes_paper") for row in self.sizes)
            else []
        )
        value = mean_of(
            [_size(row, name) for row in self.sizes], reason=reasons[0] if reasons else ""
        )
        return value if value.mean is None else replace(value, reason="")


def _absent(condition: Condition) -> dict[str, Any]:
    return {"noise": condition[0], "snr_db": condition[1], "reason": "not evaluated"}


def _metric(row: Mapping[str, Any], metric: str) -> float | None:
    return finite_or_none((row.get("metrics") or {}).get(metric))


def _mean(values: list[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return statistics.fmean(kept) if kept else None


def _total(rows: list[dict[str, Any]], name: str, metric: str) -> int | None:
    counts = [
        row.get(name)[metric]
        if isinstance(row.get(name), Mapping) and metric in row[name]
        else row.get(name)
        for row in rows
    ]
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if numbers and len(numbers) == len(rows) else None


def _missing_text(missing: list[dict[str, Any]], of: int) -> str:
    if not missing:
        return ""
    reason = str(next((row["reason"] for row in missing if row.get("reason")), "not measured"))
    if len(missing) == of:
        return reason
    places = ", ".join(dict.fromkeys(condition_text(condition_of(row)) for row in missing))
    return f"mean without {places}: {reason}"


def _size(row: Mapping[str, Any], name: str) -> float | None:
    if name not in _DERIVED:
        return finite_or_none(row.get(name))
    above, below, factor = _DERIVED[name]
    numerator, denominator = finite_or_none(row.get(above)), finite_or_none(row.get(below))
    return None if numerator is None or not denominator else factor * numerator / denominator


def condition_text(condition: Condition) -> str:
    """Say a condition in words, such as ``babble, -5 dB``."""
    noise, snr = condition
    return ", ".join(filter(None, (noise, f"{snr:g} dB" if snr is not None else ""))) or "all"


def entries(jobs: Iterable[Job]) -> list[Entry]:
    """Join jobs to entries, corpus by corpus: the mixture first, then each model by variant and iteration, failed jobs last.

    The keys that a row shows are those that differ between jobs on corpora of one name: speech and
    scenes differ in all.
    """
    found = by_corpus(tuple(jobs))
    alike = {
        corpus.name: [job for other, jobs in found if other.name == corpus.name for job in jobs]
        for corpus, _ in found
    }
    shown = {name: differences(members) for name, members in alike.items()}
    return [
        entry
        for corpus, members in found
        for entry in _entries_on(corpus, members, shown[corpus.name])
    ]


def _entries_on(corpus: Corpus, jobs: tuple[Job, ...], shown: tuple[str, ...]) -> list[Entry]:
    models = [entry for group in join_seeds(jobs) for entry in _entries_of(group, shown)]
    order = {
        label: place for place, label in enumerate(dict.fromkeys(entry.label for entry in models))
    }
    models.sort(
        key=lambda entry: (
            order[entry.label],
            _variant_place(entry.variant),
            -1 if entry.iteration is None else entry.iteration,
        )
    )
    found = [*_mixtures(jobs), *_without_repeats(models), *_unfinished(jobs, shown)]
    return [replace(entry, corpus=corpus) for entry in found]


def final(found: Iterable[Entry]) -> list[Entry]:
    """Leave out the entries of single pruning iterations."""
    return [entry for entry in found if entry.iteration is None]


def _variant_place(variant: str) -> int:
    return VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS)


def _entries_of(group: tuple[Job, ...], shown: tuple[str, ...]) -> list[Entry]:
    states = [(job, states_of(job)) for job in group]
    found = []
    for key in dict.fromkeys(
        key for _, per_job in states for key in per_job if key[1] != "mixture"
    ):
        having = [(job, per_job[key]) for job, per_job in states if key in per_job]
        jobs = tuple(job for job, _ in having)
        label, variant, iteration, step = key
        entry = Entry(
            label,
            variant,
            jobs[0].model,
            jobs[0].pipeline,
            iteration,
            step,
            scale := joined_scales(_own_scale(job, state) for job, state in having),
            tuple(job.seed for job in jobs),
            _config_of_state(jobs[0], shown, variant, scale),
            jobs=jobs,
            scores=tuple(state["scores"] for _, state in having),
            sizes=tuple(state["size"] for _, state in having),
        )
        found.append(entry)
    return found


def _own_scale(job: Job, state: Mapping[str, Any]) -> str:
    """Return the scale that the rows of a state tell: a baseline within a run has a width of its own."""
    rows = [state["size"], *state["scores"].values()]
    return next((scale_text(row["scale"]) for row in rows if row.get("scale")), job.scale)


def _config_of_state(job: Job, shown: tuple[str, ...], variant: str, scale: str) -> dict[str, str]:
    """Return what sets a row apart.

    A baseline and a model that came from a file are not the model that is configured; their width
    is that of their own rows.
    """
    config = _shown_config(job, shown)
    if variant != "baseline" and not job.config.get("checkpoint"):
        return config
    true = {"model.width": width_in(scale)}
    return {
        key: true.get(key, "") if key.startswith("model.") else value
        for key, value in config.items()
    }


def _shown_config(job: Job, shown: tuple[str, ...]) -> dict[str, str]:
    return {key: "" if job.config.get(key) is None else str(job.config[key]) for key in shown}


def _mixtures(jobs: tuple[Job, ...]) -> list[Entry]:
    """Join the unprocessed scores of all jobs on the same data; jobs that disagree give rows of their own."""
    groups: dict[tuple[str, int], list[tuple[Job, dict]]] = {}
    left_out = volatile_keys(jobs)
    for job in jobs:
        cells = next(
            (state["scores"] for key, state in states_of(job).items() if key[1] == "mixture"), None
        )
        if cells:
            data = {
                key: repr(value)
                for key, value in job.config.items()
                if key.startswith("data.") and key not in left_out
            }
            data = {
                key: value
                for key, value in data.items()
                if key.rpartition(".")[2] not in OF_TRAINING
            }
            _file_mixture(groups, json.dumps(data, sort_keys=True), job, cells)
    return [
        Entry(
            "Mixture",
            "mixture",
            scale=joined_scales(without_width(job.scale) for job, _ in members),
            seeds=tuple(job.seed for job, _ in members),
            jobs=tuple(job for job, _ in members),
            scores=tuple(cells for _, cells in members),
        )
        for members in groups.values()
    ]


def _file_mixture(groups: dict, signature: str, job: Job, cells: dict) -> None:
    for place in range(len(groups) + 1):
        members = groups.setdefault((signature, place), [])
        same_seed = next(
            (index for index, (other, _) in enumerate(members) if other.seed == job.seed), None
        )
        if same_seed is None:
            members.append((job, cells))
            return
        if _agree(members[same_seed][1], cells):
            members[same_seed] = (members[same_seed][0], _merged(members[same_seed][1], cells))
            return


def _agree(one: Mapping[Condition, dict], other: Mapping[Condition, dict]) -> bool:
    """Tell whether two sets of scores contradict nowhere."""
    for condition in one.keys() & other.keys():
        left, right = one[condition], other[condition]
        shared = (left.get("metrics") or {}).keys() & (right.get("metrics") or {}).keys()
        if left.get("n") != right.get("n") or any(
            _metric(left, name) != _metric(right, name) for name in shared
        ):
            return False
    return True


def _merged(
    one: Mapping[Condition, dict], other: Mapping[Condition, dict]
) -> dict[Condition, dict]:
    merged = {**other, **one}
    for condition in one.keys() & other.keys():
        metrics = {
            **(other[condition].get("metrics") or {}),
            **(one[condition].get("metrics") or {}),
        }
        merged[condition] = {**one[condition], "metrics": metrics}
    return merged


def _without_repeats(found: list[Entry]) -> list[Entry]:
    """Keep one of several equal rows of the uncompressed model, which every job of a sweep scores again."""
    kept: list[Entry] = []
    for entry in found:
        twin = next(
            (index for index, other in enumerate(kept) if _same_uncompressed(entry, other)), None
        )
        if twin is None:
            kept.append(entry)
        else:
            kept[twin] = _shared(kept[twin], entry)
    return kept


def _shared(one: Entry, other: Entry) -> Entry:
    """Return the entry that stands for two equal ones: of both jobs, with what their configurations share."""
    config = {
        key: value if value == other.config.get(key) else "" for key, value in one.config.items()
    }
    pipeline = one.pipeline if one.pipeline == other.pipeline else ""
    return replace(one, config=config, pipeline=pipeline, jobs=(*one.jobs, *other.jobs))


def _same_uncompressed(one: Entry, other: Entry) -> bool:
    if (one.variant, one.label, one.scale, one.seeds, one.step) != (
        "uncompressed",
        other.label,
        other.scale,
        other.seeds,
        other.step,
    ):
        return False
    cells = [
        {key: row.get("metrics") for key, row in per.items()}
        for per in (*one.scores, *other.scores)
    ]
    half = len(one.scores)
    sizes_agree = all(
        one.size(name) == other.size(name) for name in ("params", "nonzero", "bytes_fp32")
    )
    return other.variant == one.variant and cells[:half] == cells[half:] and sizes_agree


def _unfinished(jobs: tuple[Job, ...], shown: tuple[str, ...]) -> list[Entry]:
    return [
        Entry(
            job.model.upper() or job.name,
            "",
            job.model,
            job.pipeline,
            scale=job.scale,
            seeds=(job.seed,),
            config=_shown_config(job, shown),
            status=STATUS_WORDS.get(job.status, job.status.upper()),
            reason=job.reason or "no reason was recorded",
            jobs=(job,),
        )
        for job in jobs
        if job.status != "finished"
    ]
