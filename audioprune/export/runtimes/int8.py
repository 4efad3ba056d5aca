"""How an ONNX graph is stored with eight-bit numbers: ``dynamic`` and ``static``.

Dynamic: weights of matrix products and LSTMs per channel, activations scaled as they come. Static:
weights per channel and activations by the ranges that calibration frames showed. Both are ONNX
Runtime's own; a layer that it does not know (GRU) stays as it is. Bytes in, bytes out.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError
from audioprune.export.optional import need, quiet
from audioprune.export.trace import first_line

PRODUCTS = ("MatMul", "Gemm", "LSTM")
CONVOLUTIONS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def dynamic(source: bytes) -> bytes:
    """Return a graph whose matrix products and LSTMs hold int8 weights, one scale a channel."""
    tools = need("onnxruntime.quantization", "int8")

    def run(begin: Path, end: Path) -> None:
        tools.quantize_dynamic(
            begin,
            end,
            op_types_to_quantize=list(PRODUCTS),
            per_channel=True,
            weight_type=tools.QuantType.QInt8,
        )

    return _through_files(source, run)


def static(source: bytes, inputs: Sequence[dict[str, Any]]) -> bytes:
    """Return a graph whose convolutions and products compute with int8.

    Args:
        source: Bytes of the graph.
        inputs: Arrays for all inputs of the graph, one dictionary a run, whose ranges count.
    """
    tools = need("onnxruntime.quantization", "int8")
    reader = type("Reader", (tools.CalibrationDataReader,), {"get_next": _next})()
    reader.left = iter(inputs)

    def run(begin: Path, end: Path) -> None:
        tools.quantize_static(
            begin,
            end,
            reader,
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(CONVOLUTIONS),
            nodes_to_exclude=_grouped(begin),
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
        )

    return _through_files(source, run)


def _grouped(path: Path) -> list[str]:
    """Return transposed convolutions in groups, whose channels ONNX Runtime scales wrongly."""
    graph = need("onnx", "int8").load(path).graph
    found = []
    for node in graph.node:
        groups = [each.i for each in node.attribute if each.name == "group"]
        if node.op_type == "ConvTranspose" and groups and groups[0] > 1:
            found.append(node.name)
    return found


def _next(reader: Any) -> dict[str, Any] | None:
    left: Iterator[dict[str, Any]] = reader.left
    return next(left, None)


def _through_files(source: bytes, run: Any) -> bytes:
    """Run a function from file to file on bytes."""
    prepare = need("onnxruntime.quantization.shape_inference", "int8").quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        begin, end = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        whole = Path(folder, "whole.onnx")
        whole.write_bytes(source)
        with quiet("", "root"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                # constants are folded first: weights that are computed would stay as they are
                prepare(whole, begin, skip_symbolic_shape=True)
                run(begin, end)
            except Exception as error:  # the package raises whatever its parts raise
                raise ConfigError(
                    f"int8: expected a graph that ONNX Runtime quantizes, got "
                    f"{first_line(error)}; leave int8 out"
                ) from error
        return end.read_bytes()
