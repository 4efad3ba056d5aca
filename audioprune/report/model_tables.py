"""The tables of any runs: all models, all conditions, pruning iterations, all scores in long form.

Which rows there are is decided in entries.py, how a number is printed in tables.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from audioprune.experiment.rows import QualityRow, SparsityRow, finite_or_none
from audioprune.report.baselines import MARK, no_better, no_better_row
from audioprune.report.runs.corpora import by_corpus
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import PESQ_MODES, Entry, Value, chief_metrics
from audioprune.report.runs.job import Job, scale_notes
from audioprune.report.runs.scales import honest_scale, scale_text
from audioprune.report.runs.states import condition_of
from audioprune.report.tables import FORMATS, Cell, Column, Table, csv_text, metric_column

REMARK = Column("remark", "Remark")
_METRIC_UNITS = {
    **dict.fromkeys(("stoi", "estoi", "accuracy", "accuracy_macro"), "fraction"),
    "si_sdr": "dB",
    **dict.fromkeys(PESQ_MODES, "MOS"),
}
SIZE_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("bytes_fp32", "fp32", "mebibytes"),
    ("bytes_paper", "Paper", "mebibytes"),
    ("bytes_ideal", "Ideal", "mebibytes"),
    ("bytes_file", "File", "mebibytes"),
    ("rate_paper", "CR (paper)", "times"),
    ("rate_file", "CR (file)", "times"),
    ("nonzero", "Non-zeros", "count"),
    ("sparsity", "Sparsity", "percent"),
    ("macs_per_second", "MACs/s", "millions"),
    ("latency_ms_per_s", "Latency per s", "milliseconds"),
)
QUANTIZER_COLUMNS = (Column("quantizer", "Quantizer"), Column("bits", "Bits"))
"""How the weights were quantised, and the mean bits of a code, where a row tells it."""
SIZE_NOTE = (
    "MB = 1048576 bytes. fp32: 4 bytes per parameter of that row; paper: codewords, codebooks "
    "and what is not quantised, no positions; "
    "ideal: codes and positions at their entropy, codebooks, what is not quantised, and "
    "buffers; file: the bytes of the written file. "
    "CR (paper) and CR (file): fp32 of the uncompressed model over paper and over file; empty "
    "where no uncompressed model was measured."
)
SPREAD_NOTE = (
    "Over several seeds: mean ± standard deviation of the sample, with n - 1 in the denominator."
)
BASELINE_NOTE = (
    f"'{MARK} ...': the model is not better than what needs no model, so that its size says "
    f"nothing; it is in no front and in no claim."
)


def main_metrics(entries: Iterable[Entry]) -> list[str]:
    """Return the metrics of a summary: STOI and one mode of PESQ, or else up to six."""
    return chief_metrics(name for entry in entries for name in entry.metrics())


ScoreCell = tuple[str, float | None, str]
"""Metric, SNR in dB and key of a column of scores."""


def score_table(entries: Sequence[Entry], name: str = "summary") -> Table:
    """Return the table of all models: scores per SNR, means over noises, and sizes and costs."""
    snrs = list(dict.fromkeys(snr for entry in entries for snr in entry.snrs()))
    snrs.sort(key=lambda snr: (snr is None, snr or 0.0))
    cells = [(metric, snr, f"{metric}@{snr}") for metric in main_metrics(entries) for snr in snrs]
    config = list(dict.fromkeys(key for entry in entries for key in entry.config))
    blank: dict[str, Cell] = {f"config:{key}": "-" for key in config}
    common = common_noises(entries)
    rows = tuple(blank | _summary_row(entry, cells, common) for entry in entries)
    columns = _summary_columns(entries, cells, config, rows)
    notes = noise_notes(entries)
    if any(column.key == "bytes_fp32" for column in columns):
        notes.append(SIZE_NOTE)
    notes += notes_of(rows, jobs_of(entries))
    return Table(name, "Scores, sizes and costs", tuple(columns), rows, tuple(notes))


def _summary_columns(
    entries: Sequence[Entry],
    cells: Sequence[ScoreCell],
    config: Sequence[str],
    rows: Sequence[Mapping[str, Cell]],
) -> list[Column]:
    """Return the columns; those that would say the same in every row are left out."""
    columns = [Column("title", "Model")]
    if len({entry.pipeline for entry in entries if entry.pipeline}) > 1:
        columns.append(Column("pipeline", "Pipeline"))
    columns += [Column(f"config:{key}", key) for key in config]
    for metric, snr, key in cells:
        columns.append(metric_column(metric, key, "" if snr is None else f"{snr:g} dB"))
    if any(row.is_written for entry in entries for row in entry.sizes):
        columns += [Column(*column) for column in SIZE_COLUMNS]
    if any(row.get("quantizer", "-") != "-" for row in rows):
        columns += QUANTIZER_COLUMNS
    columns += [*remark_columns(rows), Column("seeds", "Seeds", "count")]
    if any(entry.status for entry in entries):
        columns.append(Column("status", "Status"))
    return [*columns, Column("scale", "Scale")]


def noise_notes(entries: Sequence[Entry]) -> list[str]:
    """Say for each corpus over which noises its scores are means, where there are several."""
    noises: dict[str, dict[str, None]] = {}
    for entry in entries:
        noises.setdefault(entry.corpus.title, {}).update(
            (noise, None) for noise, _ in entry.conditions() if noise
        )
    told = {
        title: ", ".join(sorted(several)) for title, several in noises.items() if len(several) > 1
    }
    if len(set(told.values())) == 1 and len(told) == len(noises):
        return [f"Our scores are means over {next(iter(told.values()))}."]
    return [f"{title}: our scores are means over {several}." for title, several in told.items()]


def jobs_of(entries: Iterable[Entry]) -> list[Job]:
    """Return all jobs behind some entries, each once."""
    return list({id(job): job for entry in entries for job in entry.jobs}.values())


def remark_columns(rows: Iterable[Mapping[str, Cell]]) -> list[Column]:
    """Return the column of remarks where any row has one."""
    return [REMARK] if any(str(row.get("remark") or "-") != "-" for row in rows) else []


def notes_of(rows: Iterable[Mapping[str, Cell]], jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the sentences that any table of models needs.

    They say what ± and a remark mean, and which keys a custom scale changed.
    """
    rows = list(rows)
    marked = any(MARK in str(row.get("remark") or "") for row in rows)
    joined = any(
        isinstance(cell, Value) and cell.std is not None for row in rows for cell in row.values()
    )
    return (
        *((SPREAD_NOTE,) if joined else ()),
        *((BASELINE_NOTE,) if marked else ()),
        *scale_notes(jobs),
    )


