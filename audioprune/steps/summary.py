"""A table of the sparsity of every weight: ``SummarizeWeights``."""

from __future__ import annotations

from dataclasses import dataclass, field

from audioprune.compress.weight_summary import COLUMNS, TOTAL, summary_text, weight_summary
from audioprune.experiment.run import Run
from audioprune.files import write_atomic
from audioprune.records import write_csv


@dataclass
class SummarizeWeights:
    """Write how many weights, rows, channels, kernels and filters of every tensor are zero.

    The model stays as it is.
    """

    changes_state: bool = field(default=False, init=False)

    def run(self, run: Run, path: str) -> None:
        """Write ``weights_summary.csv`` and ``.txt``, and record the sparsity of every tensor."""
        rows = weight_summary(run.model)
        write_csv(
            run.folder / "weights_summary.csv",
            COLUMNS,
            [[_rounded(row[column]) for column in COLUMNS] for row in rows],
        )
        write_atomic(run.folder / "weights_summary.txt", summary_text(rows))
        tensors = {row["Name"]: row["Fine (%)"] / 100 for row in rows if row["Name"] != TOTAL}
        counts = {"weights": rows[-1]["NNZ (dense)"], "nonzero": rows[-1]["NNZ (sparse)"]}
        total = rows[-1]["Fine (%)"] / 100
        sizes = {row["Name"]: row["NNZ (dense)"] for row in rows if row["Name"] != TOTAL}
        facts = {
            "total_sparsity": total,
            "sparsity_per_tensor": tensors,
            "weights_per_tensor": sizes,
            **counts,
        }
        run.results.put({"key": path, "kind": "weights", "label": run.label, **facts})


def _rounded(value: object) -> object:
    return round(value, 5) if isinstance(value, float) else value
