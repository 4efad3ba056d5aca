"""Slices of standard layers against their definition, and the sets of chains proved by trimming."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units import builders as build
from audioprune.compress.units.declare import Slice, UnitSet, rows, tensors_of
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
        (
            lambda: build.chain_units(nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1))),
            "'1': expected an input of 4 positions, got 3 written by '0'",
        ),
        (
            lambda: build.chain_units(
                nn.Sequential(nn.Linear(2, 3), nn.GroupNorm(1, 3), nn.Linear(3, 1))
            ),
            "keeps its units apart, got GroupNorm",
        ),
        (
            lambda: build.chain_units(
                nn.Sequential(nn.Conv1d(2, 4, 1), nn.GLU(), nn.Conv1d(2, 1, 1))
            ),
            "expected a gate on the channel axis",
        ),
        (
            lambda: build.chain_units(nn.Sequential(nn.Linear(2, 3), nn.GLU(), nn.Linear(1, 1))),
            "^'1': expected two halves of equally many units to gate, got 3 positions of 3 "
            "units; gate right after a layer$",
        ),
        (
            lambda: build.chain_units(nn.Transformer(8, 2, 1, 1, 8)),
            "expected an nn.Sequential or named layers, got Transformer",
        ),
    ],
)
def test_bad_layouts_are_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class First(nn.Module):
    """Pass on the first output of a recurrent layer."""

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        return x[0]


def _recurrent(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *(
            part
            for layer in layers
            for part in ((layer, First()) if isinstance(layer, nn.RNNBase) else (layer,))
        )
    )


# name -> model, input shape, sizes of the expected sets, whether all are exact
CHAINS: dict[str, tuple[nn.Sequential, tuple[int, ...], list[int], bool]] = {
    "linear": (
        nn.Sequential(
            nn.Linear(3, 7), nn.Tanh(), nn.Dropout(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)
        ),
        (4, 3),
        [7, 5],
        True,
    ),
    "conv1d": (
        nn.Sequential(
            nn.Conv1d(2, 6, 3, 2),
            nn.BatchNorm1d(6),
            nn.PReLU(),
            nn.Conv1d(6, 5, 3, padding=1),
            nn.ELU(),
            nn.Conv1d(5, 2, 1),
        ),
        (2, 2, 15),
        [6, 5],
        True,
    ),
    "transposed": (
        nn.Sequential(
            nn.Conv1d(1, 4, 4, 2),
            nn.PReLU(4),
            nn.ConvTranspose1d(4, 6, 4, 2),
            nn.LeakyReLU(),
            nn.ConvTranspose1d(6, 1, 3),
        ),
        (2, 1, 12),
        [4, 6],
        True,
    ),
    "conv2d to linear": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 3, 2),
            nn.Flatten(),
            nn.Linear(3 * 4, 5),
            nn.GELU(),
            nn.Linear(5, 2),
        ),
        (2, 1, 8, 8),
        [4, 3, 5],
        True,
    ),
    "normalised after flattening": (
        nn.Sequential(
            nn.Conv1d(1, 4, 3), nn.Flatten(), nn.BatchNorm1d(4 * 6), nn.PReLU(24), nn.Linear(24, 2)
        ),
        (3, 1, 8),
        [4],
        True,
    ),
    "depthwise": (
        nn.Sequential(
            nn.Conv1d(2, 5, 1),
            nn.PReLU(),
            nn.BatchNorm1d(5),
            nn.Conv1d(5, 10, 3, padding=1, groups=5),
            nn.BatchNorm1d(10),
            nn.Conv1d(10, 2, 1),
        ),
        (2, 2, 9),
        [5],
        True,
    ),
    "gated": (
        nn.Sequential(
            nn.Conv1d(2, 8, 3),
            nn.GLU(dim=1),
            nn.Conv1d(4, 6, 1),
            nn.GLU(1),
            nn.ConvTranspose1d(3, 1, 2),
        ),
        (2, 2, 9),
        [4, 3],
        True,
    ),
    "nested": (
        nn.Sequential(
            nn.Sequential(nn.Linear(3, 4), nn.ReLU()),
            nn.Sequential(nn.Linear(4, 5), nn.SiLU()),
            nn.Linear(5, 1),
        ),
        (2, 3),
        [4, 5],
        True,
    ),
    "multi-layer bidirectional": (
        _recurrent(
            nn.Linear(3, 6),
            nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True),
            nn.Linear(10, 2),
        ),
        (2, 7, 3),
        [6, 5],
        True,
    ),
    "lstm, lstm": (
        _recurrent(nn.LSTM(3, 6), nn.LSTM(6, 4), nn.Linear(4, 2)),
        (7, 2, 3),
        [6, 4],
        True,
    ),
    "gru": (
        _recurrent(
            nn.GRU(3, 6, bias=False),
            nn.Dropout(),
            nn.GRU(6, 4, bidirectional=True),
            nn.Linear(8, 2),
        ),
        (7, 2, 3),
        [6, 4],
        True,
    ),
    "relu rnn": (
        _recurrent(nn.RNN(3, 6, nonlinearity="relu"), nn.Linear(6, 2)),
        (7, 2, 3),
        [6],
        True,
    ),
    "flattened time": (
        _recurrent(nn.GRU(3, 6, batch_first=True), nn.Flatten(), nn.Linear(6 * 7, 2)),
        (2, 7, 3),
        [6],
        True,
    ),
    "layer norm": (
        nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2)),
        (2, 3),
        [6],
        False,
    ),
    "rms norm": (
        nn.Sequential(nn.Linear(3, 6), nn.RMSNorm(6), nn.ReLU(), nn.Linear(6, 2)),
        (2, 3),
        [6],
        False,
    ),
    "sigmoid": (nn.Sequential(nn.Linear(3, 6), nn.Sigmoid(), nn.Linear(6, 2)), (2, 3), [6], False),
    "softmax": (
        nn.Sequential(nn.Linear(3, 6), nn.Softmax(-1), nn.Linear(6, 2)),
        (2, 3),
        [6],
        False,
    ),
    "instance norm": (
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.Conv1d(4, 2, 1)),
        (2, 2, 9),
        [4],
        True,
    ),
    "plain instance norm": (
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4), nn.Conv1d(4, 2, 1)),
        (2, 2, 9),
        [4],
        True,
    ),
    "batch norm without scale": (
        nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, affine=False), nn.Conv1d(4, 2, 1)),
        (2, 2, 9),
        [4],
        False,
    ),
}


def _chain(kind: str) -> tuple[nn.Sequential, Tensor, list[UnitSet]]:
    model, shape, _, _ = CHAINS[kind]
    model = copy.deepcopy(model).eval()
    layers = [
        (name, module) for name, module in model.named_children() if not isinstance(module, First)
    ]
    return (
        model,
        torch.randn(shape, generator=torch.Generator().manual_seed(0)),
        build.chain_units(layers),
    )


@pytest.mark.parametrize("kind", CHAINS)
def test_chain_sets_are_complete(kind: str) -> None:
    model, inputs, sets = _chain(kind)
    assert [each.size for each in sets] == CHAINS[kind][2]
    assert all(each.exact for each in sets) == CHAINS[kind][3]
    for seed in range(3):
        assert verify_units(model, sets, inputs, seed=seed) <= 1e-5


@pytest.mark.parametrize("kind", CHAINS)
def test_no_trace_of_a_removed_unit_is_left(kind: str) -> None:
    """Not-a-number in all that a unit owns spreads through the model; after the trim it is gone."""
    model, inputs, sets = _chain(kind)
    for each in sets:
        poisoned = copy.deepcopy(model)
        tensors = tensors_of(poisoned)
        with torch.no_grad():
            for part in each.slices:
                tensors[part.tensor].index_fill_(part.dim, part.index[1], float("nan"))
        assert poisoned(inputs).isnan().any()
        trim_(poisoned, sets, {each.name: torch.arange(each.size) != 1})
        assert poisoned(inputs).isfinite().all(), each.name


@pytest.mark.parametrize("kind", CHAINS)
def test_one_unit_each_still_trains(kind: str) -> None:
    model, inputs, sets = _chain(kind)
    trim_(model, sets, {each.name: torch.arange(each.size) == each.size - 1 for each in sets})
    model.train()(inputs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", CHAINS)
def test_parameter_count_after_a_trim_is_the_sum_over_slices(kind: str) -> None:
    model, _, sets = _chain(kind)
    each = sets[0]
    cells: set[tuple[str, int]] = set()
    parameters = dict(model.named_parameters())
    for part in each.slices:
        if part.tensor in parameters:
            numbers = torch.arange(parameters[part.tensor].numel()).view(
                parameters[part.tensor].shape
            )
            cells |= {
                (part.tensor, int(cell))
                for cell in numbers.index_select(part.dim, part.index[0]).flatten()
            }
    before = sum(parameter.numel() for parameter in model.parameters())
    trim_(model, sets, {each.name: torch.arange(each.size) > 0})
    assert sum(parameter.numel() for parameter in model.parameters()) == before - len(cells)


class Residual(nn.Module):
    """A stream that two blocks write and read, with a dense concatenation of the stream and one inner layer at the end."""

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