def told_of(entry: Entry) -> dict[str, Cell]:
    """Return the cells that every row of an entry has: its corpus, and a remark.

    The remark says that the model is no better than a baseline, or why it was not scored.
    """
    said = {str(row.get("remark")) for row in entry.sizes if row.get("remark")}
    remark = no_better(entry) or "; ".join(sorted(said)) or "-"
    return {"corpus": entry.corpus.title, "remark": remark}


def config_cells(entry: Entry) -> dict[str, Cell]:
    """Return the configuration values that set an entry apart, keyed by column."""
    return {f"config:{key}": value for key, value in entry.config.items() if value}


def common_noises(entries: Iterable[Entry]) -> dict[tuple[str, float | None], set[str]]:
    """Return which noises any model was tested with, by corpus and SNR."""
    found: dict[tuple[str, float | None], set[str]] = {}
    for entry in entries:
        for noise, snr in entry.conditions():
            found.setdefault((entry.corpus.title, snr), set()).add(noise)
    return found


def score_cell(
    entry: Entry,
    metric: str,
    snr: float | None,
    common: Mapping[tuple[str, float | None], set[str]],
) -> Value:
    """Return the mean over noises at one SNR.

    A note says where other models of the table were tested with more noises.
    """
    value = entry.score(metric, snr)
    own = {noise for noise, place in entry.conditions() if place == snr}
    if value.mean is None or own == common.get((entry.corpus.title, snr), own):
        return value
    return replace(
        value,
        reason="; ".join(filter(None, (value.reason, f"mean over {', '.join(sorted(own))} only"))),
    )


