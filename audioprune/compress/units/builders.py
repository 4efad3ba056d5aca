"""The slices of standard layers in few words, for a model that declares its units.

Each function takes the name of a layer in the model and the layer. ``*_out`` lists what writes
units, ``*_in`` what reads them; normalisations and slopes have one function each. A model joins
what they return to a ``UnitSet``. Plain chains of layers need none of this, see chains.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from audioprune.compress.units.declare import Role, Slice, blocks, rows
from audioprune.compress.units.module_sizes import gates_of
from audioprune.errors import ConfigError

Slices = tuple[Slice, ...]


def linear_out(
    name: str,
    module: nn.Linear,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the rows and bias entries of a linear layer that write units.

    All functions of this module share their arguments. Unit u owns the ``width`` neighbouring
    positions from ``offset + u * width``.

    Args:
        name: Name of the layer in the model.
        module: The layer.
        offset: First position of the first unit, as of one part of a concatenation.
        width: Positions of one unit, as of a flattened channel.
        count: Number of units, by default all from ``offset`` on.
        index: Positions of every unit, shape (U, w), for any other layout; it replaces the three
            numbers before. Two halves that a gate multiplies are
            ``rows(0, U, repeat=2, stride=U)``.

    Raises:
        ConfigError: The positions do not lie in the layer, or its length is no multiple of
            ``width``.
    """
    index = _positions(name, module.weight.shape[0], offset, width, count, index)
    return _slices(name, module, {"weight": 0, "bias": 0}, index, "out")


def linear_in(
    name: str,
    module: nn.Linear,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the columns of a linear layer that read units, see ``linear_out``."""
    index = _positions(name, module.weight.shape[1], offset, width, count, index)
    return _slices(name, module, {"weight": 1}, index, "in")


def conv_out(
    name: str,
    module: _ConvNd,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the filters and bias entries of a convolution that write channels, see ``linear_out``.

    The convolution may be transposed. A depthwise convolution keeps the units of its channels:
    list it once, with this function or ``depthwise``.

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
    """List the part of a convolution that reads channels, see ``conv_out``."""
    if module.groups > 1:
        return depthwise(name, module, offset, width, count, index)
    axis = 1 - int(module.transposed)
    index = _positions(name, module.weight.shape[axis], offset, width, count, index)
    return _slices(name, module, {"weight": axis}, index, "in")


def depthwise(
    name: str,
    module: _ConvNd,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the kernels and bias entries of a depthwise convolution.

    It reads and writes the units on its input channels.

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
    per_channel = module.out_channels // module.groups
    outputs = (index[:, :, None] * per_channel + torch.arange(per_channel)).flatten(1)
    weight = _slices(name, module, {"weight": 0}, index if module.transposed else outputs, "out")
    return weight + _slices(name, module, {"bias": 0}, outputs, "out")


def lstm_units(name: str, module: nn.LSTM | nn.LSTMCell) -> Slices:
    """List all slices of the hidden units of an LSTM.

    A unit owns four gate rows of weights and biases, and the recurrent column. Layers and
    directions of one module share ``hidden_size``, so that unit u is unit u of all of them.
    Readers of a bidirectional layer need the index ``rows(0, H, repeat=2, stride=H)``.

    Raises:
        ConfigError: The module has a projection.
    """
    return recurrent_units(name, module)


def gru_units(name: str, module: nn.GRU | nn.GRUCell) -> Slices:
    """List all slices of the hidden units of a GRU, as ``lstm_units`` with three gates."""
    return recurrent_units(name, module)


def lstm_in(
    name: str,
    module: nn.RNNBase | nn.RNNCellBase,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List the input columns of a recurrent layer that read units, see ``linear_out``."""
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
    """List scale, shift and statistics of a batch or instance norm, see ``linear_out``."""
    index = _positions(name, module.num_features, offset, width, count, index)
    owned = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), 0)
    return _slices(name, module, owned, index, "norm")


def layer_norm(
    name: str,
    module: nn.LayerNorm | nn.RMSNorm,
    offset: int = 0,
    width: int = 1,
    count: int | None = None,
    index: Tensor | None = None,
) -> Slices:
    """List scale and shift of a normalisation over the last axis.

    It crosses the units, so that their set is not exact.

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
    """List the slopes of a PReLU that act on units, see ``linear_out``.

    There are none if all units share one slope. The role is "in", because a slope writes nothing:
    a unit that is 0 before it is 0 after it.
    """
    if module.weight.numel() == 1:
        return ()
    index = _positions(name, module.weight.shape[0], offset, width, count, index)
    return _slices(name, module, {"weight": 0}, index, "in")


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


def recurrent_units(name: str, module: nn.RNNBase | nn.RNNCellBase) -> Slices:
    """List all slices of the hidden units of any recurrent layer, see ``lstm_units``.

    Raises:
        ConfigError: The module has a projection.
    """
    if getattr(module, "proj_size", 0):
        raise ConfigError(
            f"'{name}': expected no projection, got proj_size={module.proj_size}; use a Linear "
            f"layer after it instead"
        )
    hidden = module.hidden_size
    gates = rows(0, hidden, repeat=gates_of(module), stride=hidden)
    if not isinstance(module, nn.RNNBase):
        return _own_rows(name, module, "", gates)
    directions = ("", "_reverse") if module.bidirectional else ("",)
    # what a layer above the first reads: unit u of every direction below it
    below = rows(0, hidden, repeat=len(directions), stride=hidden)
    slices: Slices = ()
    for layer in range(module.num_layers):
        for reverse in directions:
            end = f"_l{layer}{reverse}"
            slices += _own_rows(name, module, end, gates)
            if layer:
                slices += _slices(name, module, {f"weight_ih{end}": 1}, below, "in")
    return slices


def _own_rows(name: str, module: nn.Module, end: str, gates: Tensor) -> Slices:
    """List the gate rows and the recurrent column of one layer and direction."""
    written = (f"weight_ih{end}", f"weight_hh{end}", f"bias_ih{end}", f"bias_hh{end}")
    column = rows(0, gates.shape[0])
    return _slices(name, module, dict.fromkeys(written, 0), gates, "out") + _slices(
        name, module, {f"weight_hh{end}": 1}, column, "in"
    )
