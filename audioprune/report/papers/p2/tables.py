"""Tables 1 and 2 of Tan & Wang (ICASSP 2021): our models beside the published numbers.

``table_1`` and ``table_2`` build them. Every row of the paper is printed, followed by each of our
entries of that row and the difference, or by a row that says that it was not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.report.model_tables import (
    SIZE_NOTE,
    common_noises,
    jobs_of,
    noise_notes,
    notes_of,
    remark_columns,
    score_cell,
    told_of,
)
from audioprune.report.papers.p2.rows import (
    P2Evidence,
    by_row,
    deviations,
    row_name,
    set_apart,
    values_of,
)
from audioprune.report.runs.corpora import UNTOLD_CORPUS
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table, metric_column

NOT_RUN = "not run"
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
_COUNTED = "# Param. counts all parameters that are not zero, biases and normalisation too."
_OTHER_SCALE = (
    "A difference compares our scale with the paper's; only a run of scale 'paper' can reproduce "
    "a published number."
)


def table_1(evidence: P2Evidence) -> Table:
    """Return Table 1: pruned models against unpruned models of about their size.

    Source: Tan & Wang, Table 1.
    """
    return _table("p2_table1", "table_1", _TABLE_1_SIZES, evidence)


def table_2(evidence: P2Evidence) -> Table:
    """Return Table 2: uncompressed against compressed models.

    Source: Tan & Wang, Table 2.
    """
    return _table("p2_table2", "table_2", _TABLE_2_SIZES, evidence)


@dataclass(frozen=True)
class _Layout:
    """The columns of a table.

    Attributes:
        key: The table in the published cells, ``"table_1"`` or ``"table_2"``.
        scores: Metric, SNR in dB, and key of every column of scores.
        sizes: The columns of sizes.
        config: Configuration keys that set entries of a row apart.
        common: Noises of any model by corpus and SNR, see ``common_noises``.
    """

    key: str
    scores: tuple[tuple[str, float, str], ...]
    sizes: tuple[Column, ...]
    config: tuple[str, ...]
    common: Mapping[tuple[str, float | None], set[str]]


def _table(name: str, key: str, sizes: tuple[Column, ...], evidence: P2Evidence) -> Table:
    metrics = ("stoi", evidence.pesq)
    scores = [(metric, snr, f"{metric}@{snr}") for metric in metrics for snr in evidence.snrs]
    order = evidence.printed(key)
    config = [key for title in order for key in set_apart(evidence.rows.get(title, ()))]
    layout = _Layout(
        key, tuple(scores), sizes, tuple(dict.fromkeys(config)), common_noises(evidence.found)
    )
    blank: dict[str, Cell] = {f"config:{key}": "-" for key in layout.config}
    body = tuple(blank | row for row in _body(evidence, layout))
    columns = [
        Column("name", "Model"),
        Column("what", "Source"),
        *(Column(f"config:{key}", key) for key in layout.config),
        *(metric_column(metric, cell, f"{snr:g} dB") for metric, snr, cell in scores),
        *sizes,
        *remark_columns(body),
        Column("seeds", "Seeds", "count"),
        Column("scale", "Scale"),
    ]
    published = evidence.published
    after = f"(after {published['authors']}, {published['venue']})"
    notes = (*_notes(key, evidence), *notes_of(body, jobs_of(evidence.found)))
    return Table(name, f"{published[key]['title']} {after}", tuple(columns), body, notes)


def _body(evidence: P2Evidence, layout: _Layout) -> list[dict[str, Cell]]:
    """Return the rows of every corpus that has any of the paper's models.

    A model that was run on no corpus is in the first block; where nothing was run, that is the
    only block.
    """
    printed = {
        title: _published_row(row, evidence, layout)
        for title, row in evidence.printed(layout.key).items()
    }
    per_corpus: dict[str, list[Entry]] = {}
    for entry in evidence.found:
        if row_name(entry) in printed:
            per_corpus.setdefault(entry.corpus.title, []).append(entry)
    body: list[dict[str, Cell]] = []
    for place, (corpus, members) in enumerate((per_corpus or {UNTOLD_CORPUS: []}).items()):
        rows = by_row(members)
        for title in printed:
            nowhere = place == 0 and title not in evidence.rows
            if title in rows or nowhere:
                lines = _lines(printed[title], rows.get(title, ()), layout)
                body += [line | {"corpus": corpus} for line in lines]
    return body


def _lines(
    printed: dict[str, Cell], found: Sequence[Entry], layout: _Layout
) -> list[dict[str, Cell]]:
    """Return the published row, then ours and the difference for each entry."""
    if not found:
        return [printed, _not_run(printed, layout)]
    lines = [printed]
    for entry in found:
        ours = _ours(entry, str(printed["name"]), layout)
        lines += [ours, _difference(ours, printed, layout)]
    return lines


def _ours(entry: Entry, title: str, layout: _Layout) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "name": title,
        "what": "ours",
        "seeds": len(entry.seeds),
        "scale": honest_scale(entry.scale),
    }
    config = values_of(entry, layout.config)
    row |= {f"config:{key}": value for key, value in config.items()}
    row |= told_of(entry)
    for metric, snr, cell in layout.scores:
        row[cell] = score_cell(entry, metric, snr, layout.common)
    for column in layout.sizes:
        row[column.key] = "-" if title == "Mixture" else entry.size(column.key)
    return row


def _not_run(printed: Mapping[str, Cell], layout: _Layout) -> dict[str, Cell]:
    measured = [cell for _, _, cell in layout.scores] + [column.key for column in layout.sizes]
    row: dict[str, Cell] = {"name": printed["name"], "what": "ours"}
    row |= dict.fromkeys(measured, NOT_RUN)
    return row | {"seeds": 0, "scale": NOT_RUN}


def _published_row(
    row: Mapping[str, Any], evidence: P2Evidence, layout: _Layout
) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        "name": row["name"],
        "what": "published",
        "seeds": "-",
        "scale": f"published: {row['source']}",
    }
    for metric, snr, cell in layout.scores:
        cells[cell] = _published_score(row, metric, evidence.snrs.index(snr), evidence)
    cells |= dict.fromkeys((column.key for column in layout.sizes), "-")
    if row.get("params_millions") is not None:
        cells["nonzero"] = f"{row['params_millions']:.2f}"
    if row.get("storage_mb") is not None:
        cells["bytes_paper"] = f"{row['storage_mb']:.2f}"
    if row.get("compression_rate") is not None:
        cells["rate_paper"] = f"{row['compression_rate']:g}x"
    return cells


def _published_score(
    row: Mapping[str, Any], metric: str, place: int, evidence: P2Evidence
) -> Value:
    """Return a published score; PESQ of another mode than ours is left empty."""
    if metric == "stoi":
        return Value(row["stoi_percent"][place] / 100)
    mode = evidence.published["pesq_mode"]["value"]
    if metric == mode:
        return Value(row["pesq"][place])
    return Value(None, reason=f"published as {mode}")


def _difference(
    ours: Mapping[str, Cell], published: Mapping[str, Cell], layout: _Layout
) -> dict[str, Cell]:
    row: dict[str, Cell] = dict.fromkeys(ours, "-")
    row |= {"name": ours["name"], "what": "ours - published", "scale": ours["scale"]}
    for _, _, cell in layout.scores:
        row[cell] = Value(_minus(ours[cell], published[cell]))
    return row


def _minus(one: Cell, other: Cell) -> float | None:
    means = [cell.mean if isinstance(cell, Value) else None for cell in (one, other)]
    left, right = means
    return None if left is None or right is None else left - right


def _notes(key: str, evidence: P2Evidence) -> tuple[str, ...]:
    published, found = evidence.published, evidence.found
    mode = published["pesq_mode"]
    ours = noise_notes(found)
    if not ours and not any(entry.scores for entry in found):
        ours = ["Ours: nothing was run."]
    conflicts = [
        f"{', '.join(item['rows'])}: {item['text'].strip()}."
        for item in published["conflicts"]
        if key in item["tables"]
    ]
    return (
        *ours,
        f"Published: means over {published['averaged_over']}.",
        _OTHER_SCALE,
        *deviations(evidence),
        *conflicts,
        f"PESQ as published: {mode['value']}, {mode['source'].strip()}.",
        SIZE_NOTE if key == "table_2" else _COUNTED,
    )
