"""Tables 3 and 4 of Chen, ours apart from the published, and what sparsity means in size and cost.

Which networks there are is decided in ``networks``; the optimisers are compared in ``optimizers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from audioprune.report.baselines import no_better
from audioprune.report.model_tables import jobs_of, notes_of, remark_columns, told_of
from audioprune.report.papers.p4.networks import DENSE, Model, P4Evidence, accuracy
from audioprune.report.runs.entry import Value
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table

NOT_RUN, PUBLISHED = "not run", "Published"
_DATA_NAMES = {
    "tut2017": "TUT 2017",
    "tut2018": "TUT 2018",
    "synthetic_scenes": "embedded scenes",
    "class_folder": "own folder",
}


def table_3(evidence: P4Evidence) -> Table:
    """Return Table 3, of TUT 2017."""
    return main_table(evidence, "table_3")


def table_4(evidence: P4Evidence) -> Table:
    """Return Table 4, of TUT 2018."""
    return main_table(evidence, "table_4")


def main_table(evidence: P4Evidence, key: str) -> Table:
    """Return accuracy and group sparsity per kind of network: published rows, then ours.

    Args:
        evidence: Our networks and the published cells.
        key: ``"table_3"`` or ``"table_4"``.

    Source: Chen, Tables 3 and 4.
    """
    reported = evidence.published
    printed = reported[key]
    families: Mapping[str, Sequence[str]] = reported["models"]
    body = [_published(row, families) for row in printed["rows"]]
    shown = (printed["corpus"], "synthetic_scenes", "class_folder")
    models = [model for model in evidence.models if model.corpus in shown]
    known = {name for names in families.values() for name in names}
    extra = dict.fromkeys(each.entry.model for each in models if each.entry.model not in known)
    families = {**families, **{name.upper(): [name] for name in extra}}
    if not any(model.corpus == printed["corpus"] for model in models):
        body.append(_not_run(families, printed["corpus"]))
    body += _ours(models, families, printed["corpus"])
    columns = [Column("name", "Row"), Column("what", "Source")]
    for family in families:
        columns += [
            Column(f"{family}:accuracy", family, "percent"),
            Column(f"{family}:sparsity", f"{family} group sparsity", "percent"),
        ]
    columns += [*remark_columns(body), Column("seeds", "Seeds", "count"), Column("scale", "Scale")]
    blank_row: dict[str, Cell] = {column.key: "-" for column in columns}
    notes = [
        "Group sparsity is the share of filters that are zero, as in the paper; what can be "
        "removed is in the table of sizes."
    ]
    if any(model.corpus == "synthetic_scenes" for model in models):
        notes.append(
            "Embedded scenes are made-up audio, neither corpus: their rows check the method, "
            "not the numbers above them."
        )
    notes += [note.strip() + "." for note in reported["notes"]]
    notes += notes_of(body, jobs_of(model.entry for model in models))
    caption = f"{printed['title']} (after {reported['authors']}, {reported['venue']})"
    return Table(
        f"p4_{key.replace('_', '')}",
        caption,
        tuple(columns),
        tuple(blank_row | row for row in body),
        tuple(notes),
    )


def _not_run(families: Iterable[str], corpus: str) -> dict[str, Cell]:
    """Return the row that says that the paper's corpus was not run."""
    row: dict[str, Cell] = {"name": "-", "what": f"ours, {_DATA_NAMES[corpus]}"}
    row |= {"corpus": PUBLISHED, "seeds": "-", "scale": NOT_RUN}
    for family in families:
        row |= {f"{family}:accuracy": NOT_RUN, f"{family}:sparsity": NOT_RUN}
    return row


def _published(row: Mapping[str, Any], families: Iterable[str]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        "name": row["name"],
        "what": "published",
        "scale": "published",
        "corpus": PUBLISHED,
    }
    for family in families:
        cell = row.get(family)
        if cell:
            std = cell["std"] / 100 if "std" in cell else None
            cells[f"{family}:accuracy"] = Value(cell["accuracy"] / 100, std)
            if "group_sparsity" in cell:
                cells[f"{family}:sparsity"] = Value(cell["group_sparsity"] / 100)
    return cells


def _ours(
    models: Sequence[Model], families: Mapping[str, Sequence[str]], corpus: str
) -> list[dict[str, Cell]]:
    """Put networks of one name and corpus in one row, the paper's corpus first.

    A second network of a kind begins a new row.
    """
    rows: list[tuple[tuple[str, str, str], dict[str, Model]]] = []
    for model in sorted(models, key=lambda model: model.corpus != corpus):
        family = next(family for family, names in families.items() if model.entry.model in names)
        key = (model.corpus, model.name, model.entry.corpus.title)
        free = (cells for known, cells in rows if known == key and family not in cells)
        cells = next(free, None)
        if cells is None:
            cells = {}
            rows.append((key, cells))
        cells[family] = model
    joined: list[dict[str, Cell]] = []
    for (data, name, title), cells in rows:
        in_order = {family: cells[family] for family in families if family in cells}
        row = _joined_row(name, f"ours, {_DATA_NAMES.get(data, data)}", in_order)
        joined.append({**row, "corpus": title, "remark": _marks(in_order)})
    return joined


