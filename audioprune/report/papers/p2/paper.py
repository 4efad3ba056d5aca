"""Tables 1 and 2 and Figures 2 and 3 of Tan & Wang (ICASSP 2021), ours with the published numbers.

Which of our rows stands for which row of the paper is decided here, by model, variant and
pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import DataError
from audioprune.report.entries import (
    PESQ_MODES,
    Entry,
    Value,
    entries,
    final,
    finite_or_none,
    mean_of,
)
from audioprune.report.figures.drawing import (
    Figure,
    Line,
    Panel,
    lettered,
    line_figure,
    on_corpus,
    per_corpus,
)
from audioprune.report.runs import (
    UNTOLD_CORPUS,
    Corpus,
    Job,
    Request,
    differences,
    honest_scale,
    join_seeds,
    read_reported,
)
from audioprune.report.summaries import (
    SIZE_NOTE,
    common_noises,
    jobs_of,
    noise_notes,
    notes_of,
    remark_columns,
    score_cell,
    told_of,
)
from audioprune.report.tables import Cell, Column, Table, metric_column, write_table

MODELS = ("FDNN", "LSTM", "TCNN", "GCRN")
TABLE_1 = ("Mixture", "FDNN_P", "FDNN_B", "LSTM_P", "LSTM_B")
TABLE_2 = ("Mixture", *(f"{model}_{letter}" for model in MODELS for letter in "UC"), "GCRN_C-SP")
FIGURE_3_SNR_DB = -5.0
NOT_RUN = "not run"
AS_IN_THE_PAPER = {
    "task.feature": "magnitude",
    "task.output": "mapping",
    "task.dry": 0,
    "task.frame_batch": None,
    "model.dropout": 0.3,
}
"""Keys that alter the method, and the values with which it is the paper's."""
NO_CORPUS = Corpus()
_LETTERS = {"uncompressed": "U", "pruned": "P", "compressed": "C"}
_TABLE_1_SIZES = (
    Column("nonzero", "# Param.", "params"),
    Column("params", "with zeros", "params"),
)
_TABLE_2_SIZES = (
    Column("bytes_paper", "Storage", "mebibytes"),
    Column("rate_paper", "CR", "times"),
    Column("bytes_fp32", "fp32", "mebibytes"),
    Column("bytes_ideal", "Ideal", "mebibytes"),
    Column("bytes_file", "File", "mebibytes"),
    Column("nonzero", "Non-zeros", "params"),
    Column("bits_per_weight", "per non-zero", "bits"),
    Column("params", "with zeros", "params"),
    Column("macs_per_second", "MACs/s", "millions"),
    Column("latency_ms_per_s", "Latency per s", "milliseconds"),
)


def row_name(entry: Entry) -> str | None:
    """Return the paper's name of an entry, such as ``"FDNN_P"``, or None when the paper has no such row.

    P, B, U and C are pruned, same-size baseline, uncompressed and compressed; ``-SP`` marks
    structured pruning. A baseline is a model whose name ends in ``_b``, or the variant
    ``baseline``.
    """
    if entry.variant == "mixture":
        return "Mixture"
    family, *rest = re.split(r"[^A-Z0-9]+", (entry.model or entry.label).upper())
    if family not in MODELS:
        return None
    if entry.variant == "baseline" or {"B", "BASELINE"} & set(rest):
        return f"{family}_B" if entry.variant in ("baseline", "uncompressed") else None
    letter = _LETTERS.get(entry.variant)
    return (
        f"{family}_{letter}{'-SP' if letter != 'U' and is_structured(entry.pipeline) else ''}"
        if letter
        else None
    )


def is_structured(pipeline: str) -> bool:
    """Tell from its name whether a pipeline prunes groups: ``p2_structured`` does, ``p2_unstructured`` does not."""
    return bool({"structured", "sp"} & set(re.split(r"[^a-z0-9]+", pipeline.lower())))


