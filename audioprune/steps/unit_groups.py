"""How a pipeline looks at the groups of a model - norms, zero filters, zero units - and takes zero units out for real.

How groups become zero is written in sparse.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.zero import removable
from audioprune.errors import ConfigError
from audioprune.experiment.results import write_csv
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import SparseTraining
from audioprune.optim import kept_units
from audioprune.optim.group_steps import group_norms
from audioprune.optim.groups import Layout
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.needs import units_of
from audioprune.steps.prune import Trim


@dataclass
class TrimGroups:
    """Take zero units out of the model, and record what was zero: filters, groups and units, in numbers that never stand alone.

    A unit leaves when it outputs exactly 0, or when nothing reads it. A zero filter whose
    normalisation has a live shift outputs a constant; it counts as a zero filter and stays. The
    norms of all groups before and after the training go to ``groups.csv``.

    Source: Chen, Tables 3 and 4, count zero filters; the difference to what can be removed is not
    in the slides.
    """

    def check(self, run: Run) -> None:
        """Refuse a model without units or without filters, of which shares would be counted."""
        model = plain_twin(run)
        if not zero_filters(model, groups_of(model, "units")):
            raise ConfigError(
                f"{type(model).__name__}: expected trained filters of linear or convolution "
                f"layers that write units, got none; "
                "count its units with audioprune.steps.Trim in place of TrimGroups"
            )

    def run(self, run: Run, path: str) -> None:
        """Count, trim and record; the largest difference of the outputs before and after is recorded too."""
        self.check(run)
        fold_first(run, path)
        sets = units_of(run.model, "groups", "")
        trained = run.findings.sparse
        groups = (
            filter_sets(sets) if trained is not None and trained.group_kind == "filters" else sets
        )
        layers = zero_filters(run.model, sets)
        zero = {
            name: ~alive
            for name, alive in kept_units(run.model.named_parameters(), groups).items()
        }
        silent = {name: int(gone.sum()) for name, gone in removable(run.model, sets).items()}
        collapsed = [each.name for each in sets if silent[each.name] == each.size]
        if collapsed:
            told = (
                f"every unit of {', '.join(collapsed[:5])} is zero; one stays, but nothing "
                f"passes it"
            )
            print(
                f"{path}: {told}; lower pipeline.lmbda, pipeline.reach or pipeline.epsilon",
                file=sys.stderr,
                flush=True,
            )
        _write_norms(run, groups)
        filters = sum(count for _, count in layers.values())
        units = sum(each.size for each in sets)
        row = {
            "key": f"{path}/groups",
            "kind": "groups",
            "label": run.label,
            "groups": sum(len(gone) for gone in zero.values()),
            "group_sparsity": sum(int(gone.sum()) for gone in zero.values())
            / sum(len(gone) for gone in zero.values()),
            "filters": filters,
            "filter_sparsity": sum(gone for gone, _ in layers.values()) / filters,
            "units": units,
            "unit_sparsity": sum(silent.values()) / units,
            "layers": [
                {"name": name, "zero": gone, "filters": count}
                for name, (gone, count) in layers.items()
            ],
            "collapsed": collapsed,
            "scale": run.scale,
            "seed": run.seed,
            **_how_trained(trained),
        }
        Trim().run(run, path)
        trimmed = run.results.rows[path]
        removed = sum(trimmed["units_before"].values()) - sum(trimmed["units_after"].values())
        counted = {
            key: trimmed[key] for key in ("params_before", "params_after", "max_difference")
        }
        run.results.put({**row, "removed": removed, "removed_share": removed / units, **counted})


def _how_trained(trained: SparseTraining | None) -> dict[str, Any]:
    """Return what the row of the groups says of the training that made them zero; nothing where there was none."""
    if trained is None:
        return {}
    names = {"method": trained.method, "group_kind": trained.group_kind}
    return {**names, "lmbda": trained.lmbda, "learning_rate": trained.learning_rate}


def _write_norms(run: Run, sets: Sequence[UnitSet]) -> None:
    before = run.findings.sparse.norms if run.findings.sparse is not None else {}
    rows = []
    for name, norms in unit_norms(run.model, sets).items():
        first = before.get(name, [None] * len(norms))
        rows += [(name, unit, first[unit], norm) for unit, norm in enumerate(rounded(norms))]
    write_csv(run.folder / "groups.csv", ("set", "unit", "norm_before", "norm_after"), rows)


def groups_of(model: nn.Module, kind: str) -> list[UnitSet]:
    """Return the groups of a model.

    Args:
        model: The model.
        kind: ``units``, or ``filters`` for every filter alone.

    Raises:
        ConfigError: The model has no units that can be found, or no group of the kind.
    """
    sets = [each for each in units_of(model, "groups", "") if each.size]
    found = filter_sets(sets) if kind == "filters" else sets
    if not found:
        raise ConfigError(
            f"{type(model).__name__}: expected groups of weights ({kind}), got none; list them "
            f"in unit_sets()"
        )
    return found


def unit_norms(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, Tensor]:
    """Return the l2 norm of all that writes each unit, normalisation included: set name -> shape (U,), on the CPU."""
    names, params = zip(*model.named_parameters(), strict=True)
    layout = Layout(list(sets), names, params)
    plan = layout.plan(params)
    norms = group_norms(plan, [params[place].detach() for place in plan.covered]).cpu()
    sizes = layout.set_sizes()
    return dict(zip(sizes, norms.split(list(sizes.values())), strict=True))


def entries_of(model: nn.Module, sets: Sequence[UnitSet]) -> list[Tensor]:
    """Return the entries of all trained parameters that write units, each once."""
    weights = _trained(model)
    return [
        _lines(weights[part.tensor], part)
        for each in sets
        for part in each.slices
        if part.role != "in" and part.tensor in weights
    ]


def filter_sets(sets: Sequence[UnitSet]) -> list[UnitSet]:
    """Return every filter of the sets as a group of its own, without normalisation: one set per weight."""
    found: dict[str, UnitSet] = {}
    for part in (part for each in sets for part in each.slices):
        if part.role == "out" and part.tensor.endswith("weight"):
            found.setdefault(
                part.tensor, UnitSet(part.tensor, (part,), min_units=0, removable=False)
            )
    return list(found.values())


def zero_filters(model: nn.Module, sets: Sequence[UnitSet]) -> dict[str, tuple[int, int]]:
    """Return for every trained weight that writes units how many of its filters are zero, and how many there are."""
    weights = _trained(model)
    found = {}
    for each in filter_sets(sets):
        if each.name not in weights:
            continue
        lines = _lines(weights[each.name], each.slices[0])
        found[each.name] = (int((lines == 0).flatten(1).all(dim=1).sum()), len(lines))
    return found


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def _lines(tensor: Tensor, part: Slice) -> Tensor:
    """View the filters that a slice lists as rows."""
    return tensor.detach().movedim(part.dim, 0)[part.index.reshape(-1).to(tensor.device)]


def rounded(norms: Tensor) -> list[float]:
    """Return norms with six significant digits, as they are written."""
    return [float(f"{norm:.6g}") for norm in norms.tolist()]
