"""How a model becomes an ONNX graph: ``whole_graph`` and ``streaming_graph``.

Both return an ``onnx.ModelProto``. The whole pass has an open batch and an open number of frames,
where the model allows them; the streaming form maps one frame and named states to one frame and
the states after it, which are called ``NAME_out``. Nothing is written here, see `writing`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.export.optional import need, quiet
from audioprune.export.runtimes.onnx_layers import translations
from audioprune.export.streaming import StreamingModel
from audioprune.export.trace import BATCH, TIME, Traced, first_line, layer_of

_BYTES = 2**31 - 2**20  # what one file without companions may hold
_NAMED = re.compile(r"(?:aten|prims|audioprune|torchvision)[.:]+(\w+)")


def streaming_graph(model: StreamingModel, metadata: Mapping[str, str]) -> Any:
    """Return the ONNX graph of a streaming form, for one signal at a time.

    Args:
        model: The streaming form.
        metadata: What the file says about itself.

    Raises:
        ConfigError: An operator has no ONNX form, which names its layer.
    """
    given = (*model.example_frames(), *model.initial_state(1))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, given, strict=False)
    inputs = [*model.input_names, *model.state_names]
    outputs = [*model.output_names, *(f"{name}_out" for name in model.state_names)]
    nodes = list(model.body.graph.nodes)
    return _converted(program, inputs, outputs, metadata, (), nodes)


def whole_graph(traced: Traced, metadata: Mapping[str, str]) -> Any:
    """Return the ONNX graph of a model over whole signals.

    Args:
        traced: The traced model.
        metadata: What the file says about itself.

    Raises:
        ConfigError: An operator has no ONNX form, which names its layer.
    """
    places = [node for node in traced.module.graph.nodes if node.op == "placeholder"]
    last = next(node for node in traced.module.graph.nodes if node.op == "output")
    count = len(last.args[0])
    names = ["out"] if count == 1 else [f"out_{i}" for i in range(count)]
    inputs = [node.name for node in places]
    nodes = list(traced.module.graph.nodes)
    return _converted(traced.program, inputs, names, metadata, _open_names(traced), nodes)


def _open_names(traced: Traced) -> list[tuple[str, str]]:
    """Return the symbols of open sizes and what they are called in the file."""
    called = {TIME: "time", BATCH: "batch"}
    return [(str(symbol), called[meaning]) for symbol, meaning in traced.symbols.items()]


def _converted(
    program: Any,
    inputs: Sequence[str],
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    names: Sequence[tuple[str, str]],
    nodes: Sequence[Any],
) -> Any:
    need("onnx", "format=onnx")
    try:
        with quiet("torch", "torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamo=True,
                verbose=False,
                custom_translation_table=translations(),
            )
            assert made is not None
            proto = made.model_proto
    except Exception as error:  # each stage of the exporter has errors of its own
        raise ConfigError(_unknown(nodes, error)) from error
    if proto.ByteSize() > _BYTES:
        raise ConfigError(
            f"format=onnx: expected a graph of at most {_BYTES:,} bytes, got "
            f"{proto.ByteSize():,}; trim the model first"
        )
    _rename(proto, dict(names))
    _strip(proto)
    for key, value in sorted(metadata.items()):
        proto.metadata_props.add(key=key, value=value)
    return proto


def _rename(proto: Any, names: Mapping[str, str]) -> None:
    """Call open sizes by what they mean."""
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            for symbol, name in names.items() if dim.dim_param else ():
                dim.dim_param = re.sub(rf"\b{symbol}\b", name, dim.dim_param)


def _strip(proto: Any) -> None:
    """Drop what the exporter notes of every node: traces of this machine's files."""
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        values = [*graph.node, *graph.value_info]
        for item in (graph, *values, *getattr(graph, "input", ()), *getattr(graph, "output", ())):
            if not isinstance(item, str):
                item.ClearField("metadata_props")
                item.ClearField("doc_string")
    for tensor in proto.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")


def _unknown(graph: Sequence[Any], error: Exception) -> str:
    """Say which operator of which layer has no ONNX form."""
    text, cause = "", error
    while cause is not None:
        text += f"\n{cause}"
        cause = cause.__cause__  # type: ignore[assignment]
    names = _NAMED.findall(text)
    nodes = [node for node in graph if node.op == "call_function"]
    for name in names:
        exact = [node for node in nodes if name in str(node.target).split(".")]
        for node in exact or [node for node in nodes if name in str(node.target)]:
            layer = node.meta.get("layer") or layer_of(node) or "the model itself"
            return (
                f"layer {layer}: expected operators that ONNX has, got {node.target}; replace it, "
                f"or use format=torchscript"
            )
    if names:
        return (
            f"format=onnx: expected operators that ONNX has, got {names[0]}; replace it, or use "
            f"format=torchscript"
        )
    return f"format=onnx: expected a model that torch.onnx exports, got {first_line(error)}"


class Session:
    """An ONNX graph that runs in ONNX Runtime, on one thread.

    Args:
        source: Bytes of the graph.

    Raises:
        ConfigError: ONNX Runtime cannot run it.
    """

    def __init__(self, source: bytes) -> None:
        runtime = need("onnxruntime", "format=onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no common class
            raise ConfigError(
                f"ONNX Runtime: expected a graph that it runs, got {first_line(error)}; leave "
                f"the quantization out"
            ) from error
        self.inputs = [each.name for each in self._session.get_inputs()]

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Run the graph on arrays, in the order of its inputs."""
        return list(self._session.run(None, dict(zip(self.inputs, values, strict=True))))

    def module(self) -> Callable[..., tuple[Tensor, ...]]:
        """Return a function of tensors."""

        def run(*values: Tensor) -> tuple[Tensor, ...]:
            arrays = self.run([value.numpy() for value in values])
            return tuple(torch.from_numpy(each) for each in arrays)

        return run
