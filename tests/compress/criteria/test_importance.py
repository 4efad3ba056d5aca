"""Criteria: scores against closed forms for every kind of layer, and what stays untouched."""

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import (
    CRITERIA,
    SCALINGS,
    criterion,
    magnitude_over_sigma,
    scaled,
    weight_gradient,
)
from audioprune.compress.eval_mode import evaluating
from audioprune.compress.select import threshold
from audioprune.compress.units.declare import Slice, UnitSet, blocks, rows
from audioprune.errors import ConfigError


def test_weight_magnitude() -> None:
    scores = criterion("weight", "magnitude")({"w": torch.tensor([-2.0, 1.0])})
    assert scores["w"].tolist() == [2.0, 1.0]


def test_sigma_is_unbiased_and_taken_once() -> None:
    weight = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    sigmas: dict[str, float] = {}
    first = magnitude_over_sigma({"w": weight}, sigmas)
    assert sigmas == {"w": float(weight.std(correction=1))}
    assert torch.equal(first["w"], weight.abs() / sigmas["w"])
    second = magnitude_over_sigma(
        {"w": 0.01 * weight}, sigmas
    )  # the thresholds do not move with the weights
    assert torch.allclose(second["w"], 0.01 * first["w"])
    assert torch.equal(magnitude_over_sigma({"w": weight}, dict(sigmas))["w"], first["w"])


def test_sigma_selection_is_monotone() -> None:
    weight, sigmas = torch.randn(300, generator=torch.Generator().manual_seed(0)), {}
    keep = threshold(magnitude_over_sigma({"w": weight}, sigmas), {"w": 0.3})["w"]
    again = threshold(magnitude_over_sigma({"w": weight * keep}, sigmas), {"w": 0.3})["w"]
    assert torch.equal(again, keep) and 0 < int(keep.sum()) < 300


def test_sigma_of_constant_and_single_weights() -> None:
    scores = magnitude_over_sigma(
        {"zero": torch.zeros(3), "same": torch.ones(3), "one": torch.ones(1)}
    )
    assert (
        scores["zero"].tolist() == [0] * 3
        and scores["same"].tolist() == [float("inf")] * 3
        and scores["one"].tolist() == [float("inf")]
    )


