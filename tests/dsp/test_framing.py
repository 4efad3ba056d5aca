"""Framing and overlap-add against values by hand."""

from __future__ import annotations

import pytest
import torch

from audioprune import dsp
from audioprune.errors import ConfigError


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (320, 1), (321, 2), (480, 2), (481, 3), (16000, 99)]
)
def test_framing_covers_and_joins(length, count):
    x = torch.randn(2, length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    frames = dsp.frame_signal(x, 320, 160)
    assert frames.shape == (2, count, 320)
    torch.testing.assert_close(dsp.overlap_add_mean(frames, 160, length), x, rtol=0, atol=1e-14)


def test_overlap_add_by_hand():
    frames = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    assert dsp.overlap_add(frames, 2).tolist() == [1, 2, 13, 20, 30]
    assert dsp.overlap_add_mean(frames, 2).tolist() == [1, 2, 6.5, 20, 30]
    assert dsp.overlap_add(frames, 1).tolist() == [1, 12, 23, 30]
    with pytest.raises(ConfigError, match="hop_length from 1"):
        dsp.overlap_add(frames, 4)
    with pytest.raises(ConfigError, match="from 0 to 5 samples for 2 frames, got 6"):
        dsp.overlap_add_mean(frames, 2, 6)
