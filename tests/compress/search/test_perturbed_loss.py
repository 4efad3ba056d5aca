"""The loss oracle: equal to a plain loop over batches, however much it remembers or skips."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from audioprune.compress.search.perturbed_loss import (
    BatchLoss,
    base_of,
    check_alpha,
    increase_of,
    limit_of,
    restored,
)
from audioprune.errors import ConfigError, DivergedError


class _Staged(nn.Module):
    """Three stages, the middle one on a tuple; counts how often each runs."""

    def __init__(self, wrong: bool = False, inplace: bool = False) -> None:
        super().__init__()
        self.first, self.first_out, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.drop = nn.Dropout(0.5)
        self.runs = [0, 0, 0]
        self.wrong, self.inplace = wrong, inplace

    def stages(self) -> list[tuple[str, Callable]]:
        return [("first", self._one), ("first_out", self._two), ("last", self._three)]

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.drop(self.first(x)), x.sum(-1, keepdim=True)
        return self.last(torch.relu(self.first_out(a)) + b) + (1.0 if self.wrong else 0.0)

    def _one(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.runs[0] += 1
        return self.drop(self.first(x)), x.sum(-1, keepdim=True)

    def _two(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        self.runs[1] += 1
        a = pair[0].mul_(1.0) if self.inplace else pair[0]
        return torch.relu(self.first_out(a)) + pair[1]

    def _three(self, x: Tensor) -> Tensor:
        self.runs[2] += 1
        return self.last(x)


def _batches(count: int = 4, inputs: int = 3, outputs: int = 2) -> list:
    draw = torch.Generator().manual_seed(0)
    targets = [torch.randn(5, outputs, generator=draw) for _ in range(count)]
    return [
        (torch.randn(5, inputs, generator=draw), lambda y, t=target: F.mse_loss(y, t), 1.0 + n)
        for n, target in enumerate(targets)
    ]


def _plain(model: nn.Module, batches: list) -> float:
    modes = [module.training for module in model.modules()]
    model.eval()
    with torch.no_grad():
        total = sum(weight * float(loss(model(inputs))) for inputs, loss, weight in batches) / sum(
            weight for _, _, weight in batches
        )
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return total


@pytest.fixture
def net() -> _Staged:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _Staged()


@pytest.mark.parametrize("cache_bytes", [0, 5 * 4 * 4, 1000, 1 << 30])
def test_any_order_of_tensors_and_any_memory_gives_the_plain_loss(
    net: _Staged, cache_bytes: int
) -> None:
    loss = BatchLoss(net, _batches(), cache_bytes=cache_bytes)
    assert loss.base() == _plain(net, _batches())
    for name in (
        "first.weight",
        "last.weight",
        "last.bias",
        "first_out.weight",
        "last.weight",
        "first_out.bias",
    ):
        with restored(net.get_parameter(name)):
            net.get_parameter(name).mul_(0.3)
            assert loss.with_tensor(name, float("inf")) == _plain(net, _batches()), name
    assert loss.base() == _plain(net, _batches())


def test_only_the_stages_from_the_tensor_on_are_run(net: _Staged) -> None:
    loss = BatchLoss(net, _batches())
    loss.base()
    net.runs = [0, 0, 0]
    for _ in range(10):
        loss.with_tensor("last.weight", float("inf"))
    assert net.runs == [4, 4, 40]
    loss.with_tensor("unknown.weight", float("inf"))  # belongs to no stage: everything is run
    assert net.runs == [8, 8, 44]


@pytest.mark.parametrize(
    "prefixes",
    [
        ("first.", "first_out.", "last."),
        ("first", ("first_out.", "drop_in."), ("last.",)),
        ("", "first_out", "last"),
    ],
)
def test_prefixes_may_end_in_a_dot_be_several_or_be_missing(net: _Staged, prefixes: tuple) -> None:
    net.drop_in = nn.Linear(1, 1)
    runs = [run for _, run in net.stages()]
    net.stages = lambda: list(zip(prefixes, runs, strict=True))
    loss = BatchLoss(net, _batches())
    for name, expected in (
        ("first.weight", [4, 4, 4]),
        ("first_out.bias", [4, 4, 4]),
        ("last.weight", [0, 4, 4]),
    ):
        net.runs = [0, 0, 0]
        loss.with_tensor(name, float("inf"))
        assert net.runs == expected, name
    net.stages = lambda: [("first", runs[0]), ("frist_out", runs[1]), ("last", runs[2])]
    with pytest.raises(ConfigError, match=r"unknown prefix in _Staged.stages\(\) 'frist_out'"):
        BatchLoss(net, _batches())


def test_remembered_inputs_stay_within_the_memory(net: _Staged) -> None:
    one = 5 * (4 + 1) * 4  # bytes of the tuple before the second stage, per batch
    loss = BatchLoss(net, _batches(), cache_bytes=2 * one)
    loss.base()
    net.runs = [0, 0, 0]
    for _ in range(3):
        loss.with_tensor("first_out.weight", float("inf"))
    assert net.runs == [
        2 + 3 * 2,
        12,
        12,
    ]  # two batches are remembered, two computed anew each time


def test_a_changed_model_is_seen_after_base(net: _Staged) -> None:
    loss = BatchLoss(net, _batches())
    loss.base()
    loss.with_tensor("last.weight", float("inf"))
    net.first.weight.data.mul_(0.5)
    assert loss.base() == _plain(net, _batches())
    assert loss.with_tensor("last.weight", float("inf")) == _plain(net, _batches())


def test_tied_weights_belong_to_their_first_stage(net: _Staged) -> None:
    net.last.weight = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    net.last.bias = nn.Parameter(torch.zeros(4))
    net.first_out.weight = net.last.weight
    loss = BatchLoss(net, _batches(outputs=4))
    loss.base()
    for name in ("last.bias", "last.weight"):
        with restored(net.get_parameter(name)):
            net.get_parameter(name).add_(0.5)
            assert loss.with_tensor(name, float("inf")) == _plain(net, _batches(outputs=4))


def test_models_without_stages_and_with_several_inputs() -> None:
    model = nn.Bilinear(3, 2, 2)
    batches = [((torch.ones(4, 3), torch.ones(4, 2)), lambda y: y.square().mean(), 2.0)]
    assert BatchLoss(model, batches).base() == model(*batches[0][0]).square().mean().item()


def test_training_modes_come_back(net: _Staged) -> None:
    net.first.eval()
    loss = BatchLoss(net, _batches())
    assert (
        loss.base() == loss.base()
        and net.training
        and net.drop.training
        and not net.first.training
    )


def test_evaluation_stops_when_the_limit_is_surely_exceeded(net: _Staged) -> None:
    loss = BatchLoss(net, _batches())
    full = loss.base()
    net.runs = [0, 0, 0]
    partial = loss.with_tensor("first.weight", full / 20)
    assert full / 20 < partial <= full and net.runs[0] < 4
    assert loss.with_tensor("first.weight", full) == full
    patient = BatchLoss(net, _batches(), nonnegative=False)
    assert patient.with_tensor("first.weight", 0.0) == full


def test_nan_exceeds_every_tolerance(net: _Staged) -> None:
    loss = BatchLoss(net, _batches())
    base = base_of(loss)
    net.last.weight.data.fill_(float("nan"))
    assert increase_of(loss, "last.weight", base, float("inf")) == float("inf")
    with pytest.raises(DivergedError, match="expected a finite base loss, got nan"):
        base_of(loss)


def test_wrong_stages_batches_and_losses_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"_Staged.stages\(\): expected stages that compose to forward\(\)"
    ):
        BatchLoss(_Staged(wrong=True), _batches()).base()
    with pytest.raises(
        ConfigError, match="stage 'first_out': expected its input to stay as it is"
    ):
        BatchLoss(_Staged(inplace=True), _batches()).base()
    with pytest.raises(ConfigError, match="batches of positive weight"):
        BatchLoss(_Staged(), [])
    with pytest.raises(ConfigError, match="batches of positive weight"):
        BatchLoss(_Staged(), [(torch.ones(1, 3), torch.sum, 0.0)])
    with pytest.raises(ConfigError, match="expected losses >= 0, got -1.0; set nonnegative=False"):
        BatchLoss(_Staged(), [(torch.ones(1, 3), lambda y: torch.tensor(-1.0), 1.0)]).base()
    for alpha in (-1e-9, float("nan")):
        with pytest.raises(ConfigError, match="tolerance alpha: expected a number >= 0"):
            check_alpha(alpha)


@given(st.floats(0, 1e6), st.floats(0, 1e3), st.floats(0, 2e6))
def test_the_limit_separates_exactly(base: float, alpha: float, loss: float) -> None:
    limit = limit_of(base, alpha)
    assert (loss >= limit) == (loss - base > alpha)


def test_restored_gives_back_every_bit() -> None:
    tensor = torch.tensor([1.0, -0.0, float("nan"), 1e-45])
    bits = tensor.view(torch.int32).clone()
    with pytest.raises(ValueError), restored(tensor) as before:
        assert torch.equal(before.view(torch.int32), bits)
        tensor.fill_(3.0)
        raise ValueError
    assert torch.equal(tensor.view(torch.int32), bits)
