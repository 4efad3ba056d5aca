"""How the pages of lasting results are written from collected rows: ``write_results``.

A folder holds for every paper ``pN/rows.jsonl`` (see runs/collected.py). Beside it this writes
``pN.md``, the figures and their numbers in ``pN/``, and ``index.md``. Every number comes from the
rows or from the published cells; a paper without rows says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.files import write_atomic
from audioprune.report.claims import HELD, NOT_HELD, NOT_MEASURED, Claim
from audioprune.report.figures.drawing import Figure, drawn_as, footer_of
from audioprune.report.page import Section
from audioprune.report.paper import ClaimsPart, Evidence, Paper
from audioprune.report.papers import papers
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.results.provenance import hours_of, provenance
from audioprune.report.results.task import task_table
from audioprune.report.results.task_figure import task_figures
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import COLLECTED, Job, load_jobs
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Table, escape_markdown, to_markdown

NO_ROWS = "No rows yet: `make small` makes them and `make results` writes them here."
VERDICTS = {HELD: "holds", NOT_HELD: "does not hold"}
_GAPS = "## Where the paper contradicts itself or leaves a gap"
_HOW = (
    "Each page is written by `make results` from the rows beside it, which are those of finished "
    "runs, and by nothing else; a test writes the pages again and compares. Every caption names "
    "the tier of its runs: `small` takes minutes of one core a run on embedded corpora, and only "
    "`paper` could reproduce a published number.",
    "A claim is judged by the 95 % interval of differences that are paired by seed. It **holds** "
    "where the whole interval is as claimed, it **does not hold** where none of it is, and "
    "otherwise it is **not shown**; with fewer than three seeds it is not judged. Where runs kept "
    "the score of every item, the interval is that of a bootstrap that draws items and seeds anew "
    "together, else that of Student's t over the seeds alone; the text beside it says which. A "
    "model that is no better than its input, chance or silence shows no claim.",
)


@dataclass(frozen=True)
class Page:
    """What is known of one paper.

    Attributes:
        paper: The paper.
        jobs: Its collected runs; none where there are no rows.
        judged: Its claims, as the runs judge them.
        text: The whole page.
    """

    paper: Paper[Any]
    jobs: tuple[Job, ...]
    judged: tuple[Claim, ...]
    text: str

    def counts(self) -> str:
        """Say how many claims hold, do not hold, are not shown and were not measured."""
        words = [VERDICTS.get(claim.status, claim.status) for claim in self.judged]
        order = dict.fromkeys([*VERDICTS.values(), "not shown", *sorted(set(words))])
        told = [f"{words.count(word)} {word}" for word in order if word in words]
        return ", ".join(told) or "none judged"


def write_results(folder: Path) -> list[Path]:
    """Write the pages of all papers, their figures and the index.

    Args:
        folder: Such as ``docs/results``; rows of a paper are in ``pN/rows.jsonl``.

    Returns:
        The written files; the same rows give the same text again.
    """
    with drawn_as("png"):
        pages = [_page(paper, folder) for paper in papers().values()]
    files = [write_atomic(folder / f"{page.paper.name}.md", page.text) for page in pages]
    for page in pages:
        _remove_unlinked(page, folder)
    return [*files, write_atomic(folder / "index.md", _index(pages))]


def _remove_unlinked(page: Page, folder: Path) -> None:
    """Remove figures, and their numbers, that an earlier page had and this one does not."""
    for path in (folder / page.paper.name).rglob("*.*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".png", ".csv") and f"({name})" not in page.text:
            path.unlink()


def readme_lines(folder: Path) -> list[str]:
    """Return one line for each paper: its runs, tier and how its claims stand."""
    return [f"| {' | '.join(_summary(page))} |" for page in _pages_without_figures(folder)]


def _pages_without_figures(folder: Path) -> list[Page]:
    found = []
    for paper in papers().values():
        jobs = _jobs(paper, folder)
        evidence = _evidence(paper, jobs, folder)
        judged = tuple(paper.claims.judge(evidence)) if evidence else ()
        found.append(Page(paper, jobs if evidence else (), judged, ""))
    return found


def _jobs(paper: Paper[Any], folder: Path) -> tuple[Job, ...]:
    rows = folder / paper.name / COLLECTED
    return load_jobs(rows) if rows.is_file() else ()


def _evidence(paper: Paper[Any], jobs: tuple[Job, ...], folder: Path) -> Evidence | None:
    """Return what the claims are judged by, or None where the runs hold nothing for the paper."""
    if not jobs:
        return None
    try:
        evidence: Evidence = paper.evidence(Request(jobs, folder / paper.name))
    except DataError:
        return None
    return evidence


def _page(paper: Paper[Any], folder: Path) -> Page:
    jobs = _jobs(paper, folder)
    evidence = _evidence(paper, jobs, folder)
    published = read_reported(None, paper.name)
    head = [f"# Results: {paper.title}", _source(published)]
    if evidence is None:
        text = _joined([*head, NO_ROWS, *_contradictions(published)])
        return Page(paper, (), (), text)
    judged = tuple(paper.claims.judge(evidence))
    found = final(entries(jobs))
    body = [
        *head,
        f"{paper.lead(jobs)} {hours_of(jobs)}",
        "## Do the models do their task?",
        _table(task_table(f"{paper.name}_task", found)),
        *_task_figures(found, folder / paper.name, folder, jobs),
        "## What holds",
        *_claims(judged, paper.claims.notes(evidence)),
        *_sections(paper, evidence, folder),
        *_contradictions(published),
        "## Where the numbers come from",
        provenance(jobs),
    ]
    return Page(paper, jobs, judged, _joined(body))


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _source(published: Any) -> str:
    return f"Source: {published['authors']}, {published['title']} ({published['venue']})."


def _claims(judged: Sequence[Claim], notes: Sequence[str]) -> list[str]:
    """Return the claims one by one, those that were not measured in one paragraph."""
    text = []
    measured = [claim for claim in judged if claim.status != NOT_MEASURED]
    for title in dict.fromkeys(claim.claim for claim in measured):
        text.append(f"**{escape_markdown(title)}**")
        text.append("\n".join(_claim(claim) for claim in measured if claim.claim == title))
    absent = [claim for claim in judged if claim.status == NOT_MEASURED]
    if absent:
        told = [f"{claim.claim}: {claim.model}" for claim in absent]
        text.append(f"Not measured: {escape_markdown('; '.join(dict.fromkeys(told)))}.")
    return [*text, *map(escape_markdown, notes)]


def _claim(claim: Claim) -> str:
    verdict = VERDICTS.get(claim.status, claim.status)
    why = f" ({escape_markdown(claim.reason)})" if claim.reason else ""
    seeds = f"{claim.seeds} seed{'s' * (claim.seeds != 1)}" if claim.seeds else "no common seed"
    scale = "" if claim.scale == "-" else f"; {honest_scale(claim.scale)}"
    return (
        f"- {escape_markdown(claim.model)}: **{verdict}**{why}. Ours: "
        f"{escape_markdown(claim.numbers)} ({seeds}{escape_markdown(scale)}). Published: "
        f"{escape_markdown(claim.published)}."
    )


def _sections(paper: Paper[Any], evidence: Evidence, folder: Path) -> list[str]:
    """Return tables and figures of the paper's report; figures are drawn into its folder."""
    text: list[str] = []
    drawn: set[str] = set()
    for part in paper.parts.values():
        if isinstance(part, ClaimsPart):
            continue
        for section in part.sections(evidence, folder / paper.name):
            text += _section(paper, section, evidence.jobs, folder, drawn)
    return text


