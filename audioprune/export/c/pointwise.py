"""What operators that map each value alone become in C: ``expression``.

``UNARY`` and ``BINARY`` hold a piece of C for each; ``{a}`` and ``{b}`` are the values, ``{0}``,
``{1}`` further numbers of the operator with their defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import fx

from audioprune.export.c.lowering import Lowering, empty
from audioprune.export.c.program import Array, refuse

UNARY: dict[str, tuple[str, tuple[float, ...]]] = {
    "relu": ("{a} > 0.0f ? {a} : 0.0f", ()),
    "sigmoid": ("ap_sigmoid({a})", ()),
    "tanh": ("tanhf({a})", ()),
    "elu": ("{a} > 0.0f ? {1} * {a} : {0} * {1} * (expf({2} * {a}) - 1.0f)", (1.0, 1.0, 1.0)),
    "leaky_relu": ("{a} > 0.0f ? {a} : {0} * {a}", (0.01,)),
    "silu": ("{a} * ap_sigmoid({a})", ()),
    "gelu": ("0.5f * {a} * (1.0f + erff({a} * 0.70710678f))", ()),
    "softplus": ("{0} * {a} > {1} ? {a} : log1pf(expf({0} * {a})) / {0}", (1.0, 20.0)),
    "sqrt": ("sqrtf({a})", ()),
    "rsqrt": ("1.0f / sqrtf({a})", ()),
    "square": ("{a} * {a}", ()),
    "abs": ("fabsf({a})", ()),
    "neg": ("-{a}", ()),
    "exp": ("expf({a})", ()),
    "log": ("logf({a})", ()),
    "log2": ("log2f({a})", ()),
    "log10": ("log10f({a})", ()),
    "log1p": ("log1pf({a})", ()),
    "sin": ("sinf({a})", ()),
    "cos": ("cosf({a})", ()),
    "reciprocal": ("1.0f / {a}", ()),
    "clamp_min": ("{a} > {0} ? {a} : {0}", (0.0,)),
    "clamp_max": ("{a} < {0} ? {a} : {0}", (0.0,)),
    "selu": (
        "{a} > 0.0f ? 1.05070098f * {a} : 1.75809932f * (expf({a}) - 1.0f)",
        (),
    ),
    "celu": ("{a} > 0.0f ? {a} : {0} * (expf({a} / {0}) - 1.0f)", (1.0,)),
    "hardsigmoid": ("ap_clamp({a} / 6.0f + 0.5f, 0.0f, 1.0f)", ()),
    "hardswish": ("{a} * ap_clamp({a} / 6.0f + 0.5f, 0.0f, 1.0f)", ()),
    "mish": ("{a} * tanhf({a} > 20.0f ? {a} : log1pf(expf({a})))", ()),
    "relu6": ("ap_clamp({a}, 0.0f, 6.0f)", ()),
    "log_sigmoid": ("{a} < 0.0f ? {a} - log1pf(expf({a})) : -log1pf(expf(-{a}))", ()),
    "hardshrink": ("{a} > {0} || {a} < -{0} ? {a} : 0.0f", (0.5,)),
    "softshrink": ("{a} > {0} ? {a} - {0} : ({a} < -{0} ? {a} + {0} : 0.0f)", (0.5,)),
    "threshold": ("{a} > {0} ? {a} : {1}", (0.0, 0.0)),
    "sign": ("(float)({a} > 0.0f) - (float)({a} < 0.0f)", ()),
    "floor": ("floorf({a})", ()),
    "ceil": ("ceilf({a})", ()),
    "round": ("rintf({a})", ()),
    "trunc": ("truncf({a})", ()),
    "erf": ("erff({a})", ()),
    "expm1": ("expm1f({a})", ()),
    "exp2": ("exp2f({a})", ()),
    "sinh": ("sinhf({a})", ()),
    "cosh": ("coshf({a})", ()),
    "tan": ("tanf({a})", ()),
    "asin": ("asinf({a})", ()),
    "acos": ("acosf({a})", ()),
    "atan": ("atanf({a})", ()),
    "logical_not": ("{a} == 0.0f ? 1.0f : 0.0f", ()),
    "hardtanh": ("{a} < {0} ? {0} : ({a} > {1} ? {1} : {a})", (-1.0, 1.0)),
}
_GELU_TANH = "0.5f * {a} * (1.0f + tanhf(0.79788456f * ({a} + 0.044715f * {a} * {a} * {a})))"
BINARY = {
    "add": "{a} + {b}",
    "sub": "{a} - {b}",
    "rsub": "{b} - {a}",
    "mul": "{a} * {b}",
    "div": "{a} / {b}",
    "pow": "powf({a}, {b})",
    "maximum": "{a} > {b} ? {a} : {b}",
    "minimum": "{a} < {b} ? {a} : {b}",
    "ge": "{a} >= {b} ? 1.0f : 0.0f",
    "gt": "{a} > {b} ? 1.0f : 0.0f",
    "le": "{a} <= {b} ? 1.0f : 0.0f",
    "lt": "{a} < {b} ? 1.0f : 0.0f",
    "eq": "{a} == {b} ? 1.0f : 0.0f",
    "ne": "{a} != {b} ? 1.0f : 0.0f",
    "logical_and": "{a} != 0.0f && {b} != 0.0f ? 1.0f : 0.0f",
    "logical_or": "{a} != 0.0f || {b} != 0.0f ? 1.0f : 0.0f",
    "fmod": "fmodf({a}, {b})",
    "remainder": "{a} - floorf({a} / {b}) * {b}",
    "atan2": "atan2f({a}, {b})",
}


def expression(made: Lowering, node: Any, name: str) -> Array:
    """Say the loop of an operator and return its result.

    Args:
        made: The lowering.
        node: The operator.
        name: Its name, one of ``UNARY`` or ``BINARY``.
    """
    to = made.out(node)
    if name in UNARY:
        template, defaults = UNARY[name]
        numbers = [each for each in node.args[1:] if isinstance(each, int | float)]
        if name == "gelu" and node.kwargs.get("approximate") == "tanh":
            template = _GELU_TANH
        if len(numbers) > len(defaults) or set(node.kwargs) - {"approximate"}:
            return refuse(node, "with options")
        given = [c_number(each) for each in (*numbers, *defaults[len(numbers) :])]
        text = template.format(*given, a="a[i]")
        _loop(made, to, text, {"a": made.array(node.args[0])})
        return to
    alpha, rounding = node.kwargs.get("alpha", 1), node.kwargs.get("rounding_mode")
    if not isinstance(alpha, int | float) or rounding not in (None, "floor", "trunc"):
        return refuse(node, "with options")
    sides = [_side(made, each, to.shape) for each in node.args[:2]]
    words = {"a": _word("a", sides[0]), "b": _word("b", sides[1])}
    if alpha != 1:
        scaled = "a" if name == "rsub" else "b"
        words[scaled] = f"{c_number(alpha)} * {words[scaled]}"
    text = BINARY[name].format(**words)
    if rounding is not None:
        text = f"{rounding}f({text})"
    if text == "powf(a[i], 2.0f)":
        text = "a[i] * a[i]"
    _loop(made, to, text, _arrays(zip("ab", sides, strict=True)))
    return to


def clamped(made: Lowering, node: Any) -> Array:
    """Say the bounds of ``clamp``, each a number or left out."""
    to, bounds = made.out(node), [*node.args[1:], None, None][:2]
    bounds = [
        node.kwargs.get(key, value) for key, value in zip(("min", "max"), bounds, strict=True)
    ]
    if not all(value is None or isinstance(value, int | float) for value in bounds):
        return refuse(node, "by bounds that are no numbers")
    low, high = (
        c_number(infinite if value is None else value)
        for value, infinite in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    _loop(made, to, f"ap_clamp(a[i], {low}, {high})", {"a": made.array(node.args[0])})
    return to


def chosen(made: Lowering, node: Any) -> Array:
    """Say a choice between two values, as ``where`` and ``masked_fill`` make it."""
    if name_is_fill(node):
        values, condition, other = node.args[:3]
        order = (condition, other, values)
    else:
        order = node.args[:3]
    to = made.out(node)
    sides = [_side(made, each, to.shape) for each in order]
    test, yes, no = (_word(name, side) for name, side in zip("abc", sides, strict=True))
    arrays = _arrays(zip("abc", sides, strict=True))
    _loop(made, to, f"{test} != 0.0f ? {yes} : {no}", arrays)
    return to


def name_is_fill(node: Any) -> bool:
    """Tell whether an operator is ``masked_fill``, whose arguments have another order."""
    return "masked_fill" in str(node.target)


def _word(name: str, side: Array | str) -> str:
    return f"{name}[i]" if isinstance(side, Array) else side


def _arrays(pairs: Iterable[tuple[str, Array | str]]) -> dict[str, Array]:
    return {name: side for name, side in pairs if isinstance(side, Array)}


def _loop(made: Lowering, to: Array, text: str, arrays: Mapping[str, Array]) -> None:
    pieces: list[Any] = ["{ float *to = ", to, "; "]
    for name, array in arrays.items():
        pieces += [f"const float *{name} = ", array, "; "]
    pieces.append(f"size_t i; for (i = 0; i < {to.size}; i++) to[i] = {text}; }}")
    made.program.say(*pieces)


def _side(made: Lowering, value: Any, shape: tuple[int, ...]) -> Array | str:
    """Return an operand as an array of the result's shape, or as a number."""
    if not isinstance(value, fx.Node):
        return c_number(value)
    known = made.values[value]
    if isinstance(known, int | float):
        return c_number(known)
    if isinstance(known, torch.Tensor) and known.numel() == 1:
        return c_number(float(known.detach()))
    source = made.array(value)
    return made.viewed(source, empty(source.shape).expand(shape), value)


def c_number(value: Any) -> str:
    """Return a number as C writes it; infinities and NaN are macros of math.h."""
    text = repr(float(value))
    named = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}
    if text in named:
        return named[text]
    return f"({text}f)" if text.startswith("-") else f"{text}f"
