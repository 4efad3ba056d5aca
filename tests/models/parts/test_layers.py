"""Whether the sizes of recurrent layers are read from their weights, not from what was built."""

from __future__ import annotations

import torch
from torch import nn

from audioprune.models.parts.layers import Layers, recurrent_inputs, recurrent_units


def test_sizes_follow_the_weights() -> None:
    layer = nn.LSTM(5, 7)
    assert (recurrent_inputs(layer), recurrent_units(layer)) == (5, 7)
    layer.weight_ih_l0 = nn.Parameter(torch.zeros(12, 4))
    layer.weight_hh_l0 = nn.Parameter(torch.zeros(12, 3))
    assert (recurrent_inputs(layer), recurrent_units(layer)) == (4, 3)


def test_a_list_of_layers_is_a_module_list() -> None:
    layers = Layers(nn.Linear(2, 2) for _ in range(3))
    assert type(layers) is nn.ModuleList and len(layers[:2]) == 2
