"""The information criterion on small models whose informative units are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import criterion
from audioprune.compress.criteria.information import _over_time, _reduced
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError


class Net(nn.Module):
    """Causal: unit 0 copies the input, 1 is dead, 2 is half deaf; then strided, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 3, 1)
        self.strided = nn.Conv1d(3, 2, 4, stride=4)
        self.gru = nn.GRU(2, 2, batch_first=True)
        with torch.no_grad():
            self.first.weight[:, :, 0] = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]])
            self.strided.weight.zero_()
            self.strided.weight[0, 0] = 0.25  # the mean of the frame
            self.strided.weight[1, 1] = 0.25  # of the dead unit

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(torch.relu(self.strided(self.first(x))).transpose(1, 2))[0]

    def sets(self) -> list[UnitSet]:
        first = UnitSet(
            "first",
            (Slice("first.weight", 0, rows(0, 3)), Slice("strided.weight", 1, rows(0, 3), "in")),
        )
        gates = UnitSet(
            "gru",
            (
                Slice("gru.weight_ih_l0", 0, rows(0, 2, 3, 2)),
                Slice("gru.weight_hh_l0", 0, rows(0, 2, 3, 2)),
            ),
        )
        return [first, UnitSet("strided", (Slice("strided.weight", 0, rows(0, 2)),)), gates]


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def _calibration(target, batches: int = 4, **more) -> CalibrationData:
    draw = torch.Generator().manual_seed(1)
    frames = torch.randn(batches, 8, 1, 16, generator=draw).repeat_interleave(4, 3)
    data = [torch.cat([frame, torch.randn(frame.shape, generator=draw)], 1) for frame in frames]
    return CalibrationData(
        data, lambda model, batch: model(batch).square().mean(), target=target, **more
    )


def _by_sample(batch: Tensor) -> Tensor:
    return batch[:, :1].transpose(1, 2)


def _by_frame(batch: Tensor) -> Tensor:
    return batch[:, :1, ::4].transpose(1, 2)


@pytest.mark.parametrize("target", [_by_sample, _by_frame])
def test_units_are_ranked_by_what_they_tell_of_the_target(net: Net, target) -> None:
    data = _calibration(target, samples=400)
    scores = criterion("unit", "information")(net, net.sets(), data)
    copy, dead, half = scores["first"].tolist()
    assert copy > half > dead == pytest.approx(0.001) and copy > 2
    assert scores["strided"][0] > 1 > scores["strided"][1] and scores["gru"].shape == (2,)
    assert data.facts == {"mi_samples": 400} and net.training


def test_time_is_aligned(net: Net) -> None:
    """Seen one frame late, the same unit tells nothing."""
    late = criterion("unit", "information")(
        net, net.sets(), _calibration(lambda batch: _by_frame(batch).roll(1, 1))
    )
    assert late["first"][0] < 0.3


def test_draws_follow_the_seed_alone(net: Net) -> None:
    state = torch.get_rng_state()
    first, again = (
        criterion("unit", "information")(
            net, net.sets(), _calibration(_by_sample, samples=300, seed=5)
        )
        for _ in range(2)
    )
    other = criterion("unit", "information")(
        net, net.sets(), _calibration(_by_sample, samples=300, seed=6)
    )
    assert all(torch.equal(first[name], again[name]) for name in first) and torch.equal(
        torch.get_rng_state(), state
    )
    assert not torch.equal(first["first"], other["first"])


def test_noise_lowers_the_information(net: Net) -> None:
    score = criterion("unit", "information")
    bits = [
        score(net, net.sets(), _calibration(_by_sample, noise_rel=rel))["first"][0]
        for rel in (0, 0.1, 1)
    ]
    assert bits[0] > bits[1] > bits[2]


def test_wide_targets_are_reduced(net: Net) -> None:
    wide = criterion("unit", "information")(
        net, net.sets(), _calibration(lambda batch: _by_sample(batch).repeat(1, 1, 40))
    )
    assert wide["first"][0] > 1.5 > 0.2 > wide["first"][1]


@pytest.mark.parametrize(("numbers", "left"), [(1, 1), (5, 5), (6, 6), (7, 4), (9, 4)])
def test_targets_of_at_most_six_numbers_stay_as_they_are(numbers: int, left: int) -> None:
    targets = np.random.default_rng(0).standard_normal((30, numbers))
    reduced = _reduced(targets)
    assert reduced.shape == (30, left) and np.array_equal(reduced[:, 0], targets[:, 0])
    if numbers <= 6:
        assert np.array_equal(reduced, targets)
    else:
        largest = np.linalg.eigvalsh(np.cov(targets[:, 1:].T))[:-4:-1]
        assert np.allclose(np.cov(reduced[:, 1:].T), np.diag(largest), atol=1e-12)


def test_what_is_refused(net: Net) -> None:
    score = criterion("unit", "information")
    with pytest.raises(
        ConfigError, match="expected a target of the validation data, got none; give a task with"
    ):
        score(net, net.sets(), _calibration(None))
    with pytest.raises(ConfigError, match="expected at least one validation batch"):
        score(net, net.sets(), CalibrationData([], lambda *_: torch.zeros(()), target=_by_sample))
    twice = CalibrationData(
        _calibration(None).batches,
        lambda model, batch: model(batch).sum() + model(batch).sum(),
        target=_by_sample,
    )
    with pytest.raises(ConfigError, match="one call per batch of every Conv1d .* got 2"):
        score(net, net.sets(), twice)
    flat = CalibrationData(
        [torch.zeros(3, 2)],
        lambda model, batch: model(batch.mean(0)).sum(),
        target=lambda batch: batch[:, None],
    )
    with pytest.raises(
        ConfigError,
        match="expected an output of 3 examples over time from Linear, got shape \\(3,\\)",
    ):
        score(nn.Linear(2, 3), [UnitSet("x", (Slice("weight", 0, rows(0, 3)),))], flat)


def test_recurrent_outputs_with_time_first_are_turned() -> None:
    values = torch.arange(24.0).reshape(4, 2, 3)  # (time, examples, units)
    assert torch.equal(_over_time(nn.GRU(3, 3), values, 2), values.transpose(0, 1))
    assert torch.equal(_over_time(nn.GRU(3, 3, batch_first=True), values, 4), values)
