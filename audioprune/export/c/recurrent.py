"""What LSTM, GRU and plain recurrent layers become in C: ``recurrent(made, node)``.

Any number of layers and both directions are known.

A step of a streaming form runs a layer over the few positions of one frame, from the state; a
layer over another axis runs over all of it. Either way states are copied and changed in place.
"""

from __future__ import annotations

from typing import Any

from audioprune.export.c.lowering import Lowering
from audioprune.export.c.program import Array
from audioprune.export.trace import name_of

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_KERNELS = {"rnn_tanh": "simple", "rnn_relu": "simple"}


def recurrent(made: Lowering, node: Any) -> tuple[Array, ...]:
    """Say all layers and directions and return outputs and last states."""
    kind = name_of(node)
    is_lstm = kind == "lstm"
    source = made.array(node.args[0])
    given = node.args[1] if is_lstm else [node.args[1]]
    weights, bias, layers, _, _, bidirectional, batch_first = node.args[2:9]
    states = [_copied(made, each) for each in given]
    steps, batch = (source.shape[i] for i in ((1, 0) if batch_first else (0, 1)))
    directions, units = (2 if bidirectional else 1), states[0].shape[2]
    each = 4 if bias else 2
    gates = made.program.new((6 * units,))
    for layer in range(layers):
        inner = source.shape[2]
        out = made.program.new((*source.shape[:2], directions * units))
        for direction in range(directions):
            row = layer * directions + direction
            own = weights[row * each : (row + 1) * each]
            wi, wh = (made.weight(weight) for weight in own[:2])
            bi, bh = (made.plain(weight) for weight in own[2:]) if bias else ("NULL", "NULL")
            strides = _strides(batch_first, steps, batch, inner, directions * units)
            sizes = f"{steps}, {batch}, {inner}, {units}, {strides}, {direction}"
            pieces: list[Any] = [f"ap_{_KERNELS.get(kind, kind)}(", out]
            pieces += [f" + {direction * units}, ", source]
            for state in states:
                pieces += [", ", state, f" + {row * batch * units}"]
            pieces += [f", {wi}, {wh}, {bi}, {bh}, ", gates]
            last = {"rnn_tanh": ", 0", "rnn_relu": ", 1"}.get(kind, "")
            made.program.say(*pieces, f", &(const ap_rnn){{{sizes}}}{last});")
            made.program.macs += steps * batch * GATES[kind] * units * (inner + units)
        source = out
    return (source, *states)


def _copied(made: Lowering, node: Any) -> Array:
    """Return a copy of a state, which the layer changes."""
    before = made.array(node)
    after = made.program.new(before.shape)
    made.program.say("memcpy(", after, ", ", before, f", {4 * before.size});")
    return after


def _strides(batch_first: bool, steps: int, batch: int, inner: int, width: int) -> str:
    pairs = [(inner, steps * inner), (width, steps * width)]
    if not batch_first:
        pairs = [(batch * inner, inner), (batch * width, width)]
    return ", ".join(str(number) for pair in pairs for number in pair)
