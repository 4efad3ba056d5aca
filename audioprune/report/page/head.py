"""What stands at the top of the page: what was compared, on what, when, and how to repeat it.

``head_of`` gives it for the runs of a report. Nothing is measured or judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from audioprune.report.model_tables import main_metrics
from audioprune.report.page.verdicts import Verdict, verdicts
from audioprune.report.runs.corpora import grouped
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job, label_of
from audioprune.report.tables import few

_MOST_NOISES = 8
_MEANINGS = {
    "stoi": "STOI says how much of speech is understood, 0 to 100, more is better.",
    "pesq_raw_nb": "PESQ predicts how good listeners find speech, -0.5 to 4.5, more is better.",
    "pesq_nb": "PESQ predicts how good listeners find speech, 1 to 4.5, more is better.",
    "pesq_wb": "PESQ predicts how good listeners find speech, 1 to 4.6, more is better.",
    "si_sdr": "SI-SDR compares the wanted signal with all that is not, in dB, more is better.",
    "accuracy": "Accuracy is the share of clips that are named rightly, more is better.",
    "error": "Error is the distance from the true signal, less is better.",
    "lsd": "LSD is the distance of spectra from the true ones, in dB, less is better.",
    "l1": "L1 is the mean distance of samples from the true ones, less is better.",
}

_ABOUT = {
    "Enhancement": "These networks take noise out of recorded speech.",
    "Adversarial": "These networks repair speech that a codec has damaged.",
    "Reconstruction": "These networks make the sound of single notes.",
    "NextSample": "These networks make the sound of single notes, sample by sample.",
    "SceneClassification": "These networks name the place where a sound was recorded.",
}
_WHY = (
    "Compression makes a trained network smaller, so that it fits a small device; this page says "
    "by how much, and what that cost."
)


@dataclass(frozen=True)
class Corpus:
    """A corpus in words: its name, its fingerprints, and what it was tested under."""

    name: str
    fingerprint: str
    tested: str


@dataclass(frozen=True)
class Head:
    """What stands at the top of the page.

    Attributes:
        about: What networks of this kind do, a sentence for each kind.
        compared: Which models in which states, in one sentence.
        verdicts: How much smaller each became, and what it cost.
        meanings: What the scores of the verdicts say.
        corpora: One for each block of the tables.
        date: When the last run ended, empty where that is not known.
        commands: The commands of the runs, each once.
        environment: Name and value of what the runs were made with.
    """

    about: str
    compared: str
    verdicts: tuple[Verdict, ...]
    meanings: tuple[str, ...]
    corpora: tuple[Corpus, ...]
    date: str
    commands: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


def head_of(jobs: Sequence[Job], found: Sequence[Entry]) -> Head:
    """Return the head of a page.

    Args:
        jobs: The runs.
        found: Their final entries.
    """
    judged = tuple(verdicts(found))
    shown = [name for each in judged for name in main_metrics([each.entry])]
    return Head(
        _about(jobs),
        _compared(found),
        judged,
        tuple(_MEANINGS[name] for name in dict.fromkeys(shown) if name in _MEANINGS),
        tuple(_corpora(found)),
        _date(jobs),
        tuple(dict.fromkeys(job.command for job in jobs if job.command)),
        tuple(_environment(jobs)),
    )


def title_of(jobs: Sequence[Job], found: Sequence[Entry]) -> str:
    """Return the title of a page about any runs: the names of their models."""
    labels = list(dict.fromkeys(map(label_of, jobs)))
    names = ", ".join(labels) if len(labels) < 4 else f"{len(labels)} models"
    small = any(entry.variant not in ("mixture", "uncompressed", "baseline") for entry in found)
    return f"{names}: before and after compression" if small else f"{names}: scores and costs"


def _about(jobs: Sequence[Job]) -> str:
    """Say what the networks do, by their tasks, and why they are made smaller."""
    tasks = [str(job.config.get("task._target_")).rpartition(".")[2] for job in jobs]
    told = [_ABOUT[task] for task in dict.fromkeys(tasks) if task in _ABOUT]
    return " ".join([*told, _WHY])


def _compared(found: Sequence[Entry]) -> str:
    states: dict[str, dict[str, None]] = {}
    for entry in found:
        if entry.variant and entry.variant != "mixture":
            states.setdefault(entry.label, {})[entry.variant] = None
    told = "; ".join(f"{label} {_listed(list(each))}" for label, each in states.items())
    return f"Compared: {told}." if told else "Nothing was scored yet."


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _corpora(found: Sequence[Entry]) -> list[Corpus]:
    told = []
    for several in grouped(found, lambda entry: entry.corpus.title):
        corpus = several[0].corpus
        prints = ", ".join(each[:12] for each in corpus.fingerprints) or "not recorded"
        told.append(Corpus(corpus.name or "not recorded", prints, _tested(several)))
    return told


def _tested(several: Sequence[Entry]) -> str:
    places = {place: None for entry in several for place in entry.conditions()}
    noises = list(dict.fromkeys(noise for noise, _ in places if noise))
    snrs = sorted({snr for _, snr in places if snr is not None})
    levels = f" at {', '.join(f'{snr:g}' for snr in snrs)} dB" if snrs else ""
    return f"tested on {few(noises, _MOST_NOISES)}{levels}" if noises else "not tested"


def _date(jobs: Sequence[Job]) -> str:
    """Return the day the last run ended: of the report itself, it would change its bytes."""
    states = [job.folder / "status.json" for job in jobs]
    ends = [path.stat().st_mtime for path in states if path.is_file()]
    if not ends:
        return ""
    return datetime.fromtimestamp(max(ends), UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")


def _environment(jobs: Sequence[Job]) -> list[tuple[str, str]]:
    """Return what the runs were made with; several values where runs differ."""
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        told = dict(job.environment)
        versions = told.pop("versions", None) or {}
        for name, value in {**told, **versions}.items():
            if value not in (None, "", {}) and not isinstance(value, dict | list):
                values.setdefault(str(name), {})[str(value)] = None
    return [(name, ", ".join(several)) for name, several in values.items()]
