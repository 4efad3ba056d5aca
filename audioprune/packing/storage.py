"""How large a compressed model is, counted in the ways that papers and users mean: ``storage``.

Nothing is written here. ``fp32`` is 4 bytes a parameter, ``paper`` codewords and codebooks without
positions, ``ideal`` the entropy of positions and codes. The fourth, the bytes of the real file, is
the size of what container.py writes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audioprune.compress.quantize.contract import Quantized
from audioprune.errors import ConfigError


@dataclass(frozen=True)
class TensorStorage:
    """The sizes of one tensor.

    Attributes:
        name: Name in the state dict.
        weights: Number of elements.
        kept: Elements that the mask keeps; without a mask, those of a weight that are not 0, and
            all of a vector; of a quantised tensor, the survivors.
        levels: Number of shared values, 0 if not quantised.
        bytes_fp32: 4 bytes an element; 0 for a buffer.
        bytes_paper: Codewords and codebook, or 4 bytes a kept element; 0 for a buffer.
        bytes_ideal: Entropy of the positions and of the codes, codebook, or the kept elements at
            their width.
    """

    name: str
    weights: int
    kept: int
    levels: int
    bytes_fp32: int
    bytes_paper: float
    bytes_ideal: float


@dataclass(frozen=True)
class Storage:
    """The sizes of a model: sums over its tensors."""

    bytes_fp32: int
    bytes_paper: float
    bytes_ideal: float
    per_tensor: tuple[TensorStorage, ...]


def storage(
    state: Mapping[str, Tensor],
    mask: Mapping[str, Tensor] | None = None,
    codebooks: Mapping[str, Quantized] | None = None,
    *,
    parameters: Collection[str] | None = None,
    constants: Collection[str] = (),
) -> Storage:
    """Count the bytes of a model in three ways.

    ``paper`` is, summed over tensors, n log2(K) + 32 K bits for n survivors with K shared values,
    with log2(K) as it is, not rounded up where K is no power of two, and 32 bits for each kept
    parameter that is not quantised. A uniform grid of b bits takes n b bits, 32 for each scale and
    b for each zero point. It has no positions and cannot be decoded alone. ``ideal``
    adds the positions at the entropy of each tensor's density and takes the codes at the entropy
    of their frequencies; a real file may be smaller, since it also models where in a tensor the
    weights are. ``fp32`` and ``paper`` count parameters only, so that ``fp32`` is 4 bytes times
    the parameter count; ``ideal`` and the file also hold the buffers. A weight of two or more
    dimensions without a mask counts its zeros as removed, however they came about: a sparse
    optimiser leaves zeros and no mask. A frozen parameter is a constant, whose zeros nobody
    removed.

    Args:
        state: Tensors by name, as from ``state_dict()``.
        mask: Kept positions by name (a ``Mask`` or a dict of bool tensors).
        codebooks: Codebooks and grids, as from ``quantize_with_``.
        parameters: Names in ``state`` that are parameters, rather than buffers such as running
            statistics; None takes all.
        constants: Parameters that are frozen.

    Raises:
        ConfigError: A mask or codebook names no tensor, or their counts disagree.

    Source: Tan & Wang (ICASSP 2021), Table 2; the accounting is not stated there, this reading
    reproduces its magnitude.
    """
    books = codebooks or {}
    for name in [*(mask or ()), *books]:
        if name not in state:
            raise ConfigError(
                f"expected masks and codebooks of tensors in the state, got '{name}'; use those "
                f"of the same model"
            )
    rows = []
    for name, tensor in state.items():
        keep = mask[name] if mask is not None and name in mask else None
        is_parameter = parameters is None or name in parameters
        if keep is None and name in constants:
            keep = torch.ones_like(tensor, dtype=torch.bool)
        rows.append(_of_tensor(name, tensor, keep, books.get(name), is_parameter))
    return Storage(
        sum(row.bytes_fp32 for row in rows),
        sum(row.bytes_paper for row in rows),
        sum(row.bytes_ideal for row in rows),
        tuple(rows),
    )


def storage_of(
    model: nn.Module,
    mask: Mapping[str, Tensor] | None = None,
    codebooks: Mapping[str, Quantized] | None = None,
) -> Storage:
    """Count the bytes of a model, telling weights from constants and buffers; see ``storage``."""
    parameters = dict(model.named_parameters())
    frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    return storage(model.state_dict(), mask, codebooks, parameters=parameters, constants=frozen)


def _of_tensor(
    name: str, tensor: Tensor, keep: Tensor | None, book: Quantized | None, trained: bool
) -> TensorStorage:
    size = tensor.numel()
    kept = _kept(tensor, keep, book, trained)
    if book is not None and book.codes.numel() != kept:
        raise ConfigError(
            f"{name}: expected {kept} codes, one for each kept weight, got "
            f"{book.codes.numel()}; quantize with this mask"
        )
    if book is None:
        paper_bits, ideal_bits = 32.0 * kept, 8.0 * tensor.dtype.itemsize * kept
    else:
        counts = torch.bincount(book.codes.long(), minlength=1)
        paper_bits, ideal_bits = book.bits, _entropy_bits(counts) + book.side_bits
    ideal_bits += _entropy_bits(torch.tensor([kept, size - kept]))
    return TensorStorage(
        name,
        size,
        kept,
        book.levels if book else 0,
        4 * size if trained else 0,
        paper_bits / 8 if trained else 0.0,
        ideal_bits / 8,
    )


def _kept(tensor: Tensor, keep: Tensor | None, book: Quantized | None, trained: bool) -> int:
    """Count the elements that have to be stored."""
    if keep is not None:
        return int(keep.count_nonzero())
    if book is not None:
        return book.codes.numel()
    # A bias or a scale of 0 is a value like any other.
    return int(tensor.count_nonzero()) if trained and tensor.dim() > 1 else tensor.numel()


def _entropy_bits(counts: Tensor) -> float:
    """Return the bits of a sequence with these symbol counts under its own frequencies."""
    used = counts[counts > 0].double()
    return float((used * torch.log2(used.sum() / used)).sum())
