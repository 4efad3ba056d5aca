"""Which sizes a module stores beside its tensors, such as ``in_features``, and how they change.

``module_sizes`` works them out for new shapes of the tensors. It changes nothing; trim.py sets the
sizes. A module of no listed type has to read its sizes from its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from audioprune.compress.units.trimmed_layers import CountedGroupNorm, attention_sizes
from audioprune.errors import ConfigError

Shape = tuple[int, ...]
# sizes that a module of one's own may store under the name that its layers use
_COMMON = (
    "in_features",
    "out_features",
    "in_channels",
    "out_channels",
    "num_features",
    "input_size",
    "hidden_size",
    "embed_dim",
    "embedding_dim",
)
# a name that says that a number is the size of a state, and not how many layers there are
_OF_STATES = re.compile(r"^(?!.*layer).*(hid|rnn|lstm|gru|state|units)")
_GATES = {nn.LSTM: 4, nn.GRU: 3, nn.LSTMCell: 4, nn.GRUCell: 3}


def gates_of(module: nn.Module) -> int:
    """Return the number of gates of a layer: 4 of an LSTM, 3 of a GRU, else 1."""
    return next((count for kind, count in _GATES.items() if isinstance(module, kind)), 1)


def module_sizes(
    model: nn.Module, shapes: Mapping[int, Shape], counting: Collection[nn.Module] = ()
) -> dict[nn.Module, dict[str, Any]]:
    """Work out the attributes that modules will store when some tensors get new shapes.

    A module that is none of torch's and stores a size under the name that its layers use, such as
    ``hidden_size``, follows them if all layers of that size change alike; the size of a state of
    recurrent layers follows under any name that says so, such as ``hidden_dim``.

    Args:
        model: The model as it is.
        shapes: ``id`` of a parameter or buffer -> its new shape.
        counting: Normalisations that will go on to count what leaves them, and attention of which
            all heads become narrower.

    Returns:
        Module that owns such a tensor -> attribute name -> value, such as ``{"in_features": 3,
        "out_features": 5}``.

    Raises:
        ConfigError: The new shapes of one module do not fit one another, or the module cannot
            change its size.
    """
    sizes = {}
    for name, module in model.named_modules():
        tensors = {**module._parameters, **module._buffers}
        own = {key: tensor for key, tensor in tensors.items() if tensor is not None}
        if any(id(tensor) in shapes for tensor in own.values()):
            new = {key: shapes.get(id(each), tuple(each.shape)) for key, each in own.items()}
            sizes[module] = _sizes_of(name, module, new, module in counting)
    return sizes | _followed(model, sizes)


def _followed(
    model: nn.Module, sizes: Mapping[nn.Module, Mapping[str, Any]]
) -> dict[nn.Module, dict[str, Any]]:
    """Return the sizes of modules that store those of their layers under the same name."""
    followed: dict[nn.Module, dict[str, Any]] = {}
    for module in model.modules():
        if module in sizes or type(module).__module__.startswith(("torch.", "audioprune.")):
            continue
        for key in _COMMON:
            value = module.__dict__.get(key)
            layers = [each for each in module.modules() if each is not module]
            same = [each for each in layers if each.__dict__.get(key) == value]
            new = {sizes.get(each, {}).get(key, value) for each in same}
            if isinstance(value, int) and len(new) == 1 and new != {value}:
                followed.setdefault(module, {})[key] = new.pop()
        for key, size in _hidden_sizes(module, sizes):
            followed.setdefault(module, {})[key] = size
    return followed


def _hidden_sizes(
    module: nn.Module, sizes: Mapping[nn.Module, Mapping[str, Any]]
) -> Iterator[tuple[str, int]]:
    """Yield the sizes of states that a module stores under a name of its own.

    Such are ``hidden_dim`` and ``n_rnn``, of which it makes the states that its recurrent layers
    begin with.
    """
    layers = [each for each in module.modules() if isinstance(each, nn.RNNBase | nn.RNNCellBase)]
    for key, value in vars(module).items():
        if type(value) is not int or key in _COMMON or not _OF_STATES.search(key.lower()):
            continue
        same = [each for each in layers if each is not module and each.hidden_size == value]
        new = {sizes.get(each, {}).get("hidden_size", value) for each in same}
        if len(new) == 1 and new != {value}:
            yield key, new.pop()


def _sizes_of(
    name: str, module: nn.Module, shapes: Mapping[str, Shape], counts: bool
) -> dict[str, Any]:
    if isinstance(module, nn.MultiheadAttention):
        return _attention_sizes(name, module, shapes, counts)
    if isinstance(module, nn.GroupNorm):
        if counts or isinstance(module, CountedGroupNorm):
            return _group_norm_sizes(name, module, shapes)
        raise ConfigError(
            f"'{name}': {type(module).__name__} joins units to fixed groups and cannot be "
            f"trimmed; keep all of its units"
        )
    if isinstance(module, nn.Linear):
        outputs, inputs = shapes["weight"]
        _check_agreement(name, shapes, {"bias": (outputs,)})
        return {"in_features": inputs, "out_features": outputs}
    if isinstance(module, _ConvNd):
        return _conv_sizes(name, module, shapes)
    if isinstance(module, _NormBase):
        length = next(shape for key, shape in shapes.items() if key != "num_batches_tracked")
        per_channel = ("weight", "bias", "running_mean", "running_var")
        _check_agreement(name, shapes, dict.fromkeys(per_channel, length))
        return {"num_features": length[0]}
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        _check_agreement(name, shapes, {"bias": shapes["weight"]})
        return {"normalized_shape": shapes["weight"]}
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return _recurrent_sizes(name, module, shapes)
    if isinstance(module, nn.PReLU):
        return {"num_parameters": shapes["weight"][0]}
    if isinstance(module, nn.Embedding):
        return dict(zip(("num_embeddings", "embedding_dim"), shapes["weight"], strict=True))
    return {}  # a module with own parameters has to read its sizes from them


def _group_norm_sizes(
    name: str, module: nn.GroupNorm, shapes: Mapping[str, Shape]
) -> dict[str, Any]:
    channels = shapes["weight"][0]
    _check_agreement(name, shapes, {"bias": (channels,)})
    alone = module.num_groups == module.num_channels
    groups = channels if alone else module.num_groups
    if channels % groups:
        raise ConfigError(
            f"'{name}.weight': expected a multiple of {groups} groups, got {channels}; cut every "
            f"group equally"
        )
    return {"num_channels": channels, "num_groups": groups}


def _attention_sizes(
    name: str, module: nn.MultiheadAttention, shapes: Mapping[str, Shape], narrows: bool
) -> dict[str, Any]:
    sizes = attention_sizes(module, shapes, narrows)
    inner = sizes["num_heads"] * sizes["head_dim"]
    wanted: dict[str, Shape] = {"in_proj_bias": (3 * inner,)}
    for key, shape in shapes.items():
        if key.endswith("_proj_weight") and key != "in_proj_weight":
            wanted[key] = (inner, shape[1])
    if "in_proj_weight" in shapes:
        wanted["in_proj_weight"] = (3 * inner, shapes["in_proj_weight"][1])
    _check_agreement(name, shapes, wanted)
    if module.bias_k is not None or module.add_zero_attn or not inner:
        raise ConfigError(
            f"'{name}': attention with added keys cannot be trimmed; use add_bias_kv=False and "
            f"add_zero_attn=False"
        )
    return sizes


def _conv_sizes(name: str, module: _ConvNd, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    first, second = shapes["weight"][:2]
    groups = module.groups
    per_group = module.weight.shape[0] // groups
    # depthwise: a channel is a group
    if groups > 1 and module.in_channels == groups and first % per_group == 0:
        groups = first // per_group
    if first % groups:
        raise ConfigError(
            f"'{name}.weight': expected a multiple of {groups} groups on dim 0, got {first}; "
            f"cut every group equally"
        )
    inputs, outputs = (first, second * groups) if module.transposed else (second * groups, first)
    _check_agreement(name, shapes, {"bias": (outputs,)})
    return {"in_channels": inputs, "out_channels": outputs, "groups": groups}


def _recurrent_sizes(
    name: str, module: nn.RNNBase | nn.RNNCellBase, shapes: Mapping[str, Shape]
) -> dict[str, Any]:
    if getattr(module, "proj_size", 0):
        raise ConfigError(
            f"'{name}': recurrent layers with a projection cannot be trimmed; use proj_size=0 "
            f"and a Linear layer"
        )
    first = "_l0" if isinstance(module, nn.RNNBase) else ""
    hidden, inputs = shapes[f"weight_hh{first}"][1], shapes[f"weight_ih{first}"][1]
    reads = hidden * (2 if getattr(module, "bidirectional", False) else 1)
    written = gates_of(module) * hidden
    wanted: dict[str, Shape] = {}
    for key in shapes:
        if not key.startswith("weight"):
            wanted[key] = (written,)
        elif "hh" in key:
            wanted[key] = (written, hidden)
        else:
            of_first = "_l" not in key or key.endswith(("_l0", "_l0_reverse"))
            wanted[key] = (written, inputs if of_first else reads)
    _check_agreement(name, shapes, wanted)
    return {"input_size": inputs, "hidden_size": hidden}


def _check_agreement(name: str, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    """Refuse tensors of one module that do not fit one another."""
    for key, shape in wanted.items():
        if key in shapes and shapes[key] != shape:
            got = (
                f"expected shape {shape} to fit the other tensors of the module, got {shapes[key]}"
            )
            raise ConfigError(f"'{name}.{key}': {got}; list every tensor that the units own")
