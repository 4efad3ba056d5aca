"""The same streaming form with weights of 8 bits: ``rounded_weights(stream)``.

Weights are those of linear, convolutional, embedding and recurrent layers, each output on a grid
of its own; those of few values, biases and normalisations stay. The form that was given is not
changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import Tensor, fx

from audioprune.export.c.layers import WEIGHTS, weight_layout
from audioprune.export.c.recurrent import GATES
from audioprune.export.c.weights import CODED, Layout, rounded, stored
from audioprune.export.streaming import StreamingModel
from audioprune.export.trace import held_by, name_of


def rounded_weights(stream: StreamingModel) -> StreamingModel:
    """Return a form whose weights are the nearest ones of 8 bits."""
    found = copy.deepcopy(stream)
    for node, layout in _weights(found.body.graph):
        tensor = held_by(found.body, node)
        if not isinstance(tensor, Tensor) or tensor.dim() < 2 or tensor.numel() < CODED:
            continue
        if stored(tensor, layout).values is not None:  # else it has few values already
            tensor.data = rounded(tensor, layout)
    return found


def _weights(graph: fx.Graph) -> Iterator[tuple[fx.Node, Layout]]:
    """Yield the nodes that hold weights, each once."""
    seen: set[str] = set()
    for node in graph.nodes:
        name = name_of(node) if node.op == "call_function" else ""
        given = [node.args[i] for i in WEIGHTS.get(name, ())]
        if name in GATES:
            given = list(node.args[2])
        for each in given:
            if isinstance(each, fx.Node) and each.op == "get_attr" and each.target not in seen:
                seen.add(str(each.target))
                yield each, weight_layout(node)
