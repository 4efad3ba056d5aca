"""How recurrent layers go on where the block before ended: ``CarriedStates``.

It supplies and keeps the states of ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` modules of any model,
which then needs no code for it. Layers in both directions are left alone: they run along another
axis than time, or the model must see the whole. Whether blocks give what the whole gives is tried
in blocks.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

Place = tuple[nn.Module, int]
"""A recurrent layer, and the number of its call within one forward pass."""


class CarriedStates:
    """The states of all recurrent layers in one direction, for one stream.

    Args:
        model: The model; its modules are hooked only within ``carrying``.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [each for each in model.modules() if isinstance(each, nn.RNNBase)]
        self._layers = [each for each in layers if not each.bidirectional]
        self._states: dict[Place, Any] = {}
        self._calls: dict[nn.Module, int] = {}

    @contextmanager
    def carrying(self) -> Iterator[None]:
        """Let one forward pass begin with the states in which the one before ended."""
        self._calls = {}
        handles = []
        for layer in self._layers:
            before = layer.register_forward_pre_hook(self._supply, with_kwargs=True)
            handles += [before, layer.register_forward_hook(self._keep)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _supply(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        known = self._states.get((layer, self._calls.get(layer, 0)))
        given = args[1] if len(args) > 1 else kwargs.get("hx")
        if known is None or not _is_zero(given):
            return None
        return args[:1], {**{key: kwargs[key] for key in kwargs if key != "hx"}, "hx": known}

    def _keep(self, layer: nn.Module, args: Any, output: tuple[Any, Any]) -> None:
        number = self._calls.get(layer, 0)
        self._calls[layer] = number + 1
        self._states[layer, number] = tree_map(torch.clone, output[1])


def _is_zero(given: Any) -> bool:
    """Tell whether a layer starts from nothing: no state, or zeros that the model wrote."""
    tensors = [each for each in tree_leaves(given) if isinstance(each, Tensor)]
    return not any(bool(each.any()) for each in tensors)
