"""Tables 3 and 4 of Chen (DNN pruning for acoustic scene classification), ours apart from the published, and the optimisers compared.

Which of our rows stands in which column is decided here, by model, pipeline and corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.baselines import no_better
from audioprune.report.model_tables import jobs_of, notes_of, remark_columns, told_of
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import Entry, Value, mean_of
from audioprune.report.runs.job import Job
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Cell, Column, Table

NOT_RUN, PUBLISHED = "not run", "Published"
RHO = "model.rho"  # sets the receptive field of CP-ResNet; ADMM has a rho of its own
BASELINE, LITERAL, REACH, PROXSG = "p4_baseline", "p4_literal", "p4_reach", "p4_proxsg"
DENSE = ("sgd", "adam")  # methods without regulariser
METHOD_NAMES = {
    "hspg": "HSPG",
    "proxsg": "ProxSG",
    "obproxsg": "OBProxSG",
    "admm": "ADMM",
    "sgd": "SGD",
    "adam": "Adam",
}
_LAST_VARIANTS = ("trimmed", "pruned", "uncompressed")
_DATA_NAMES = {
    "tut2017": "TUT 2017",
    "tut2018": "TUT 2018",
    "synthetic_scenes": "embedded scenes",
    "class_folder": "own folder",
}


TOY = "Toy problem of scripts/optimizer_toy.py"
Problem = tuple[str, str, str]


@dataclass(frozen=True)
class Model:
    """One trained network over its seeds: what was scored last, and what its training and its trim recorded.

    Attributes:
        entry: Scores and sizes of the last state that was written.
        before: The same of the state before the trim; of a dense network, of the same state.
        method: Name of the optimiser as in ``audioprune.steps.TrainSparse``.
        corpus: Name of the data.
        told: Knobs that set it apart from the other networks of its kind and pipeline, such as
            ``reach=2.0``.
    """

    entry: Entry
    before: Entry
    method: str
    corpus: str
    told: str = ""

    @property
    def name(self) -> str:
        """Method and pipeline with what sets them apart, such as ``HSPG, p4_reach (reach=2.5)``."""
        words = f"{METHOD_NAMES.get(self.method, self.method)}, {self.entry.pipeline}"
        return f"{words} ({self.told})" if self.told else words

    @property
    def title(self) -> str:
        """Model and name."""
        return f"{self.entry.label} {self.name}"

    def trained(self, key: str) -> Value:
        """Return a number of the training."""
        return mean_of(finite_or_none(_sparse_row(job).get(key)) for job in self.entry.jobs)

    def groups(self, key: str) -> Value:
        """Return a number that was recorded before the trim."""
        return mean_of(
            finite_or_none(row.get(key))
            for job in self.entry.jobs
            for row in job.of_kind("groups")
        )

    @property
    def first_job(self) -> Job:
        """The job of the smallest seed, where figures show one."""
        return min(self.entry.jobs, key=lambda job: (job.seed is None, job.seed or 0))

    @property
    def sparsity(self) -> Value:
        """Share of zero filters, the paper's measure; 0 for a network that was trained without regulariser."""
        found = self.groups("filter_sparsity")
        return (
            found
            if found.mean is not None or self.method not in DENSE
            else Value(0.0, None, len(self.entry.seeds))
        )


def _is_knob(key: str) -> bool:
    return key.startswith(("pipeline.", "training.", "data.seed", RHO)) and not key.startswith(
        "pipeline.steps"
    )


def _short(key: str) -> str:
    return key if key == RHO else key.rpartition(".")[2]


def _sparse_row(job: Job) -> Mapping[str, Any]:
    return next((row for row in job.of_kind("train") if row.get("method") in METHOD_NAMES), {})


def models_of(jobs: Sequence[Job]) -> list[Model]:
    """Return every network of the jobs that were trained for scenes, baselines first, then by pipeline and rising sparsity."""
    chosen = [job for job in jobs if _sparse_row(job)]
    found: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in final(entries(chosen)):
        if entry.variant in _LAST_VARIANTS and entry.jobs and _sparse_row(entry.jobs[0]):
            found.setdefault(tuple(sorted(str(job.folder) for job in entry.jobs)), {})[
                entry.variant
            ] = entry
    models = _told_apart([_model(states) for states in found.values()])
    order = (BASELINE, LITERAL, PROXSG)
    return sorted(models, key=lambda m: (m.entry.label, order.index(m.entry.pipeline) if m.entry.pipeline in order else 9,
                                         m.entry.pipeline, m.sparsity.mean or 0.0))  # fmt: skip


