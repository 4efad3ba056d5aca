"""Whether the claims of Plain & Biswas hold in our runs, and the files and the page of that paper's report.

A claim is judged at the scale of the runs; nothing is tuned or chosen to make one hold.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, DataError
from audioprune.report.claims import HELD, NOT_HELD, NOT_MEASURED, Claim, judged_table
from audioprune.report.clips import clips
from audioprune.report.figures import Figure
from audioprune.report.html import Section, write_page
from audioprune.report.listening import listening_figures, listening_tables
from audioprune.report.p1 import (
    DCAE,
    DCAE_10,
    DCAE_PR,
    POST,
    System,
    change,
    layer_table,
    model_table,
    partner,
    score_table,
    systems_of,
    timing_table,
)
from audioprune.report.p1_figures import figures_of
from audioprune.report.results import Request, honest_scale, read_reported
from audioprune.report.tables import Table, metric_column, write_table

NEARLY_HALF = 0.45
"""Fewest non-zero weights removed that still count as nearly 50 %; the paper's own configuration gave 47 %."""
_SAME_SPARSITY = 0.02
_LISTENED = "The tables hold all ratings of `audioprune listen action=stats`; what the paper's own listeners said has no printed number."
Told = Mapping[str, Any]


def judge(systems: Sequence[System], reported: Told, ratings: Told | None = None) -> list[Claim]:
    """Judge all claims of the paper by the given systems, and by ratings of listeners where there are any."""
    told = reported["claims"]
    judged = [*_enhances(systems, told["enhances"]), *_reduction(systems, told["reduction"]), *_deeper(systems, told["deeper"])]
    judged += [*_during(systems, told["during"]), *_smaller(systems, told["smaller"])]
    return judged + (list(_heard(ratings, told)) if ratings else [])


def _published(told: Told) -> str:
    return f"{told['text']} ({told['source']})"


def _of(systems: Sequence[System], kind: str) -> list[System]:
    return [system for system in systems if system.kind == kind]


def _comparisons(one: System, other: System) -> list[tuple[str, float, float | None]]:
    """Return for every metric by how much one system is better than another, and half the 95 % interval of the other's gain."""
    found = []
    for metric in one.metrics():
        left, right = one.number("gain", metric).mean, other.number("gain", metric).mean
        if left is not None and right is not None:
            found.append((metric, left - right, other.number("gain_ci95", metric).mean))
    return found


def _verdict(changes: Sequence[tuple[str, float, float | None]]) -> tuple[int, int, str]:
    """Return on how many metrics the change is better, and worse, than the interval leaves open, and both in words."""
    better, worse = (sum(sign * value > (half or 0.0) for _, value, half in changes) for sign in (1, -1))
    return better, worse, f"clearly better on {better}, clearly worse on {worse} of {len(changes)} metrics: {_told_changes(changes)}"


def _told_changes(changes: Sequence[tuple[str, float, float | None]]) -> str:
    """Say the changes in words, positive where better, such as ``STOI -0.0012 (interval 0.0102)``."""
    parts = []
    for metric, value, half in changes:
        within = "" if half is None else f" (interval {half:.4f})"
        parts.append(f"{metric_column(metric, metric).title} {value:+.4f}{within}")
    return ", ".join(parts)


def _claim(claim: str, system: System, held: bool, numbers: str, told: Told, *others: System) -> Claim:
    seeds = min(len(each.entry.seeds) for each in (system, *others))
    return Claim(claim, system.name, HELD if held else NOT_HELD, numbers, _published(told), seeds, system.entry.scale)


