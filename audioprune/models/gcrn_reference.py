"""How the weights of the GCRN authors' public network are read: a table of names and checks.

``from_reference_state_dict`` returns a state dict that ``GCRN.load_state_dict`` takes. It reads no
file and builds no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from audioprune.errors import CheckpointError, unknown_name
from audioprune.models.gcrn import GCRN, GROUPS, MAX_WIDTH
from audioprune.models.parts.gcrn_layers import interleaved_ranks

_NORM = "weight|bias|running_mean|running_var|num_batches_tracked"
# (start of the authors' name, last word of it, start of our name); i is their number less one, j
# is five less their number
_REFERENCE_NAMES = (
    (r"conv([1-5])\.conv1", "weight|bias", "encoder.{i}.value"),
    (r"conv([1-5])\.conv2", "weight|bias", "encoder.{i}.gate"),
    (r"bn([1-5])", _NORM, "encoder.{i}.norm"),
    (r"glstm\.lstm_list1\.(\d+)", r"\w+_l0", "recurrent.0.groups.{n}"),
    (r"glstm\.lstm_list2\.(\d+)", r"\w+_l0", "recurrent.1.groups.{n}"),
    (r"glstm\.ln([12])", "weight|bias", "recurrent.{i}.norm"),
    (r"conv([1-5])_t_1\.conv1", "weight|bias", "real.layers.{j}.value"),
    (r"conv([1-5])_t_1\.conv2", "weight|bias", "real.layers.{j}.gate"),
    (r"bn([1-5])_t_1", _NORM, "real.layers.{j}.norm"),
    (r"conv([1-5])_t_2\.conv1", "weight|bias", "imag.layers.{j}.value"),
    (r"conv([1-5])_t_2\.conv2", "weight|bias", "imag.layers.{j}.gate"),
    (r"bn([1-5])_t_2", _NORM, "imag.layers.{j}.norm"),
    (r"fc(1)", "weight|bias", "real.output"),
    (r"fc(2)", "weight|bias", "imag.output"),
)


def from_reference_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Rename the parameters of the authors' public network for ``GCRN.load_state_dict``.

    Groups and width are read from the names and shapes; the published network is
    ``GCRN(groups=2)``.

    | authors' name | our name (i = n - 1, j = 5 - n) |
    |---|---|
    | ``conv(n).conv1``, ``conv(n).conv2`` | ``encoder.i.value``, ``encoder.i.gate`` |
    | ``bn(n)`` | ``encoder.i.norm`` |
    | ``glstm.lstm_list1.(g)`` | ``recurrent.0.groups.g`` |
    | ``glstm.lstm_list2.(g)`` | ``recurrent.1.groups.g`` |
    | ``glstm.ln1``, ``glstm.ln2`` | ``recurrent.0.norm``, ``recurrent.1.norm`` |
    | ``conv(n)_t_1.conv1`` | ``real.layers.j.value`` |
    | ``conv(n)_t_1.conv2`` | ``real.layers.j.gate`` |
    | ``bn(n)_t_1`` | ``real.layers.j.norm`` |
    | ``conv(n)_t_2.conv1`` | ``imag.layers.j.value`` |
    | ``conv(n)_t_2.conv2`` | ``imag.layers.j.gate`` |
    | ``bn(n)_t_2`` | ``imag.layers.j.norm`` |
    | ``fc1``, ``fc2`` | ``real.output``, ``imag.output`` |

    The last word (``weight``, ``bias_hh_l0``, ``running_mean``, ...) stays; ``recurrent.0.order``
    is added.

    Args:
        state: State dict of the authors' network; tensors are taken over, not copied.

    Raises:
        CheckpointError: If a name is unknown, a tensor is missing or a shape is not that of the
            network.

    Source: names and order of operations of https://github.com/JupiterEthan/GCRN-complex,
    scripts/utils/networks.py.
    """
    renamed = {_our_name(name): tensor for name, tensor in state.items()}
    first = renamed.get("encoder.0.value.weight")
    groups = sum(name.startswith("glstm.lstm_list1") for name in state) // 4
    fits = first is not None and first.dim() == 4 and 1 <= first.shape[0] <= 16 * MAX_WIDTH
    if first is None or not fits or groups not in GROUPS:
        raise CheckpointError(
            f"expected tensors of the authors' GCRN, among them conv1.conv1.weight and 1, 2, 4 "
            f"or 8 groups in glstm.lstm_list1, "
            f"got {len(state)} tensors with {groups} groups; give the network's own state dict"
        )
    with torch.device("meta"):
        expected = GCRN(groups=groups, width=first.shape[0] / 16).state_dict()
    features = expected["recurrent.0.order"].numel()
    renamed["recurrent.0.order"] = interleaved_ranks(features, groups)
    _check_tensors(renamed, expected)
    return renamed


def _our_name(name: str) -> str:
    for start, last, ours in _REFERENCE_NAMES:
        found = re.fullmatch(rf"{start}\.({last})", name)
        if found:
            number = int(found[1])
            return f"{ours.format(n=number, i=number - 1, j=5 - number)}.{found[2]}"
    known = (
        "conv1.conv1.weight",
        "bn1.weight",
        "glstm.lstm_list1.0.weight_ih_l0",
        "glstm.ln1.bias",
        "conv5_t_1.conv1.bias",
        "fc1.weight",
    )
    raise CheckpointError(
        f"{unknown_name('tensor of a GCRN state dict', name, known)}; give the network's own "
        f"state dict"
    )


def _check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing = sorted(expected.keys() - given.keys())
    extra = sorted(given.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"expected {len(expected)} tensors of a GCRN, got {len(given)}; in our names "
            f"{missing[:3]} are missing and {extra[:3]} "
            "too many; give the network's own state dict"
        )
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"expected {name} of shape {tuple(expected[name].shape)}, got "
                f"{tuple(tensor.shape)}; give the network's own state dict"
            )
