"""How recurrent layers of a traced model are written in ONNX: ``translations()``.

ONNX orders gates as i, o, f, c and z, r, h; torch as i, f, g, o and r, z, n. Weights are reordered
in the graph by splits of constants, which a runtime does once when it loads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from audioprune.export.optional import need

_LSTM_ORDER, _GRU_ORDER = (0, 3, 1, 2), (1, 0, 2)


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what builds the ONNX graph of each recurrent operator."""
    op = need("onnxscript", "format=onnx").opset18
    own = torch.ops.audioprune

    def lstm(
        values: Any,
        hidden: Any,
        cell: Any,
        weights: Sequence[Any],
        bias: bool,
        layers: int,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        given = (weights, bias, layers, bidirectional, batch_first)
        return _layers(op, "LSTM", values, (hidden, cell), *given, order=_LSTM_ORDER)

    def gru(
        values: Any,
        hidden: Any,
        weights: Sequence[Any],
        bias: bool,
        layers: int,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        given = (weights, bias, layers, bidirectional, batch_first)
        more = {"linear_before_reset": 1}
        return _layers(op, "GRU", values, (hidden,), *given, order=_GRU_ORDER, more=more)

    def rnn(
        values: Any,
        hidden: Any,
        weights: Sequence[Any],
        bias: bool,
        layers: int,
        bidirectional: bool,
        batch_first: bool,
        nonlinearity: str,
    ) -> Any:
        given = (weights, bias, layers, bidirectional, batch_first)
        name = "Tanh" if nonlinearity == "tanh" else "Relu"
        more = {"activations": [name] * (2 if bidirectional else 1)}
        return _layers(op, "RNN", values, (hidden,), *given, order=(0,), more=more)

    return {own.lstm.default: lstm, own.gru.default: gru, own.rnn.default: rnn}


def _layers(
    op: Any,
    kind: str,
    values: Any,
    states: tuple[Any, ...],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    order: tuple[int, ...],
    more: dict[str, Any] | None = None,
) -> Any:
    """Return the outputs and the last states of stacked layers."""
    if batch_first:
        values = op.Transpose(values, perm=[1, 0, 2])
    directions = 2 if bidirectional else 1
    each = 4 if bias else 2
    after: list[list[Any]] = [[] for _ in states]
    options = {"direction": "bidirectional" if bidirectional else "forward", **(more or {})}
    units = int(weights[1].shape[1])
    for layer in range(layers):
        first = layer * directions * each
        groups = [weights[first + i * each : first + (i + 1) * each] for i in range(directions)]
        own = [_gates(op, [group[i] for group in groups], order) for i in range(each)]
        both = op.Concat(own[2], own[3], axis=1) if bias else None
        begin, end = layer * directions, (layer + 1) * directions
        before = [_rows(op, state, begin, end) for state in states]
        run = getattr(op, kind)
        outputs = run(values, own[0], own[1], both, None, *before, hidden_size=units, **options)
        for kept, state in zip(after, outputs[1:], strict=True):
            kept.append(state)
        # (N, directions, B, H) -> (N, B, directions * H)
        turned = op.Transpose(outputs[0], perm=[0, 2, 1, 3])
        values = op.Reshape(turned, op.Constant(value_ints=[0, 0, directions * units]))
    if batch_first:
        values = op.Transpose(values, perm=[1, 0, 2])
    joined = [kept[0] if layers == 1 else op.Concat(*kept, axis=0) for kept in after]
    return (values, *joined)


def _gates(op: Any, tensors: Sequence[Any], order: tuple[int, ...]) -> Any:
    """Return the tensors of all directions, one behind the other, with their gates reordered."""
    found = []
    for tensor in tensors:
        if len(order) > 1:
            parts = op.Split(tensor, num_outputs=len(order), axis=0)
            tensor = op.Concat(*[parts[i] for i in order], axis=0)
        found.append(op.Unsqueeze(tensor, op.Constant(value_ints=[0])))
    return found[0] if len(found) == 1 else op.Concat(*found, axis=0)


def _rows(op: Any, state: Any, begin: int, end: int) -> Any:
    ends = [op.Constant(value_ints=[value]) for value in (begin, end, 0)]
    return op.Slice(state, *ends)
