"""What layers with weights and normalisations become in C: ``LAYERS``, rules by operator.

A batch normalisation behind a layer that feeds nothing else goes into this layer, ``folds``: codes
stay codes and get a scale for each output. Kernels are in kernels.h.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from audioprune.export.c.lowering import Fold, Lowering, sizes_of, two_axes
from audioprune.export.c.program import Array, refuse
from audioprune.export.c.recurrent import GATES, recurrent
from audioprune.export.c.weights import Layout
from audioprune.export.trace import name_of

CONVOLUTIONS = ("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")


def folds(graph: fx.Graph, tensors: dict[fx.Node, Any]) -> dict[fx.Node, Fold]:
    """Return the normalisations that go into the layer before them, by this layer."""
    found = {}
    for node in graph.nodes:
        if node.op != "call_function" or name_of(node) != "batch_norm":
            continue
        layer = node.args[0]
        if name_of(layer) not in CONVOLUTIONS or len(layer.users) != 1:
            continue
        given = [*layer.args[1:3], *node.args[1:5]]
        if all(each is None or each.op == "get_attr" for each in given):
            found[layer] = _affine(node, tensors)
    return found


def weight_layout(node: Any) -> Layout:
    """Return where the outputs of a layer lie in its weight."""
    if name_of(node).startswith("conv_transpose"):
        return Layout(True, int(node.args[6]) if len(node.args) > 6 else 1)
    return Layout()


def _affine(node: Any, values: dict[Any, Any]) -> Fold:
    """Return what a batch normalisation does to each channel, in double precision."""
    given: list[Any] = [None if each is None else values[each] for each in node.args[1:5]]
    weight, bias, mean, var = given
    eps = next(each for each in reversed(node.args) if isinstance(each, float))
    scale = torch.rsqrt(var.double() + eps) * (1 if weight is None else weight.double())
    shift = (0 if bias is None else bias.double()) - mean.double() * scale
    return Fold(scale.detach(), torch.as_tensor(shift).detach())


def _linear(made: Lowering, node: Any) -> Array:
    source, weight = made.array(node.args[0]), made.weight(node.args[1])
    bias = made.plain(node.args[2] if len(node.args) > 2 else None)
    return _product(made, node, source, weight, bias)


def _product(made: Lowering, node: Any, source: Array, weight: str, bias: str) -> Array:
    """Say the products of rows with all rows of a weight."""
    to, inner = made.out(node), source.shape[-1]
    rows, out = source.size // inner, to.shape[-1]
    made.program.macs += rows * inner * out
    sizes = f"{weight}, {bias}, {rows}, {inner}, {out}"
    made.program.say("ap_linear(", to, ", ", source, f", {sizes});")
    return to


def _added_product(made: Lowering, node: Any) -> Array:
    """Say a constant row plus a product with a constant matrix, as ``addmm`` writes it."""
    matrix, bias = made.values[node.args[2]], made.values[node.args[0]]
    if not isinstance(matrix, Tensor) or not isinstance(bias, Tensor) or bias.dim() != 1:
        return refuse(node, "of these operands")
    weight = made.weight(node.args[2], transposed=True)
    return _product(made, node, made.array(node.args[1]), weight, made.plain(node.args[0]))


def _matmul(made: Lowering, node: Any) -> Array:
    a, b = made.array(node.args[0]), made.array(node.args[1])
    m, k = (a.shape[-2] if len(a.shape) > 1 else 1), a.shape[-1]
    n = b.shape[-1]
    if len(b.shape) < 2 or (len(b.shape) > 2 and a.shape[:-2] != b.shape[:-2]):
        return refuse(node, "of these shapes")
    batch = math.prod(a.shape[:-2])
    to = made.out(node)
    made.program.macs += batch * m * k * n
    step = k * n if len(b.shape) > 2 else 0
    made.program.say("ap_matmul(", to, ", ", a, ", ", b, f", {batch}, {m}, {k}, {n}, {step});")
    return to


def _around(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the sizes before, of and behind the axis of channels."""
    return shape[0], shape[1], math.prod(shape[2:])


def _batch_norm(made: Lowering, node: Any) -> Array:
    source = made.array(node.args[0])
    if node.args[0] in made.folds:
        return source
    fold = _affine(node, made.values)
    return _scaled(made, node, source, fold.scale, fold.shift)


def _scaled(made: Lowering, node: Any, source: Array, scale: Tensor, shift: Tensor) -> Array:
    names = [
        made.program.constant(v, f"{node}_{k}") for k, v in (("scale", scale), ("shift", shift))
    ]
    to = made.out(node)
    sizes = ", ".join(map(str, _around(source.shape)))
    made.program.say("ap_affine(", to, ", ", source, f", {sizes}, {names[0]}, {names[1]});")
    return to


