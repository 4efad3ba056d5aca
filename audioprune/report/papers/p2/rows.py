"""Which of our models is which row of Tan & Wang, by model, variant and pipeline.

``row_name`` answers it for one entry; ``P2Evidence`` sorts all entries of a report. No number is
printed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from audioprune.experiment.rows import finite_or_none
from audioprune.report.paper import Evidence
from audioprune.report.published import Published
from audioprune.report.request import Request
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.entry import PESQ_MODES, Entry
from audioprune.report.runs.job import Job

MODELS = ("FDNN", "LSTM", "TCNN", "GCRN")
_LETTERS = {"uncompressed": "U", "pruned": "P", "compressed": "C"}


@dataclass(frozen=True)
class P2Evidence(Evidence):
    """The runs beside the published cells, sorted under the paper's rows."""

    @cached_property
    def found(self) -> list[Entry]:
        """All entries of the runs."""
        return entries(self.jobs)

    @cached_property
    def rows(self) -> dict[str, list[Entry]]:
        """Final entries by the paper's row names."""
        return by_row(self.found)

    @property
    def pesq(self) -> str:
        """The PESQ mode to print: the paper's where it was measured, else the first that was."""
        measured = {name for entry in self.found for name in entry.metrics()}
        wanted = str(self.published["pesq_mode"]["value"])
        return next((mode for mode in (wanted, *PESQ_MODES) if mode in measured), wanted)

    @property
    def snrs(self) -> tuple[float, ...]:
        """The SNRs of the paper's tables in dB."""
        return tuple(map(float, self.published["snr_db"]))

    def printed(self, table: str) -> dict[str, Mapping[str, Any]]:
        """Return the published rows of ``"table_1"`` or ``"table_2"`` by name."""
        return {row["name"]: row for row in self.published[table]["rows"]}


def read_evidence(request: Request, published: Published) -> P2Evidence:
    """Return the evidence of a report's runs."""
    return P2Evidence(request.jobs, published)


def row_name(entry: Entry) -> str | None:
    """Return the paper's name of an entry, such as ``"FDNN_P"``, or None where it has none.

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
    if letter is None:
        return None
    suffix = "-SP" if letter != "U" and is_structured(entry.pipeline) else ""
    return f"{family}_{letter}{suffix}"


def is_structured(pipeline: str) -> bool:
    """Tell from its name whether a pipeline prunes groups.

    ``p2_structured`` does, ``p2_unstructured`` does not.
    """
    return bool({"structured", "sp"} & set(re.split(r"[^a-z0-9]+", pipeline.lower())))


def is_regularised(job: Job) -> bool:
    """Tell whether a job trained with a sparse regulariser.

    It did where any ``lambda_1`` or ``lambda_2`` of its pipeline is above zero.
    """
    strengths = [
        finite_or_none(value) or 0.0
        for key, value in job.config.items()
        if key.startswith("pipeline.") and key.endswith((".lambda_1", ".lambda_2"))
    ]
    return any(strength > 0 for strength in strengths)


def by_row(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Sort the final entries under the paper's row names."""
    rows: dict[str, list[Entry]] = {}
    for entry in final(found):
        name = row_name(entry)
        if name:
            rows.setdefault(name, []).append(entry)
    return rows


def set_apart(found: Sequence[Entry]) -> tuple[str, ...]:
    """Return what tells entries of one row apart: configuration keys, and ``pipeline``.

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


def deviations(evidence: P2Evidence) -> tuple[str, ...]:
    """Say in a sentence which runs use another method than the paper's.

    Such as ``Not as in the paper: LSTM task.output=mask.``
    """
    method = evidence.published["method"]
    told: dict[str, dict[str, None]] = {}
    for job in (job for entry in evidence.found for job in entry.jobs):
        for key, value in method.items():
            if job.config.get(key, value) != value:
                told.setdefault(job.model.upper(), {})[f"{key}={job.config[key]}"] = None
    sentence = "; ".join(f"{model} {', '.join(values)}" for model, values in told.items())
    return (f"Not as in the paper: {sentence}.",) if told else ()