def _summary_row(
    entry: Entry,
    cells: Sequence[ScoreCell],
    common: Mapping[tuple[str, float | None], set[str]],
) -> dict[str, Cell]:
    row: dict[str, Cell] = {"title": entry.title, "pipeline": entry.pipeline or "-"}
    row |= {"seeds": len(entry.seeds), "scale": honest_scale(entry.scale)}
    row |= config_cells(entry) | told_of(entry) | _quantizer_cells(entry)
    sizes = [key for key, _, _ in SIZE_COLUMNS]
    if entry.status:
        measured = [*(key for _, _, key in cells), *sizes]
        return row | {"status": entry.reason} | dict.fromkeys(measured, "-")
    finished = all(job.status == "finished" for job in entry.jobs)
    row["status"] = "finished" if finished else "measured, but not all jobs finished"
    for metric, snr, key in cells:
        row[key] = score_cell(entry, metric, snr, common)
    for key in sizes:
        row[key] = "-" if entry.variant == "mixture" else entry.size(key)
    return row


def _quantizer_cells(entry: Entry) -> dict[str, Cell]:
    """Return how the weights of an entry were quantised, where its rows tell it."""
    told = sorted({str(row.get("quantizer")) for row in entry.sizes if row.get("quantizer")})
    bits = sorted({f"{bits:.3g}" for row in entry.sizes if (bits := row.number("bits"))})
    if not told or entry.variant == "mixture":
        return {"quantizer": "-", "bits": "-"}
    return {"quantizer": "; ".join(told), "bits": ", ".join(bits)}


def condition_table(entries: Sequence[Entry], name: str = "conditions") -> Table:
    """Return all metrics of every entry under every single test condition."""
    metrics = list(dict.fromkeys(name for entry in entries for name in entry.metrics()))
    rows = tuple(row for entry in entries for row in _condition_rows(entry, metrics))
    columns = [Column("title", "Model"), Column("noise", "Condition"), Column("snr", "SNR")]
    columns += [
        *(metric_column(metric, metric) for metric in metrics),
        *remark_columns(rows),
        Column("scale", "Scale"),
    ]
    return Table(
        name,
        "Scores under every test condition",
        tuple(columns),
        rows,
        notes_of(rows, jobs_of(entries)),
    )


def _condition_rows(entry: Entry, metrics: Sequence[str]) -> list[dict[str, Cell]]:
    shared = {"title": entry.title, "scale": honest_scale(entry.scale), **told_of(entry)}
    rows = []
    for noise, snr in entry.conditions():
        place = {"noise": noise, "snr": "-" if snr is None else f"{snr:g} dB"}
        rows.append(
            shared | place | {metric: entry.score(metric, snr, noise) for metric in metrics}
        )
    return rows


_ITERATION_COLUMNS = (
    Column("label", "Model"),
    Column("run", "Run"),
    Column("iteration", "Iteration", "count"),
    Column("remaining_share", "Parameters left", "percent"),
    Column("removed_share", "Removed of the rest", "percent"),
    Column("loss_base", "Loss before", "loss"),
    Column("loss_valid", "Loss after", "loss"),
    Column("increase", "Joint increase", "loss"),
    Column("alpha_1", "Tolerance", "loss"),
    Column("seconds", "Seconds", "count"),
    Column("scale", "Scale"),
)


def iteration_table(jobs: Iterable[Job], name: str = "iterations") -> Table:
    """Return what every pruning iteration of every job removed.

    The joint increase of the loss is beside the tolerance of a single choice.
    """
    jobs = list(jobs)
    pruned = [
        (corpus, job)
        for corpus, members in by_corpus(jobs)
        for job in members
        if job.of_kind("iteration")
    ]
    rows = tuple(
        row | {"corpus": corpus.title} for corpus, job in pruned for row in _iteration_rows(job)
    )
    columns = (*_ITERATION_COLUMNS[:-1], *remark_columns(rows), _ITERATION_COLUMNS[-1])
    notes = (*_tolerance_notes(rows), *notes_of(rows, jobs))
    return Table(name, "Pruning iterations", columns, rows, notes)


