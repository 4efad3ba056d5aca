"""Slices of standard layers against their definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units import builders as build
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match num_features")


def _plain(slices: tuple[Slice, ...]) -> list[tuple[str, int, list[list[int]], str]]:
    return [(part.tensor, part.dim, part.index.tolist(), part.role) for part in slices]


def test_linear_slices() -> None:
    layer = nn.Linear(6, 2)
    assert _plain(build.linear_out("a", layer)) == [
        ("a.weight", 0, [[0], [1]], "out"),
        ("a.bias", 0, [[0], [1]], "out"),
    ]
    assert _plain(build.linear_in("a", layer, offset=2, width=2)) == [
        ("a.weight", 1, [[2, 3], [4, 5]], "in")
    ]
    assert _plain(build.linear_in("a", layer, offset=1, count=2)) == [
        ("a.weight", 1, [[1], [2]], "in")
    ]
    assert _plain(build.linear_in("a", layer, index=rows(0, 3, 2, 3))) == [
        ("a.weight", 1, [[0, 3], [1, 4], [2, 5]], "in")
    ]
    assert [part.tensor for part in build.linear_out("", nn.Linear(6, 2, bias=False))] == [
        "weight"
    ]


def test_transposed_convolutions_have_swapped_axes() -> None:
    for kind, writes in (
        (nn.Conv1d, 0),
        (nn.Conv2d, 0),
        (nn.ConvTranspose1d, 1),
        (nn.ConvTranspose2d, 1),
    ):
        layer = kind(3, 4, 2)
        out, read = build.conv_out("c", layer), build.conv_in("c", layer)
        assert [(part.tensor, part.dim, part.index.shape[0]) for part in out] == [
            ("c.weight", writes, 4),
            ("c.bias", 0, 4),
        ]
        assert [(part.tensor, part.dim, part.index.shape[0]) for part in read] == [
            ("c.weight", 1 - writes, 3)
        ]


def test_depthwise_slices_write_and_read_the_same_units() -> None:
    layer = nn.Conv1d(2, 4, 3, groups=2)
    expected = [("d.weight", 0, [[0, 1], [2, 3]], "out"), ("d.bias", 0, [[0, 1], [2, 3]], "out")]
    assert (
        _plain(build.depthwise("d", layer))
        == _plain(build.conv_in("d", layer))
        == _plain(build.conv_out("d", layer))
        == expected
    )
    transposed = build.depthwise("d", nn.ConvTranspose1d(2, 4, 3, groups=2))
    assert _plain(transposed) == [
        ("d.weight", 0, [[0], [1]], "out"),
        ("d.bias", 0, [[0, 1], [2, 3]], "out"),
    ]


def test_recurrent_slices_own_gate_rows_and_recurrent_column() -> None:
    lstm = build.lstm_units("l", nn.LSTM(3, 2))
    gates = [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert _plain(lstm) == [
        (f"l.{key}_l0", 0, gates, "out")
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ] + [("l.weight_hh_l0", 1, [[0], [1]], "in")]
    gru = build.gru_units("g", nn.GRUCell(3, 2))
    assert _plain(gru)[0] == ("g.weight_ih", 0, [[0, 2, 4], [1, 3, 5]], "out")
    both = build.lstm_units("l", nn.LSTM(3, 2, num_layers=2, bidirectional=True))
    assert ("l.weight_ih_l1_reverse", 1, [[0, 2], [1, 3]], "in") in _plain(both)
    assert len(both) == 4 * 5 + 2
    assert [part.tensor for part in build.gru_in("g", nn.GRU(3, 2, bidirectional=True))] == [
        "g.weight_ih_l0",
        "g.weight_ih_l0_reverse",
    ]
    assert _plain(build.lstm_in("c", nn.LSTMCell(3, 2), offset=1)) == [
        ("c.weight_ih", 1, [[1], [2]], "in")
    ]


def test_normalisation_and_slope_slices() -> None:
    keys = [part.tensor for part in build.batch_norm("n", nn.BatchNorm2d(3))]
    assert keys == ["n.weight", "n.bias", "n.running_mean", "n.running_var"]
    assert [part.tensor for part in build.batch_norm("n", nn.BatchNorm2d(3, affine=False))] == [
        "n.running_mean",
        "n.running_var",
    ]
    assert {part.role for part in build.layer_norm("n", nn.LayerNorm(3))} == {"norm"}
    assert _plain(build.prelu("p", nn.PReLU(3), offset=1)) == [("p.weight", 0, [[1], [2]], "in")]
    assert build.prelu("p", nn.PReLU()) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: build.linear_in("a", nn.Linear(5, 2), width=2),
            "'a': expected whole units from 0 to 5, got 2 positions each",
        ),
        (
            lambda: build.linear_in("a", nn.Linear(5, 2), offset=4, count=2),
            "expected positions from 0 to 4, got 4 to 5",
        ),
        (lambda: build.linear_in("a", nn.Linear(5, 2), offset=-1), "expected whole units from -1"),
        (lambda: build.linear_out("a", nn.Linear(5, 2), offset=2), "got none"),
        (
            lambda: build.conv_out("c", nn.Conv1d(4, 4, 3, groups=2)),
            "expected a convolution without groups or a depthwise one, got 2 groups of 2",
        ),
        (
            lambda: build.lstm_units("l", nn.LSTM(3, 4, proj_size=2)),
            "expected no projection, got proj_size=2",
        ),
        (
            lambda: build.layer_norm("n", nn.LayerNorm(3, elementwise_affine=False)),
            "use elementwise_affine=True",
        ),
        (
            lambda: build.layer_norm("n", nn.LayerNorm((3, 4))),
            "expected a normalisation over one axis",
        ),
    ],
)
def test_bad_layouts_are_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class Residual(nn.Module):
    """A stream that two blocks write and read; the end reads it beside an inner layer."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Conv1d(2, 6, 3, padding=1)
        self.inner = nn.ModuleList(nn.Conv1d(6, 4, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(4) for _ in range(2))
        self.back = nn.ModuleList(nn.Conv1d(4, 6, 1) for _ in range(2))
        self.end = nn.Conv1d(10, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.begin(x)
        for inner, norm, back in zip(self.inner, self.norms, self.back, strict=True):
            hidden = norm(inner(stream)).relu()
            stream = stream + back(hidden)
        return self.end(torch.cat((hidden, stream), 1))

    def unit_sets(self) -> list[UnitSet]:
        stream = build.conv_out("begin", self.begin) + build.conv_in("end", self.end, offset=4)
        hidden = []
        for i in range(2):
            stream += build.conv_in(f"inner.{i}", self.inner[i]) + build.conv_out(
                f"back.{i}", self.back[i]
            )
            slices = build.conv_out(f"inner.{i}", self.inner[i]) + build.batch_norm(
                f"norms.{i}", self.norms[i]
            )
            slices += build.conv_in(f"back.{i}", self.back[i])
            hidden.append(
                UnitSet(
                    f"hidden.{i}",
                    slices + (build.conv_in("end", self.end, count=4) if i == 1 else ()),
                )
            )
        return [UnitSet("stream", stream), *hidden]


def test_residual_stream_and_concatenation() -> None:
    model = Residual()
    inputs = torch.randn(2, 2, 11, generator=torch.Generator().manual_seed(0))
    assert verify_units(model, model.unit_sets(), inputs) <= 1e-5
    trimmed = trim_(
        model,
        model.unit_sets(),
        {"stream": torch.arange(6) % 2 == 0, "hidden.1": torch.arange(4) > 2},
    )
    assert trimmed.kept["end.weight"][1].tolist() == [3, 4, 6, 8]
    assert model.end.in_channels == 4 and model(inputs).shape == (2, 1, 11)


def test_gates_by_halves_of_one_convolution() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both, self.skip = nn.Conv1d(2, 10, 2), nn.Conv1d(5, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            value, gate = self.both(x).chunk(2, 1)
            return self.skip(value.tanh() * gate.sigmoid())

    model = Gated()
    halves = UnitSet(
        "gate",
        build.conv_out("both", model.both, index=rows(0, 5, 2, 5))
        + build.conv_in("skip", model.skip),
    )
    assert (
        verify_units(
            model, [halves], torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0))
        )
        <= 1e-5
    )