def _marks(cells: Mapping[str, Model]) -> str:
    """Say which networks of a joined row are no better than chance."""
    found = {family: no_better(model.entry) for family, model in cells.items()}
    return each_named({family: mark for family, mark in found.items() if mark}) or "-"


def _joined_row(name: str, what: str, cells: Mapping[str, Model]) -> dict[str, Cell]:
    """Return one row of several kinds of network; seeds and scales that differ are named."""
    row: dict[str, Cell] = {"name": name, "what": what}
    for family, model in cells.items():
        sparsity: Cell = "-" if model.method in DENSE else model.sparsity
        row |= {f"{family}:accuracy": accuracy(model.entry), f"{family}:sparsity": sparsity}
    seeds = {family: len(model.entry.seeds) for family, model in cells.items()}
    row["seeds"] = (
        next(iter(seeds.values())) if len(set(seeds.values())) == 1 else each_named(seeds)
    )
    scales = {family: honest_scale(model.entry.scale) for family, model in cells.items()}
    row["scale"] = (
        next(iter(scales.values())) if len(set(scales.values())) == 1 else each_named(scales)
    )
    return row


def each_named(values: Mapping[str, Any]) -> str:
    return " | ".join(f"{family}: {value}" for family, value in values.items())


_SIZES = (
    Column("title", "Model"),
    Column("accuracy", "Accuracy", "percent"),
    Column("macro", "Accuracy per class", "percent"),
    Column("filters", "Zero filters", "percent"),
    Column("groups", "Zero groups", "percent"),
    Column("removed", "Removed units", "percent"),
    Column("params_before", "Params before", "count"),
    Column("params", "Params", "count"),
    Column("macs_before", "MACs/s before", "millions"),
    Column("macs", "MACs/s", "millions"),
    Column("latency_before", "Latency per s before", "milliseconds"),
    Column("latency", "Latency per s", "milliseconds"),
    Column("bytes", "File", "mebibytes"),
    Column("difference", "Largest change by trim", "loss"),
    Column("reach", "Reach", "score"),
    Column("lmbda", "lambda", "loss"),
    Column("reachable", "Reachable groups", "share"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def size_table(evidence: P4Evidence) -> Table:
    """Return zero filters, zero groups and removed units beside size, cost and accuracy."""
    models = evidence.models
    rows = [_size_row(model) | told_of(model.entry) for model in models]
    notes: tuple[str, ...] = (
        "Zero groups are those of the training. A unit is removed where its output is exactly "
        "0, so that its filter must be zero with "
        "the scale and shift of its normalisation, or where nothing reads it any more: more or "
        "fewer units can leave than filters are "
        "zero. Accuracy and what is not told as before are those of the network after the trim "
        "and after any fine-tuning.",
        "The reach lambda * sum(lr) is the most that the regulariser alone takes off "
        "the norm of a group (of OBProxSG: off "
        "every entry); groups that lie below it at the start are reachable. The loss, and "
        "half-space steps, can zero others.",
    )
    notes += notes_of(rows, jobs_of(model.entry for model in models))
    columns = (*_SIZES[:-2], *remark_columns(rows), *_SIZES[-2:])
    return Table(
        "p4_sizes", "Sparsity, size and cost of the networks", columns, tuple(rows), notes
    )


def _size_row(model: Model) -> dict[str, Cell]:
    entry, before = model.entry, model.before
    dense = model.method in DENSE
    row: dict[str, Cell] = {
        "title": model.title,
        "accuracy": accuracy(entry),
        "macro": accuracy(entry, "accuracy_macro"),
    }
    row |= {
        "params_before": before.size("params"),
        "params": entry.size("params"),
        "bytes": entry.size("bytes_file"),
    }
    row |= {"macs_before": before.size("macs_per_second"), "macs": entry.size("macs_per_second")}
    row |= {
        "latency_before": before.size("latency_ms_per_s"),
        "latency": entry.size("latency_ms_per_s"),
    }
    row |= {"seeds": len(entry.seeds), "scale": honest_scale(entry.scale)}
    if dense:
        return row | dict.fromkeys(
            ("filters", "groups", "removed", "difference", "reach", "lmbda", "reachable"), "-"
        )
    row |= {
        "filters": model.groups("filter_sparsity"),
        "groups": model.groups("group_sparsity"),
        "removed": model.groups("removed_share"),
    }
    row |= {"difference": model.groups("max_difference"), "lmbda": model.trained("lmbda")}
    if model.method == "admm":  # its zeros come from z, which no sum of learning rates bounds
        return row | {"reach": "-", "reachable": "-"}
    return row | {"reach": model.trained("reach"), "reachable": model.trained("reachable_share")}