def _section(
    paper: Paper[Any], section: Section, jobs: Sequence[Job], folder: Path, drawn: set[str]
) -> list[str]:
    tables = [] if section.page_only else [each for each in section.tables if each.rows]
    figures = [each for each in section.figures if each.png.name not in drawn]
    drawn |= {each.png.name for each in figures}
    if not tables and not figures:
        return []
    tier = footer_of([job.scale for job in jobs])
    return [
        f"## {section.title}",
        *map(_table, tables),
        *(_figure(figure, folder, tier) for figure in figures),
    ]


def _table(table: Table) -> str:
    """Return a table as Markdown in which no note is read as a heading."""
    return to_markdown(table).replace("\n# ", "\n\\# ")


def _task_figures(
    found: Sequence[Entry], own: Path, folder: Path, jobs: Sequence[Job]
) -> list[str]:
    tier = footer_of([job.scale for job in jobs])
    return [_figure(figure, folder, tier) for figure in task_figures(found, own)]


def _figure(figure: Figure, folder: Path, tier: str) -> str:
    png, csv = (path.relative_to(folder).as_posix() for path in (figure.png, figure.csv))
    alt = escape_markdown(figure.alt).replace("[", "(").replace("]", ")")
    caption = escape_markdown(f"{figure.caption} Runs of this page: {tier}.")
    return f"![{alt}]({png})\n\n{caption} [Numbers]({csv})"


def _contradictions(published: Any) -> list[str]:
    told = [*published.get("contradictions", ())]
    told += [item["text"] for item in published.get("conflicts", ())]
    lines = [f"- {_sentence(each)}" for each in told]
    return [_GAPS, "\n".join(lines)] if lines else []


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return escape_markdown(f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def _summary(page: Page) -> list[str]:
    name = page.paper.name
    link = f"[{name.upper()}](docs/results/{name}.md) {page.paper.title}"
    if not page.jobs:
        return [link, "no rows yet", "-"]
    seeds = sorted({job.seed for job in page.jobs if job.seed is not None})
    tiers = " | ".join(dict.fromkeys(job.scale.split(";")[0] for job in page.jobs))
    runs = f"{len(page.jobs)} run{'s' * (len(page.jobs) != 1)}"
    told = f"{runs}, seeds {', '.join(map(str, seeds))}, tier {tiers}"
    return [link, escape_markdown(told), f"claims: {page.counts()}"]


def _index(pages: Sequence[Page]) -> str:
    lines = ["| paper | rows | claims |", "|---|---|---|"]
    for page in pages:
        link, runs, claims = _summary(page)
        lines.append(f"| {link.replace('docs/results/', '')} | {runs} | {claims} |")
    every = tuple(job for page in pages for job in page.jobs)
    body = ["# Results that stay", *_HOW, "\n".join(lines), hours_of(every) if every else ""]
    return _joined(body)
