"""How the slices of standard layers are written in few words, and how plain chains of layers get their unit sets.

A model with branches joins what the small functions return; unit_tracing.py derives the sets of an
unknown model and unit_proof.py proves any declaration. Removing units is the business of trim.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from audioprune.compress.units.declare import Role, Slice, UnitSet, blocks, rows
from audioprune.errors import ConfigError

Slices = tuple[Slice, ...]
_LAYERS = (nn.Linear, _ConvNd, nn.RNNBase)
_ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Hardtanh,
    nn.Hardswish, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus,
    nn.Threshold,
)  # fmt: skip
_DROPOUT = (
    nn.Dropout,
    nn.AlphaDropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.FeatureAlphaDropout,
)
CHANNELWISE = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d, nn.LPPool1d, nn.LPPool2d, nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d,
    nn.ReplicationPad1d, nn.ReplicationPad2d,
)  # fmt: skip


def linear_out(
    name: str,
    module: nn.Linear,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the rows and bias entries of a linear layer that write units.

    All functions of this kind share their arguments. Unit u owns the ``width`` neighbouring
    positions from ``offset + u * width``.

    Args:
        name: Name of the layer in the model.
        module: The layer.
        offset: First position of the first unit, as of one part of a concatenation.
        width: Positions of one unit, as of a flattened channel.
        count: Number of units, by default all from ``offset`` on.
        index: Positions of every unit, shape (U, w), for any other layout; then the numbers before
            are not used. Two halves that a gate multiplies are ``rows(0, U, repeat=2, stride=U)``.

    Raises:
        ConfigError: The positions do not lie in the layer, or its length is no multiple of
            ``width``.
    """
    return _slices(
        name,
        module,
        {"weight": 0, "bias": 0},
        _positions(name, module.weight.shape[0], offset, width, count, index),
        "out",
    )


