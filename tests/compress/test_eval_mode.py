"""Eval mode for the length of a with-block."""

from __future__ import annotations

import pytest
from torch import nn

from audioprune.compress.eval_mode import evaluating


def test_every_mode_comes_back_even_after_an_error() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    net[1].eval()
    with pytest.raises(ValueError), evaluating(net):
        assert not net.training and not net[0].training
        raise ValueError
    assert net.training and net[0].training and net[2].training and not net[1].training
