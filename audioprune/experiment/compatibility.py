"""Whether model, task and corpus fit each other, found on one item before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.errors import ConfigError
from audioprune.experiment.cost import require_example
from audioprune.protocols import Batch, ChoosesInput, Corpus, Costed, HasOutputShape, Trainable
from audioprune.training.loaders import moved

_MISFITS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
_ADVICE = "change model.* or task.* until both agree"


def require_fit(model: nn.Module, task: Trainable, data: Corpus) -> None:
    """Let the task try the model on one validation item.

    Nothing of either is changed, and no random number is used up.

    Args:
        model: On any device.
        task: What batches and losses mean.
        data: A prepared corpus.

    Raises:
        ConfigError: They do not fit; the message says what the task feeds, what the model expects
            and returns, and what is needed.
    """
    batch = _one_item(data)
    if batch is None:
        return
    batch = moved(batch, device_of(model))
    seen: dict[str, Any] = {}
    with _undisturbed(model), _watched(model, seen):
        try:
            task.validate(model, iter([batch]), "loss")
        except _MISFITS as error:
            raise ConfigError(_misfit(model, task, batch, seen, error)) from error
        needed = _needed(task, batch)
    if needed is not None and seen.get("out") != needed:
        raise ConfigError(
            f"{_names(model, task)}: {_story(seen)}, the task needs {needed}; "
            f"{_output_advice(model, seen, needed)}"
        )


def _one_item(data: Corpus) -> Batch | None:
    for items in (data.valid(), data.train()):
        if len(items):
            return data.collate([items[0]])
    return None


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate within a block, and leave modes and the global random state as they were."""
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


@contextmanager
def _watched(model: nn.Module, seen: dict[str, Any]) -> Iterator[None]:
    """Remember the shapes of the model's first call within a block."""

    def before(_: nn.Module, given: tuple[Any, ...]) -> None:
        seen.setdefault("in", _shape(given if len(given) > 1 else next(iter(given), None)))

    def after(_: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        seen.setdefault("out", _shape(out))

    with hooked(model, before, after):
        yield


@contextmanager
def hooked(
    model: nn.Module, before: Callable[..., None], after: Callable[..., None]
) -> Iterator[None]:
    """Call functions before and after every forward pass of a model, within a block.

    Args:
        model: Its calls are seen, those of its layers are not.
        before: Called with the module and its positional arguments.
        after: Called with the module, its positional arguments and its output.
    """
    handles = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _needed(task: Trainable, batch: Batch) -> tuple[int, ...] | None:
    """Return the shape that the task needs of the model's first output.

    None stands for a task that checks it itself.
    """
    return tuple(task.output_shape(batch)) if isinstance(task, HasOutputShape) else None


def _misfit(
    model: nn.Module, task: Trainable, batch: Batch, seen: dict[str, Any], error: Exception
) -> str:
    """Say in one line why a task could not use a model on a batch."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    missing = isinstance(error, KeyError) and bool(error.args) and error.args[0] not in batch
    if missing and "in" not in seen:
        kind = f"{type(task).__name__} needs {error.args[0]!r} of every item"
        return (
            f"task and corpus do not fit: {kind}, the corpus gives {', '.join(batch)}; choose "
            f"another task=... or data=..."
        )
    needed = None
    with suppress(*_MISFITS):
        needed = _needed(task, batch)
    if "in" not in seen:
        return f"{_names(model, task)}: {reason}; choose another task=... or model=..."
    if "out" not in seen:
        example = _shape(require_example(model).example_input())
        return (
            f"{_names(model, task)}: it is fed {seen['in']}, its example_input is "
            f"{example} ({reason}); {_input_advice(model, task, seen['in'], example)}"
        )
    wish = f", the task needs {needed}" if needed is not None else ""
    return (
        f"{_names(model, task)}: {_story(seen)}{wish} ({reason}); "
        f"{_output_advice(model, seen, needed)}"
    )


def _input_advice(model: nn.Module, task: Trainable, fed: Any, example: Any) -> str:
    """Say what to change where a model runs on its example, but not on what it is fed."""
    if not isinstance(fed, tuple) or not isinstance(example, tuple):
        return "the task feeds one tensor: let forward take one, and model.example= say its shape"
    if _exchanged(fed, example):
        return (
            f"two axes are exchanged: transpose the input in forward, and say it with "
            f"model.example={_typed(fed, example)}{_time_dim(model)}"
        )
    axis = _time_axis(model, example)
    if _differing(fed, example) == {axis}:
        return (
            f"it takes only {example[axis]} along axis {axis}, that of time: let forward take any "
            f"length, or cut the audio with data.segment_s="
        )
    settings = task.settings_for(example) if isinstance(task, ChoosesInput) else ()
    if settings:
        return (
            f"change task.input: {' or '.join(settings)}; or model.example where the model takes "
            f"another shape as well"
        )
    return (
        "change task=... to one that feeds such a shape (task=imitate with task.input=), or "
        "model.example and model.args until both agree"
    )


def _output_advice(model: nn.Module, seen: dict[str, Any], needed: Any) -> str:
    """Say what to change where a model ran, and returned what the task cannot use."""
    out = seen.get("out")
    if isinstance(out, list | dict):  # of several outputs the task can use one
        return f"pick one with model.output=..., or {_ADVICE}"
    if not isinstance(out, tuple) or not isinstance(needed, tuple):
        return _ADVICE
    if _exchanged(out, needed):
        return f"two axes are exchanged: transpose the output in forward{_time_dim(model)}"
    axis = _time_axis(model, needed)
    if _differing(out, needed) == {axis}:
        return (
            f"it returns {out[axis]} along axis {axis}, that of time, for {needed[axis]}: pad in "
            f"forward, so that every frame in gives one out{_time_dim(model)}"
        )
    return f"change model.args.* (the width of the output), or {_ADVICE}"


def _exchanged(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether values of a frame, whose number is fixed, are on the axis of the frames."""
    if len(found) != len(wanted) or len(found) < 3:
        return False
    (a, b), (c, d) = found[-2:], wanted[-2:]
    return (a == d and a != c) or (b == c and b != d)


def _differing(found: tuple[int, ...], wanted: tuple[int, ...]) -> set[int]:
    """Return the axes behind that of the batch whose sizes differ, of equally many axes."""
    if len(found) != len(wanted):
        return set()
    return {axis for axis in range(1, len(found)) if found[axis] != wanted[axis]}


def _time_axis(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the axis of time: the one that the model says, else where tasks have it."""
    if isinstance(model, Costed):
        return model.time_dim % len(shape)
    if len(shape) == 4 or shape[1:2] == (1,):
        return 2
    return 1


def _time_dim(model: nn.Module) -> str:
    said = f" (its time_dim is {model.time_dim})" if isinstance(model, Costed) else ""
    return f", and correct time_dim, the axis of the frames{said}" if said else said


def _typed(fed: tuple[int, ...], example: tuple[int, ...]) -> str:
    """Return the example with its last axes exchanged, as it is typed."""
    shape = (*example[:-2], example[-1], example[-2])
    return f"[{','.join(map(str, shape))}]"


def _names(model: nn.Module, task: Trainable) -> str:
    return f"{type(model).__name__} does not fit the task {type(task).__name__}"


def _story(seen: dict[str, Any]) -> str:
    return f"fed {seen.get('in')} it returns {seen.get('out')}"


def _shape(value: Any) -> Any:
    """Return the shape of a tensor, of each of several, or the type of anything else."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple | list):
        return [_shape(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _shape(item) for key, item in value.items()}
    return type(value).__name__
