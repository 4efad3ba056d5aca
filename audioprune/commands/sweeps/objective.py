"""Which number of a finished run a sweep asks for: ``Objective``, written as one word.

``bytes_file`` is a column of the last model of the run, ``-stoi`` its mean score with the sign
turned, so that smaller is better. ``value(rows)`` reads the rows of results.jsonl. Nothing is
measured here, and nothing imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.results import UNCOMPRESSED
from audioprune.experiment.rows import SizeRow, SparsityRow, TrainRow, finite_or_none
from audioprune.metrics import LOWER_IS_BETTER, METRICS

OF_CLASSES = ("accuracy", "accuracy_macro")
"""Metrics of a task that names classes."""
_DROP = "drop_"
_COSTS = LOWER_IS_BETTER | {"loss", "error"}
_FORM = re.compile(r"(-?)(\w+)(?:@([^/]+))?(?:/(.+))?")
Rows = Sequence[Mapping[str, Any]]


def metrics() -> tuple[str, ...]:
    """Return the names of all metrics that a row can hold."""
    return (*METRICS, *OF_CLASSES)


def drop(metric: str, before: float, after: float) -> float:
    """Return by how much a score got worse; below 0 where it got better."""
    return after - before if metric in _COSTS else before - after


@dataclass(frozen=True)
class Objective:
    """One number of a run, written ``[-]NAME[@VARIANT][/CONDITION]``.

    Attributes:
        name: A metric, whose mean over the test conditions is taken; ``drop_METRIC``, by how much
            it is worse than that of the uncompressed model of the same run; or a column of any
            row, such as ``bytes_file``.
        variant: The state of the model, such as ``pruned``; empty for the last that was scored.
        condition: The only test condition; empty for all.
        turned: Whether the sign is turned.
    """

    name: str
    variant: str = ""
    condition: str = ""
    turned: bool = False

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read what the user wrote.

        Raises:
            ConfigError: It has another form.
        """
        match = _FORM.fullmatch(str(text))
        if match is None:
            raise ConfigError(
                f"objective: expected a name such as bytes_file, -stoi or drop_stoi@pruned, got "
                f"{text!r}; correct it"
            )
        sign, name, variant, condition = match.groups()
        return cls(name, variant or "", condition or "", bool(sign))

    @property
    def metric(self) -> str:
        """The metric that the name means, or nothing for a column."""
        name = self.name.removeprefix(_DROP)
        return name if name in metrics() else ""

    def check(self, measured: Sequence[str]) -> None:
        """Refuse a metric that a run does not measure, before it begins.

        Raises:
            ConfigError: The run measures others.
        """
        if self.metric in METRICS and measured and self.metric not in measured:
            raise ConfigError(
                f"objective: expected one of scoring.metrics ({', '.join(measured)}), got "
                f"{self.metric}; add it to scoring.metrics"
            )
        wrong = self.name.startswith(_DROP) and not self.metric
        if wrong:
            raise ConfigError(
                f"objective: {unknown_name('metric', self.name.removeprefix(_DROP), metrics())}"
            )

    def value(self, rows: Rows) -> float:
        """Return the number.

        Args:
            rows: All rows of the run in the order of its results.jsonl.

        Raises:
            ConfigError: The run has no such number; the message says which it has.
        """
        found = self._drop(rows) if self.name.startswith(_DROP) else self._plain(rows)
        return -found if self.turned else found

    def _drop(self, rows: Rows) -> float:
        before = next((row for row in rows if row.get("variant") in UNCOMPRESSED), None)
        if before is None:
            raise ConfigError(
                f"objective {self.name}: expected the scores of the uncompressed model, got none; "
                f"choose a pipeline that scores it"
            )
        variant = str(before["variant"])
        dense = Objective(self.metric, variant, self.condition).value(rows)
        return drop(
            self.metric, dense, Objective(self.metric, self.variant, self.condition).value(rows)
        )

    def _plain(self, rows: Rows) -> float:
        variant = self.variant or last_variant(rows)
        states = {str(row["variant"]) for row in rows if row.get("variant")}
        if self.variant and self.variant not in states:
            raise ConfigError(f"objective: {unknown_name('variant', self.variant, states)}")
        own = of_variant(rows, variant)
        scores = [row for row in own if self.name in (row.get("metrics") or {})]
        if scores:
            return self._mean(scores)
        sources = own if self.variant else [*rows, *own]
        for row in reversed(sources):
            found = finite_or_none(row.get(self.name))
            if found is not None:
                return found
        raise ConfigError(f"objective: {unknown_name('column', self.name, _columns(sources))}")

    def _mean(self, scores: Rows) -> float:
        """Return the mean of a metric over the test conditions, each with the same weight."""
        known = [str(row["condition"]) for row in scores]
        if self.condition and self.condition not in known:
            raise ConfigError(
                f"objective: {unknown_name('test condition', self.condition, known)}"
            )
        wanted = [row for row in scores if self.condition in ("", row["condition"])]
        values = [finite_or_none(row["metrics"][self.name]) for row in wanted]
        if None in values:
            place = str(wanted[values.index(None)]["condition"])
            raise ConfigError(
                f"objective: expected a finite {self.name} under every condition, got none under "
                f"{place}; name one condition, such as {self.name}/CONDITION"
            )
        numbers = [value for value in values if value is not None]
        return sum(numbers) / len(numbers)


def last_variant(rows: Rows) -> str:
    """Return the variant of the model that was scored or measured last, or nothing."""
    states = [str(row["variant"]) for row in rows if _is_state(row)]
    return states[-1] if states else ""


def of_variant(rows: Rows, variant: str) -> Rows:
    """Return the rows about a variant; of several steps with this variant, those of the last."""
    own = [row for row in rows if _is_state(row) and row["variant"] == variant]
    last = _step(own[-1]) if own else ""
    return [row for row in own if _step(row) == last]


def _is_state(row: Mapping[str, Any]) -> bool:
    return bool(row.get("variant")) and row["variant"] != "mixture"


def _step(row: Mapping[str, Any]) -> str:
    """Return the path of the step that wrote a row."""
    end = str(row.get("condition") or "size")
    return str(row["key"]).removesuffix(f"/{end}")


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns with numbers, and the metrics, of some rows."""
    kinds = (SizeRow, SparsityRow, TrainRow)
    usual = {each.name for kind in kinds for each in fields(kind) if each.metadata.get("read")}
    numbers = {key for row in rows for key in row if finite_or_none(row[key]) is not None}
    scored = {key for row in rows for key in (row.get("metrics") or {})}
    return sorted(scored | (numbers & usual) or numbers)