def linear_in(
    name: str,
    module: nn.Linear,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the columns of a linear layer that read units; arguments and errors as of ``linear_out``."""
    return _slices(
        name,
        module,
        {"weight": 1},
        _positions(name, module.weight.shape[1], offset, width, count, index),
        "in",
    )


def conv_out(
    name: str,
    module: _ConvNd,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the filters and bias entries of a convolution, transposed or not, that write channels; otherwise as ``linear_out``.

    A depthwise convolution keeps its channels' units: list it once, with this function or
    ``depthwise``.

    Raises:
        ConfigError: As of ``linear_out``, or the convolution has groups and is not depthwise.
    """
    if module.groups > 1:
        return depthwise(name, module, offset, width, count, index)
    axis = int(module.transposed)
    index = _positions(name, module.weight.shape[axis], offset, width, count, index)
    return _slices(name, module, {"weight": axis, "bias": 0}, index, "out")


def conv_in(
    name: str,
    module: _ConvNd,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the part of a convolution, transposed or not, that reads channels; arguments and errors as of ``conv_out``."""
    if module.groups > 1:
        return depthwise(name, module, offset, width, count, index)
    axis = 1 - int(module.transposed)
    return _slices(
        name,
        module,
        {"weight": axis},
        _positions(name, module.weight.shape[axis], offset, width, count, index),
        "in",
    )


def depthwise(
    name: str,
    module: _ConvNd,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the kernels and bias entries of a depthwise convolution, which reads and writes the units on its input channels.

    Raises:
        ConfigError: As of ``linear_out``, or a group of the convolution has several input
            channels.
    """
    if module.in_channels != module.groups:
        raise ConfigError(
            f"'{name}': expected a convolution without groups or a depthwise one, got "
            f"{module.groups} groups of "
            f"{module.in_channels // module.groups} channels; write its slices by hand, a unit "
            f"owns one channel of every group"
        )
    index = _positions(name, module.in_channels, offset, width, count, index)
    outputs = (
        index[:, :, None] * (module.out_channels // module.groups)
        + torch.arange(module.out_channels // module.groups)
    ).flatten(1)
    weight = _slices(name, module, {"weight": 0}, index if module.transposed else outputs, "out")
    return weight + _slices(name, module, {"bias": 0}, outputs, "out")


def lstm_units(name: str, module: nn.LSTM | nn.LSTMCell) -> Slices:
    """List all slices of the hidden units of an LSTM: four gate rows of weights and biases, and the recurrent column.

    Layers and directions of one module share ``hidden_size``, so that unit u is unit u of all of
    them. Readers of a bidirectional layer need the index ``rows(0, H, repeat=2, stride=H)``.

    Raises:
        ConfigError: The module has a projection.
    """
    return _recurrent_units(name, module)


def gru_units(name: str, module: nn.GRU | nn.GRUCell) -> Slices:
    """List all slices of the hidden units of a GRU, as ``lstm_units`` with three gates."""
    return _recurrent_units(name, module)


def lstm_in(
    name: str,
    module: nn.RNNBase | nn.RNNCellBase,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the input columns of a recurrent layer that read units; arguments and errors as of ``linear_out``."""
    first = "_l0" if isinstance(module, nn.RNNBase) else ""
    keys = (f"weight_ih{first}", f"weight_ih{first}_reverse")
    index = _positions(name, getattr(module, keys[0]).shape[1], offset, width, count, index)
    return _slices(name, module, dict.fromkeys(keys, 1), index, "in")


gru_in = lstm_in


def batch_norm(
    name: str,
    module: _NormBase,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List scale, shift and running statistics of a batch or instance normalisation; arguments and errors as of ``linear_out``."""
    index = _positions(name, module.num_features, offset, width, count, index)
    return _slices(
        name,
        module,
        dict.fromkeys(("weight", "bias", "running_mean", "running_var"), 0),
        index,
        "norm",
    )


def layer_norm(
    name: str,
    module: nn.LayerNorm | nn.RMSNorm,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List scale and shift of a normalisation over the last axis, which crosses the units: their set is not exact.

    Raises:
        ConfigError: As of ``linear_out``, or the module has no scale or normalises more than one
            axis.
    """
    if getattr(module, "weight", None) is None or module.weight.dim() != 1:
        raise ConfigError(
            f"'{name}': expected a normalisation over one axis with a scale that holds its "
            f"width, got {module}; use elementwise_affine=True"
        )
    index = _positions(name, module.weight.shape[0], offset, width, count, index)
    return _slices(name, module, {"weight": 0, "bias": 0}, index, "norm")


def prelu(
    name: str,
    module: nn.PReLU,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the slopes of a PReLU that act on units; none if all units share one slope. Otherwise as ``linear_out``.

    The role is "in": a slope writes nothing, for a unit that is 0 before it is 0 after it.
    """
    if module.weight.numel() == 1:
        return ()
    return _slices(
        name,
        module,
        {"weight": 0},
        _positions(name, module.weight.shape[0], offset, width, count, index),
        "in",
    )


@dataclass(frozen=True)
class OpenUnits:
    """Units that a layer has written and no layer has read yet.

    Attributes:
        name: Name of the layer that wrote them.
        slices: What they own so far.
        unit_at: Which unit lies at each position of the current output's axis, shape (axis
            length,).
        count: Number of units U.
        exact: As of ``UnitSet``.
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
        longer = (
            self.unit_at.repeat(times)
            if self.features_last
            else self.unit_at.repeat_interleave(times)
        )
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


def open_units(name: str, module: nn.Module) -> OpenUnits:
    """Start the units that a linear, convolution or recurrent layer writes."""
    if isinstance(module, nn.RNNBase):
        hidden, directions = module.hidden_size, 2 if module.bidirectional else 1
        return OpenUnits(
            name,
            _recurrent_units(name, module),
            torch.arange(hidden).repeat(directions),
            hidden,
            features_last=True,
        )
    if isinstance(module, nn.Linear):
        units = torch.arange(module.out_features)
        return OpenUnits(name, linear_out(name, module), units, len(units), features_last=True)
    return OpenUnits(
        name, conv_out(name, module), torch.arange(module.out_channels), module.out_channels
    )


def is_layer(module: nn.Module) -> bool:
    """Tell whether a module reads units and writes others; a depthwise convolution does not."""
    return isinstance(module, _LAYERS) and not _is_depthwise(module)


def close_units(units: OpenUnits, name: str, module: nn.Module) -> UnitSet:
    """Finish units at the layer that reads them.

    Raises:
        ConfigError: The layer expects another number of inputs.
    """
    reader = (
        lstm_in
        if isinstance(module, nn.RNNBase)
        else linear_in
        if isinstance(module, nn.Linear)
        else conv_in
    )
    length = (
        module.input_size
        if isinstance(module, nn.RNNBase)
        else getattr(module, "in_features", None) or module.in_channels
    )
    return UnitSet(
        units.name,
        units.slices + reader(name, module, index=units.fitted(name, length).index()),
        exact=units.exact,
    )


def follow_units(units: OpenUnits, name: str, module: nn.Module) -> OpenUnits:
    """Lead units through a module that keeps them: a normalisation, an activation, pooling, a depthwise convolution.

    Raises:
        ConfigError: It is unknown what the module does to units, or it expects another number of
            them.
    """
    if isinstance(module, _NormBase):
        units = units.fitted(name, module.num_features)
        # without scale and shift, running statistics turn a zero unit into a constant
        exact = units.exact and (module.weight is not None or module.running_mean is None)
        return replace(
            units, slices=units.slices + batch_norm(name, module, index=units.index()), exact=exact
        )
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        units = units.fitted(name, module.normalized_shape[-1])
        return replace(
            units, slices=units.slices + layer_norm(name, module, index=units.index()), exact=False
        )
    if isinstance(module, nn.PReLU):
        units = units if module.num_parameters == 1 else units.fitted(name, module.num_parameters)
        return replace(units, slices=units.slices + prelu(name, module, index=units.index()))
    if _is_depthwise(module):
        units = units.fitted(name, module.in_channels)
        longer = units.unit_at.repeat_interleave(module.out_channels // module.in_channels)
        return replace(
            units,
            slices=units.slices + depthwise(name, module, index=units.index()),
            unit_at=longer,
        )
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
    """Join the units of two halves, of which one gates the other: unit u owns what unit u and unit u + U / 2 owned."""
    half = units.count // 2
    if units.flattened or not torch.equal(units.unit_at, torch.arange(2 * half)):
        got = f"{len(units.unit_at)} positions of {units.count} units"
        raise ConfigError(
            f"'{name}': expected two halves of equally many units to gate, got {got}; gate "
            f"right after a layer"
        )
    slices = tuple(
        replace(part, index=torch.cat((part.index[:half], part.index[half:]), 1))
        for part in units.slices
    )
    return replace(units, slices=slices, unit_at=torch.arange(half), count=half)


def chain_units(layers: nn.Module | Iterable[tuple[str, nn.Module]]) -> list[UnitSet]:
    """Derive the unit sets of a plain chain of layers, each of which reads the output of the one before.

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


def _flat(layers: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    flat = []
    for name, module in layers:
        if isinstance(module, nn.Sequential):
            flat += _flat(
                (f"{name}.{key}" if name else key, child) for key, child in module.named_children()
            )
        else:
            flat.append((name, module))
    return flat


def _is_depthwise(module: nn.Module) -> bool:
    return (
        isinstance(module, _ConvNd) and module.groups > 1 and module.in_channels == module.groups
    )


def _positions(
    name: str, length: int, offset: int, width: int, count: int | None, index: Tensor | None
) -> Tensor:
    if index is None:
        if width < 1 or offset < 0 or (count is None and (length - offset) % width):
            raise ConfigError(
                f"'{name}': expected whole units from {offset} to {length}, got {width} "
                f"positions each; correct the width"
            )
        index = blocks(offset, (length - offset) // width if count is None else count, width)
    if index.numel() < 1 or int(index.min()) < 0 or int(index.max()) >= length:
        got = f"{int(index.min())} to {int(index.max())}" if index.numel() else "none"
        raise ConfigError(
            f"'{name}': expected positions from 0 to {length - 1}, got {got}; correct offset, "
            f"width, count or index"
        )
    return index


def _slices(
    name: str, module: nn.Module, dims: dict[str, int], index: Tensor, role: Role
) -> Slices:
    present = {key: dim for key, dim in dims.items() if getattr(module, key, None) is not None}
    return tuple(
        Slice(f"{name}.{key}" if name else key, dim, index, role) for key, dim in present.items()
    )


def _recurrent_units(name: str, module: nn.RNNBase | nn.RNNCellBase) -> Slices:
    if getattr(module, "proj_size", 0):
        raise ConfigError(
            f"'{name}': expected no projection, got proj_size={module.proj_size}; use a Linear "
            f"layer after it instead"
        )
    stacked = isinstance(module, nn.RNNBase)
    hidden, directions = module.hidden_size, 2 if stacked and module.bidirectional else 1
    gates = rows(
        0,
        hidden,
        repeat=(module.weight_hh_l0 if stacked else module.weight_hh).shape[0] // hidden,
        stride=hidden,
    )
    slices: Slices = ()
    for layer in range(module.num_layers if stacked else 1):
        for reverse in ("", "_reverse")[:directions]:
            end = f"_l{layer}{reverse}" if stacked else ""
            written = dict.fromkeys(
                (f"weight_ih{end}", f"weight_hh{end}", f"bias_ih{end}", f"bias_hh{end}"), 0
            )
            slices += _slices(name, module, written, gates, "out")
            slices += _slices(name, module, {f"weight_hh{end}": 1}, rows(0, hidden), "in")
            if layer:
                slices += _slices(
                    name,
                    module,
                    {f"weight_ih{end}": 1},
                    rows(0, hidden, repeat=directions, stride=hidden),
                    "in",
                )
    return slices
