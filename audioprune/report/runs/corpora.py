"""Which jobs worked on one corpus: only their rows may share a block, a figure or a claim.

``by_corpus`` groups jobs, and names each corpus by its fingerprint, or by what is configured of
its test data where none was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from audioprune.report.runs.job import Job

T = TypeVar("T")
UNTOLD_CORPUS = "Corpus: not recorded"
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


def by_corpus(jobs: Iterable[Job]) -> list[tuple[Corpus, tuple[Job, ...]]]:
    """Group jobs by the corpus that they worked on, in the order of their first jobs.

    A corpus is known by its fingerprint. Where the seeds of the corpus follow the seeds of the
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
    """Tell whether the corpus is drawn anew for each seed.

    It is where its seeds are those of the jobs, and each seed has one fingerprint.
    """
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


def grouped(members: Iterable[T], key: Callable[[T], str]) -> list[tuple[T, ...]]:
    """Group jobs or entries by a key, groups and members in the order given."""
    groups: dict[str, list[T]] = {}
    for member in members:
        groups.setdefault(key(member), []).append(member)
    return [tuple(group) for group in groups.values()]
