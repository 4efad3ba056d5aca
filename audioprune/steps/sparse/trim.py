"""How a pipeline counts zero groups and takes zero units out for real: ``TrimGroups``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.zero import removable
from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import SparseTraining
from audioprune.optim import kept_units
from audioprune.records import write_csv
from audioprune.steps.folding import fold_first, plain_twin
from audioprune.steps.needs import units_of
from audioprune.steps.prune import Trim
from audioprune.steps.sparse.groups import (
    filter_sets,
    groups_of,
    rounded,
    unit_norms,
    zero_filters,
)


@dataclass
class TrimGroups:
    """Take zero units out of the model, and record how many filters, groups and units were zero.

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
                f"layers that write units, got none; count its units with audioprune.steps.Trim "
                f"in place of TrimGroups"
            )

    def run(self, run: Run, path: str) -> None:
        """Count, trim and record, with the largest difference of the outputs."""
        self.check(run)
        fold_first(run, path)
        sets = units_of(run.model, "groups", "")
        row = self._counted(run, path, sets)
        if row["collapsed"]:
            print(
                f"{path}: every unit of {', '.join(row['collapsed'][:5])} is zero; one stays, but "
                f"nothing passes it; lower pipeline.lmbda, pipeline.reach or pipeline.epsilon",
                file=sys.stderr,
                flush=True,
            )
        Trim().run(run, path)
        trimmed = run.results.rows[path]
        removed = sum(trimmed["units_before"].values()) - sum(trimmed["units_after"].values())
        of_trim = ("params_before", "params_after", "max_difference")
        run.results.put(
            {
                **row,
                "removed": removed,
                "removed_share": removed / row["units"],
                **{key: trimmed[key] for key in of_trim},
            }
        )

    def _counted(self, run: Run, path: str, sets: Sequence[UnitSet]) -> dict[str, Any]:
        """Write the norms of all groups, and return the row of what is zero."""
        trained = run.findings.sparse
        of_filters = trained is not None and trained.group_kind == "filters"
        groups = filter_sets(sets) if of_filters else sets
        kept = kept_units(run.model.named_parameters(), groups).values()
        all_groups = sum(len(alive) for alive in kept)
        zero_groups = sum(int((~alive).sum()) for alive in kept)
        layers = zero_filters(run.model, sets)
        filters = sum(count for _, count in layers.values())
        zeros = sum(gone for gone, _ in layers.values())
        silent = {name: int(gone.sum()) for name, gone in removable(run.model, sets).items()}
        units = sum(each.size for each in sets)
        _write_norms(run, groups)
        return {
            "key": f"{path}/groups",
            "kind": "groups",
            "label": run.label,
            "groups": all_groups,
            "group_sparsity": zero_groups / all_groups,
            "filters": filters,
            "filter_sparsity": zeros / filters,
            "units": units,
            "unit_sparsity": sum(silent.values()) / units,
            "layers": [
                {"name": name, "zero": gone, "filters": count}
                for name, (gone, count) in layers.items()
            ],
            "collapsed": [each.name for each in sets if silent[each.name] == each.size],
            "scale": run.scale,
            "seed": run.seed,
            **_how_trained(trained),
        }


def _how_trained(trained: SparseTraining | None) -> dict[str, Any]:
    """Return what the row says of the training that made groups zero; nothing without one."""
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