def _told_apart(models: Sequence[Model]) -> list[Model]:
    """Give each network the knobs whose values differ among the networks of its kind, pipeline and corpus."""
    named = []
    for model in models:
        kin = [other.entry.config for other in models if _kind(other) == _kind(model)]
        keys = [
            key
            for key in model.entry.config
            if _is_knob(key) and len({config.get(key) for config in kin}) > 1
        ]
        told = ", ".join(
            f"{_short(key)}={model.entry.config[key]}" for key in keys if model.entry.config[key]
        )
        named.append(replace(model, told=told))
    return named


def _kind(model: Model) -> tuple[str, str, str]:
    return model.entry.label, model.entry.pipeline, model.entry.corpus.title


def _model(states: Mapping[str, Entry]) -> Model:
    last = next(states[variant] for variant in _LAST_VARIANTS if variant in states)
    job = last.jobs[0]
    return Model(
        last,
        states.get("pruned", last),
        str(_sparse_row(job).get("method")),
        str(job.config.get("data.name") or ""),
    )


def accuracy(entry: Entry, metric: str = "accuracy") -> Value:
    """Return the accuracy of an entry over all test clips, 0..1."""
    return entry.score(metric)


def accuracies(model: Model) -> dict[int | None, float | None]:
    """Return the accuracy of every seed over all test clips, 0..1."""
    found = {}
    for seed, cells in zip(model.entry.seeds, model.entry.scores, strict=False):
        known = [
            finite_or_none((row.get("metrics") or {}).get("accuracy")) for row in cells.values()
        ]
        known = [value for value in known if value is not None]
        found[seed] = sum(known) / len(known) if known else None
    return found


def shares(model: Model, key: str = "filter_sparsity") -> dict[int | None, float | None]:
    """Return the share of zero filters, or of zero groups, of every seed before the trim; 0 without a regulariser."""
    found = {
        job.seed: finite_or_none(row.get(key))
        for job in model.entry.jobs
        for row in job.of_kind("groups")
    }
    return found or (dict.fromkeys(model.entry.seeds, 0.0) if model.method in DENSE else {})


def sizes(entry: Entry, name: str) -> dict[int | None, float | None]:
    """Return a number of the size rows of every seed."""
    return {
        seed: finite_or_none(row.get(name))
        for seed, row in zip(entry.seeds, entry.sizes, strict=False)
    }


def main_table(jobs: Sequence[Job], reported: Mapping[str, Any], key: str) -> Table:
    """Return Table 3 or 4: accuracy and group sparsity per kind of network; published rows first, ours apart from them.

    Args:
        jobs: Jobs of any kind.
        reported: The published numbers.
        key: ``"table_3"`` or ``"table_4"``.

    Source: Chen, Tables 3 and 4.
    """
    printed = reported[key]
    families: Mapping[str, Sequence[str]] = reported["models"]
    body = [_published(row, families) for row in printed["rows"]]
    models = [
        model
        for model in models_of(jobs)
        if model.corpus in (printed["corpus"], "synthetic_scenes", "class_folder")
    ]
    extra = [
        model.entry.model
        for model in models
        if not any(model.entry.model in names for names in families.values())
    ]
    families = {**families, **{name.upper(): [name] for name in dict.fromkeys(extra)}}
    if not any(model.corpus == printed["corpus"] for model in models):
        blank = dict.fromkeys(
            (f"{family}:{what}" for family in families for what in ("accuracy", "sparsity")),
            NOT_RUN,
        )
        told = {
            "name": "-",
            "what": f"ours, {_DATA_NAMES[printed['corpus']]}",
            "corpus": PUBLISHED,
        }
        body.append({**told, **blank, "seeds": "-", "scale": NOT_RUN})
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
        "removed stands in the table of sizes."
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
    """Put networks of one name and corpus in one row, the paper's corpus first; a second one of a kind begins a new row."""
    rows: list[tuple[tuple[str, str, str], dict[str, Model]]] = []
    for model in sorted(models, key=lambda model: model.corpus != corpus):
        family = next(family for family, names in families.items() if model.entry.model in names)
        key = (model.corpus, model.name, model.entry.corpus.title)
        row = next((row for known, row in rows if known == key and family not in row), None)
        if row is None:
            row = {}
            rows.append((key, row))
        row[family] = model
    joined = []
    for (data, name, title), cells in rows:
        in_order = {family: cells[family] for family in families if family in cells}
        row = _joined_row(name, f"ours, {_DATA_NAMES.get(data, data)}", in_order)
        joined.append(row | {"corpus": title, "remark": _marks(in_order)})
    return joined


def _marks(cells: Mapping[str, Model]) -> str:
    """Say which networks of a joined row are no better than chance."""
    found = {family: no_better(model.entry) for family, model in cells.items()}
    return _each({family: mark for family, mark in found.items() if mark}) or "-"


