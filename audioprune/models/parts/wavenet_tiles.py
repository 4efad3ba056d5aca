"""The weights of a WaveNet as tiles, and the product of rows with them, on one core or two.

``pack`` orders the weights as the compiled loop in ``wavenet_kernels`` reads them: ``Packed``
holds tiles of 16 x 16, as float32 or as pairs of bfloat16 in one word; all widths are filled up
with zeros to whole tiles. ``add_products`` adds rows (rows, 16 ins) times tiles to (rows, 16 outs)
and never allocates; ``wait_for`` and ``tell`` pass numbers between cores. Importing this file
imports numba, which keeps what it compiled of ``wavenet_kernels`` when only this file changes:
remove ``__pycache__`` then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import for_range, get_or_insert_function
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import nn

from audioprune.compiled import compiled
from audioprune.models.parts.wavenet_layers import GatedBlock, SampleModel

_intrinsic: Any = intrinsic  # callers leave the first argument out
PATIENCE = 4000  # looks at a number that another core will change, before the core is given up
Floats = NDArray[np.float32]
Places = NDArray[np.int64]
TILE = 16  # 16 x 16 weights are read in one stretch and fill vector registers of any width
MOST_AHEAD = 8  # samples of which the past of a layer is computed at once


@dataclass(frozen=True)
class Packed:
    """The weights of a WaveNet.

    Attributes:
        first: Rows that a class adds to the stream, one sample earlier and now, shape (2, Q + 1, R
            tiles, 16); row Q is silence before the first sample.
        words: All tiles, each of 256 float32, or of 128 pairs of bfloat16 as uint32, in
            which the lower half belongs to the even input; shape (tiles, 256 or 128).
        tiles: First tile of each layer's past, present, features, residual and skip matrix, shape
            (L + 1, 5); the last row holds those of both output layers.
        biases: Of all layers, one behind the other.
        shifts: First bias of each layer's gates, residual and skip outputs, shape (L, 3).
        dilations: Dilation of each layer.
        ahead: Samples of which each layer computes the past at once: 1, 2, 4 or 8.
        widths: Numbers of tiles: of R, S, the features, E and Q, then of G for each layer.
    """

    first: Floats
    words: NDArray[np.float32] | NDArray[np.uint32]
    tiles: Places
    biases: Floats
    shifts: Places
    dilations: Places
    ahead: Places
    widths: Places

    @property
    def features(self) -> int:
        """Features of each sample, filled up to whole tiles."""
        return TILE * int(self.widths[2])


def pack(model: SampleModel, half: bool = False) -> Packed:
    """Copy the weights of a float32 model on the CPU into the layout of the loop.

    Args:
        model: A WaveNet.
        half: Whether weights of matrices are rounded to bfloat16; biases and the table of classes
            stay float32.
    """
    stream, skips = filled(model.first.out_channels), filled(model.out1.in_channels)
    features = filled(model.conditioning)
    gates = [filled(block.skip.in_channels) for block in model.blocks]
    matrices: list[Floats] = []
    biases: list[Floats] = []
    for block, gate in zip(model.blocks, gates, strict=True):
        these, added = _packed_block(block, stream, skips, features, gate)
        matrices += these
        biases += added
    ends = [_tiled(_matrix(model.out1)), _tiled(_matrix(model.out2))]
    empty = np.zeros((0, TILE, TILE), np.float32)
    every = [*matrices, *ends, *[empty] * 3]
    starts = np.cumsum([0, *[len(each) for each in every]])[:-1]
    tiles = np.concatenate(every)
    table = np.zeros((2, model.classes + 1, stream), np.float32)
    weight, bias = _arrays(model.first)
    table[:, :-1, : weight.shape[0]] = weight.transpose(2, 1, 0)
    table[1, :, : weight.shape[0]] += bias
    end, classes = filled(model.out1.out_channels), filled(model.classes)
    return Packed(
        first=table.reshape(2, model.classes + 1, -1, TILE),
        words=_pairs(tiles) if half else tiles.reshape(len(tiles), -1),
        tiles=starts.reshape(-1, 5),
        biases=np.concatenate(biases),
        shifts=np.cumsum([0, *[len(each) for each in biases]])[:-1].reshape(-1, 3),
        dilations=np.array(model.dilations, np.int64),
        ahead=np.array([min(each, MOST_AHEAD) for each in model.dilations], np.int64),
        widths=np.array([stream, skips, features, end, classes, *gates], np.int64) // TILE,
    )


def filled(width: int) -> int:
    """Return the width of whole tiles."""
    return -(-width // TILE) * TILE


def _packed_block(
    block: GatedBlock, stream: int, skips: int, features: int, gate: int
) -> tuple[list[Floats], list[Floats]]:
    """Return the five matrices, tiled, and the three biases.

    The inputs of the gates are the stream one dilation earlier, the stream now and the features.
    """
    weight, bias = _arrays(block.dilated)
    half = weight.shape[0] // 2
    sources = [weight[:, :, 0], weight[:, :, 1]]
    gate_bias = np.zeros((2, gate), np.float32)
    gate_bias[:, :half] = bias.reshape(2, half)
    if block.cond is not None:
        given, added = _arrays(block.cond)
        sources.append(given[:, :, 0])
        gate_bias[:, :half] += added.reshape(2, half)
    into: list[Floats] = []
    for source, size in zip(sources, (stream, stream, features), strict=False):
        whole = np.zeros((size, 2, gate), np.float32)
        whole[: source.shape[1], :, :half] = source.T.reshape(-1, 2, half)
        into.append(_tiled(whole.reshape(size, -1)))
    if block.cond is None:
        into.append(np.zeros((0, TILE, TILE), np.float32))
    out: list[Floats] = []
    out_bias: list[Floats] = []
    for layer, width in ((block.res, stream), (block.skip, skips)):
        size = 0 if layer is None else width  # the last layer has no residual output
        matrix, shift = np.zeros((gate, size), np.float32), np.zeros(size, np.float32)
        if layer is not None:
            matrix[:half, : layer.out_channels] = _matrix(layer)
            shift[: layer.out_channels] = _arrays(layer)[1]
        out.append(_tiled(matrix))
        out_bias.append(shift)
    return [*into, *out], [gate_bias.reshape(-1), *out_bias]


def _arrays(layer: nn.Conv1d) -> tuple[Floats, Floats]:
    """Return weight (C', C, taps) and bias (C',) of a convolution, a zero where it has none."""
    weight = layer.weight.detach().numpy()
    if layer.bias is None:
        return weight, np.zeros(len(weight), np.float32)
    return weight, layer.bias.detach().numpy()


def _matrix(layer: nn.Conv1d) -> Floats:
    """Return the weight of a 1x1 convolution as a matrix (inputs, outputs)."""
    return layer.weight.detach().numpy()[:, :, 0].T


def _tiled(matrix: Floats) -> Floats:
    """Return a matrix (inputs, outputs) as tiles (inputs / 16 * outputs / 16, 16, 16).

    What is missing to whole tiles is zero.
    """
    inputs, outputs = matrix.shape
    whole = np.zeros((filled(inputs), filled(outputs)), np.float32)
    whole[:inputs, :outputs] = matrix
    tiles = whole.reshape(len(whole) // TILE, TILE, whole.shape[1] // TILE, TILE).transpose(
        0, 2, 1, 3
    )
    return np.ascontiguousarray(tiles).reshape(-1, TILE, TILE)


def _pairs(tiles: Floats) -> NDArray[np.uint32]:
    """Return tiles as words of two weights rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(tiles).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint32)
    words = rounded[:, 0::2] | (rounded[:, 1::2] << 16)
    return words.reshape(len(tiles), -1).astype(np.uint32)


