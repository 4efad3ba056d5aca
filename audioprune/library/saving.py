"""How a program stores a network so that `load` and every verb read it: ``save``.

What is pruned and shared is seen in the weights themselves: zeros become positions, tensors of few
values codebooks. Training state is stored by runs (experiment/run.py), not here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audioprune import checkpoint, packing
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import is_package_model
from audioprune.library.cards import Example
from audioprune.library.facts import Facts, facts_of
from audioprune.library.stored_form import stored_form
from audioprune.provenance import is_plain

ENDINGS = (".apz", ".safetensors")


def save(
    model: nn.Module,
    path: str | Path,
    *,
    arguments: Mapping[str, Any] | None = None,
    target: str | None = None,
    example: Example | None = None,
    task: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as a packed file (``.apz``) or a dense one (``.safetensors``), atomically.

    The packed file decodes bit for bit; a removed -0.0 comes back as 0.0.

    Args:
        model: Any module.
        path: The file; a file of that name is replaced.
        arguments: Plain values that its class is built with, for verbs such as ``quantize`` that
            build it; by default those of the file that it was loaded from. Models of this package
            that were built in Python need them too, unless all are at their defaults.
        target: Dotted name of its class, or of a function that returns it; by default the class.
        example: Argument or arguments of its forward pass, whose shapes the file says, so that
            verbs can count and trace a network of your own.
        task: Target and arguments of its task, such as ``{"_target_":
            "audioprune.tasks.enhancement.Enhancement", "target": "irm"}``; by default that of the
            file it was loaded from.

    Returns:
        The path.

    Raises:
        ConfigError: The ending is another, or an argument is no plain value.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: expected an ending of {' or '.join(ENDINGS)}; rename it")
    config = file_config(model, arguments=arguments, target=target, task=task)
    if example is not None:
        shapes = [list(each.shape) for each in _arguments(example)]
        config["model"] = {**config["model"], "example": shapes[0] if len(shapes) == 1 else shapes}
    state = model.state_dict()
    kept, books = stored_form(model)
    if path.suffix == ".apz":
        packing.pack(path, state, mask=kept, codebooks=books, config=config)
        return path
    tensors = {f"model/{name}": value for name, value in state.items()}
    if kept is not None:
        tensors |= {f"mask/{name}": value for name, value in kept.state_dict().items()}
    return checkpoint.write(path, tensors, config)


def file_config(
    model: nn.Module,
    *,
    arguments: Mapping[str, Any] | None = None,
    target: str | None = None,
    task: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a file says of a network: class, arguments, task and what its own file said.

    Args:
        model: The network.
        arguments: As for `save`.
        target: As for `save`.
        task: As for `save`.

    Raises:
        ConfigError: An argument is no plain value.
    """
    known = facts_of(model)
    named = _model_config(model, known, arguments, target)
    task = dict(task) if task is not None else known.task
    for what, node in (("arguments", named), ("task", task or {})):
        if not is_plain({key: value for key, value in node.items() if key != "_target_"}):
            raise ConfigError(
                f"expected {what} as plain numbers, texts and lists, got other things; leave them "
                f"out and give the network itself to load(..., model=...)"
            )
    rate = task.get("sample_rate") if task else None
    found = {**known.more, "model": named, "task": task}
    return found | ({"sample_rate": rate} if rate else {})


def _model_config(
    model: nn.Module, known: Facts, arguments: Mapping[str, Any] | None, target: str | None
) -> dict[str, Any]:
    own = f"{type(model).__module__}.{type(model).__qualname__}"
    same = target is None and known.model.get("_target_") == own
    if arguments is None and same:
        return known.model
    if arguments is None and target is None and is_package_model(own):
        _require_defaults(model)
    return {"name": type(model).__name__, "_target_": target or own, **(arguments or {})}


def _arguments(example: Example) -> tuple[Tensor, ...]:
    return (example,) if isinstance(example, Tensor) else tuple(example)


def _require_defaults(model: nn.Module) -> None:
    """Refuse a model of this package whose arguments are not known and cannot be the defaults."""
    kind = type(model)
    signature = inspect.signature(kind).parameters.values()
    missing = [each.name for each in signature if each.default is inspect.Parameter.empty]
    same = False
    if not missing:
        with torch.device("meta"):
            fresh = kind()
        same = set(fresh.state_dict()) == set(model.state_dict())
    if not same:
        raise ConfigError(
            f"{kind.__name__}: expected the arguments that it was built with, got none; give "
            f"save(..., arguments={{...}})"
        )
