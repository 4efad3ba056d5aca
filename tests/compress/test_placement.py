import torch
from torch import nn

from audioprune.compress.placement import device_of


def test_a_model_computes_where_its_first_tensor_lies():
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")
