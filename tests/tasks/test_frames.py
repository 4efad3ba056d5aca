"""Frames come back as the recording that they were cut from, and padding is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from audioprune.errors import ConfigError
from audioprune.tasks.frames import Frames, de_emphasise, levels, pre_emphasise


def _signals(count: int = 2, samples: int = 50) -> torch.Tensor:
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(1))


def test_pre_emphasis_is_the_first_order_filter() -> None:
    x = _signals()
    wanted = lfilter([1.0, -0.95], [1.0], x.double().numpy())
    np.testing.assert_allclose(pre_emphasise(x, 0.95).numpy(), wanted, atol=1e-6)
    torch.testing.assert_close(de_emphasise(pre_emphasise(x, 0.95), 0.95), x, atol=1e-5, rtol=1e-5)
    assert torch.equal(pre_emphasise(x, 0.0), x)
    part = pre_emphasise(x, 0.95, going_on=True)  # a part of a recording has no jump from silence
    torch.testing.assert_close(part[:, :1], 0.05 * x[:, :1])
    assert torch.equal(part[:, 1:], pre_emphasise(x, 0.95)[:, 1:])


def test_levels_ignore_padding() -> None:
    x = _signals()
    x[1, 20:] = 0
    lengths = torch.tensor([50, 20])
    wanted = [[float(row[:n].square().mean().sqrt())] for row, n in zip(x, (50, 20), strict=True)]
    torch.testing.assert_close(levels(x, lengths), torch.tensor(wanted))
    assert float(levels(torch.zeros(1, 4))) == pytest.approx(1e-8)


@pytest.mark.parametrize("level", [None, 0.1])
@pytest.mark.parametrize("overlap", [0, 1, 5, 8])
@pytest.mark.parametrize("samples", [1, 15, 16, 17, 50])
def test_frames_join_to_the_recording(level: float | None, overlap: int, samples: int) -> None:
    frames, x = Frames(16, 0.95, level, overlap), 0.3 * _signals(samples=samples)
    gains = frames.gains(x)
    cut = frames.cut_whole(x, gains)
    assert overlap or cut.shape == (2, -(-samples // 16), 16)
    torch.testing.assert_close(frames.join(cut, gains, samples), x, atol=1e-5, rtol=1e-5)
    if level:
        torch.testing.assert_close((x * gains).square().mean(1).sqrt(), torch.full((2,), level))


def test_ends_of_overlapping_frames_fade() -> None:
    frames, x = Frames(16, 0.0, None, 4), torch.zeros(1, 60)
    cut = torch.zeros_like(frames.cut_whole(x, frames.gains(x)))  # frames themselves share memory
    assert cut.shape == (1, 6, 16)
    cut[..., 0] = cut[..., -1] = 1.0  # what a model does wrong at its ends
    assert float(frames.join(cut, torch.ones(1, 1), 60).max()) == pytest.approx(0.125)


@pytest.mark.parametrize("hop", [4, 8, 16])
def test_places_agree_with_each_recording_alone(hop: int) -> None:
    frames, lengths = Frames(16), torch.tensor([50, 16, 3, 17])
    x = torch.nn.utils.rnn.pad_sequence(
        [_signals(1, int(n))[0] for n in lengths], batch_first=True
    )
    cut = frames.cut(x, frames.gains(x), hop)
    used, inside = frames.places(lengths, cut.shape[1], hop)
    for row, length in enumerate(lengths.tolist()):
        alone = frames.cut(x[row : row + 1, :length], torch.ones(1, 1), hop)[0]
        assert int(used[row].sum()) == len(alone) and used[row, : len(alone)].all()
        torch.testing.assert_close(
            (cut[row] * inside[row])[used[row]], alone * inside[row][used[row]]
        )
        starts = torch.arange(cut.shape[1]) * hop
        assert inside[row].sum(1).tolist() == (length - starts).clamp(0, 16).tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pre_emphasis": 1.0}, "pre_emphasis"),
        ({"level": 0.0}, "task.level"),
        ({"overlap": 9}, "task.overlap"),
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Frames(16, **wrong)
