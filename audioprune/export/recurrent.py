"""How recurrent layers stay whole while a model is traced: one operator each, of any length.

``whole_layers()`` is a context in which ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` call the operators
``audioprune::lstm``, ``::gru`` and ``::rnn``; torch would write them out frame by frame otherwise,
for one length alone. Inputs are (B, N, U) or (N, B, U); states (layers, B, U). Nothing is computed
in another way: the operators call torch's own layers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_LOCK = threading.RLock()


@torch.library.custom_op("audioprune::lstm", mutates_args=())
def lstm(
    values: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM and return its outputs, the last hidden states and the last cells."""
    out, after, cells = torch.lstm(
        values, (hidden, cell), weights, bias, layers, 0.0, False, bidirectional, batch_first
    )
    return out.clone(), after.clone(), cells.clone()


@torch.library.custom_op("audioprune::gru", mutates_args=())
def gru(
    values: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """Run a GRU and return its outputs and the last hidden states."""
    out, after = torch.gru(
        values, hidden, weights, bias, layers, 0.0, False, bidirectional, batch_first
    )
    return out.clone(), after.clone()


@torch.library.custom_op("audioprune::rnn", mutates_args=())
def rnn(
    values: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """Run a plain recurrent layer and return its outputs and the last hidden states."""
    run = torch.rnn_tanh if nonlinearity == "tanh" else torch.rnn_relu
    out, after = run(values, hidden, weights, bias, layers, 0.0, False, bidirectional, batch_first)
    return out.clone(), after.clone()


def _outputs(values: Tensor, hidden: Tensor, bidirectional: bool) -> Tensor:
    units = hidden.shape[-1] * (2 if bidirectional else 1)
    return values.new_empty((*values.shape[:2], units))


@lstm.register_fake
def _(
    values: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    out = _outputs(values, hidden, bidirectional)
    return out, torch.empty_like(hidden), torch.empty_like(cell)


@gru.register_fake
@rnn.register_fake
def _(
    values: Tensor,
    hidden: Tensor,
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    nonlinearity: str = "",
) -> tuple[Tensor, Tensor]:
    return _outputs(values, hidden, bidirectional), torch.empty_like(hidden)


def _forward(layer: nn.RNNBase, values: Tensor, hx: Any = None) -> Any:
    """Run a layer by its operator; states are (layers, B, U), zero where none are given."""
    alone = values.dim() == 2
    if alone:
        values = values.unsqueeze(0 if layer.batch_first else 1)
        if hx is not None:
            hx = tuple(h.unsqueeze(1) for h in hx) if isinstance(hx, tuple) else hx.unsqueeze(1)
    weights = [weight for group in layer.all_weights for weight in group]
    before = _states(layer, values) if hx is None else hx if isinstance(hx, tuple) else (hx,)
    options = (weights, layer.bias, layer.num_layers, layer.bidirectional, layer.batch_first)
    if isinstance(layer, nn.LSTM):
        out, *after = lstm(values, *before, *options)
    elif isinstance(layer, nn.GRU):
        out, *after = gru(values, *before, *options)
    else:
        out, *after = rnn(values, *before, *options, str(layer.nonlinearity))
    if alone:
        out = out.squeeze(0 if layer.batch_first else 1)
        after = [state.squeeze(1) for state in after]
    return out, tuple(after) if len(after) > 1 else after[0]


def _states(layer: nn.RNNBase, values: Tensor) -> tuple[Tensor, ...]:
    """Return zero states; sizes come from the weights, which trimming keeps right."""
    batch = values.shape[0 if layer.batch_first else 1]
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    cells = layer.all_weights[0][1].shape[1]
    projected = layer.all_weights[0][-1].shape[0] if layer.proj_size else cells
    hidden = values.new_zeros(rows, batch, projected)
    if isinstance(layer, nn.LSTM):
        return hidden, values.new_zeros(rows, batch, cells)
    return (hidden,)


@contextmanager
def whole_layers() -> Iterator[None]:
    """Let recurrent layers call one operator each within a block."""
    kinds: tuple[type[nn.RNNBase], ...] = (nn.LSTM, nn.GRU, nn.RNN)
    with _LOCK:
        kept: list[Any] = [kind.__dict__["forward"] for kind in kinds]
        for kind, forward in zip(kinds, kept, strict=True):
            setattr(kind, "forward", _replaced(forward))  # noqa: B010
        try:
            yield
        finally:
            for kind, forward in zip(kinds, kept, strict=True):
                setattr(kind, "forward", forward)  # noqa: B010


def _replaced(original: Any) -> Any:
    def forward(self: nn.RNNBase, input: Any, hx: Any = None) -> Any:
        if not isinstance(input, Tensor):  # packed sequences stay torch's
            return original(self, input, hx)
        return _forward(self, input, hx)

    return forward
