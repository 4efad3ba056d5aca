"""What the parts of an experiment must agree on, such as the sample rate, and who decides it.

The corpus decides, the task follows it, and the model follows both. A key that is null follows;
one that is given must agree, else nothing begins. Parts are known here by their attributes alone;
building and loading them is the business of experiment/model_io.py and experiment/build.py.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any

from audioprune.errors import ConfigError
from audioprune.metrics import rate_refusal
from audioprune.protocols import ChecksLength, CutsFrames, Shares
from audioprune.provenance import FOLLOWS

_LOG = logging.getLogger(__name__)
Config = dict[str, Any]

_NAMES = {
    "sample_rate": "data.sample_rate",
    "classes": "the number of classes of the corpus",
    "pitches": "the pitches of the corpus",
    "families": "the number of families of the corpus",
    "instruments": "the number of instruments of the corpus",
    "frame_length": "data.segment",
    "mels": "data.mels",
}
_TASK_NAMES = {
    "sample_rate": "task.sample_rate",
    "classes": "task.classes",
    "bins": "task.frame_length / 2 + 1",
    "frame_length": "task.frame_length",
    "frames_per_second": "the frames per second of the task, sample rate / hop_length",
    "conditioning": "the features that task.conditioning gives",
    "channels": "the channels of the corpus' features",
    "block_size": "the samples of a frame of the task",
    "mels": "data.mels",
}
_TAGS = ("pitches", "families", "instruments")
_OF_FEATURES = ("mels", "frames_per_second", "channels")  # of the corpus, not of the task
_ONLY_NULL = (*_TAGS, "frame_length", "hop_length")  # where the key is absent the class decides


def check_rates(task: Config, model: Config, corpus: Any, stored: bool = False) -> None:
    """Compare the sample rates of all parts before the corpus is prepared, which may take long.

    Raises:
        ConfigError: A given rate contradicts the corpus.
    """
    wanted = _rate_of(corpus)
    for group, config in (("task", task), ("model", model)):
        given = config.get("sample_rate")
        if given is not None and wanted is not None and given != wanted:
            raise ConfigError(
                _refusal(f"{group}.sample_rate", given, "data.sample_rate", wanted, stored)
            )


def complete_task(config: Config, corpus: Any = None, stored: bool = False) -> Config:
    """Return the configuration of a task, with all filled in that follows the corpus.

    Args:
        config: Target and arguments; a null that follows gets the corpus' value, or is left to the
            class where there is none.
        corpus: The prepared corpus, or None where there is none.
        stored: Whether the configuration was read from a model file.

    Raises:
        ConfigError: A given value contradicts the corpus.
    """
    own, facts = _parameters(config), _shared_by(corpus)
    filled = dict(config)
    for key in FOLLOWS["task"]:
        if key in _ONLY_NULL and key not in config:
            continue
        given = filled.pop(key, None)
        known = facts.get(key) if key in own else None
        if given is not None and known is not None and not _task_fits(config, key, given, known):
            raise ConfigError(_refusal(f"task.{key}", given, _NAMES[key], known, stored))
        value = known if given is None else given
        if value is not None:
            filled[key] = value
    return filled


def complete_model(
    config: Config, task: Any = None, corpus: Any = None, stored: bool = False
) -> Config:
    """Return the configuration of a model, with all filled in that follows task and corpus.

    Args:
        config: Target and arguments; see ``complete_task``.
        task: The task, or None where there is none.
        corpus: The prepared corpus, or None where there is none.
        stored: Whether the configuration was read from a model file.

    Raises:
        ConfigError: A given value contradicts the task or the corpus.
    """
    own, facts = _parameters(config), shared(task, corpus)
    filled = dict(config)
    for key in FOLLOWS["model"]:
        if key not in own and filled.get(key) is not None:
            continue  # an argument that only the class can refuse
        given = filled.pop(key, None)
        known = facts.get(key) if key in own else None
        if given is not None and known is not None and not _same(given, known):
            raise ConfigError(_refusal(f"model.{key}", given, _TASK_NAMES[key], known, stored))
        value = known if given is None else given
        if value is not None:
            filled[key] = value
    return filled


def complete_rate(model: Any, config: Config) -> None:
    """Let a model whose file says no frame rate count its costs at that of the task."""
    if config.get("frames_per_second") is not None:
        model.frames_per_second = float(config["frames_per_second"])


def shared(task: Any, corpus: Any) -> dict[str, Any]:
    """Return what a model must agree with, by the name of its argument or attribute."""
    facts = dict(task.shared()) if isinstance(task, Shares) else {}
    of_corpus = _shared_by(corpus)
    return facts | {key: of_corpus[key] for key in _OF_FEATURES if key in of_corpus}


def check_parts(model: Any, task: Any, corpus: Any) -> None:
    """Compare what a built model says of itself with the task and the corpus.

    Raises:
        ConfigError: They contradict each other; both values are named.
    """
    for key, known in shared(task, corpus).items():
        own = getattr(model, key, None)
        number = isinstance(own, int | float) and not isinstance(own, bool)
        if number and not _same(own, known):
            raise ConfigError(
                f"expected {type(model).__name__}.{key} as {_TASK_NAMES[key]}, got {own:g} and "
                f"{known:g}; "
                f"change one of the two, or let the model take {key} as an argument"
            )
    if isinstance(model, ChecksLength) and isinstance(task, CutsFrames):
        model.check_length(task.frames.length)
    _check_context(model, corpus)


def check_metrics(config: Mapping[str, Any], sample_rate: int) -> None:
    """Refuse to choose by a score that the sample rate does not allow.

    Scores that there will not be are said in a warning.

    Args:
        config: The whole configuration; ``training.monitor``, ``pipeline.metric`` and
            ``scoring.metrics`` are read.
        sample_rate: Of the task, in Hz.

    Raises:
        ConfigError: Training or a search is to choose by such a score.
    """
    choosers = {
        "training.monitor": config.get("training", {}).get("monitor"),
        "pipeline.metric": config.get("pipeline", {}).get("metric"),
    }
    for key, metric in choosers.items():
        reason = rate_refusal(str(metric), sample_rate)
        if reason:
            raise ConfigError(
                f"{key}: expected a metric for {sample_rate} Hz, got {metric} ({reason}); "
                f"choose another metric"
            )
    for metric in config.get("scoring", {}).get("metrics") or ():
        reason = rate_refusal(metric, sample_rate)
        if reason:
            _LOG.warning(f"scores: {metric} is left out: {reason}")


def _shared_by(corpus: Any) -> dict[str, Any]:
    """Return the numbers of a prepared corpus that all parts must agree on."""
    if isinstance(corpus, Shares):
        return corpus.shared()
    return {"sample_rate": _rate_of(corpus)}


def _rate_of(corpus: Any) -> int | None:
    """Return the sample rate, which is known before the corpus is prepared."""
    return getattr(corpus, "sample_rate", None)


def _task_fits(config: Config, key: str, given: Any, known: Any) -> bool:
    if key in _TAGS and config.get("conditioning") != "note":
        return True  # no model is conditioned on them
    if key == "pitches":
        return bool(given[0] <= known[0] and known[1] <= given[1])
    if key in _TAGS:
        return bool(given == 0 or given >= known)
    return bool(given <= known) if key == "frame_length" else _same(given, known)


def _check_context(model: Any, corpus: Any) -> None:
    context = getattr(model, "receptive_field", None)
    if not isinstance(context, int):
        return
    samples = _shared_by(corpus).get("item_samples")
    if samples is not None and samples <= context:
        raise ConfigError(
            f"expected items of more than {context} samples, the receptive field of "
            f"{type(model).__name__}, got {samples} "
            "(data.segment_s or data.duration_s at data.sample_rate); make them longer or the "
            "model smaller"
        )


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return math.isclose(one, other, rel_tol=1e-6) if numbers else bool(one == other)


def _refusal(key: str, given: Any, owner: str, known: Any, stored: bool) -> str:
    if not stored:
        return (
            f"expected {key} as {owner}, got {given} and {known}; leave {key} out, so that it "
            f"follows, or make both the same"
        )
    remedy = (
        f"give {owner}={given}"
        if owner == "data.sample_rate"
        else "give the corpus and the task that the model was trained on"
    )
    return f"expected {owner} as {key} of the checkpoint, got {known} and {given}; {remedy}"


def _parameters(config: Config) -> frozenset[str]:
    """Return the names of the arguments that the target of a configuration takes.

    There are none where it cannot be imported.
    """
    module_name, _, name = str(config.get("_target_", "")).rpartition(".")
    try:
        target = getattr(importlib.import_module(module_name), name)
        return frozenset(inspect.signature(target).parameters)
    except Exception:  # importing the user's code may raise anything; building the part says what
        return frozenset()
