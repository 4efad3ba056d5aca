"""Whether FDNN has the published size and shapes and treats each frame alone."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import ConfigError
from audioprune.models.fdnn import FDNN


def test_published_size():
    with torch.device("meta"):
        params = list(FDNN().parameters())
    assert sum(p.numel() for p in params) == 9_054_369
    assert round(sum(p.numel() for p in params) * 4 / 2**20, 2) == 34.54
    assert [p.numel() for p in params if p.dim() > 1] == [
        161 * 2048,
        2048 * 2048,
        2048 * 2048,
        161 * 2048,
    ]


@pytest.mark.parametrize(("width", "depth"), [(200, 3), (775, 3), (5, 1), (7, 2)])
def test_width_for_inverts_the_size(width, depth):
    with torch.device("meta"):
        params = sum(p.numel() for p in FDNN(width=width, depth=depth).parameters())
    if depth == 3:
        assert params == 2 * width**2 + 325 * width + 161
    assert FDNN.width_for(params, depth=depth) == FDNN.width_for(params + 3, depth=depth) == width


@pytest.mark.parametrize(("width", "params"), [(775, 1_453_286), (200, 145_161)])
def test_both_readings_of_the_published_baseline(width, params):
    with torch.device("meta"):
        assert sum(p.numel() for p in FDNN(width=width).parameters()) == params
    assert FDNN.width_for(params) == width


def test_masks_lie_between_zero_and_one():
    model = FDNN(width=8)
    mask = model(model.example_input(5) * 10)
    assert mask.shape == (1, 5, 161)
    assert mask.min() >= 0 and mask.max() <= 1


def test_values_equal_the_written_out_network():
    model = FDNN(bins=5, width=8, depth=2)
    x = model.example_input(3)
    first, second, last = model.layers
    hidden = (
        (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    ).clamp(min=0)
    torch.testing.assert_close(
        model(x), 1 / (1 + torch.exp(-(hidden @ last.weight.T + last.bias)))
    )


def test_a_frame_does_not_hear_its_neighbours():
    model = FDNN(width=8)
    x = model.example_input(9)
    other = x.clone()
    other[:, 4] += 1
    changed = (model(x) != model(other)).any(-1)[0]
    assert changed.tolist() == [t == 4 for t in range(9)]


@pytest.mark.parametrize("normalise", [False, True])
def test_context_is_the_past_alone_and_streams(normalise):
    model = FDNN(bins=5, width=8, depth=2, context=2, normalise=normalise)
    if normalise:
        model.input_norm().set(torch.full((5,), 0.5), torch.full((5,), 0.3))
    x = model.example_input(9)
    other = x.clone()
    other[:, 4] += 1
    changed = (model(x) != model(other)).any(-1)[0]
    assert changed.tolist() == [4 <= t <= 6 for t in range(9)]
    state, frames = model.initial_state(), []
    for frame in x.unbind(1):
        out, state = model.step(frame, state)
        frames.append(out)
    torch.testing.assert_close(torch.stack(frames, 1), model(x))
    assert not model.frame_wise and FDNN(width=8).frame_wise
    params = sum(p.numel() for p in model.parameters())
    assert FDNN.width_for(params, bins=5, depth=2, context=2) == 8


@pytest.mark.parametrize(
    "wrong", [{"bins": 0}, {"width": 0}, {"width": 2.5}, {"depth": 33}, {"depth": True}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        FDNN(**wrong)


def test_arguments_are_kept_as_attributes():
    model = FDNN(bins=7, width=6, depth=1)
    assert (model.bins, model.width, model.depth) == (7, 6, 1)
