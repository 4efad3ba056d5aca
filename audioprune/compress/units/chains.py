"""The unit sets of a plain chain of layers, each of which reads the output of the one before.

``chain_units`` takes an ``nn.Sequential`` or named layers. It opens units at the layer that writes
them (``open_units``), leads them through what keeps them apart (``follow_units``) and closes them
at the layer that reads them (``close_units``). It runs nothing; models with branches use builders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from audioprune.compress.units.builders import (
    Slices,
    batch_norm,
    conv_in,
    conv_out,
    depthwise,
    layer_norm,
    linear_in,
    linear_out,
    lstm_in,
    prelu,
    recurrent_units,
)
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError

Layer = nn.Linear | _ConvNd | nn.RNNBase
# fmt: off
_ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU,
    nn.SiLU, nn.Mish, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Softsign, nn.Tanhshrink,
    nn.Softshrink, nn.Hardshrink, nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus,
    nn.Threshold,
)
_DROPOUT = (
    nn.Dropout, nn.AlphaDropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout,
)
CHANNELWISE = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.LPPool1d, nn.LPPool2d,
    nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d,
    nn.ReplicationPad1d, nn.ReplicationPad2d,
)
# fmt: on


@dataclass(frozen=True)
class OpenUnits:
    """Units that a layer has written and no layer has read yet.

    Attributes:
        name: Name of the layer that wrote them.
        slices: What they own so far.
        unit_at: The unit at each position of the current output's axis, shape (axis length,).
        count: Number of units U.
        exact: See ``UnitSet``.
        features_last: Whether the units lie on the last axis, as after a linear layer, not on the
            channel axis.
        flattened: Whether other axes were merged into the units' axis by a factor that the next
            layer will tell.
    """

    name: str
    slices: Slices
    unit_at: Tensor
    count: int
    exact: bool = True
    features_last: bool = False
    flattened: bool = False

    def fitted(self, name: str, length: int) -> OpenUnits:
        """Return the same units seen by a layer that expects an axis of ``length`` positions."""
        times, rest = divmod(length, len(self.unit_at))
        if rest or (times != 1 and not self.flattened):
            got = f"{len(self.unit_at)} written by '{self.name}'"
            raise ConfigError(
                f"'{name}': expected an input of {length} positions, got {got}; list the layers "
                f"in the order of the data"
            )
        if self.features_last:
            longer = self.unit_at.repeat(times)
        else:
            longer = self.unit_at.repeat_interleave(times)
        return replace(self, unit_at=longer, flattened=False)

    def index(self) -> Tensor:
        """Return the positions of every unit, shape (U, width)."""
        sizes = torch.bincount(self.unit_at, minlength=self.count)
        if int(sizes.min()) != int(sizes.max()) or int(sizes.min()) < 1:
            raise ConfigError(
                f"units of '{self.name}': expected equally many positions for every unit, got "
                f"{sizes.tolist()}"
            )
        return torch.argsort(self.unit_at, stable=True).view(self.count, -1)


def is_layer(module: nn.Module | None) -> TypeGuard[Layer]:
    """Tell whether a module reads units and writes others; a depthwise convolution does not."""
    return isinstance(module, nn.Linear | _ConvNd | nn.RNNBase) and not _is_depthwise(module)


def open_units(name: str, module: Layer) -> OpenUnits:
    """Start the units that a linear, convolution or recurrent layer writes."""
    if isinstance(module, nn.RNNBase):
        hidden, directions = module.hidden_size, 2 if module.bidirectional else 1
        slices, unit_at = recurrent_units(name, module), torch.arange(hidden).repeat(directions)
        return OpenUnits(name, slices, unit_at, hidden, features_last=True)
    if isinstance(module, nn.Linear):
        unit_at = torch.arange(module.out_features)
        return OpenUnits(
            name, linear_out(name, module), unit_at, module.out_features, features_last=True
        )
    unit_at = torch.arange(module.out_channels)
    return OpenUnits(name, conv_out(name, module), unit_at, module.out_channels)


def close_units(units: OpenUnits, name: str, module: Layer) -> UnitSet:
    """Finish units at the layer that reads them.

    Raises:
        ConfigError: The layer expects another number of inputs.
    """
    if isinstance(module, nn.RNNBase):
        read = lstm_in(name, module, index=units.fitted(name, module.input_size).index())
    elif isinstance(module, nn.Linear):
        read = linear_in(name, module, index=units.fitted(name, module.in_features).index())
    else:
        read = conv_in(name, module, index=units.fitted(name, module.in_channels).index())
    return UnitSet(units.name, units.slices + read, exact=units.exact)


def follow_units(units: OpenUnits, name: str, module: nn.Module) -> OpenUnits:
    """Lead units through a module that keeps them apart.

    Such are normalisations, activations, pooling, dropout, gates and depthwise convolutions.

    Raises:
        ConfigError: It is unknown what the module does to units, or it expects another number of
            them.
    """
    if isinstance(module, _NormBase | nn.LayerNorm | nn.RMSNorm | nn.PReLU):
        return _through_own_weights(units, name, module)
    if _is_depthwise(module):
        units = units.fitted(name, module.in_channels)
        longer = units.unit_at.repeat_interleave(module.out_channels // module.in_channels)
        slices = units.slices + depthwise(name, module, index=units.index())
        return replace(units, slices=slices, unit_at=longer)
    if isinstance(module, nn.GLU):
        if module.dim == -1 and not units.features_last:
            raise ConfigError(
                f"'{name}': expected a gate on the channel axis that '{units.name}' writes, got "
                f"dim -1; use dim=1"
            )
        return gate_units(units, name)
    if isinstance(module, nn.Flatten):
        return replace(units, flattened=True)
    if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin):
        return replace(units, exact=False)
    if isinstance(module, _ELEMENTWISE):
        return replace(units, exact=units.exact and float(module(torch.zeros(1))) == 0)
    if isinstance(module, CHANNELWISE + _DROPOUT):
        return units
    raise ConfigError(
        f"'{name}': expected a module that keeps its units apart, got {type(module).__name__}; "
        f"declare the unit sets by hand"
    )


def gate_units(units: OpenUnits, name: str) -> OpenUnits:
    """Join the units of two halves, of which one gates the other.

    Unit u then owns what unit u and unit u + U / 2 owned.
    """
    half = units.count // 2
    if units.flattened or not torch.equal(units.unit_at, torch.arange(2 * half)):
        got = f"{len(units.unit_at)} positions of {units.count} units"
        raise ConfigError(
            f"'{name}': expected two halves of equally many units to gate, got {got}; gate "
            f"right after a layer"
        )
    slices = []
    for part in units.slices:
        both = torch.cat((part.index[:half], part.index[half:]), 1)
        slices.append(replace(part, index=both))
    return replace(units, slices=tuple(slices), unit_at=torch.arange(half), count=half)


def chain_units(layers: nn.Module | Iterable[tuple[str, nn.Module]]) -> list[UnitSet]:
    """Derive the unit sets of a plain chain of layers.

    Units are what every linear, convolution and recurrent layer but the last one writes; the set
    has the layer's name. Inputs and outputs of the chain stay.

    Args:
        layers: An ``nn.Sequential``, nested ones too, or pairs of name in the model and module in
            the order of the data.

    Raises:
        ConfigError: A layer expects another number of inputs than the one before it writes, or a
            module is unknown or has groups.
    """
    if isinstance(layers, nn.Module) and not isinstance(layers, nn.Sequential):
        raise ConfigError(
            f"chain_units: expected an nn.Sequential or named layers, got "
            f"{type(layers).__name__}; try derive_units"
        )
    units: OpenUnits | None = None
    sets: list[UnitSet] = []
    for name, module in _flat([("", layers)] if isinstance(layers, nn.Module) else layers):
        if is_layer(module):
            if units is not None:
                sets.append(close_units(units, name, module))
            units = open_units(name, module)
        elif units is not None:
            units = follow_units(units, name, module)
    return sets


def _through_own_weights(
    units: OpenUnits, name: str, module: _NormBase | nn.LayerNorm | nn.RMSNorm | nn.PReLU
) -> OpenUnits:
    """Lead units through a module with weights per unit: a normalisation, or slopes."""
    if isinstance(module, _NormBase):
        units = units.fitted(name, module.num_features)
        slices = units.slices + batch_norm(name, module, index=units.index())
        # without scale and shift, running statistics turn a zero unit into a constant
        silent = module.weight is not None or module.running_mean is None
        return replace(units, slices=slices, exact=units.exact and silent)
    if isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            units = units.fitted(name, module.num_parameters)
        return replace(units, slices=units.slices + prelu(name, module, index=units.index()))
    units = units.fitted(name, module.normalized_shape[-1])
    slices = units.slices + layer_norm(name, module, index=units.index())
    return replace(units, slices=slices, exact=False)


def _flat(layers: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Replace every ``nn.Sequential`` by its layers."""
    flat: list[tuple[str, nn.Module]] = []
    for name, module in layers:
        if isinstance(module, nn.Sequential):
            prefix = f"{name}." if name else ""
            flat += _flat((prefix + key, child) for key, child in module.named_children())
        else:
            flat.append((name, module))
    return flat


def _is_depthwise(module: nn.Module | None) -> TypeGuard[_ConvNd]:
    if not isinstance(module, _ConvNd):
        return False
    return module.groups > 1 and module.in_channels == module.groups
