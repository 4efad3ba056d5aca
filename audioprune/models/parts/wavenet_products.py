"""How rows of numbers are multiplied by tiled weights, and how two cores tell each other how far.

``add_products`` is the one product of the compiled loop of WaveNet, in ``wavenet_kernels``: rows
(rows, 16 ins) times tiles of 16 x 16 weights, float32 or pairs of bfloat16, added to (rows, 16
outs). ``wait_for`` and ``tell`` pass numbers between cores. It never allocates. Importing it
imports numba, which keeps what it compiled of ``wavenet_kernels`` when only this file changes:
remove ``__pycache__`` then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import for_range, get_or_insert_function
from numba.extending import intrinsic

from audioprune.compiled import compiled
from audioprune.models.parts.wavenet_packing import TILE

PATIENCE = 4000  # looks at a number that another core will change, before the core is given up


def _products(rows: int) -> Callable[..., Any]:
    """Make the product of a few rows with a tiled matrix, added to rows of outputs.

    Each output adds its products one after the other, so that a sum does not depend on the number
    of rows.
    """

    @intrinsic
    def product(typing, words, at, inputs, x_at, x_step, outputs, y_at, y_step, ins, outs):  # type: ignore[no-untyped-def]
        half = words.dtype == types.uint32

        def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
            def data(place):  # type: ignore[no-untyped-def]
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


@intrinsic
def look(typing, counters, at):  # type: ignore[no-untyped-def]
    """Return a number that another core may change, and see all that it wrote before."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(array.data, [args[1]]), "acquire", 8)

    return types.int64(counters, types.int64), build


@intrinsic
def tell(typing, counters, at, value):  # type: ignore[no-untyped-def]
    """Change a number after all that this core wrote before."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, args[0])
        builder.store_atomic(args[2], builder.gep(array.data, [args[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(counters, types.int64, types.int64), build


@intrinsic
def _give_way(typing):  # type: ignore[no-untyped-def]
    """Let another thread have the core."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
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