def _iteration_rows(job: Job) -> list[dict[str, Cell]]:
    marks = {
        entry.iteration: no_better(entry) for entry in entries([job]) if entry.variant == "pruned"
    }
    return [
        _iteration_row(job, row) | {"remark": marks.get(row.iteration) or "-"}
        for row in job.iterations()
    ]


def _tolerance_notes(rows: Sequence[Mapping[str, Cell]]) -> tuple[str, ...]:
    """Say what a tolerance binds, and how often the joint increase exceeded it."""
    losses = any(row["loss_valid"] is not None for row in rows)
    notes = ["Losses are those before fine-tuning."] if losses else []
    numbers = [(finite_or_none(row["increase"]), finite_or_none(row["alpha_1"])) for row in rows]
    bound = [pair for pair in numbers if None not in pair]
    over = [pair for pair in bound if (pair[0] or 0.0) > (pair[1] or 0.0)]
    if bound:
        notes.insert(
            0,
            "The tolerance binds what is analysed alone: a tensor, or a unit with all the tensors "
            "it spans; all choices of an iteration together raised the loss by more in "
            f"{len(over)} of {len(bound)} iterations.",
        )
    return tuple(notes)


def _iteration_row(job: Job, row: SparsityRow) -> dict[str, Cell]:
    numbers = {
        column.key: row.number(column.key)
        for column in _ITERATION_COLUMNS
        if column.style in FORMATS
    }
    before, after = numbers["loss_base"], numbers["loss_valid"]
    numbers["increase"] = after - before if after is not None and before is not None else None
    return {
        **numbers,
        "label": row.label or job.model,
        "run": job.name,
        "scale": honest_scale(scale_text(row.get("scale") or job.scale)),
    }


SCORE_HEADER = (
    *("model", "variant", "label", "iteration", "pipeline", "noise", "snr_db", "metric", "unit"),
    *(
        "mean",
        "std",
        "n",
        "n_nan",
        "seed",
        "split",
        "scale",
        "run",
        "corpus",
        "corpus_fingerprint",
        "remark",
    ),
)


def scores_csv(jobs: Iterable[Job]) -> str:
    """Return all scores in long form: a line per run, condition and metric, in the stored units.

    ``std`` is the deviation of the sample of files, with n - 1 in the denominator.
    """
    lines = []
    for job in jobs:
        rows = job.rows_of(QualityRow)
        inputs = [row for row in rows if row.variant == "mixture"]
        for row in rows:
            lines += [_score_line(job, row, metric, inputs) for metric in row.metrics]
    return csv_text(SCORE_HEADER, lines)


def _score_line(
    job: Job, row: QualityRow, metric: str, inputs: Sequence[QualityRow]
) -> list[str | float | None]:
    noise, snr = condition_of(row)
    n, n_valid = row.counted("n", metric), row.counted("n_valid", metric)
    n_nan = n - n_valid if n is not None and n_valid is not None else None
    mean = row.metric(metric)
    std = finite_or_none((row.get("std") or {}).get(metric))
    unit = _METRIC_UNITS.get(metric, "")
    names = [row.model or job.model, row.get("variant"), row.get("label"), row.iteration]
    measured = [noise, snr, metric, unit, mean, std, n, n_nan, job.seed, row.split]
    scale = honest_scale(scale_text(row.scale or job.scale))
    remark = no_better_row(row, _input_of(row, inputs))
    return [
        *names,
        job.pipeline,
        *measured,
        scale,
        job.name,
        job.corpus,
        job.fingerprint,
        remark,
    ]


def _input_of(row: QualityRow, inputs: Sequence[QualityRow]) -> QualityRow | None:
    """Return the row of the unprocessed input under the condition of another row, or None."""
    if row.variant == "mixture":
        return None
    return next((other for other in inputs if condition_of(other) == condition_of(row)), None)
