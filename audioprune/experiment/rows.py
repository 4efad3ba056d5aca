"""What a row of results.jsonl says: one class for each kind of row that several rooms read.

Steps build a row and put it into `Results`; reports read rows back with ``SizeRow.read(mapping)``.
Fields are in the order of the file. A row may say more than its fields, in ``more``. Reading
never fails: a value that is missing or no number is None. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, TypeVar

R = TypeVar("R", bound="Row")
_AROUND = ("key", "label", "more", "corpus", "corpus_fingerprint")


def finite_or_none(value: object) -> float | None:
    """Return a number as float, and None for everything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_number(text: str | None) -> float | None:
    """Return the number that a cell of a CSV file holds, if it is finite, else None."""
    try:
        return finite_or_none(float(text)) if text else None
    except ValueError:
        return None


def _text(value: object) -> str:
    return str(value or "")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _whole(value: object) -> int:
    return _count(value) or 0


def number() -> Any:
    """Declare a field that holds a number."""
    return field(default=None, metadata={"read": finite_or_none})


def count() -> Any:
    """Declare a field that holds an integer."""
    return field(default=None, metadata={"read": _count})


def text() -> Any:
    """Declare a field that holds a text."""
    return field(default="", metadata={"read": _text})


@cache
def _readers(kind: type[Row]) -> dict[str, Callable[[Any], Any] | None]:
    """Return what reads each field of a kind of row; None where the value is taken as it is."""
    return {each.name: each.metadata.get("read") for each in fields(kind) if each.name != "more"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What all rows say.

    Attributes:
        key: Path of the step that wrote it, and what sets it apart from other rows of the step.
        label: What the model is called in tables.
        more: What the row says besides its fields, in the order of the file.
        corpus: Short name of the corpus it was measured on; `Results` adds it.
        corpus_fingerprint: Hash of that corpus; `Results` adds it.
    """

    KIND: ClassVar[str] = ""

    key: str = text()
    label: str = text()
    more: Mapping[str, Any] = field(default_factory=dict)
    corpus: str = text()
    corpus_fingerprint: str = text()

    @classmethod
    def read(cls: type[R], row: Mapping[str, Any]) -> R:
        """Read a row of the file; keys that are no field go to ``more``."""
        kind: Any = cls  # a class is a key of the cache, which mypy does not see of type[R]
        own = _readers(kind)
        known = {
            name: read(row[name]) if read else row[name]
            for name, read in own.items()
            if name in row
        }
        more = {name: value for name, value in row.items() if name not in own and name != "kind"}
        return cls(**known, more=more)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as the file holds it, without the corpus, which `Results` adds."""
        own = {each.name: getattr(self, each.name) for each in self._written()}
        head = {"key": self.key, "kind": self.KIND, "label": self.label}
        return {**head, **own, **self.more}

    @classmethod
    def _written(cls) -> list[Any]:
        named = [each for each in fields(cls) if each.name not in _AROUND]
        return [each for each in named if each.metadata.get("written", True)]

    def get(self, name: str, default: Any = None) -> Any:
        """Return what the row says under any key, or the default."""
        known = name in self.__dataclass_fields__
        return getattr(self, name) if known else self.more.get(name, default)

    def __getitem__(self, name: str) -> Any:
        """Return what the row says under any key.

        Raises:
            KeyError: It says nothing under this key.
        """
        return getattr(self, name) if name in self.__dataclass_fields__ else self.more[name]

    def number(self, name: str) -> float | None:
        """Return the finite number that the row says under any key, or None."""
        return finite_or_none(self.get(name))


@dataclass(frozen=True, kw_only=True)
class QualityRow(Row):
    """The scores of one state of a model under one test condition.

    What the task measured is in ``more``, in the order of the task.

    Attributes:
        variant: The state of the model, such as ``uncompressed``; ``mixture`` for its input.
        model: Name of the model's configuration.
        scale: How far the run is from the paper's.
        split: What was scored, ``test`` where nothing else is said.
        condition: Name of the test condition.
    """

    KIND = "score"

    variant: str = text()
    model: str | None = None
    scale: Any = None
    seed: int | None = None
    split: str | None = None
    condition: str = text()

    @property
    def noise(self) -> str:
        """Name of the noise; a row without one goes by its test condition."""
        return str(self.more.get("noise") or self.condition)

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio in dB, where the condition has one."""
        return self.number("snr_db")

    @property
    def iteration(self) -> int | None:
        """Number of the pruning iteration, where the row tells it."""
        return _count(self.more.get("iteration"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The mean of every metric over the recordings."""
        return self.more.get("metrics") or {}

    def item_scores(self, metric: str) -> dict[str, float]:
        """Return the score of every item by its name.

        Nothing where the run kept none, or where any item has no score.
        """
        kept = self.more.get("items") or {}
        names = kept.get("id") or []
        found = (finite_or_none(score) for score in kept.get(metric) or [])
        scores = [score for score in found if score is not None]
        return dict(zip(names, scores, strict=True)) if len(scores) == len(names) else {}

    @property
    def reason(self) -> str:
        """Why there is no score."""
        return _text(self.more.get("reason"))

    @property
    def is_test(self) -> bool:
        """Whether test data was scored, not data of training or validation."""
        return self.split not in ("train", "valid", "validation")

    def metric(self, name: str) -> float | None:
        """Return the mean of one metric, or None without a finite one."""
        return finite_or_none(self.metrics.get(name))

    def counted(self, name: str, metric: str) -> int | None:
        """Return ``n`` or ``n_valid``: of one metric, where the row counts each apart."""
        value = self.more.get(name)
        if isinstance(value, Mapping):
            value = value.get(metric, value)
        return _count(value)


@dataclass(frozen=True, kw_only=True)
class SizeRow(Row):
    """Sizes and costs of a written model file; an empty one where none was written.

    Attributes:
        variant: The state of the model.
        params: Parameters of the model.
        nonzero: Those that are not zero.
        sparsity: Share of the prunable weights that are zero, 0..1.
        bytes_fp32: 4 bytes for every parameter.
        bytes_paper: Codewords, codebooks and what is not quantised; no positions.
        bytes_ideal: Codes and positions at their entropy, and the rest.
        bytes_file: Bytes of the file.
        macs_per_second: Multiplications per second of audio.
        latency_ms_per_s: Milliseconds of one thread per second of audio; None where not timed.
        file: Name of the file in the run folder.
        bytes_uncompressed: Bytes of the uncompressed model of the same run, which rates are
            relative to. Reports fill it in; the file does not hold it.
    """

    KIND = "size"

    variant: str = text()
    model: str | None = None
    params: float | None = number()
    nonzero: float | None = number()
    sparsity: float | None = number()
    bytes_fp32: float | None = number()
    bytes_paper: float | None = number()
    bytes_ideal: float | None = number()
    bytes_file: float | None = number()
    macs_per_second: float | None = number()
    latency_ms_per_s: float | None = number()
    scale: Any = None
    seed: int | None = None
    file: str | None = None
    bytes_uncompressed: float | None = field(default=None, metadata={"written": False})

    @property
    def is_written(self) -> bool:
        """Whether there was such a row."""
        return self != SizeRow()

    @property
    def iteration(self) -> int | None:
        """Number of the pruning iteration, where the row tells it."""
        return _count(self.more.get("iteration"))

    @property
    def reason(self) -> str:
        """Why a size is missing."""
        return _text(self.more.get("reason"))


@dataclass(frozen=True, kw_only=True)
class SparsityRow(Row):
    """What one pruning left.

    Attributes:
        iteration: Counts prunings of the run from 1; 0 where the row has no number.
        remaining_share: Parameters left over those of the whole model, 0..1.
        nonzero: Parameters left.
        removed_share: Share of the weights left before that this pruning took out, 0..1.
        density_per_tensor: Share of the weights left in each tensor, 0..1.
    """

    KIND = "iteration"

    iteration: int = field(default=0, metadata={"read": _whole})
    remaining_share: float | None = number()
    nonzero: float | None = number()
    removed_share: float | None = number()
    density_per_tensor: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainRow(Row):
    """How a training went.

    Attributes:
        epochs: Epochs that were trained.
        steps: Optimiser steps.
        monitor: What validation measured.
        best: Best value of it.
        best_epoch: Its epoch.
        kept: Value of the weights that were kept.
        kept_epoch: Their epoch.
        keep: Which weights are kept, ``best`` or ``last``.
        seconds: Duration.
    """

    KIND = "train"

    epochs: int | None = count()
    steps: int | None = count()
    monitor: str = text()
    best: float | None = number()
    best_epoch: int | None = count()
    kept: float | None = number()
    kept_epoch: int | None = count()
    keep: str = text()
    seconds: float | None = number()


@dataclass(frozen=True)
class Costs:
    """What one generation step costs, and how fast this machine makes audio.

    Attributes:
        flops_s: Floating-point operations per second of audio.
        disk: Bytes of the parameters.
        rw_r: Bytes read in one step.
        rw_w: Bytes written in one step.
        peak_bytes: Bytes held at most, with what the model remembers between steps.
        rtf: Seconds of one thread per second of audio; None where not timed.
    """

    flops_s: float
    disk: int
    rw_r: int
    rw_w: int
    peak_bytes: int
    rtf: float | None
