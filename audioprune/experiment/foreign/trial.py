"""Whether a model runs on its own example, before any work begins: ``require_runs``.

A failure names the layer that it happened in. A layer that is built within the forward pass is
found here: no optimiser or file of before would know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import AudiopruneError, ConfigError
from audioprune.experiment.cost import arguments_of, require_example
from audioprune.experiment.foreign.example import shape_text

_CPU = torch.device("cpu")


def require_runs(model: nn.Module) -> None:
    """Pass the example through a model on the CPU; its buffers are as before afterwards.

    Raises:
        ConfigError: It does not run, returns no tensor, or builds layers while it runs.
    """
    known = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    with _same_buffers(model):
        output = run_example(model)
    late = [name for name, _ in model.named_parameters() if name not in known]
    if late:
        raise ConfigError(
            f"{type(model).__name__}: expected all layers after __init__, got {late[0]} from the "
            f"first forward pass, which no checkpoint and no optimiser would know; build it in "
            f"__init__, or as a lazy layer such as torch.nn.LazyLinear"
        )
    if not any(isinstance(each, Tensor) for each in tree_leaves(output)):
        raise ConfigError(
            f"{type(model).__name__}: expected a tensor, or several, got {shape_text(output)}; "
            f"let forward return tensors"
        )


@contextmanager
def _same_buffers(model: nn.Module) -> Iterator[None]:
    """Leave buffers as they were before a block: a model may remember what it was given."""
    known = [
        (module, name, value, value.clone())
        for module in model.modules()
        for name, value in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for module, name, value, before in known:
            module._buffers[name] = value.copy_(before)


def example_outputs(model: nn.Module, device: torch.device) -> list[Tensor]:
    """Return all tensors that a model makes of its example, in the order of its output.

    Args:
        model: On the device.
        device: Where the example is put.

    Raises:
        ConfigError: It does not run.
    """
    leaves = tree_leaves(run_example(model, device))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def run_example(model: nn.Module, device: torch.device = _CPU) -> Any:
    """Return what a model makes of its example, in evaluation mode and without gradients.

    The global random state is left as it was; noise that the model draws is always the same.

    Raises:
        ConfigError: It does not run; the message names the layer, the example and the failure.
    """
    example = require_example(model).example_input()
    inside: list[str] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
        torch.manual_seed(0)
        with _entered(model, inside):
            try:
                return model(*(_moved(each, device) for each in arguments_of(example)))
            except AudiopruneError:
                raise
            except Exception as error:  # a user's code may raise anything
                raise ConfigError(_story(model, inside, example, error)) from error


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


@contextmanager
def _entered(model: nn.Module, inside: list[str]) -> Iterator[None]:
    """Keep the names of the layers that are being called, within a block."""
    handles = []
    for name, module in model.named_modules():
        told = f"{name} ({type(module).__name__})" if name else ""

        def enter(_: nn.Module, given: Any, told: str = told) -> None:
            inside.append(told)

        def leave(_: nn.Module, given: Any, output: Any) -> None:
            inside.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _story(model: nn.Module, inside: list[str], example: Any, error: Exception) -> str:
    """Say in one line what failed where."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    layer = inside[-1] if inside and inside[-1] else "its own forward"
    return (
        f"{type(model).__name__}: expected it to run on the example {shape_text(example)}, got "
        f"{type(error).__name__} in {layer}: {reason}; correct model.example=, the shape of an "
        f"input"
    )
