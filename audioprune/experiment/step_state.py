"""What steps remember over repetitions and interruptions, and what they tell one another.

``StepStates`` holds what a step remembers for itself, ``Findings`` what later steps may read. Both
are stored with the run (experiment/run.py); what the steps do with it is in audioprune.steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar, cast

from audioprune.errors import CheckpointError

Kind = TypeVar("Kind")


def state_path(path: str) -> str:
    """Return a step's path without the numbers of repetitions: ``a/3/b`` -> ``a/b``.

    A state under this path goes on over repetitions.
    """
    return re.sub(r"/\d+(?=/)", "", path)


def repetition_of(path: str) -> tuple[str, int] | None:
    """Return the path of the innermost repetition around a step, and the number of its pass.

    Passes are counted from 0. Outside of any repetition there is None.
    """
    match = re.match(r"(.+)/(\d+)/", path)
    return (match.group(1), int(match.group(2))) if match else None


@dataclass
class Repetition:
    """The state of a repetition: a step of its body asks for its end, the repetition reads it.

    Attributes:
        reason: Why it is enough, or None.
        index: The pass in which this was said.
        at_once: Whether the rest of that pass is left out.
        ended: Why the repetition ended, or None while it goes on.
    """

    reason: str | None = None
    index: int | None = None
    at_once: bool = False
    ended: str | None = None


@dataclass
class SparseTraining:
    """What a training into group sparsity was; its owner is TrainSparse.

    Attributes:
        method: Name of the optimiser.
        group_kind: ``units`` or ``filters``.
        lmbda: Weight of the regulariser.
        learning_rate: Learning rate at the start.
        norms: Norm of every group before the training, by set.
    """

    method: str
    group_kind: str
    lmbda: float
    learning_rate: float
    norms: dict[str, list[float]]


@dataclass
class Draw:
    """How a ticket is drawn; see steps.LotteryPrune."""

    mode: str
    scope: str
    criterion: str
    scaling: str
    counted: str
    fraction: float
    min_units: int
    noise_rel: float
    evidence_items: int | None


@dataclass
class Lottery:
    """What the rounds of a lottery tell one another.

    Attributes:
        round: Tickets drawn so far; like the five that follow, the owner is LotteryPrune.
        params: Parameters of the full-size network.
        units: Units of its sets.
        kept: Units of the full-size network that are left, by set; empty before the first trim.
        samples: Pairs that the information criterion used in the last round, or None.
        seconds: Duration of the choice of the last round, or None.
        draw: How the last ticket was drawn, or None before the first.
        reset: How it got its weights; the owner is Rewind.
        rewind: The moment of the early weights; the owner is LotteryTrain, as of the next.
        trained: The row of the last training.
        first_error: Test error of the first network; the owner is LotteryEvaluate, as of the next.
        trivial: Error that needs no network, or None where the task knows none.
    """

    round: int = 0
    params: int = 0
    units: dict[str, int] = field(default_factory=dict)
    kept: dict[str, list[int]] = field(default_factory=dict)
    samples: int | None = None
    seconds: float | None = None
    draw: Draw | None = None
    reset: str | None = None
    rewind: str | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    first_error: float | None = None
    trivial: float | None = None


@dataclass
class Findings:
    """What steps of a run tell later ones.

    Attributes:
        original_params: Parameters of the model that the run began with; the owner is the run.
        iterations: Prunings so far; the owner is ``record_iteration``.
        sparse: The last training into group sparsity, or None.
        lottery: The run's lottery.
    """

    original_params: int = 0
    iterations: int = 0
    sparse: SparseTraining | None = None
    lottery: Lottery = field(default_factory=Lottery)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Findings:
        """Rebuild what ``as_dict`` returned.

        Raises:
            CheckpointError: It is something else.
        """
        parts = {**cls().as_dict(), **plain}
        if parts["sparse"]:
            parts["sparse"] = _rebuilt(SparseTraining, parts["sparse"], "the sparse training")
        lottery = dict(parts["lottery"])
        if lottery.get("draw"):
            lottery["draw"] = _rebuilt(Draw, lottery["draw"], "the lottery")
        parts["lottery"] = _rebuilt(Lottery, lottery, "the lottery")
        return _rebuilt(cls, parts, "the run")


class StepStates:
    """The state of every step of a run under the step's own path.

    Args:
        stored: What ``as_dict`` of an earlier attempt returned.
    """

    def __init__(self, stored: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._stored = dict(stored or {})
        self._live: dict[str, Any] = {}

    def of(self, path: str, kind: type[Kind]) -> Kind:
        """Return the state under a path, restored or new.

        What is changed on it is stored with the run's next state.

        Args:
            path: The step's path, or its ``state_path`` where the state goes on over repetitions.
            kind: A dataclass whose fields have defaults and hold what JSON can.

        Raises:
            CheckpointError: The state file holds another kind of state under this path.
        """
        if path not in self._live:
            self._live[path] = _rebuilt(kind, self._stored.pop(path, {}), path)
        state: Kind = self._live[path]
        return state

    def as_dict(self) -> dict[str, Any]:
        """Return all states as plain values for JSON."""
        return {**self._stored, **{path: asdict(state) for path, state in self._live.items()}}


def _rebuilt(kind: type[Kind], plain: Mapping[str, Any], owner: str) -> Kind:
    known = {each.name for each in fields(cast("Any", kind))}  # all kinds are dataclasses
    try:
        if not set(plain) <= known:
            raise TypeError
        return kind(**plain)
    except TypeError:
        told = (
            f"expected a {kind.__name__} with {', '.join(sorted(known))}, got "
            f"{', '.join(map(str, plain)) or 'nothing'}"
        )
        raise CheckpointError(
            f"state of {owner}: {told}; it is of another version, run again with "
            f"runtime.force=true"
        ) from None