def _enhances(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "The enhancer improves coded speech (more stand-in metrics gain than lose, beyond the interval)"
    if not _of(systems, DCAE):
        yield Claim(claim, DCAE, NOT_MEASURED, "DCAE not run", _published(told))
    for system in _of(systems, DCAE):
        gains = [(m, g, system.number("gain_ci95", m).mean) for m in system.metrics() if (g := system.number("gain", m).mean) is not None]
        if not gains:
            yield Claim(claim, system.name, NOT_MEASURED, "no gain over the coded input was recorded", _published(told))
            continue
        better, worse, numbers = _verdict(gains)
        yield _claim(claim, system, better > worse, numbers, told)


def _reduction(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "Nearly 50 % of the weights go with nearly no loss (no stand-in metric falls beyond the 95 % interval of the unpruned gain)"
    for system, base in _pairs(systems, (DCAE_PR, POST), DCAE):
        removed = change(system, systems, "nonzero") if base else None
        changes = _comparisons(system, base) if base else []
        if removed is None or not changes:
            yield Claim(claim, system.name if system else DCAE_PR, NOT_MEASURED, _why(system, base, "DCAE"), _published(told))
            continue
        lost = [metric for metric, value, half in changes if value < -(half or 0.0)]
        small = -removed >= NEARLY_HALF
        reason = "" if small else f"; less than {100 * NEARLY_HALF:g} % removed"
        reason += f"; beyond the interval: {', '.join(metric_column(m, m).title for m in lost)}" if lost else ""
        numbers = f"{100 * -removed:.1f} % fewer non-zeros; {_told_changes(changes)}{reason}"
        yield _claim(claim, system, small and not lost, numbers, told, base)


def _pairs(systems: Sequence[System], kinds: Sequence[str], other: str) -> list[tuple[Any, System | None]]:
    """Return every system of the first kinds with its partner of the other kind; one empty pair where there is none."""
    found = [(system, partner(system, systems, other)) for kind in kinds for system in _of(systems, kind)]
    return found or [(None, None)]


def _why(system: System | None, base: System | None, name: str) -> str:
    if system is None:
        return "no pruned model was run"
    return f"{name} not run at this scale" if base is None else "no metric was measured for both"


def _deeper(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "Deeper layers end sparser than outer ones, the bottleneck apart"
    judged = False
    for system in [*_of(systems, DCAE_PR), *_of(systems, POST)]:
        encoder = [layer for layer in system.layers if layer.name.startswith("enc") and layer.depth is not None]
        decoder = [layer for layer in system.layers if layer.name.startswith("dec") and layer.depth is not None]
        if len(encoder) < 4 or len(encoder) != len(decoder):
            continue
        judged = True
        last = len(encoder) - 1
        depths = [(layer.depth, layer.sparsity) for layer in encoder[:last]] + [(last - layer.depth, layer.sparsity) for layer in decoder]
        inner = statistics.fmean(share for depth, share in depths if depth > last / 2)
        outer = statistics.fmean(share for depth, share in depths if depth <= last / 2)
        numbers = f"inner half {100 * inner:.1f} %, outer half {100 * outer:.1f} %, bottleneck {100 * encoder[-1].sparsity:.1f} %"
        yield _claim(claim, system, inner > outer, f"{numbers}; the schedule itself says which layers are pruned", told)
    if not judged:
        yield Claim(claim, DCAE_PR, NOT_MEASURED, "no sparsity of layers was recorded", _published(told))


def _during(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "Pruning during training is more effective than pruning after it (sparser, or clearly better at about the same sparsity)"
    for system, post in _pairs(systems, (DCAE_PR,), POST):
        if system is None or post is None:
            absent = "DCAE_pr" if system is None else "p1_post"
            yield Claim(claim, DCAE_PR, NOT_MEASURED, f"{absent} not run at this scale", _published(told))
            continue
        shares = [each.entry.size("sparsity").mean for each in (system, post)]
        changes = _comparisons(system, post)
        if None in shares or not changes:
            yield Claim(claim, system.name, NOT_MEASURED, "sparsity or scores are missing", _published(told))
            continue
        better, worse, words = _verdict(changes)
        difference = shares[0] - shares[1]
        epochs = [each.trained("epochs").mean for each in (system, post)]
        numbers = f"sparsity {100 * shares[0]:.1f} against {100 * shares[1]:.1f} %; epochs {epochs[0] or 0:g} against {epochs[1] or 0:g}; "
        numbers += words
        if abs(difference) > _SAME_SPARSITY and (difference > 0) != (better >= worse):
            trade = "sparser but worse" if difference > 0 else "better but less sparse"
            yield Claim(claim, system.name, NOT_MEASURED, f"{trade}: neither is clearly more effective; {numbers}", _published(told))
            continue
        held = better > worse if abs(difference) <= _SAME_SPARSITY else difference > 0
        yield _claim(claim, system, held, numbers, told, post)


def _smaller(systems: Sequence[System], told: Told) -> Iterator[Claim]:
    claim = "The pruned model does at least as well as the unpruned smaller one, with fewer non-zero weights"
    for system, small in _pairs(systems, (DCAE_PR,), DCAE_10):
        changes = _comparisons(system, small) if small else []
        sizes = [each.entry.size("nonzero").mean if each else None for each in (system, small)]
        if not changes or None in sizes:
            yield Claim(claim, system.name if system else DCAE_PR, NOT_MEASURED, _why(system, small, "DCAE_10"), _published(told))
            continue
        better, worse, words = _verdict(changes)
        numbers = f"{sizes[0]:,.0f} against {sizes[1]:,.0f} non-zeros; {words}"
        yield _claim(claim, system, sizes[0] < sizes[1] and better >= worse, numbers, told, small)


def _heard(ratings: Told, told: Told) -> Iterator[Claim]:
    """Judge by listeners: held where the interval over them does not lie below 0."""
    questions = (
        (DCAE, "coded", "enhances", "Listeners rate the enhancer above the coded input"),
        (DCAE_PR, DCAE, "reduction", "Listeners do not rate the pruned model below the unpruned one"),
        (DCAE_PR, DCAE_10, "smaller", "Listeners do not rate the pruned model below the smaller one"),
    )
    for first, second, key, claim in questions:
        rows = [row for row in ratings["differences"] if (row["first"], row["second"], row["listeners"]) == (first, second, "all")]
        for row in rows:
            numbers = f"{first} - {second}: {row['mean']:+.1f} points, {row['listener_n']} listeners"
            low, high = row["listener_low"], row["listener_high"]
            if low is None or high is None:
                yield Claim(claim, row["test"], NOT_MEASURED, f"{numbers}; an interval takes two listeners", _published(told[key]))
                continue
            held = low > 0 if key == "enhances" else high >= 0
            numbers += f", interval {low:+.1f} to {high:+.1f}"
            yield Claim(claim, row["test"], HELD if held else NOT_HELD, numbers, _published(told[key]), 0, f"{row['n']} ratings")


def read_ratings(source: str | Path | None) -> Told | None:
    """Read the statistics of a listening test; None without a file.

    Raises:
        ConfigError: The file holds no statistics of ratings.
    """
    if source is None:
        return None
    path = Path(source)
    path = path / "statistics.json" if path.is_dir() else path
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise ConfigError(f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got {path} ({reason})") from error
    if not isinstance(value, dict) or not {"tests", "means", "differences", "items", "listeners"} <= set(value):
        raise ConfigError(f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got {path}; give that file")
    return value


def claims_table(systems: Sequence[System], reported: Told, ratings: Told | None = None) -> Table:
    """Return the judged claims as a table."""
    notes = (
        "Changes of metrics are positive where the first model is better; intervals are half the 95 % interval of the second's gain.",
        *(f"{' '.join(note.split())}." for note in reported["notes"]),
    )
    return judged_table("p1_claims", judge(systems, reported, ratings), reported, notes)


def _systems(request: Request) -> tuple[list[System], Told]:
    reported = read_reported(request.reported, "p1")
    systems = systems_of(request.jobs, reported)
    if not systems:
        raise DataError("expected runs of model=dcae or dcae10, got none; run `audioprune train experiment=p1/dcae_desk` first")
    return systems, reported


def _files(drawn: Sequence[Figure]) -> list[Path]:
    return [file for figure in drawn for file in (figure.png, figure.csv)]


def write_figures(request: Request) -> list[Path]:
    """Write every figure that there is data for.

    Raises:
        DataError: The runs hold none of the paper's models, or nothing to draw.
    """
    systems, reported = _systems(request)
    drawn = figures_of(request.out, request.jobs, systems, reported)
    if not drawn:
        raise DataError("expected runs of pipeline=p1_sensitivity, p1_post or curves, got none; run one first")
    return _files(drawn)


def write_p1(request: Request) -> list[Path]:
    """Write everything of Plain & Biswas: models, scores, layers, post against during training, claims, figures and the page.

    Raises:
        DataError: The runs hold none of the paper's models.
        ConfigError: The file of ratings holds none.
    """
    systems, reported = _systems(request)
    ratings = read_ratings(request.ratings)
    tables = {
        "Models": model_table(systems, reported),
        "Claims": claims_table(systems, reported, ratings),
        "After or during training": timing_table(systems, reported),
        "Layers": layer_table(systems),
        "Scores": score_table(systems),
    }
    tables = {title: table for title, table in tables.items() if table.rows}
    files = [file for table in tables.values() for file in write_table(table, request.out)]
    folder = request.out / "figures"
    drawn = figures_of(folder, request.jobs, systems, reported)
    sections = [Section(title, (table,)) for title, table in tables.items()] + [Section("Figures", figures=tuple(drawn))]
    if ratings:
        heard, pictures = listening_tables(ratings)[:3], listening_figures(ratings, folder)
        files += [file for table in heard for file in write_table(table, request.out)]
        drawn += pictures
        sections.append(Section("Listening tests", tuple(heard), tuple(pictures), notes=(_LISTENED,)))
    sections.append(Section("Audio", clips=tuple(clips(request.jobs))))
    lead = f"{len(request.jobs)} runs. Scale: {' | '.join(dict.fromkeys(honest_scale(job.scale) for job in request.jobs))}."
    return [*files, *_files(drawn), write_page(request.out / "report.html", "Pruning an audio-enhancing GAN", lead, sections)]


def _table(build: Callable[[Sequence[System], Told], Table]) -> Callable[[Request], list[Path]]:
    return lambda request: write_table(build(*_systems(request)), request.out)


KINDS = {
    "p1": write_p1,
    "p1_models": _table(model_table),
    "p1_layers": _table(lambda systems, reported: layer_table(systems)),
    "p1_figures": write_figures,
    "p1_claims": lambda request: write_table(claims_table(*_systems(request), read_ratings(request.ratings)), request.out),
}
