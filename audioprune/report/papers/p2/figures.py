"""Figures 2 and 3 of Tan & Wang (ICASSP 2021): parameters left and scores per pruning iteration.

``draw`` draws one of each for every corpus that has pruning iterations. Unstructured pruning
alone, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioprune.report.figures.drawing import (
    Figure,
    Line,
    Panel,
    lettered,
    line_figure,
    on_corpus,
    per_corpus,
)
from audioprune.report.figures.remaining import line_groups, remaining_lines
from audioprune.report.papers.p2.rows import P2Evidence, is_regularised, is_structured
from audioprune.report.runs.corpora import Corpus
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job
from audioprune.report.tables import metric_column

_NO_CORPUS = Corpus()


def draw(evidence: P2Evidence, folder: Path) -> list[Figure]:
    """Draw Figures 2 and 3, one of each for every corpus."""
    second = [
        figure_2(folder, P2Evidence(members, evidence.published), stem, corpus)
        for stem, corpus, members in per_corpus("p2_figure2", evidence.jobs)
    ]
    third = [
        figure_3(folder, P2Evidence(members, evidence.published), stem, corpus)
        for stem, corpus, members in per_corpus("p2_figure3", evidence.jobs)
    ]
    return [figure for figure in (*second, *third) if figure]


def figure_2(
    folder: Path, evidence: P2Evidence, stem: str = "p2_figure2", corpus: Corpus = _NO_CORPUS
) -> Figure | None:
    """Draw the percent of parameters left, without (a) and with (b) sparse regularisation.

    Source: Tan & Wang, Figure 2.
    """
    jobs = _unstructured(evidence)
    words = ("without sparse regularisation", "with sparse regularisation")
    panels = []
    for kind, title in zip((False, True), lettered(words), strict=True):
        lines = remaining_lines([job for job in jobs if is_regularised(job) == kind])
        if lines:
            panels.append(Panel(title, "Parameters left (%)", "percent", lines))
    if not panels:
        return None
    caption = (
        "Percent of the original number of trainable parameters at different pruning "
        "iterations; unstructured pruning."
    )
    caption = on_corpus(caption, corpus)
    return line_figure(folder, stem, panels, len(panels), "Pruning iteration", caption)


def figure_3(
    folder: Path, evidence: P2Evidence, stem: str = "p2_figure3", corpus: Corpus = _NO_CORPUS
) -> Figure | None:
    """Draw STOI and PESQ, without and with sparse regularisation, at the paper's SNR.

    Where that SNR was not tested, it is the lowest one that was.

    Source: Tan & Wang, Figure 3.
    """
    jobs = _unstructured(evidence)
    found = entries(jobs)
    snr = _snr_of(found, float(evidence.published["figure_3"]["snr_db"]))
    if snr is None:
        return None
    pesq = P2Evidence(tuple(jobs), evidence.published).pesq
    wanted = [(metric, kind) for metric in ("stoi", pesq) for kind in (False, True)]
    words = [
        f"{metric_column(metric, metric).title}, {'with' if kind else 'without'} regularisation"
        for metric, kind in wanted
    ]
    panels = []
    for (metric, kind), title in zip(wanted, lettered(words), strict=True):
        lines = _score_lines([job for job in jobs if is_regularised(job) == kind], metric, snr)
        if lines:
            column = metric_column(metric, metric)
            level = _unprocessed(found, metric, snr)
            panels.append(Panel(title, column.header, column.style, lines, level))
    if not panels:
        return None
    caption = (
        f"STOI and PESQ scores for {snr:g} dB SNR at different pruning iterations; unstructured "
        f"pruning."
    )
    columns = len({panel.title.rpartition(", ")[2] for panel in panels})
    caption = on_corpus(caption, corpus)
    return line_figure(folder, stem, panels, columns, "Pruning iteration", caption)


def _unstructured(evidence: P2Evidence) -> list[Job]:
    return [job for job in evidence.jobs if not is_structured(job.pipeline)]


def _snr_of(found: Sequence[Entry], wanted: float) -> float | None:
    """Return the SNR to draw in dB, or None where no iteration was scored."""
    iterations = [entry for entry in found if entry.iteration is not None]
    tested = {snr for entry in iterations for snr in entry.snrs() if snr is not None}
    if not tested:
        return None
    return wanted if wanted in tested else min(tested)


def _unprocessed(found: Sequence[Entry], metric: str, snr: float) -> tuple[str, float] | None:
    mixtures = (entry.score(metric, snr).mean for entry in found if entry.variant == "mixture")
    level = next(mixtures, None)
    return None if level is None else ("Unprocessed", level)


def _score_lines(jobs: Sequence[Job], metric: str, snr: float) -> tuple[Line, ...]:
    """Return a metric per pruning iteration, one line per group of jobs; 0 is the whole model."""
    scored = [job for job in jobs if any(entry.iteration is not None for entry in entries([job]))]
    lines = []
    for name, group in line_groups(scored).items():
        found = entries(group)
        values = {
            entry.iteration: entry.score(metric, snr)
            for entry in found
            if entry.iteration is not None
        }
        whole = next((entry for entry in found if entry.variant == "uncompressed"), None)
        if whole:
            values[0] = whole.score(metric, snr)
        measured = [(step, values[step]) for step in sorted(values)]
        points = tuple((float(step), value) for step, value in measured if value.mean is not None)
        if points:
            lines.append(Line(name, points, group[0].scale))
    return tuple(lines)
