"""What a way to quantise is: ``Quantizer``, and what it makes of a tensor: ``Quantized``.

Two ways exist: k-means codebooks (kmeans.py) and uniform grids (uniform.py). Steps, files and
sizes know these contracts alone; ``quantize_with_`` does it to a model. How many bits a tensor
gets is chosen elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from audioprune.compress.ties import check_ties
from audioprune.compress.units.module_sizes import gates_of
from audioprune.errors import ConfigError, DivergedError, unknown_name

PER = ("tensor", "gate", "channel")
_TRANSPOSED = nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True)
class Channels:
    """Which weights of a tensor share a scale: neighbouring indices of one axis.

    Attributes:
        axis: The axis.
        count: Number of scales G; the axis falls into G parts of the same length. With 1 the whole
            tensor has one.
    """

    axis: int = 0
    count: int = 1


@runtime_checkable
class Quantized(Protocol):
    """The quantised form of one tensor: few allowed values, and a code for each coded weight.

    Attributes:
        has_zero: Whether zero is one of the values. Then a tensor without a mask has a code for
            every weight, otherwise for those that are not zero.
    """

    has_zero: bool

    @property
    def codes(self) -> Tensor:
        """Codes of the coded weights in row-major order, shape (S,)."""
        ...

    @property
    def levels(self) -> int:
        """Number of allowed values K, at most, of a weight."""
        ...

    @property
    def bits(self) -> float:
        """Bits of all codes at a fixed length and of what they refer to, without positions."""
        ...

    @property
    def side_bits(self) -> float:
        """Bits of what the codes refer to: codebook, or scales and zero points."""
        ...

    @property
    def told(self) -> str:
        """What tables call this form, such as ``uniform, 4 bits``."""
        ...

    def restore(self, keep: Tensor) -> Tensor:
        """Return the whole tensor; coded weights lie where ``keep`` is true, zeros elsewhere."""
        ...

    def project(self, weight: Tensor, keep: Tensor) -> Tensor:
        """Return the nearest allowed value of every weight, and zeros where ``keep`` is false."""
        ...

    def passes(self, weight: Tensor) -> Tensor:
        """Tell of every weight whether it is not clipped, so that its gradient counts."""
        ...

    def recoded(self, weight: Tensor, keep: Tensor) -> Quantized:
        """Return the form of a tensor whose weights are allowed values already, bit for bit."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what stores this form, by the name of each part."""
        ...


class Quantizer(Protocol):
    """A way to quantise a tensor."""

    @property
    def per(self) -> str:
        """What shares a scale: one of ``PER``."""
        ...

    def kept(self, weight: Tensor) -> Tensor:
        """Return which weights get a code where no mask says so."""
        ...

    def quantize(self, weight: Tensor, channels: Channels, keep: Tensor | None) -> Quantized:
        """Return the quantised form of a float32 tensor, which stays as it is."""
        ...


def channels_of(model: nn.Module, name: str, per: str) -> Channels:
    """Return which weights of a parameter share a scale.

    Output channels are rows, or the second axis of a transposed convolution, whose groups share
    them. The rows of an LSTM's or GRU's matrix are units of its gates, one gate after the other.

    Args:
        model: The network.
        name: Name of a parameter of two or more axes.
        per: ``tensor``; ``gate``, one scale for each gate of a recurrent layer, and for any other
            tensor; or ``channel``.

    Raises:
        ConfigError: ``per`` is none of these.
    """
    if per not in PER:
        raise ConfigError(unknown_name("per", per, PER))
    owner, _, own = name.rpartition(".")
    layer, shape = model.get_submodule(owner), model.get_parameter(name).shape
    if per == "tensor" or not shape:
        return Channels()
    if per == "gate":
        gates = gates_of(layer)
        recurrent = own.startswith(("weight_ih", "weight_hh"))
        return Channels(0, gates if recurrent and shape[0] % gates == 0 else 1)
    axis = 1 if isinstance(layer, _TRANSPOSED) and own == "weight" else 0
    return Channels(axis, max(1, shape[axis]))


def quantize_with_(
    model: nn.Module, mask: Mapping[str, Tensor] | None, quantizers: Mapping[str, Quantizer]
) -> dict[str, Quantized]:
    """Replace the weights of the named tensors by their quantised values, in place.

    Removed weights stay zero. All arguments and all weights are checked before the first tensor is
    changed.

    Args:
        model: The network.
        mask: Survivors by parameter name; a tensor that has no entry keeps its zeros.
        quantizers: How each named tensor is quantised.

    Returns:
        The form of each named tensor, in the order of ``quantizers``, on the CPU.

    Raises:
        ConfigError: A name is no parameter of the model, a number is out of range, or two
            parameters share memory, see ``check_ties``.
        DivergedError: A weight is NaN or infinite; the message names the tensor.
    """
    forms = forms_of(model, mask, quantizers)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, form in forms.items():
            weight, given = parameters[name], entry(mask, name)
            keep = quantizers[name].kept(weight) if given is None else given.to(weight.device)
            weight.copy_(form.restore(keep))
    return forms


def forms_of(
    model: nn.Module, mask: Mapping[str, Tensor] | None, quantizers: Mapping[str, Quantizer]
) -> dict[str, Quantized]:
    """Return what ``quantize_with_`` returns for the same arguments; the model stays as it is.

    Raises:
        ConfigError: As ``quantize_with_`` does.
        DivergedError: As ``quantize_with_`` does.
    """
    parameters = dict(model.named_parameters())
    for name in quantizers:
        if name not in parameters:
            raise ConfigError(unknown_name("parameter", name, parameters))
    check_ties(model)
    forms: dict[str, Quantized] = {}
    for name, quantizer in quantizers.items():
        channels = channels_of(model, name, quantizer.per)
        try:
            forms[name] = quantizer.quantize(parameters[name], channels, entry(mask, name))
        except (ConfigError, DivergedError) as error:
            raise type(error)(f"{name}: {error}") from None
    return forms


def entry(mask: Mapping[str, Tensor] | None, name: str) -> Tensor | None:
    """Return the survivors that a mask names, or None."""
    return mask[name] if mask is not None and name in mask else None


def check_kept(keep: Tensor, codes: Tensor) -> None:
    """Refuse a mask that does not have as many true positions as there are codes.

    Raises:
        ConfigError: It does not.
    """
    kept = int(keep.count_nonzero())
    if kept != codes.numel():
        raise ConfigError(
            f"expected a mask that keeps {codes.numel()} weights, got {kept}; use the mask of the "
            f"same quantization"
        )


def check_weight(weight: Tensor, keep: Tensor | None, what: str) -> None:
    """Refuse a tensor that is not float32, and a mask that is not its own.

    Raises:
        ConfigError: It is.
    """
    if weight.dtype != torch.float32:
        raise ConfigError(
            f"expected float32 weights for {what}, got {weight.dtype}; convert the model with "
            f".float() first"
        )
    if keep is not None and (keep.shape != weight.shape or keep.dtype != torch.bool):
        got = f"{keep.dtype} {tuple(keep.shape)}"
        raise ConfigError(
            f"expected a bool mask of shape {tuple(weight.shape)}, got {got}; use the model's "
            f"own mask"
        )
