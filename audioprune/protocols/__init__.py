"""The contracts: what a task, a corpus, a model, a step and a metric must offer.

A class satisfies a contract by having its members; it inherits nothing. ``Task``, ``Corpus`` and
``Step`` are what a pipeline cannot do without. All others are capabilities: a class may have them,
and whoever uses one asks ``isinstance(task, Enhances)`` or demands it with ``require``. A member
counts only where the class or the object itself has it; from Python 3.12 on, what ``__getattr__``
alone would find does not.
"""

from __future__ import annotations

from typing import TypeVar

from audioprune.errors import ConfigError
from audioprune.metrics.contract import Metric as Metric
from audioprune.protocols.corpora import (
    Batch,
    Collate,
    Collates,
    Corpus,
    EpochItems,
    Items,
    Labelled,
    NamesNotes,
    Preloads,
    ReadsRecordings,
    TellsReading,
)
from audioprune.protocols.models import (
    ChecksLength,
    Costed,
    CutsTarget,
    DrawsNoise,
    FrameWise,
    GeneratesByStep,
    GeneratesSamples,
    HasExampleSeconds,
    HasFrontEnd,
    HasLatent,
    HasStateBytes,
    HasWidth,
    InputNorm,
    NormalisesInputs,
    PadsNotes,
    PredictsSamples,
    Prunable,
    ReadsFeatures,
    Resizable,
    SeedsNoise,
    Stage,
    Staged,
    StreamsBlocks,
    StreamsFrames,
    StreamsPart,
    StripsNotes,
    Synthesizes,
)
from audioprune.protocols.steps import (
    Checks,
    CleansUp,
    Nests,
    SaysWhatChanges,
    Step,
    WritesFile,
    changes_state,
)
from audioprune.protocols.tasks import (
    ChecksBatches,
    ChoosesInput,
    Classifies,
    CutsFrames,
    Enhances,
    EnhancesItems,
    FeedsFrames,
    FollowsLoudness,
    GeneratesNotes,
    HasEpochs,
    HasErrors,
    HasInformationTarget,
    HasLength,
    HasLoss,
    HasMetrics,
    HasMonitors,
    HasNetworks,
    HasOutputShape,
    HasTeacher,
    Judge,
    KeepsState,
    NotScored,
    Number,
    Row,
    ScoresBatches,
    Shares,
    Signals,
    SignalScorer,
    Task,
    Trainable,
    Weighs,
    scores_audio,
)
from audioprune.protocols.work import Rehearses, Repeats, SaysWork, Work

__all__ = [
    "Batch",
    "Checks",
    "ChecksLength",
    "ChecksBatches",
    "Classifies",
    "CleansUp",
    "Collate",
    "Collates",
    "Corpus",
    "Costed",
    "CutsFrames",
    "CutsTarget",
    "DrawsNoise",
    "Enhances",
    "EpochItems",
    "FeedsFrames",
    "EnhancesItems",
    "FollowsLoudness",
    "FrameWise",
    "GeneratesByStep",
    "GeneratesNotes",
    "GeneratesSamples",
    "HasEpochs",
    "HasErrors",
    "HasExampleSeconds",
    "HasFrontEnd",
    "HasInformationTarget",
    "HasLatent",
    "HasLength",
    "HasLoss",
    "HasMetrics",
    "HasMonitors",
    "HasNetworks",
    "HasOutputShape",
    "ChoosesInput",
    "HasStateBytes",
    "HasTeacher",
    "HasWidth",
    "InputNorm",
    "Items",
    "Judge",
    "KeepsState",
    "Labelled",
    "Metric",
    "NamesNotes",
    "Nests",
    "NormalisesInputs",
    "NotScored",
    "Number",
    "PadsNotes",
    "PredictsSamples",
    "Preloads",
    "Prunable",
    "ReadsFeatures",
    "ReadsRecordings",
    "Rehearses",
    "Repeats",
    "Resizable",
    "Row",
    "SaysWhatChanges",
    "SaysWork",
    "SeedsNoise",
    "ScoresBatches",
    "Shares",
    "SignalScorer",
    "Signals",
    "Stage",
    "Staged",
    "Step",
    "StreamsBlocks",
    "StreamsFrames",
    "StreamsPart",
    "StripsNotes",
    "Synthesizes",
    "Task",
    "TellsReading",
    "Trainable",
    "Weighs",
    "Work",
    "WritesFile",
    "changes_state",
    "optional",
    "require",
    "scores_audio",
]

Kind = TypeVar("Kind")


def require(value: object, kind: type[Kind], name: str, remedy: str) -> Kind:
    """Return a value that satisfies a contract.

    Args:
        value: A task, corpus, model or step.
        kind: The contract.
        name: What the value is called in the message, such as ``task irm``.
        remedy: What the user may do.

    Raises:
        ConfigError: It lacks a member of the contract; the message names the missing ones.
    """
    if isinstance(value, kind):
        return value
    missing = [member for member in members(kind) if not hasattr(value, member)]
    raise ConfigError(
        f"{name}: expected {kind.__name__} ({', '.join(missing)} missing), got "
        f"{type(value).__name__}; {remedy}"
    )


def optional(value: object, kind: type[Kind], sign: str, name: str, remedy: str) -> Kind | None:
    """Return a value that satisfies a contract, or None where it does not try to.

    Args:
        value: A task, corpus, model or step.
        kind: The contract.
        sign: The member without which the contract is not meant.
        name: What the value is called in the message.
        remedy: What the user may do.

    Raises:
        ConfigError: It has ``sign`` and lacks other members.
    """
    return require(value, kind, name, remedy) if hasattr(value, sign) else None


def members(kind: type) -> list[str]:
    """Return the names of the members of a contract and of the contracts that it extends."""
    found: dict[str, None] = {}
    for each in reversed(kind.__mro__):
        if getattr(each, "_is_protocol", False) and each.__module__.startswith("audioprune."):
            found |= dict.fromkeys(each.__dict__.get("__annotations__", {}))
            found |= dict.fromkeys(name for name in each.__dict__ if _public(name))
    return list(found)


def _public(name: str) -> bool:
    return not name.startswith("_") or name in ("__call__", "__len__", "__getitem__")