def _products(rows: int) -> Callable[..., Any]:
    """Make the product of a few rows with a tiled matrix, added to rows of outputs.

    Each output adds its products one after the other, so that a sum does not depend on the number
    of rows.
    """

    @_intrinsic
    def product(typing, words, at, inputs, x_at, x_step, outputs, y_at, y_step, ins, outs):
        half = words.dtype == types.uint32

        def build(context, builder, signature, args):
            def data(place):
                array = context.make_array(signature.args[place])(context, builder, args[place])
                return builder.gep(array.data, [args[place + 1]])

            loop = _product_loop(builder.module, rows, half)
            builder.call(loop, [data(0), data(2), args[4], data(5), *args[7:]])
            return context.get_dummy_value()

        size = types.int64
        kinds = (words, size, inputs, size, size, outputs, *[size] * 4)
        return types.void(*kinds), build

    return product


def _product_loop(module: ir.Module, rows: int, half: bool) -> ir.Function:
    """Return the loop over all tiles as a function of a module, written once."""
    name = f"audioprune_wavenet_{rows}_{'bfloat16' if half else 'float32'}"
    if name in module.globals:
        return module.globals[name]
    size, number, whole = ir.IntType(64), ir.FloatType(), ir.VectorType(ir.IntType(32), TILE)
    vector, element = ir.VectorType(number, TILE), ir.IntType(32) if half else number
    floats = number.as_pointer()
    kinds = [element.as_pointer(), floats, size, floats, size, size, size]
    loop = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    loop.linkage = "linkonce_odr"
    loop.attributes.add("noinline")
    weights, inputs, x_step, outputs, y_step, ins, outs = loop.args
    add = module.declare_intrinsic(
        "llvm.fmuladd.v16f32", (), ir.FunctionType(vector, [vector] * 3)
    )
    builder = ir.IRBuilder(loop.append_basic_block())
    tile = ir.Constant(size, TILE * TILE // 2 if half else TILE * TILE)
    low, high = (ir.Constant(whole, [each] * TILE) for each in (16, 0xFFFF0000))
    nothing, lanes = ir.Constant(vector, ir.Undefined), ir.Constant(whole, [0] * TILE)

    def load(pointer: Any, offset: int, kind: Any) -> Any:
        moved = builder.gep(pointer, [ir.Constant(size, offset)])
        found = builder.load(builder.bitcast(moved, kind.as_pointer()))
        found.align = 4
        return found

    def row_of(pointer: Any, step: Any, row: int, first: Any) -> Any:
        offset = builder.add(builder.mul(step, ir.Constant(size, row)), first)
        return builder.gep(pointer, [offset])

    def add_tiles(j: Any, o: Any, count: int) -> None:
        """Add the products of one tile of inputs with a few tiles side by side."""
        own = builder.mul(builder.add(builder.mul(j, outs), o), tile)
        x, y = (builder.mul(each, ir.Constant(size, TILE)) for each in (j, o))
        sources = [row_of(inputs, x_step, row, x) for row in range(rows)]
        targets = [row_of(outputs, y_step, row, y) for row in range(rows)]
        matrix = builder.gep(weights, [own])
        sums = [[load(each, TILE * i, vector) for i in range(count)] for each in targets]
        words = TILE * TILE // 2 if half else TILE * TILE
        for k in range(TILE):
            if half and k % 2 == 0:
                pairs = [load(matrix, words * i + TILE * k // 2, whole) for i in range(count)]
            if half:
                bits = [
                    builder.and_(pair, high) if k % 2 else builder.shl(pair, low) for pair in pairs
                ]
                each_weight = [builder.bitcast(each, vector) for each in bits]
            else:
                each_weight = [load(matrix, words * i + TILE * k, vector) for i in range(count)]
            for source, totals in zip(sources, sums, strict=True):
                value = builder.load(builder.gep(source, [ir.Constant(size, k)]))
                one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
                every = builder.shuffle_vector(one, nothing, lanes)
                for i, weight in enumerate(each_weight):
                    totals[i] = builder.call(add, [every, weight, totals[i]])
        for target, totals in zip(targets, sums, strict=True):
            for i, total in enumerate(totals):
                moved = builder.gep(target, [ir.Constant(size, TILE * i)])
                builder.store(total, builder.bitcast(moved, vector.as_pointer())).align = 4

    two = ir.Constant(size, 2)
    with for_range(builder, ins) as over_ins:
        with for_range(builder, builder.udiv(outs, two)) as over_outs:
            add_tiles(over_ins.index, builder.mul(over_outs.index, two), 2)
        with builder.if_then(builder.trunc(outs, ir.IntType(1))):
            add_tiles(over_ins.index, builder.sub(outs, ir.Constant(size, 1)), 1)
    builder.ret_void()
    return loop


_one_row, _two_rows, _four_rows, _eight_rows = (_products(rows) for rows in (1, 2, 4, 8))


@_intrinsic
def look(typing, counters, at):
    """Return a number that another core may change, and see all that it wrote before."""

    def build(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(array.data, [args[1]]), "acquire", 8)

    return types.int64(counters, types.int64), build


@_intrinsic
def tell(typing, counters, at, value):
    """Change a number after all that this core wrote before."""

    def build(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        builder.store_atomic(args[2], builder.gep(array.data, [args[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(counters, types.int64, types.int64), build


@_intrinsic
def _give_way(typing):
    """Let another thread have the core."""

    def build(context, builder, signature, args):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), build


@compiled(error_model="numpy")
def wait_for(counters, at, least):
    """Return once a number is large enough."""
    looks = 0
    while look(counters, at) < least:
        looks += 1
        if looks > PATIENCE:
            _give_way()


@compiled(error_model="numpy")
def add_products(words, first, ins, outs, inputs, x_at, x_step, outputs, y_at, y_step, rows):
    """Add to rows of outputs the rows of inputs times a tiled matrix.

    Args:
        words: Weights as of ``Packed``.
        first: Number of the first tile of the matrix.
        ins: Tiles of inputs.
        outs: Tiles of outputs.
        inputs: Flat; row r begins at ``x_at + r * x_step``.
        outputs: Flat; row r begins at ``y_at + r * y_step``.
        rows: Number of rows.
    """
    at, x, y = first * words.shape[1], x_at, y_at
    while rows >= 8:
        _eight_rows(words, at, inputs, x, x_step, outputs, y, y_step, ins, outs)
        x, y, rows = x + 8 * x_step, y + 8 * y_step, rows - 8
    if rows >= 4:
        _four_rows(words, at, inputs, x, x_step, outputs, y, y_step, ins, outs)
        x, y, rows = x + 4 * x_step, y + 4 * y_step, rows - 4
    if rows >= 2:
        _two_rows(words, at, inputs, x, x_step, outputs, y, y_step, ins, outs)
        x, y, rows = x + 2 * x_step, y + 2 * y_step, rows - 2
    if rows:
        _one_row(words, at, inputs, x, x_step, outputs, y, y_step, ins, outs)