class _Net(nn.Module):
    """Linear, norm, convolutions of both kinds, LSTM and GRU in a row, with their unit sets."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
        self.conv, self.up = nn.Conv1d(4, 5, 3, padding=1), nn.ConvTranspose1d(5, 6, 3, padding=1)
        self.lstm, self.gru = (
            nn.LSTM(6, 4, batch_first=True, bidirectional=True),
            nn.GRU(8, 3, batch_first=True),
        )
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.a(x)))
        hidden = self.up(torch.tanh(self.conv(hidden.transpose(1, 2)))).transpose(1, 2)
        return self.head(self.drop(self.gru(self.lstm(hidden)[0])[0]))

    def unit_sets(self) -> list[UnitSet]:
        forward = tuple(
            Slice(f"lstm.{kind}_{way}_l0", 0, rows(0, 4, 4, 4))
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
        )
        backward = tuple(
            Slice(f"lstm.{kind}_{way}_l0_reverse", 0, rows(0, 4, 4, 4))
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
        )
        gates = tuple(
            Slice(f"gru.{kind}_{way}_l0", 0, rows(0, 3, 3, 3))
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
        )
        norm = tuple(Slice(f"norm.{leaf}", 0, rows(0, 4), "norm") for leaf in ("weight", "bias"))
        return [
            UnitSet(
                "a", (Slice("a.weight", 0, rows(0, 4)), Slice("a.bias", 0, rows(0, 4)), *norm)
            ),
            UnitSet(
                "conv",
                (Slice("conv.weight", 0, rows(0, 5)), Slice("up.weight", 0, rows(0, 5), "in")),
            ),
            UnitSet(
                "up",
                (
                    Slice("up.weight", 1, rows(0, 6)),
                    Slice("lstm.weight_ih_l0", 1, rows(0, 6), "in"),
                ),
            ),
            UnitSet("forward", (*forward, Slice("lstm.weight_hh_l0", 1, rows(0, 4), "in"))),
            UnitSet("backward", backward),
            UnitSet("gru", gates),
        ]


@pytest.fixture
def net() -> _Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _Net()


@pytest.fixture
def data() -> CalibrationData:
    draw = torch.Generator().manual_seed(1)
    batches = [
        (torch.randn(size, 7, 3, generator=draw), torch.randn(size, 7, 2, generator=draw))
        for size in (2, 3)
    ]
    return CalibrationData(
        batches,
        lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        lambda batch: len(batch[0]),
    )


def _members(net: _Net) -> dict[str, Tensor]:
    gate_rows = torch.arange(16).view(4, 4).T
    lstm, gru = net.lstm, net.gru
    by_gate = [
        weight.view(3, 3, -1).transpose(0, 1).flatten(1)
        for weight in (gru.weight_ih_l0, gru.weight_hh_l0)
    ]
    return {
        "a": net.a.weight,
        "conv": net.conv.weight.flatten(1),
        "up": net.up.weight.transpose(0, 1).flatten(1),
        "forward": torch.cat(
            [lstm.weight_ih_l0[gate_rows].flatten(1), lstm.weight_hh_l0[gate_rows].flatten(1)], 1
        ),
        "backward": torch.cat(
            [
                lstm.weight_ih_l0_reverse[gate_rows].flatten(1),
                lstm.weight_hh_l0_reverse[gate_rows].flatten(1),
            ],
            1,
        ),
        "gru": torch.cat(by_gate, 1),
    }


def test_unit_magnitude_sums_the_weights_that_write_a_unit(net: _Net) -> None:
    scores = criterion("unit", "magnitude")(net, net.unit_sets())
    for name, members in _members(net).items():
        assert torch.allclose(scores[name], members.detach().abs().sum(1))


def test_unit_gradient_is_signed_until_all_batches_are_in(
    net: _Net, data: CalibrationData
) -> None:
    net.a.weight.grad = torch.full((4, 3), 7.0)
    net.drop.eval()
    scores = criterion("unit", "gradient")(net, net.unit_sets(), data)
    assert (
        net.training
        and not net.drop.training
        and (net.a.weight.grad == 7).all()
        and net.head.weight.grad is None
    )
    everything = sum(data.weight(batch) for batch in data.batches)
    with evaluating(net):
        loss = (
            sum(data.loss(net, batch) * data.weight(batch) for batch in data.batches) / everything
        )
    recurrent = (
        net.gru.weight_ih_l0,
        net.gru.weight_hh_l0,
        net.lstm.weight_ih_l0,
        net.lstm.weight_hh_l0,
    )
    weights = (net.a.weight, net.conv.weight, net.up.weight, *recurrent)
    linear, conv, up, gru_ih, gru_hh, lstm_ih, lstm_hh = (
        gradient.abs() for gradient in torch.autograd.grad(loss, weights)
    )
    expected = {"a": linear.sum(1), "conv": conv.sum((1, 2)), "up": up.sum((0, 2))}
    expected["gru"] = (gru_ih.sum(1) + gru_hh.sum(1)).view(3, 3).sum(0)
    expected["forward"] = (lstm_ih.sum(1) + lstm_hh.sum(1)).view(4, 4).sum(0)
    for name, score in expected.items():
        assert torch.allclose(scores[name], score, rtol=1e-4), name


def test_opposite_gradients_cancel() -> None:
    layer = nn.Linear(2, 1, bias=False)
    sets = [UnitSet("out", (Slice("weight", 0, rows(0, 1)),))]
    data = CalibrationData([1.0, -1.0], lambda model, sign: sign * model(torch.ones(2)).sum())
    assert criterion("unit", "gradient")(layer, sets, data)["out"].item() == 0


def test_unit_activation_sums_over_examples_and_time(net: _Net, data: CalibrationData) -> None:
    scores = criterion("unit", "activation")(net, net.unit_sets(), data)
    assert net.training
    expected = dict.fromkeys(scores, 0.0)
    with torch.no_grad(), evaluating(net):
        for inputs, _ in data.batches:
            linear = net.a(inputs)
            conv = net.conv(torch.relu(net.norm(linear)).transpose(1, 2))
            up = net.up(torch.tanh(conv))
            both = net.lstm(up.transpose(1, 2))[0]
            gru = net.gru(both)[0]
            seen = {"a": linear, "conv": conv.transpose(1, 2), "up": up.transpose(1, 2)}
            seen |= {"forward": both[..., :4], "backward": both[..., 4:], "gru": gru}
            for name, value in seen.items():
                expected[name] = expected[name] + value.double().abs().sum((0, 1))
    for name, value in expected.items():
        assert torch.allclose(scores[name], value), name


def test_activation_averages_over_writers_and_adds_widths() -> None:
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 2, bias=False))
    sets = [
        UnitSet(
            "stream", (Slice("0.weight", 0, blocks(0, 2, 2)), Slice("1.weight", 0, rows(0, 2)))
        )
    ]
    inputs = torch.tensor([[1.0, -2.0]])
    scores = criterion("unit", "activation")(
        model, sets, CalibrationData([inputs], lambda net, batch: net(batch).sum())
    )["stream"]
    first = model[0](inputs).detach().abs()
    assert torch.allclose(
        scores.float(),
        (first.view(2, 2).sum(1) + model[1](model[0](inputs)).detach().abs()[0]) / 2,
    )


def test_normalization_is_the_absolute_scale(net: _Net) -> None:
    net.norm.weight.data.copy_(torch.tensor([-2.0, 1.0, 0.0, 0.5]))
    assert criterion("unit", "normalization")(net, net.unit_sets()[:1])["a"].tolist() == [
        2,
        1,
        0,
        0.5,
    ]
    assert set(criterion("unit", "normalization")(net, net.unit_sets())) == {
        "a"
    }  # the others have no normalisation
    assert set(
        scaled(
            criterion("unit", "normalization")(net, net.unit_sets()), "max", net, net.unit_sets()
        )
    ) == {"a"}
    with pytest.raises(
        ConfigError,
        match="expected a model with normalisation layers on its units, got _Net without; use "
        "magnitude",
    ):
        criterion("unit", "normalization")(net, net.unit_sets()[1:])


def test_weight_gradient_of_the_whole_set(net: _Net, data: CalibrationData) -> None:
    scores = weight_gradient(net, ["a.weight", "head.weight"], data)
    by_unit = criterion("unit", "gradient")(net, net.unit_sets()[:1], data)["a"]
    assert (
        torch.allclose(scores["a.weight"].sum(1), by_unit)
        and (scores["head.weight"] >= 0).all()
        and set(scores) != {"a.weight"}
    )


def test_scalings(net: _Net) -> None:
    sets = net.unit_sets()
    scores = criterion("unit", "magnitude")(net, sets)
    assert scaled(scores, "none", net, sets) == scores
    assert all(float(score.max()) == 1 for score in scaled(scores, "max", net, sets).values())
    fan_in = {name: members.shape[1] for name, members in _members(net).items()}
    for name, score in scaled(scores, "dimension", net, sets).items():
        assert torch.allclose(score, scores[name] / fan_in[name] ** 0.5)
    zeros = {name: torch.zeros_like(score) for name, score in scores.items()}
    assert all(
        (score == 0).all() for how in SCALINGS for score in scaled(zeros, how, net, sets).values()
    )
    with pytest.raises(ConfigError, match="unknown scaling 'maximum'; closest: max"):
        scaled(scores, "maximum", net, sets)


def test_unknown_names_list_the_closest() -> None:
    with pytest.raises(ConfigError, match="unknown unit criterion 'magnitud'; closest: magnitude"):
        criterion("unit", "magnitud")
    with pytest.raises(ConfigError, match="unknown weight criterion 'gradient'"):
        criterion("weight", "gradient")
    with pytest.raises(ConfigError, match="unknown object of a criterion 'units'; closest: unit"):
        criterion("units", "magnitude")
    assert set(CRITERIA["weight"]) == {"magnitude", "magnitude_over_sigma"}


@pytest.mark.parametrize("name", ["gradient", "activation"])
def test_data_criteria_need_data(net: _Net, data: CalibrationData, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} criterion: expected validation data, got none"):
        criterion("unit", name)(net, net.unit_sets())
    with pytest.raises(ConfigError, match=f"{name} criterion: expected"):
        criterion("unit", name)(net, net.unit_sets(), CalibrationData([], data.loss))
    assert not net.a._forward_hooks


def test_units_that_nothing_writes_or_shows() -> None:
    with pytest.raises(ConfigError, match="unit set 'x': expected a weight that writes its units"):
        criterion("unit", "magnitude")(
            nn.Linear(2, 2), [UnitSet("x", (Slice("bias", 0, rows(0, 2)),))]
        )
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="expected 'weight' to require a gradient"):
        criterion("unit", "gradient")(
            frozen,
            [UnitSet("x", (Slice("weight", 0, rows(0, 2)),))],
            CalibrationData([], lambda *_: torch.zeros(())),
        )