def by_row(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Sort the final entries under the paper's row names."""
    rows: dict[str, list[Entry]] = {}
    for entry in final(found):
        name = row_name(entry)
        if name:
            rows.setdefault(name, []).append(entry)
    return rows


def pesq_of(found: Sequence[Entry], reported: Mapping[str, Any]) -> str:
    """Return the PESQ mode to print: the paper's where it was measured, else the first that was."""
    measured = {name for entry in found for name in entry.metrics()}
    wanted = str(reported["pesq_mode"]["value"])
    return next((mode for mode in (wanted, *PESQ_MODES) if mode in measured), wanted)


def published_rows(reported: Mapping[str, Any], table: str) -> dict[str, Mapping[str, Any]]:
    """Return the published rows of ``"table_1"`` or ``"table_2"`` by name."""
    return {row["name"]: row for row in reported[table]["rows"]}


def table_1(jobs: Sequence[Job], reported: Mapping[str, Any]) -> Table:
    """Return Table 1: pruned models against unpruned models of about their size.

    Source: Tan & Wang, Table 1.
    """
    return _table("p2_table1", "table_1", TABLE_1, _TABLE_1_SIZES, jobs, reported)


def table_2(jobs: Sequence[Job], reported: Mapping[str, Any]) -> Table:
    """Return Table 2: uncompressed against compressed models.

    Source: Tan & Wang, Table 2.
    """
    return _table("p2_table2", "table_2", TABLE_2, _TABLE_2_SIZES, jobs, reported)


def _table(
    name: str,
    key: str,
    order: Sequence[str],
    sizes: Sequence[Column],
    jobs: Sequence[Job],
    reported: Mapping[str, Any],
) -> Table:
    found = entries(jobs)
    published, pesq = published_rows(reported, key), pesq_of(found, reported)
    scores = [
        (metric, snr, f"{metric}@{snr}")
        for metric in ("stoi", pesq)
        for snr in map(float, reported["snr_db"])
    ]
    same_pesq = pesq == reported["pesq_mode"]["value"]
    printed = {
        title: _published(published[title], scores, sizes, reported, same_pesq) for title in order
    }
    rows = by_row(found)
    config = list(dict.fromkeys(key for name in order for key in set_apart(rows.get(name, ()))))
    blank = {f"config:{key}": "-" for key in config}
    body = tuple(blank | row for row in _body(found, order, printed, scores, sizes, config))
    columns = [
        Column("name", "Model"),
        Column("what", "Source"),
        *(Column(f"config:{key}", key) for key in config),
    ]
    columns += [metric_column(metric, cell, f"{snr:g} dB") for metric, snr, cell in scores]
    columns += [
        *sizes,
        *remark_columns(body),
        Column("seeds", "Seeds", "count"),
        Column("scale", "Scale"),
    ]
    caption = f"{reported[key]['title']} (after {reported['authors']}, {reported['venue']})"
    notes = (*_notes(key, found, reported), *notes_of(body, jobs_of(found)))
    return Table(name, caption, tuple(columns), body, notes)


def _body(
    found: Sequence[Entry],
    order: Sequence[str],
    printed: Mapping[str, dict[str, Cell]],
    scores: Sequence[tuple[str, float, str]],
    sizes: Sequence[Column],
    config: Sequence[str],
) -> list[dict[str, Cell]]:
    """Return the rows of every corpus that has any of the paper's models, each beside the published numbers.

    A model that was run on no corpus stands in the first block; where nothing was run, that is the
    only one.
    """
    per_corpus: dict[str, list[Entry]] = {}
    for entry in found:
        if row_name(entry) in order:
            per_corpus.setdefault(entry.corpus.title, []).append(entry)
    common = common_noises(found)
    anywhere = {title for title, rows in by_row(found).items() if rows}
    body = []
    for place, (corpus, members) in enumerate((per_corpus or {UNTOLD_CORPUS: []}).items()):
        rows = by_row(members)
        for title in (
            title for title in order if title in rows or (place == 0 and title not in anywhere)
        ):
            lines = [printed[title]]
            for entry in rows.get(title, ()):
                ours = _ours(entry, title, scores, sizes, config, common)
                lines += [ours, _difference(ours, printed[title], scores)]
            lines += [] if title in rows else [_not_run(title, scores, sizes)]
            body += [line | {"corpus": corpus} for line in lines]
    return body


def set_apart(found: Sequence[Entry]) -> tuple[str, ...]:
    """Return what tells entries of one row apart: configuration keys, and ``pipeline`` where its name differs.

    Values that go with the model, such as its learning rate, are the same in all entries of a row
    and are not named.
    """
    keys = dict.fromkeys(key for entry in found for key in entry.config)
    differ = tuple(key for key in keys if len({entry.config.get(key, "") for entry in found}) > 1)
    return ("pipeline", *differ) if len({entry.pipeline for entry in found}) > 1 else differ


def values_of(entry: Entry, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of an entry under keys of `set_apart`, as far as it has them."""
    known = {"pipeline": entry.pipeline, **entry.config}
    return {key: known[key] for key in keys if known.get(key)}


def _ours(
    entry: Entry,
    title: str,
    scores: Sequence[tuple[str, float, str]],
    sizes: Sequence[Column],
    config: Sequence[str],
    common: Mapping[tuple[str, float | None], set[str]],
) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "name": title,
        "what": "ours",
        "seeds": len(entry.seeds),
        "scale": honest_scale(entry.scale),
    }
    row |= {f"config:{key}": value for key, value in values_of(entry, config).items()} | told_of(
        entry
    )
    row |= {cell: score_cell(entry, metric, snr, common) for metric, snr, cell in scores}
    return row | {
        column.key: "-" if title == "Mixture" else entry.size(column.key) for column in sizes
    }


def _not_run(
    title: str, scores: Sequence[tuple[str, float, str]], sizes: Sequence[Column]
) -> dict[str, Cell]:
    blank = dict.fromkeys(
        [*(cell for _, _, cell in scores), *(column.key for column in sizes)], NOT_RUN
    )
    return {"name": title, "what": "ours", **blank, "seeds": 0, "scale": NOT_RUN}


def _published(
    row: Mapping[str, Any],
    scores: Sequence[tuple[str, float, str]],
    sizes: Sequence[Column],
    reported: Mapping[str, Any],
    same_pesq: bool,
) -> dict[str, Cell]:
    snrs = [float(snr) for snr in reported["snr_db"]]
    cells: dict[str, Cell] = {
        "name": row["name"],
        "what": "published",
        "seeds": "-",
        "scale": f"published: {row['source']}",
    }
    for metric, snr, cell in scores:
        place = snrs.index(snr)
        if metric == "stoi":
            cells[cell] = Value(row["stoi_percent"][place] / 100)
        else:
            cells[cell] = (
                Value(row["pesq"][place])
                if same_pesq
                else Value(None, reason=f"published as {reported['pesq_mode']['value']}")
            )
    cells |= dict.fromkeys((column.key for column in sizes), "-")
    for key, printed in (
        ("nonzero", "params_millions"),
        ("bytes_paper", "storage_mb"),
        ("rate_paper", "compression_rate"),
    ):
        if row.get(printed) is not None:
            cells[key] = (
                f"{row[printed]:g}x" if printed == "compression_rate" else f"{row[printed]:.2f}"
            )
    return cells


def _difference(
    ours: Mapping[str, Cell],
    published: Mapping[str, Cell],
    scores: Sequence[tuple[str, float, str]],
) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        **dict.fromkeys(ours, "-"),
        "name": ours["name"],
        "what": "ours - published",
        "scale": ours["scale"],
    }
    for _, _, cell in scores:
        pair = (ours[cell], published[cell])
        known = all(isinstance(value, Value) and value.mean is not None for value in pair)
        row[cell] = Value(pair[0].mean - pair[1].mean) if known else Value(None)
    return row


def _notes(key: str, found: Sequence[Entry], reported: Mapping[str, Any]) -> tuple[str, ...]:
    mode = reported["pesq_mode"]
    size_note = (
        SIZE_NOTE
        if key == "table_2"
        else "# Param. counts all parameters that are not zero, biases and normalisation too."
    )
    return (
        *(
            noise_notes(found)
            or (("Ours: nothing was run.",) if not any(entry.scores for entry in found) else ())
        ),
        f"Published: means over {reported['averaged_over']}.",
        "A difference compares our scale with the paper's; only a run of scale 'paper' can "
        "reproduce a published number.",
        *deviations(found),
        *(
            f"{', '.join(item['rows'])}: {item['text'].strip()}."
            for item in reported["conflicts"]
            if key in item["tables"]
        ),
        f"PESQ as published: {mode['value']}, {mode['source'].strip()}.",
        size_note,
    )


def deviations(found: Iterable[Entry]) -> tuple[str, ...]:
    """Say in a sentence which runs use another method than the paper's: ``Not as in the paper: LSTM task.output=mask.``"""
    told: dict[str, dict[str, None]] = {}
    for job in (job for entry in found for job in entry.jobs):
        for key, value in AS_IN_THE_PAPER.items():
            if job.config.get(key, value) != value:
                told.setdefault(job.model.upper(), {})[f"{key}={job.config[key]}"] = None
    sentence = "; ".join(f"{model} {', '.join(values)}" for model, values in told.items())
    return (f"Not as in the paper: {sentence}.",) if told else ()


def is_regularised(job: Job) -> bool:
    """Tell whether a job trained with a sparse regulariser: any lambda_1 or lambda_2 of its pipeline above zero."""
    pipeline = {key: value for key, value in job.config.items() if key.startswith("pipeline.")}
    return any(
        (finite_or_none(value) or 0.0) > 0
        for key, value in pipeline.items()
        if key.endswith((".lambda_1", ".lambda_2"))
    )


def remaining_lines(jobs: Sequence[Job], regularised: bool | None = None) -> tuple[Line, ...]:
    """Return the share of parameters left per pruning iteration, one line per group of jobs; iteration 0 is the whole model.

    Args:
        jobs: Jobs with iteration rows; others are passed over.
        regularised: Only jobs with (True) or without (False) sparse regularisation, or None for
            all.
    """
    chosen = [
        job
        for job in jobs
        if job.of_kind("iteration") and regularised in (None, is_regularised(job))
    ]
    names = line_groups(chosen)
    return tuple(Line(name, _remaining(group), group[0].scale) for name, group in names.items())


def line_groups(jobs: Iterable[Job]) -> dict[str, tuple[Job, ...]]:
    """Join jobs over seeds, and name each group by its model, and by what sets it apart where models repeat."""
    groups = join_seeds(jobs)
    named: dict[str, tuple[Job, ...]] = {}
    labels = [_label(group[0]) for group in groups]
    for label, group in zip(labels, groups, strict=True):
        shown = differences(
            [other[0] for other, name in zip(groups, labels, strict=True) if name == label]
        )
        told = ", ".join(
            f"{key.rpartition('.')[2]}={group[0].config[key]}"
            for key in shown
            if key in group[0].config
        )
        name = f"{label} ({told})" if labels.count(label) > 1 and told else label
        named[name if name not in named else f"{name} {group[0].name}"] = group
    return named


def _label(job: Job) -> str:
    return next(
        (str(row["label"]) for row in job.of_kind("iteration") if row.get("label")),
        job.model.upper(),
    )


def _remaining(group: Sequence[Job]) -> tuple[tuple[float, Value], ...]:
    shares = [
        {int(row["iteration"]): row.get("remaining_share") for row in job.iterations()}
        for job in group
    ]
    last = max(iteration for per_job in shares for iteration in per_job)
    first = Value(1.0, None, len(group))
    later = [
        (float(step), mean_of([per_job[step] for per_job in shares if step in per_job]))
        for step in range(1, last + 1)
    ]
    return ((0.0, first), *later)


def figures(folder: Path, jobs: Sequence[Job], reported: Mapping[str, Any]) -> list[Figure]:
    """Draw Figures 2 and 3, one of each for every corpus that has pruning iterations."""
    second = [
        figure_2(folder, members, stem, corpus)
        for stem, corpus, members in per_corpus("p2_figure2", jobs)
    ]
    third = [
        figure_3(folder, members, reported, stem, corpus)
        for stem, corpus, members in per_corpus("p2_figure3", jobs)
    ]
    return [figure for figure in (*second, *third) if figure]


def figure_2(
    folder: Path, jobs: Sequence[Job], stem: str = "p2_figure2", corpus: Corpus = NO_CORPUS
) -> Figure | None:
    """Draw the percent of parameters left at each pruning iteration, without (a) and with (b) sparse regularisation.

    Source: Tan & Wang, Figure 2; unstructured pruning.
    """
    jobs = [job for job in jobs if not is_structured(job.pipeline)]
    titles = dict(
        zip(
            (False, True),
            lettered([f"{word} sparse regularisation" for word in ("without", "with")]),
            strict=True,
        )
    )
    panels = [
        Panel(titles[kind], "Parameters left (%)", "percent", lines)
        for kind in titles
        if (lines := remaining_lines(jobs, kind))
    ]
    caption = (
        "Percent of the original number of trainable parameters at different pruning "
        "iterations; unstructured pruning."
    )
    caption = on_corpus(caption, corpus)
    return (
        line_figure(folder, stem, panels, len(panels), "Pruning iteration", caption)
        if panels
        else None
    )


def figure_3(
    folder: Path,
    jobs: Sequence[Job],
    reported: Mapping[str, Any],
    stem: str = "p2_figure3",
    corpus: Corpus = NO_CORPUS,
) -> Figure | None:
    """Draw STOI and PESQ at -5 dB (or the lowest SNR that was tested) at each pruning iteration, as in Figure 3.

    Source: Tan & Wang, Figure 3; unstructured pruning.
    """
    jobs = [job for job in jobs if not is_structured(job.pipeline)]
    found = entries(jobs)
    snrs = sorted(
        {
            snr
            for entry in found
            if entry.iteration is not None
            for snr in entry.snrs()
            if snr is not None
        }
    )
    if not snrs:
        return None
    snr = FIGURE_3_SNR_DB if FIGURE_3_SNR_DB in snrs else snrs[0]
    mixture = next((entry for entry in found if entry.variant == "mixture"), None)
    wanted = [
        (metric, kind) for metric in ("stoi", pesq_of(found, reported)) for kind in (False, True)
    ]
    words = [
        f"{metric_column(metric, metric).title}, {'with' if kind else 'without'} regularisation"
        for metric, kind in wanted
    ]
    panels = []
    for (metric, kind), title in zip(wanted, lettered(words), strict=True):
        column = metric_column(metric, metric)
        level = mixture.score(metric, snr).mean if mixture else None
        lines = _score_lines([job for job in jobs if is_regularised(job) == kind], metric, snr)
        if lines:
            panels.append(
                Panel(
                    title,
                    column.header,
                    column.style,
                    lines,
                    ("Unprocessed", level) if level is not None else None,
                )
            )
    caption = on_corpus(
        f"STOI and PESQ scores for {snr:g} dB SNR at different pruning iterations; unstructured "
        f"pruning.",
        corpus,
    )
    columns = len({panel.title.rpartition(", ")[2] for panel in panels}) if panels else 1
    return (
        line_figure(folder, stem, panels, columns, "Pruning iteration", caption)
        if panels
        else None
    )


def _score_lines(jobs: Sequence[Job], metric: str, snr: float) -> tuple[Line, ...]:
    lines = []
    scored = [job for job in jobs if any(entry.iteration is not None for entry in entries([job]))]
    for name, group in line_groups(scored).items():
        per_iteration = {
            entry.iteration: entry.score(metric, snr)
            for entry in entries(group)
            if entry.iteration is not None
        }
        whole = next(
            (
                entry.score(metric, snr)
                for entry in entries(group)
                if entry.variant == "uncompressed"
            ),
            None,
        )
        if whole:
            per_iteration[0] = whole
        points = tuple(
            (float(step), value)
            for step, value in sorted(per_iteration.items())
            if value.mean is not None
        )
        if points:
            lines.append(Line(name, points, group[0].scale))
    return tuple(lines)


def write_table_1(request: Request) -> list[Path]:
    """Write p2_table1 in all formats."""
    return write_table(table_1(request.jobs, read_reported(request.reported, "p2")), request.out)


def write_table_2(request: Request) -> list[Path]:
    """Write p2_table2 in all formats."""
    return write_table(table_2(request.jobs, read_reported(request.reported, "p2")), request.out)


def write_figures(request: Request) -> list[Path]:
    """Write p2_figure2 and p2_figure3, as far as there is data for them.

    Raises:
        DataError: No run holds a pruning iteration.
    """
    drawn = figures(request.out, request.jobs, read_reported(request.reported, "p2"))
    files = [file for figure in drawn for file in (figure.png, figure.csv)]
    if not files:
        raise DataError(
            "expected runs with pruning iterations, got none; run `audioprune prune "
            "pipeline=p2_unstructured` first"
        )
    return files


KINDS = {"p2_table1": write_table_1, "p2_table2": write_table_2, "p2_figures": write_figures}
