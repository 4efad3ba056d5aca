"""Which clips a page plays, and what it says beside them.

``players_of`` groups clips of one recording: its reference, its input and what each model made of
it, to be switched while they play. Where the runs kept the score of every recording, the worst, a
middling and the best one are chosen; otherwise the first ones. How they play is written in
templates/report_player.js.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audioprune.experiment.rows import QualityRow, finite_or_none
from audioprune.report.baselines import SMALLER_IS_BETTER
from audioprune.report.clips import NOISY, TRUE, Clip, beginning, version_text
from audioprune.report.page.sound import Sound, Sounds
from audioprune.report.runs.entry import chief_metrics, condition_text
from audioprune.report.runs.scales import honest_scale
from audioprune.report.runs.seeds import differences
from audioprune.report.tables import METRICS, cell_text, metric_column, unit_text

MOST_BYTES = 3_500_000
"""What the clips of one page may take, so that a page of twenty runs stays below 5 MB."""
_MOST_METRICS = 3
_MOST_SETTINGS = 3
_SILENT_LUFS = -70.0
_MAX_GAIN_DB = 30.0
_DEFAULT_LUFS = -23.0


@dataclass(frozen=True)
class Version:
    """One version of a recording.

    Attributes:
        name: What it is, such as ``FDNN compressed``.
        role: ``reference``, ``input`` or ``model``.
        sound: Its clip.
        gain_db: What makes it as loud as the reference.
        scores: One text for each column of the player.
    """

    name: str
    role: str
    sound: Sound
    gain_db: float
    scores: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One recording in all its versions, the reference first.

    Attributes:
        title: Condition and name.
        why: Why it is among those that are played.
        scale: How far its runs are from the paper's.
        columns: Headers of the scores.
        versions: Reference, input, models.
    """

    title: str
    why: str
    scale: str
    columns: tuple[str, ...]
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class _Recording:
    """The clips of one recording, one for each run, and how it was scored among all."""

    clips: tuple[Clip, ...]
    metric: str = ""
    score: float | None = None
    rank: int = 0
    of: int = 0
    judged: str = ""


