"""Which audio files a run kept: one item unprocessed, after each version of the model, and clean.

``clips`` finds them. How they are played is written in page.py, how they are drawn in
figures/spectrograms.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audioprune.experiment.rows import QualityRow
from audioprune.report.runs.entry import VARIANTS, condition_text
from audioprune.report.runs.job import Job, label_of
from audioprune.report.runs.states import Condition, condition_of

NOISY, CLEAN, REFERENCE = "noisy", "clean", "reference"
TRUE = (CLEAN, REFERENCE)
"""What a model is to give: the clean signal of a mixture, the note of a synthesis."""


@dataclass(frozen=True)
class Clip:
    """One test item in all its versions.

    Attributes:
        title: Model, condition and item in words.
        condition: Noise and SNR in dB.
        item: Name of the item.
        versions: File of every version, in listening order: unprocessed first, the clean signal or
            the reference last.
        scores: Metrics of every version that has scores of its own, by version.
    """

    job: Job
    model: str
    condition: Condition
    item: str
    versions: Mapping[str, Path]
    scores: Mapping[str, Mapping[str, float]]

    @property
    def title(self) -> str:
        """Condition and item in words."""
        return f"{condition_text(self.condition)}: {self.item}"


def clips(jobs: Iterable[Job]) -> list[Clip]:
    """Find the audio that jobs kept, by job, SNR, noise and item."""
    return [clip for job in jobs for clip in _clips_of(job)]


def one_per_noise(found: Iterable[Clip]) -> list[Clip]:
    """Return for every job and noise the first item at the lowest SNR."""
    chosen: dict[tuple[Path, str], Clip] = {}
    for clip in found:
        chosen.setdefault((clip.job.folder, clip.condition[0]), clip)
    return list(chosen.values())


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file: those of a FLAC hold the checksum of its samples."""
    with open(path, "rb") as stream:
        return stream.read(64)


def version_text(version: str) -> str:
    """Say a version in words: ``Unprocessed`` for the noisy signal, otherwise its own name."""
    return "Unprocessed" if version == NOISY else version.replace("_", " ").capitalize()


def _clips_of(job: Job) -> list[Clip]:
    folder = job.folder / "audio"
    if not folder.is_dir():
        return []
    rows = [row for row in job.rows_of(QualityRow) if row.condition]
    known = {row.condition: condition_of(row) for row in rows}
    model = label_of(job)
    found = []
    for place in sorted({file.parent for file in folder.rglob("*.flac")}):
        name = place.relative_to(folder).as_posix()
        condition = known.get(name) or _parsed(name)
        for item, versions in _items(place).items():
            found.append(Clip(job, model, condition, item, versions, _scores(job, name, item)))
    return sorted(
        found,
        key=lambda clip: (
            clip.condition[1] is None,
            clip.condition[1] or 0.0,
            clip.condition[0],
            clip.item,
        ),
    )


def _parsed(name: str) -> Condition:
    """Read noise and SNR from a folder name such as ``babble_-5dB``."""
    match = re.fullmatch(r"(.+?)[_/]([+-]?\d+(?:\.\d+)?)_?(?:dB)?", name, flags=re.IGNORECASE)
    return (match.group(1), float(match.group(2))) if match else (name, None)


def _items(folder: Path) -> dict[str, dict[str, Path]]:
    """Group files by item.

    The name of an item is what comes before ``_noisy``, ``_clean`` or ``_reference``, so that
    it may hold underscores.
    """
    files = sorted(folder.glob("*.flac"))
    stems = {file.stem: file for file in files}
    ends = tuple(f"_{version}" for version in (NOISY, *TRUE))
    names = {stem.removesuffix(end) for stem in stems for end in ends if stem.endswith(end)}
    items: dict[str, dict[str, Path]] = {name: {} for name in sorted(names)}
    for stem, file in stems.items():
        owners = [name for name in names if stem.startswith(f"{name}_")]
        if owners:
            owner = max(owners, key=len)
            items[owner][stem[len(owner) + 1 :]] = file
    return {
        name: dict(sorted(versions.items(), key=lambda item: _place(item[0])))
        for name, versions in items.items()
    }


def _place(version: str) -> tuple[int, str]:
    order = (NOISY, *VARIANTS[1:])
    if version in TRUE:
        return len(order) + 1, ""
    return (order.index(version), "") if version in order else (len(order), version)


def _scores(job: Job, condition: str, item: str) -> dict[str, dict[str, float]]:
    """Return the scores of an item by version: of its own rows, or those of all items."""
    found: dict[str, dict[str, float]] = {}
    for row in job.rows_of(QualityRow):
        kept = row.get("items") or {}
        if row.condition == condition and item in (kept.get("id") or ()):
            place = kept["id"].index(item)
            scores = {name: each[place] for name, each in kept.items() if name != "id"}
            found[_version(row.variant)] = scores
    for each in job.of_kind("audio"):
        if (str(each.get("condition")), str(each.get("id"))) == (condition, item):
            found[_version(str(each.get("variant")))] = each.get("metrics") or {}
    return found


def _version(variant: str) -> str:
    return NOISY if variant == "mixture" else variant