def _group_norm(made: Lowering, node: Any) -> Array:
    """Say a normalisation of each group of channels, then scale and shift of each channel."""
    source, channels = made.array(node.args[0]), made.shape(node.args[0])[1]
    if name_of(node) == "instance_norm":
        groups, eps = channels, node.args[7]
        weight, bias = node.args[1:3]
        if not node.args[5]:
            return refuse(node, "with running statistics")
    else:
        given = [*node.args[1:], *[None] * 3][:4]
        groups, weight, bias = given[:3]
        eps = given[3] if isinstance(given[3], float) else 1e-5
    rows = source.shape[0] * groups
    to = made.out(node)
    sizes = f"{rows}, {source.size // rows}, NULL, NULL, {eps!r}f"
    made.program.say("ap_layer_norm(", to, ", ", source, f", {sizes});")
    if weight is None and bias is None:
        return to
    ones, zeros = torch.ones(channels), torch.zeros(channels)
    scale = ones if weight is None else made.values[weight]
    return _scaled(made, node, to, scale, zeros if bias is None else made.values[bias])


def _prelu(made: Lowering, node: Any) -> Array:
    source, slope = made.array(node.args[0]), made.plain(node.args[1])
    count = made.tensors[node.args[1]].numel()
    around = _around(source.shape) if len(source.shape) > 1 else (1, 1, source.size)
    to, sizes = made.out(node), ", ".join(map(str, around))
    made.program.say("ap_prelu(", to, ", ", source, f", {sizes}, {slope}, {count});")
    return to


def _layer_norm(made: Lowering, node: Any) -> Array:
    source, n = made.array(node.args[0]), math.prod(node.args[1])
    given = list(node.args[2:]) + [None] * 3
    weight, bias = (made.plain(each) for each in given[:2])
    eps = given[2] if isinstance(given[2], float) else 1e-5
    to, rows = made.out(node), source.size // n
    sizes = f"{rows}, {n}, {weight}, {bias}, {eps!r}f"
    made.program.say("ap_layer_norm(", to, ", ", source, f", {sizes});")
    return to


def _convolution(made: Lowering, node: Any) -> Array:
    turned = name_of(node).startswith("conv_transpose")
    rank = len(made.shape(node)) - 2
    if len(made.shape(node.args[0])) != rank + 2 or rank > 2:
        return refuse(node, "of these axes")
    names = ["stride", "padding", "dilation", "groups"]
    if turned:
        names = ["stride", "padding", "output_padding", "groups", "dilation"]
    given = dict(zip(names, node.args[3:], strict=False)) | dict(node.kwargs)
    groups = int(given.get("groups", 1))
    source, fold = made.array(node.args[0]), made.folds.get(node)
    weight = made.weight(node.args[1], Layout(turned, groups), fold)
    bias = made.plain(node.args[2] if len(node.args) > 2 else None, fold)

    kernel = two_axes(made.shape(node.args[1])[2:], rank)
    dilation = two_axes(given.get("dilation", 1), rank)
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        if padding != "valid" and any(span % 2 for span in spans):
            return refuse(node, "with more padding on one side")
        padding = 0 if padding == "valid" else [span // 2 for span in spans[-rank:]]
    size, after = (two_axes(shape[2:], rank) for shape in (source.shape, made.shape(node)))
    channels, out = source.shape[1], made.shape(node)[1]
    numbers = [source.shape[0], channels, *size, out, *kernel]
    numbers += [*two_axes(given.get("stride", 1), rank), *two_axes(padding, rank, 0)]
    numbers += [*dilation, groups, *after]
    places = size if turned else after
    made.program.macs += (
        source.shape[0] * channels * out // groups * math.prod(kernel) * math.prod(places)
    )
    to = made.out(node)
    kind = "ap_deconv2d(" if turned else "ap_conv2d("
    made.program.say(kind, to, ", ", source, f", {weight}, {bias}, {sizes_of(numbers)});")
    return to


def _embedding(made: Lowering, node: Any) -> Array:
    table, index = made.weight(node.args[0]), made.array(node.args[1])
    to, dim = made.out(node), made.shape(node.args[0])[1]
    made.program.say("ap_embed(", to, f", {table}, ", index, f", {index.size}, {dim});")
    return to


LAYERS = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    **dict.fromkeys(GATES, recurrent),
    **dict.fromkeys(("group_norm", "instance_norm"), _group_norm),
    "linear": _linear,
    "addmm": _added_product,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
}
WEIGHTS = {"linear": (1,), "embedding": (0,), **dict.fromkeys(CONVOLUTIONS, (1,))}
"""Which arguments of a layer are weights; those of recurrent layers are lists."""
