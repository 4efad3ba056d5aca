"""Which tensor stopped being finite: what a diverged training tells its user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class _Found(Exception):
    """Ends the second pass at the first bad output."""


def first_bad(
    modules: Mapping[str, nn.Module],
    known: str | None,
    again: Callable[[], object],
    read_at: int | None,
) -> tuple[str | None, str]:
    """Say what is not finite: a weight, else what is known already, else the first output.

    Args:
        modules: All that is trained, by name.
        known: What is known already, or None.
        again: The pass, to be done once more.
        read_at: Step at which the value was read, where that is later than its own.

    Returns:
        The weight, or None where all are finite, and what to tell.
    """
    weight = bad_weight(modules)
    culprit = weight or known or bad_output(modules, again)
    if culprit is None:
        return None, "weights and outputs of all modules are finite"
    if weight and read_at is None:
        culprit = f"{weight} since the step before"
    elif weight:
        culprit = f"{weight} at step {read_at}, where runtime.sync_every let it be read"
    return weight, f"the first that is not finite is {culprit}"


def bad_weight(modules: Mapping[str, nn.Module]) -> str | None:
    """Name the first parameter or buffer that is not finite, or return None.

    Args:
        modules: All that is trained, by name; parameters of ``model`` go by their own names.
    """
    return next(
        _named_bad(
            modules, ("parameter", nn.Module.named_parameters), ("buffer", nn.Module.named_buffers)
        ),
        None,
    )


def bad_gradient(module: nn.Module) -> str | None:
    """Name the first parameter whose gradient is not finite, or return None."""
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not _finite(parameter.grad):
            return f"the gradient of '{name}' ({_count(parameter.grad)})"
    return None


def bad_input(batch: Mapping[str, Any]) -> str | None:
    """Name the first entry of a batch that is not finite, or return None."""
    for name, value in batch.items():
        if isinstance(value, Tensor) and not _finite(value):
            return f"'{name}' of the batch ({_count(value)})"
    return None


def bad_output(modules: Mapping[str, nn.Module], again: Callable[[], object]) -> str | None:
    """Run a pass once more and name the first module whose output is not finite, or return None.

    Args:
        modules: All that is trained, by name.
        again: The pass.
    """
    found: list[str] = []

    def watch(label: str) -> Callable[..., None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:
            bad = next(
                (
                    leaf
                    for leaf in tree_leaves(output)
                    if isinstance(leaf, Tensor) and not _finite(leaf)
                ),
                None,
            )
            if bad is not None:
                found.append(f"the output of '{label}', a {type(module).__name__} ({_count(bad)})")
                raise _Found

        return look

    handles = [module.register_forward_hook(watch(label)) for label, module in _inner(modules)]
    try:
        again()
    except _Found:
        return found[0]
    finally:
        for handle in handles:
            handle.remove()
    return None


def _inner(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for group, module in modules.items():
        for name, inner in module.named_modules():
            yield _label(group, name) or group, inner


def _named_bad(
    modules: Mapping[str, nn.Module],
    *kinds: tuple[str, Callable[[nn.Module], Iterable[tuple[str, Tensor]]]],
) -> Iterator[str]:
    for group, module in modules.items():
        for kind, members in kinds:
            for name, tensor in members(module):
                if not _finite(tensor):
                    yield f"{kind} '{_label(group, name)}' ({_count(tensor)})"


def _label(group: str, name: str) -> str:
    return name if group == "model" else f"{group}.{name}".rstrip(".")


def _finite(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(
        torch.isfinite(tensor.detach()).all()
    )


def _count(tensor: Tensor) -> str:
    bad = tensor.numel() - int(torch.isfinite(tensor.detach()).sum())
    return f"{bad} of {tensor.numel()} values"
