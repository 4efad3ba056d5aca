"""The unit sets of plain chains of layers, proved by trimming."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet, tensors_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match num_features")


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
        chain_units(layers),
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
    """NaN in all that a unit owns spreads through the model; after the trim it is gone."""
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: chain_units(nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1))),
            "'1': expected an input of 4 positions, got 3 written by '0'",
        ),
        (
            lambda: chain_units(
                nn.Sequential(nn.Linear(2, 3), nn.GroupNorm(1, 3), nn.Linear(3, 1))
            ),
            "keeps its units apart, got GroupNorm",
        ),
        (
            lambda: chain_units(nn.Sequential(nn.Conv1d(2, 4, 1), nn.GLU(), nn.Conv1d(2, 1, 1))),
            "expected a gate on the channel axis",
        ),
        (
            lambda: chain_units(nn.Sequential(nn.Linear(2, 3), nn.GLU(), nn.Linear(1, 1))),
            "^'1': expected two halves of equally many units to gate, got 3 positions of 3 "
            "units; gate right after a layer$",
        ),
        (
            lambda: chain_units(nn.Transformer(8, 2, 1, 1, 8)),
            "expected an nn.Sequential or named layers, got Transformer",
        ),
    ],
)
def test_chains_with_unknown_steps_are_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
