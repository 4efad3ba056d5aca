"""How the rows of many jobs become those of a report: jobs that differ by seed only are joined.

``entries`` gives one `Entry` for each state of each model, corpus by corpus. What an entry tells
is written in entry.py, which rows repeat one another in repeats.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from audioprune.report.runs.corpora import Corpus, by_corpus
from audioprune.report.runs.entry import VARIANTS, Entry
from audioprune.report.runs.job import Job
from audioprune.report.runs.repeats import mixtures, without_repeats
from audioprune.report.runs.scales import joined_scales, scale_text, width_in
from audioprune.report.runs.seeds import differences, join_seeds
from audioprune.report.runs.states import State, StateName, states_of

STATUS_WORDS = {"failed": "FAILED", "interrupted": "INTERRUPTED", "unfinished": "UNFINISHED"}


def entries(jobs: Iterable[Job]) -> list[Entry]:
    """Join jobs to entries, corpus by corpus.

    The mixture comes first, then each model by variant and iteration, failed jobs last. The keys
    that a row shows are those that differ between jobs on corpora of one name: speech and scenes
    differ in all.
    """
    found = by_corpus(tuple(jobs))
    alike: dict[str, list[Job]] = {}
    for corpus, members in found:
        alike.setdefault(corpus.name, []).extend(members)
    shown = {name: differences(members) for name, members in alike.items()}
    return [
        entry
        for corpus, members in found
        for entry in _entries_on(corpus, members, shown[corpus.name])
    ]


def final(found: Iterable[Entry]) -> list[Entry]:
    """Leave out the entries of single pruning iterations."""
    return [entry for entry in found if entry.iteration is None]


def _entries_on(corpus: Corpus, jobs: tuple[Job, ...], shown: tuple[str, ...]) -> list[Entry]:
    models = [entry for group in join_seeds(jobs) for entry in _entries_of(group, shown)]
    labels = list(dict.fromkeys(entry.label for entry in models))

    def place(entry: Entry) -> tuple[int, int, int]:
        iteration = -1 if entry.iteration is None else entry.iteration
        return labels.index(entry.label), _variant_place(entry.variant), iteration

    models.sort(key=place)
    found = [*mixtures(jobs), *without_repeats(models), *_unfinished(jobs, shown)]
    return [replace(entry, corpus=corpus) for entry in found]


def _variant_place(variant: str) -> int:
    return VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS)


def _entries_of(group: tuple[Job, ...], shown: tuple[str, ...]) -> list[Entry]:
    """Return one entry for every state of the model of jobs that differ by their seed."""
    states = [(job, states_of(job)) for job in group]
    names = dict.fromkeys(name for _, of_job in states for name in of_job)
    found = []
    for name in names:
        if name.variant != "mixture":
            having = [(job, of_job[name]) for job, of_job in states if name in of_job]
            found.append(_entry_of(name, having, shown))
    return found


def _entry_of(name: StateName, having: list[tuple[Job, State]], shown: tuple[str, ...]) -> Entry:
    jobs = tuple(job for job, _ in having)
    scale = joined_scales(_own_scale(job, state) for job, state in having)
    return Entry(
        name.label,
        name.variant,
        jobs[0].model,
        jobs[0].pipeline,
        name.iteration,
        name.step,
        scale,
        tuple(job.seed for job in jobs),
        _config_of_state(jobs[0], shown, name.variant, scale),
        jobs=jobs,
        scores=tuple(state.scores for _, state in having),
        sizes=tuple(state.size for _, state in having),
    )


def _own_scale(job: Job, state: State) -> str:
    """Return the scale that the rows of a state tell: a baseline in a run has its own width."""
    scales = [state.size.scale, *(row.scale for row in state.scores.values())]
    return next((scale_text(scale) for scale in scales if scale), job.scale)


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