def _joined_row(name: str, what: str, cells: Mapping[str, Model]) -> dict[str, Cell]:
    """Return one row of several kinds of network; seeds and scale are told apart where they differ."""
    row: dict[str, Cell] = {"name": name, "what": what}
    for family, model in cells.items():
        sparsity: Cell = "-" if model.method in DENSE else model.sparsity
        row |= {f"{family}:accuracy": accuracy(model.entry), f"{family}:sparsity": sparsity}
    seeds = {family: len(model.entry.seeds) for family, model in cells.items()}
    row["seeds"] = next(iter(seeds.values())) if len(set(seeds.values())) == 1 else _each(seeds)
    scales = {family: honest_scale(model.entry.scale) for family, model in cells.items()}
    row["scale"] = next(iter(scales.values())) if len(set(scales.values())) == 1 else _each(scales)
    return row


def _each(values: Mapping[str, Any]) -> str:
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
    Column("budget", "Shrink budget", "score"),
    Column("lmbda", "lambda", "loss"),
    Column("reachable", "Reachable groups", "share"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def size_table(jobs: Sequence[Job]) -> Table:
    """Return what sparsity stands for: zero filters, zero groups and removed units beside parameters, MACs, latency and accuracy."""
    models = models_of(jobs)
    rows = [_size_row(model) | told_of(model.entry) for model in models]
    notes = (
        "Zero groups are those of the training. A unit is removed where its output is exactly "
        "0, so that its filter must be zero with "
        "the scale and shift of its normalisation, or where nothing reads it any more: more or "
        "fewer units can leave than filters are "
        "zero. Accuracy and what is not told as before are those of the network after the trim "
        "and after any fine-tuning.",
        "The shrink budget lambda * sum(lr) is the most that the regulariser alone takes off "
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
            ("filters", "groups", "removed", "difference", "budget", "lmbda", "reachable"), "-"
        )
    row |= {
        "filters": model.groups("filter_sparsity"),
        "groups": model.groups("group_sparsity"),
        "removed": model.groups("removed_share"),
    }
    row |= {"difference": model.groups("max_difference"), "lmbda": model.trained("lmbda")}
    if model.method == "admm":  # its zeros come from z, which no sum of learning rates bounds
        return row | {"budget": "-", "reachable": "-"}
    return row | {"budget": model.trained("budget"), "reachable": model.trained("reachable_share")}


_OPTIMIZERS = (
    Column("problem", "Problem"),
    Column("name", "Method"),
    Column("state", "State"),
    Column("published", "Published: convergence / group sparsity / runtime / one-shot"),
    Column("objective", "F = f + lambda sum of norms", "loss"),
    Column("f", "f", "loss"),
    Column("sparsity", "Zero groups", "percent"),
    Column("entries", "Zero weights", "percent"),
    Column("accuracy", "Accuracy", "percent"),
    Column("seconds", "Seconds of training", "score"),
    Column("one_shot", "One-shot"),
    Column("lmbda", "lambda of F", "loss"),
    Column("seeds", "Seeds", "count"),
    Column("scale", "Scale"),
)


def optimizer_table(jobs: Sequence[Job], reported: Mapping[str, Any]) -> Table:
    """Return objective, group sparsity and time of the optimisers on the toy problem and on our networks, in numbers.

    Source: Chen, "Sparsity Optimizer Comparison".
    """
    told = {
        method: _ranks(row) for row in reported["optimizers"]["rows"] for method in row["methods"]
    }
    rows = [*_toy_rows(jobs, told), *_network_rows(jobs, told)]
    notes = (
        "Rows of one problem, scale and corpus share the lambda of F, the group regulariser; "
        "OBProxSG minimises another objective, with "
        "the l1 norm.",
        "On the toy ADMM stands with its sparse variable z. Of networks f is the mean training "
        "loss of the epoch whose weights are kept. "
        "ADMM trains a dense x, whose f and F are known, projects it, and fine-tunes what is "
        "left: each state has a row of its own.",
        "Seconds are not comparable between runs that shared the machine. One-shot: no "
        "fine-tuning after the zeros.",
    )
    notes += notes_of(rows, jobs)
    columns = (*_OPTIMIZERS[:-2], *remark_columns(rows), *_OPTIMIZERS[-2:])
    return Table(
        "p4_optimizers",
        f"{reported['optimizers']['title']} (after {reported['authors']})",
        columns,
        tuple(rows),
        notes,
    )


def _ranks(row: Mapping[str, Any]) -> str:
    return " / ".join(
        str(row[key]) for key in ("convergence", "group_sparsity", "runtime", "one_shot")
    )


def _toy_rows(jobs: Sequence[Job], told: Mapping[str, str]) -> list[dict[str, Cell]]:
    found: dict[tuple[str, Any, str], list[Mapping[str, Any]]] = {}
    for job in jobs:
        for row in job.of_kind("toy"):
            found.setdefault((row["name"], row.get("lmbda"), job.scale), []).append(row)
    return [_toy_row(name, scale, group, told) for (name, _, scale), group in found.items()]


def _toy_row(
    name: str, scale: str, group: Sequence[Mapping[str, Any]], told: Mapping[str, str]
) -> dict[str, Cell]:
    keys = {
        "objective": "objective",
        "f": "f",
        "sparsity": "group_sparsity",
        "entries": "entry_sparsity",
        "seconds": "seconds",
    }
    numbers: dict[str, Cell] = {
        column: mean_of(finite_or_none(row.get(key)) for row in group)
        for column, key in keys.items()
    }
    method = group[0]["method"]
    numbers |= {
        "lmbda": group[0]["lmbda"],
        "one_shot": "-" if method == "optimum" else "yes",
        "accuracy": "-",
    }
    words: dict[str, Cell] = {
        "problem": "toy",
        "name": name,
        "state": "z" if method == "admm" else "trained",
    }
    seeds = len({row.get("seed") for row in group})
    return (
        words
        | numbers
        | {"published": told.get(method, "-"), "seeds": seeds, "scale": honest_scale(scale)}
        | {"corpus": TOY}
    )


def _network_rows(jobs: Sequence[Job], told: Mapping[str, str]) -> list[dict[str, Cell]]:
    models = models_of(jobs)
    lambdas = _common_lambdas(models)
    return [
        row
        for model in models
        for row in _states(model, lambdas[_problem(model)], told.get(model.method, "-"))
    ]


def _problem(model: Model) -> Problem:
    return model.entry.model, model.entry.scale, model.entry.corpus.title


def _common_lambdas(models: Sequence[Model]) -> dict[Problem, float]:
    """Choose one lambda of F for every problem: that of the first p4_reach, or of the first other group regulariser, or none."""
    order = sorted(
        models, key=lambda model: (model.method == "obproxsg", model.entry.pipeline != REACH)
    )
    common: dict[Problem, float] = {}
    for model in order:
        value = model.trained("lmbda").mean
        if value:
            common.setdefault(_problem(model), value)
    return {_problem(model): common.get(_problem(model), 0.0) for model in models}


def _states(model: Model, lmbda: float, published: str) -> list[dict[str, Cell]]:
    """Return a row for every state of a network: dense and projected of ADMM, trained of the others, and fine-tuned where it was."""
    trainings = [job.of_kind("train") for job in model.entry.jobs]
    finetuned = any(len(rows) > 1 for rows in trainings)
    blank: dict[str, Cell] = dict.fromkeys(
        ("objective", "f", "sparsity", "entries", "accuracy", "seconds"), "-"
    )
    blank |= {
        "problem": model.entry.label,
        "name": model.name,
        "published": published,
        "lmbda": lmbda,
    }
    blank |= {
        "one_shot": "no, fine-tuned" if finetuned else "yes",
        "seeds": len(model.entry.seeds),
    }
    blank |= {"scale": honest_scale(model.entry.scale), **told_of(model.entry)}
    sparse: dict[str, Cell] = {
        "sparsity": model.trained("group_sparsity"),
        "entries": model.trained("entry_sparsity"),
    }
    scored = model.before if finetuned else model.entry
    sparse |= {"accuracy": accuracy(scored), "remark": no_better(scored) or "-"}
    loss: dict[str, Cell] = {
        "objective": _objective(model, lmbda),
        "f": model.trained("f"),
        "seconds": model.trained("seconds"),
    }
    if model.method == "admm":
        zeros: dict[str, Cell] = {
            "sparsity": model.trained("x_group_sparsity"),
            "entries": model.trained("x_entry_sparsity"),
        }
        dense = (
            blank | loss | zeros | {"state": "dense x", "remark": "-"}
        )  # of which no accuracy was measured
        rows = [dense, blank | sparse | {"state": "projected"}]
    else:
        rows = [blank | loss | sparse | {"state": "trained"}]
    if finetuned:
        seconds = mean_of(
            sum(finite_or_none(row.get("seconds")) or 0.0 for row in rows[1:])
            for rows in trainings
        )
        rows.append(
            blank | {"state": "fine-tuned", "accuracy": accuracy(model.entry), "seconds": seconds}
        )
    return rows


def _objective(model: Model, lmbda: float) -> Value:
    """Return f + lambda times the sum of group norms, both of one state: of ADMM, the dense x."""
    key = "x_norm_sum" if model.method == "admm" else "norm_sum"
    numbers = [
        (finite_or_none(row.get("f")), finite_or_none(row.get(key)))
        for row in map(_sparse_row, model.entry.jobs)
    ]
    return mean_of(
        f + lmbda * norms if f is not None and norms is not None else None for f, norms in numbers
    )
