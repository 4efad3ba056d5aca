"""What operators do frame by frame: kept, or refused in one line, never another result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.export.streaming import streaming

slow = pytest.mark.slow


class Of(nn.Module):
    """A function of (B, 4, N, 6), frames along axis 2, and layers."""

    def __init__(self, run: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.run, self.layers = run, nn.ModuleList(layers)

    def forward(self, values: Tensor) -> Tensor:
        return self.run(values, *self.layers)


def example() -> Tensor:
    return torch.randn(1, 4, 9, 6, generator=torch.Generator().manual_seed(0))


def _doubled(values: Tensor) -> Tensor:
    rows = values.transpose(1, 2).flatten(0, 1)
    return F.interpolate(rows, scale_factor=2.0).unflatten(0, (values.shape[0], -1))


def _written(values: Tensor, conv: nn.Module) -> Tensor:
    """Write into a value that others read before and behind."""
    padded = F.pad(values, (0, 0, 2, 0))
    before = conv(padded)
    return before + conv(padded.relu_()) + values.clone().mul_(2)[:, :, :, :4].sum(1, keepdim=True)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.ConstantPad2d((0, 0, 2, 0), 1.0), nn.Conv2d(4, 4, 3)),
        Of(_written, nn.Conv2d(4, 1, 3)),
        Of(lambda x: torch.max(x, -x) + x.roll(2, 3) + x.cumsum(2)[..., :6]),
        Of(lambda x: torch.cat((F.glu(x), x.topk(2)[0]), 3)[:, :, :-1]),
        pytest.param(Of(lambda x: x.cumsum(3) + torch.min(x, x * x)), marks=slow),
        pytest.param(Of(_doubled), marks=slow),
        pytest.param(nn.Conv2d(4, 4, (1, 4), padding="same"), marks=slow),
        pytest.param(
            Of(lambda x: F.max_pool2d(F.pad(x, (0, 0, 4, 0)), (3, 1), 1, 0, (2, 1))), marks=slow
        ),
        pytest.param(Of(lambda x: F.relu6(x.clone(), inplace=True) * x), marks=slow),
    ],
)
def test_what_a_frame_and_the_past_decide_is_streamed(model):
    stream = streaming(model.eval(), example(), 2)  # compares with the whole pass
    assert all(name.isidentifier() for name in stream.state_names)


def test_a_running_sum_is_one_state_of_one_frame():
    stream = streaming(Of(lambda x: x.cumsum(2)), example(), 2)
    (state,) = stream.initial_state()
    assert state.shape == (1, 4, 1, 6) and not state.any()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda x: F.pad(x, (0, 0, -1, 0)), "1 frame ahead"),
        (lambda x: x[:, :, : x.shape[2] // 2], "got a share of them alone"),
        (lambda x: x.reshape(x.shape[0], 4, 6, x.shape[2]), "frames in another order"),
        pytest.param(lambda x: x.roll(1, 2), "roll over all frames", marks=slow),
        pytest.param(lambda x: F.dropout(x, 0.5, True), "values that are drawn", marks=slow),
        pytest.param(lambda x: x.sort(2)[0], "sort over all frames", marks=slow),
        pytest.param(lambda x: x.softmax(2), "softmax over all frames", marks=slow),
        pytest.param(lambda x: x[:, :, -1:], "frames from -1 on", marks=slow),
    ],
)
def test_what_needs_other_frames_is_refused_in_one_line(run, words):
    with pytest.raises(ConfigError, match=words) as refused:
        streaming(Of(run), example(), 2)
    assert "\n" not in str(refused.value)
