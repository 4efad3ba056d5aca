"""What operators that map each value alone become in C: ``expression``.

``UNARY`` and ``BINARY`` hold a piece of C for each; ``{a}`` and ``{b}`` are the values, ``{0}``,
``{1}`` further numbers of the operator with their defaults.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

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
    "hardtanh": ("{a} < {0} ? {0} : ({a} > {1} ? {1} : {a})", (-1.0, 1.0)),
}
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
    "atan2": "atan2f({a}, {b})",
}


def expression(made: Any, node: Any, name: str) -> Array:
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
        if len(numbers) > len(defaults) or node.kwargs.get("approximate", "none") != "none":
            return refuse(node, "with options")
        given = [c_number(each) for each in (*numbers, *defaults[len(numbers) :])]
        text = template.format(*given, a="a[i]")
        _loop(made, to, text, made.array(node.args[0]), None)
        return to
    if node.kwargs.get("alpha", 1) != 1 or (name == "div" and node.kwargs.get("rounding_mode")):
        return refuse(node, "with options")
    sides = [_side(made, each, to.shape) for each in node.args[:2]]
    text = BINARY[name].format(
        a="a[i]" if isinstance(sides[0], Array) else sides[0],
        b="b[i]" if isinstance(sides[1], Array) else sides[1],
    )
    if text == "powf(a[i], 2.0f)":
        text = "a[i] * a[i]"
    arrays = [side if isinstance(side, Array) else None for side in sides]
    _loop(made, to, text, *arrays)
    return to


def _loop(made: Any, to: Array, text: str, a: Array | None, b: Array | None) -> None:
    pieces: list[Any] = ["{ float *to = ", to, "; "]
    for name, array in (("a", a), ("b", b)):
        if array is not None:
            pieces += [f"const float *{name} = ", array, "; "]
    pieces.append(f"size_t i; for (i = 0; i < {to.size}; i++) to[i] = {text}; }}")
    made.program.say(*pieces)


def _side(made: Any, value: Any, shape: tuple[int, ...]) -> Array | str:
    """Return an operand as an array of the result's shape, or as a number."""
    if not isinstance(value, fx.Node):
        return c_number(value)
    known = made.values[value]
    if isinstance(known, int | float):
        return c_number(known)
    if isinstance(known, torch.Tensor) and known.numel() == 1:
        return c_number(float(known.detach()))
    source: Array = made.array(value)
    view = torch.empty(source.shape, device="meta").expand(shape)
    if source.size == view.numel():
        return Array(source.place, shape, source.offset)
    to: Array = made.program.new(shape)
    made.copy(to, torch.empty(shape, device="meta"), source, view)
    return to


def c_number(value: Any) -> str:
    """Return a number as C writes it; infinities and NaN are macros of math.h."""
    text = repr(float(value))
    named = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}
    if text in named:
        return named[text]
    return f"({text}f)" if text.startswith("-") else f"{text}f"