def players_of(
    found: Sequence[Clip], count: int, sounds: Sounds, most_bytes: int = MOST_BYTES
) -> tuple[list[Item], list[str]]:
    """Return what is played, and notes about what is not.

    Args:
        found: Clips of any runs.
        count: Recordings of each corpus; 0 for none.
        sounds: Where the clips are stored.
        most_bytes: What all clips of the page may take.
    """
    items: list[Item] = []
    notes: list[str] = []
    left = 0
    for corpus, recordings in _by_corpus(found).items():
        chosen = _chosen(recordings, count)
        left += len(recordings) - len(chosen)
        for recording, why in chosen:
            if sounds.size > most_bytes and items:
                left += 1
                continue
            try:
                items.append(_item(recording, why, sounds))
            except (OSError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                notes.append(f"{_title(recording)} ({corpus}) cannot be played: {reason}")
    if left:
        notes.append(
            f"{left} more recording{'s' * (left != 1)} lie in the audio folders of the runs; "
            f"clips=N puts more into the page."
        )
    return items, [*notes, *([sounds.note] if sounds.note else [])]


def _by_corpus(found: Sequence[Clip]) -> dict[str, list[_Recording]]:
    """Group clips by corpus, then by recording: the same reference under the same condition."""
    corpora: dict[str, dict[tuple[object, ...], list[Clip]]] = {}
    for clip in found:
        true = next((clip.versions[name] for name in TRUE if name in clip.versions), None)
        same = beginning(true) if true else clip.job.folder
        key = (clip.condition, clip.item, same)
        corpora.setdefault(_corpus_of(clip), {}).setdefault(key, []).append(clip)
    return {
        corpus: [_ranked(tuple(clips)) for clips in recordings.values()]
        for corpus, recordings in corpora.items()
    }


def _corpus_of(clip: Clip) -> str:
    return f"{clip.job.corpus} {clip.job.fingerprint[:12]}".strip()


def _ranked(clips: tuple[Clip, ...]) -> _Recording:
    """Find how the last model of a recording was scored, among all recordings of that test."""
    for clip in reversed(clips):
        for version in reversed(list(clip.versions)):
            if version in (NOISY, *TRUE):
                continue
            found = _row_of(clip, version)
            scores = clip.scores.get(version) or {}
            metric = next(iter(chief_metrics(scores)), "")
            score = finite_or_none(scores.get(metric)) if metric else None
            if score is None:
                continue
            others = found.item_scores(metric).values() if found else ()
            sign = 1 if metric in SMALLER_IS_BETTER else -1
            rank = 1 + sum(sign * other < sign * score for other in others)
            judged = f"{clip.model} {version_text(version).lower()}"
            return _Recording(clips, metric, score, rank, len(others), judged)
    return _Recording(clips)


def _row_of(clip: Clip, version: str) -> QualityRow | None:
    rows = clip.job.rows_of(QualityRow)
    return next(
        (
            row
            for row in reversed(rows)
            if row.variant == version and (row.noise, row.snr_db) == clip.condition
        ),
        None,
    )


def _chosen(recordings: Sequence[_Recording], count: int) -> list[tuple[_Recording, str]]:
    """Choose the worst, evenly spaced middling ones and the best; then the first without score."""
    scored = [each for each in recordings if each.score is not None]
    told = [(scored[place], why) for place, why in _spread(scored, count)]
    first = [each for each in recordings if each.score is None][: count - len(told)]
    return [*told, *((each, "the first one that was kept") for each in first)]


def _spread(scored: list[_Recording], count: int) -> list[tuple[int, str]]:
    """Sort recordings from worst to best, and return the places that are played, and why."""
    if not scored or count < 1:
        return []
    sign = -1 if scored[0].metric in SMALLER_IS_BETTER else 1
    scored.sort(key=lambda each: sign * (each.score or 0.0))
    last = len(scored) - 1
    steps, middle = max(1, count - 1), round(last / 2)
    places = [middle] if count == 1 else [round(last * each / steps) for each in range(count)]
    words = {0: "worst", last: "best", middle: "median"} if last else {0: "only"}
    told = []
    for place in dict.fromkeys(places):
        word = words.get(place, "between")
        told.append((place, f"{word} of {len(scored)} kept, {_rank(scored[place])}"))
    return told


def _rank(recording: _Recording) -> str:
    title, style = METRICS.get(recording.metric, (recording.metric, "fine"))
    score = f"{title} {unit_text(recording.score, style)}"
    place = f", place {recording.rank} of {recording.of} in its test" if recording.of else ""
    return f"by {score} of {recording.judged}{place}"


def _title(recording: _Recording) -> str:
    clip = recording.clips[0]
    return f"{condition_text(clip.condition)}: {clip.item}"


def _item(recording: _Recording, why: str, sounds: Sounds) -> Item:
    clips = recording.clips
    measured = [name for clip in clips for scores in clip.scores.values() for name in scores]
    metrics = chief_metrics(measured, _MOST_METRICS)
    notes = any("reference" in clip.versions for clip in clips)
    columns = [metric_column(metric, metric) for metric in metrics]
    versions: dict[tuple[str, str], Version] = {}
    true = next(((clip, name) for clip in clips for name in TRUE if name in clip.versions), None)
    reference = sounds.sound(true[0].versions[true[1]]) if true else None
    for role, clip, version in _in_order(clips):
        sound = sounds.sound(clip.versions[version])
        name = _name(role, clip, version, clips)
        told = [
            "" if role == "reference" else cell_text(_score(clip, version, each.key), each.style)
            for each in columns
        ]
        pitch = [_pitch(sound, reference)] if notes else []
        versions.setdefault(
            (name, sound.name),
            Version(name, role, sound, _gain(sound, reference), (*told, *pitch)),
        )
    headers = [column.header for column in columns] + (["Pitch (Hz)"] if notes else [])
    scales = " | ".join(dict.fromkeys(honest_scale(clip.job.scale) for clip in clips))
    return Item(_title(recording), why, scales, tuple(headers), tuple(versions.values()))


def _in_order(clips: Sequence[Clip]) -> list[tuple[str, Clip, str]]:
    """Return role, clip and version: reference and input once, then the models, run by run."""
    head: dict[str, tuple[str, Clip, str]] = {}
    models = []
    for clip in clips:
        for version in clip.versions:
            if version in TRUE:
                head.setdefault("reference", ("reference", clip, version))
            elif version == NOISY:
                head.setdefault("input", ("input", clip, version))
            else:
                models.append(("model", clip, version))
    return [*(head[role] for role in ("reference", "input") if role in head), *models]


def _name(role: str, clip: Clip, version: str, clips: Sequence[Clip]) -> str:
    if role == "reference":
        return "Reference"
    if role == "input":
        return "Input, unprocessed"
    twins = [other for other in clips if other.model == clip.model and version in other.versions]
    apart = f" ({_apart(clip, twins)})" if len(twins) > 1 else ""
    return f"{clip.model} {version_text(version).lower()}{apart}"


def _apart(clip: Clip, twins: Sequence[Clip]) -> str:
    """Say what sets a run apart from others of the same model: its settings, or its seed."""
    jobs = [twin.job for twin in twins]
    keys = [key for key in differences(jobs) if key in clip.job.config]
    told = [f"{key.rpartition('.')[2]}={clip.job.config[key]}" for key in keys[:_MOST_SETTINGS]]
    if len({job.seed for job in jobs}) > 1:
        told.append(f"seed {clip.job.seed}")
    return ", ".join(told) or clip.job.name


def _score(clip: Clip, version: str, metric: str) -> float | None:
    return finite_or_none((clip.scores.get(version) or {}).get(metric))


def _pitch(sound: Sound, reference: Sound | None) -> str:
    if sound.pitch_hz is None:
        return "none found"
    text = f"{sound.pitch_hz:.1f}"
    if reference is None or reference is sound or reference.pitch_hz is None:
        return text
    return f"{text} ({1200 * math.log2(sound.pitch_hz / reference.pitch_hz):+.0f} cents)"


def _gain(sound: Sound, reference: Sound | None) -> float:
    """Return the gain in dB to the loudness of the reference; none for silence."""
    target = reference.loudness if reference else _DEFAULT_LUFS
    if min(target, sound.loudness) < _SILENT_LUFS:
        return 0.0
    gain = target - sound.loudness
    return max(-_MAX_GAIN_DB, min(_MAX_GAIN_DB, gain))
