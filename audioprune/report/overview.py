"""What a report shows of any runs: figures, audio, and the tables behind them, section by section.

``runs_sections`` builds these sections for the summary and for papers that want them. It judges no
claim and knows no paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from audioprune.report.clips import Clip, beginning, clips, one_per_noise
from audioprune.report.figures.curves import budget_figures, curve_figures
from audioprune.report.figures.drawing import (
    Figure,
    Panel,
    line_figure,
    on_corpus,
    per_corpus,
    slug,
)
from audioprune.report.figures.model_fronts import cost_figures
from audioprune.report.figures.pareto import pareto_figures
from audioprune.report.figures.remaining import remaining_lines
from audioprune.report.figures.sensitivity import quantization_table, sensitivity_figure
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.model_tables import condition_table, iteration_table
from audioprune.report.page import Section
from audioprune.report.page.parts import confusion_section, removed_section, training_section
from audioprune.report.runs.entries import final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job
from audioprune.report.runs.seeds import models_in_turn

MOST_JOBS_DRAWN = 6
MOST_SPECTROGRAMS = 12


def runs_sections(jobs: Sequence[Job], found: Sequence[Entry], folder: Path) -> list[Section]:
    """Return the sections: listening, figures, what was removed, training, and folded tables.

    Args:
        jobs: The runs.
        found: Their entries.
        folder: Where the figures go.
    """
    in_turn = models_in_turn(jobs)
    return [
        _listening_section(clips(in_turn), folder),
        _figures_section(jobs, found, folder),
        confusion_section(final(found)),
        removed_section(in_turn),
        training_section(jobs, folder),
        _iterations_section(in_turn),
        _quantisation_section(in_turn),
        _conditions_section(final(found)),
    ]


def _figures_section(jobs: Sequence[Job], found: Sequence[Entry], folder: Path) -> Section:
    in_turn = models_in_turn(jobs)
    drawn = [
        *_remaining_figures(folder, jobs),
        *pareto_figures(folder, "size_quality", final(found)),
        *cost_figures(folder, "cost_quality", final(found)),
        *_sensitivity_figures(folder, in_turn),
        *curve_figures(folder, jobs),
        *budget_figures(folder, jobs),
    ]
    return Section("Figures", figures=tuple(drawn), notes=_not_drawn(in_turn))


def _listening_section(heard: Sequence[Clip], folder: Path) -> Section:
    pictures, notes = _spectrogram_figures(folder, heard)
    players = tuple(_without_repeats(heard))
    # The player draws the spectrogram of what it plays; the files are for papers.
    return Section(
        "Listening", figures=tuple(pictures), clips=players, notes=tuple(notes), file_only=True
    )


def _iterations_section(jobs: Sequence[Job]) -> Section:
    pruned = iteration_table(jobs)
    tables = (pruned,) if pruned.rows else ()
    return Section("Pruning iterations", tables, folded=True, page_only=True)


def _quantisation_section(jobs: Sequence[Job]) -> Section:
    tables = [table for job in jobs if (table := quantization_table(job))]
    more = len(tables) - MOST_JOBS_DRAWN
    note = (
        f"{more} more runs were quantised; their tables lie in their folders, as quantization.csv."
    )
    return Section(
        "Quantisation",
        tuple(tables[:MOST_JOBS_DRAWN]),
        notes=(note,) if more > 0 else (),
        folded=True,
        page_only=True,
    )


def _conditions_section(found: Sequence[Entry]) -> Section:
    tables = (condition_table(found),) if any(entry.scores for entry in found) else ()
    return Section("Every test condition", tables, folded=True, page_only=True)


def _remaining_figures(folder: Path, jobs: Sequence[Job]) -> list[Figure]:
    """Draw the parameters left at each pruning iteration, one figure per corpus."""
    drawn = []
    for stem, corpus, members in per_corpus("remaining", jobs):
        lines = remaining_lines(members)
        if lines:
            panel = Panel("", "Parameters left (%)", "percent", lines)
            caption = on_corpus("Parameters left at each pruning iteration.", corpus)
            drawn.append(line_figure(folder, stem, [panel], 1, "Pruning iteration", caption))
    return drawn


def _analysed(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if any(job.folder.glob("sensitivity-*.csv"))]


def _not_drawn(jobs: Iterable[Job]) -> tuple[str, ...]:
    more = len(_analysed(jobs)) - MOST_JOBS_DRAWN
    return (
        (
            f"The sensitivity of {more} more runs is not drawn; it lies in their folders, as "
            f"sensitivity-*.csv.",
        )
        if more > 0
        else ()
    )


def _sensitivity_figures(folder: Path, jobs: Iterable[Job]) -> list[Figure]:
    analysed = _analysed(jobs)[:MOST_JOBS_DRAWN]
    drawn = (
        sensitivity_figure(folder, f"sensitivity-{place}-{slug(job.name)}", job, job.name)
        for place, job in enumerate(analysed, 1)
    )
    return [figure for figure in drawn if figure]


def _spectrogram_figures(folder: Path, heard: Iterable[Clip]) -> tuple[list[Figure], list[str]]:
    """Draw one item per noise and job; a note names a file that cannot be read."""
    drawn, notes = [], []
    for place, clip in enumerate(one_per_noise(heard)[:MOST_SPECTROGRAMS], 1):
        name = f"spectrogram-{place}-{slug(clip.job.name)}-{slug(clip.condition[0]) or 'all'}"
        try:
            drawn.append(spectrogram_figure(folder, name, clip))
        except (OSError, RuntimeError) as error:
            notes.append(
                f"No spectrogram of {clip.title} in {clip.job.name}: {str(error).splitlines()[0]}"
            )
    return drawn, notes


def _without_repeats(heard: Sequence[Clip]) -> list[Clip]:
    """Leave out clips that another run already gave."""
    kept: dict[tuple[Any, ...], Clip] = {}
    for clip in heard:
        sound = tuple((version, beginning(path)) for version, path in clip.versions.items())
        kept.setdefault((clip.model, clip.condition, clip.item, sound), clip)
    return list(kept.values())
