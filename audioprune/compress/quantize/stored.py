"""How quantised forms become named tensors of a state file: ``as_tensors``, ``from_tensors``.

Only dense state files hold them so; what is passed on is packed (audioprune/packing).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.quantize.kmeans import Codebook
from audioprune.compress.quantize.uniform import Grid

PARTS = ("centroids", "scales", "zeros", "form", "codes")
"""Names of the parts of all forms."""


def as_tensors(forms: Mapping[str, Quantized] | None) -> dict[str, Tensor]:
    """Return the parts of every form as ``PART/NAME``."""
    named: dict[str, Tensor] = {}
    for name, form in (forms or {}).items():
        named |= {f"{part}/{name}": tensor for part, tensor in form.tensors().items()}
    return named


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Quantized]:
    """Rebuild what ``as_tensors`` returned; other tensors are ignored."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part in parts:
            parts[part][name] = tensor
    codes = parts["codes"]
    forms: dict[str, Quantized] = {}
    for name, centroids in parts["centroids"].items():
        forms[name] = Codebook(centroids, codes[name])
    for name, scales in parts["scales"].items():
        steps, axis = parts["form"][name].tolist()
        forms[name] = Grid(scales, parts["zeros"][name], steps, axis, codes[name])
    return forms
