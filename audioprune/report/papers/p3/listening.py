"""What large and small networks sound like: chosen clips and their spectrograms.

Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from audioprune.report.clips import TRUE, Clip, clips
from audioprune.report.figures.drawing import (
    Figure,
    slug,
)
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.page import Section
from audioprune.report.papers.p3.tickets import P3Evidence, Ticket
from audioprune.report.runs.job import Job

MOST_HEARD = 8
_LISTENING = (
    "Reference: the note itself. Uncompressed: the unpruned network. Round n: after n prunings. "
    "Trimmed: the smallest network. "
    "Of networks that generate sample by sample, 'one step' predicts each sample from the true "
    "ones before it, the others run freely."
)


def chosen_clips(tickets: Iterable[Ticket]) -> list[Clip]:
    """Return clips of one lottery of each model, of the proposed kind where there is one.

    Rescaled networks are heard beside those that were only rewound.
    """
    order = ("trim", "global", "information", "rewind")
    best: dict[str, tuple[int, Job]] = {}
    for ticket in tickets:
        label = f"{ticket.label}, rescaled" if ticket.reset == "rescale" else str(ticket.label)
        fit = sum(
            value == wanted
            for value, wanted in zip(
                (ticket.mode, ticket.scope, ticket.criterion, ticket.reset), order, strict=True
            )
        )
        if (ticket.job.folder / "audio").is_dir() and fit > best.get(label, (-1, ticket.job))[0]:
            best[label] = (fit, ticket.job)
    return [_heard(clip, label) for label, (_, job) in best.items() for clip in clips([job])][
        :MOST_HEARD
    ]


def _heard(clip: Clip, label: str) -> Clip:
    """Put the versions of a clip in the order of the rounds, the note itself last."""
    places = {
        "uncompressed": 0,
        **dict.fromkeys(("trimmed", "pruned"), 998),
        **dict.fromkeys(TRUE, 999),
    }

    def place(version: str) -> tuple[int, str]:
        state, _, number = version.removesuffix("_one_step").partition("-")
        return places.get(state, int(number) if number.isdigit() else 997), version

    return replace(
        clip,
        model=label,
        versions={version: clip.versions[version] for version in sorted(clip.versions, key=place)},
    )


def _pictures(folder: Path, heard: Sequence[Clip]) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Draw the first clip of every model; a file that cannot be read is named in a note."""
    drawn, notes = [], []
    for label, clip in {clip.model: clip for clip in reversed(heard)}.items():
        try:
            drawn.append(spectrogram_figure(folder, f"spectrogram-{slug(label.lower())}", clip))
        except (OSError, RuntimeError) as error:
            notes.append(f"No spectrogram of {clip.item}: {str(error).splitlines()[0]}")
    return tuple(reversed(drawn)), tuple(notes)


def listening(evidence: P3Evidence, folder: Path) -> list[Section]:
    """Return the section of clips and their spectrograms."""
    heard = chosen_clips(evidence.tickets)
    pictures, notes = _pictures(folder, heard)
    told = (_LISTENING, *notes)
    return [Section("Listening", figures=pictures, clips=tuple(heard), notes=told)]
