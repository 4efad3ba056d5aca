"""What transforms of real values become in C: ``SPECTRA``, rules of ``rfft`` and of what follows.

A complex value is a pair of arrays, real and imaginary part, as an operator behind it wants them:
magnitude, angle, or both parts. The transform is computed as it is defined, from a table of a
turn in ROM. Inverse transforms have no C form; `samples` writes them as matrices.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from audioprune.export.c.lowering import Lowering, empty
from audioprune.export.c.pointwise import expression
from audioprune.export.c.program import Array, refuse


def _transform(made: Lowering, node: Any) -> Any:
    source = made.array(node.args[0])
    given = [*node.args[1:], *[None] * 3][:3]
    n = node.kwargs.get("n", given[0])
    dim = node.kwargs.get("dim", -1 if given[1] is None else given[1]) % len(source.shape)
    norm = node.kwargs.get("norm", given[2])
    size = source.shape[dim]
    if dim != len(source.shape) - 1 or n not in (None, size) or norm not in (None, "backward"):
        return refuse(node, "over another axis than the last, of another length or scaled")
    angles = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
    name = made.program.constant(torch.cat((angles.cos(), angles.sin())), f"turn_{size}")
    bins, rows = size // 2 + 1, source.size // size
    parts = [made.program.new([*source.shape[:-1], bins]) for _ in range(2)]
    made.program.macs += 2 * rows * size * bins
    sizes = f"{rows}, {size}, {bins}, {name}"
    made.program.say("ap_rfft(", parts[0], ", ", parts[1], ", ", source, f", {sizes});")
    return tuple(parts)


def _parts(made: Lowering, node: Any) -> tuple[Array, Array]:
    value = made.values[node.args[0]]
    if not isinstance(value, tuple):
        return refuse(node, "of a real value")
    return value


def _magnitude(made: Lowering, node: Any) -> Any:
    if not isinstance(made.values[node.args[0]], tuple):
        return expression(made, node, "abs")
    real, imag = _parts(made, node)
    to = made.out(node)
    made.program.say("ap_hypot(", to, ", ", real, ", ", imag, f", {to.size});")
    return to


def _stacked(made: Lowering, node: Any) -> Array:
    parts = _parts(made, node)
    to = made.out(node)
    for i, part in enumerate(parts):
        made.copy(to, empty(to.shape)[..., i], part, empty(part.shape))
    return to


def _part(place: int) -> Any:
    return lambda made, node: _parts(made, node)[place]


SPECTRA = {
    "fft_rfft": _transform,
    "abs": _magnitude,
    "view_as_real": _stacked,
    "real": _part(0),
    "imag": _part(1),
}
