"""Masks: only what is kept is kept, through training steps, NaNs and storage."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audioprune.compress.masks import Mask, clear_, complete, prunable
from audioprune.errors import CheckpointError, ConfigError

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, momentum=0.9),
}


def _net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 7), nn.PReLU(), nn.BatchNorm1d(7), nn.Linear(7, 3))


def _random_mask(seed: int) -> Mask:
    draw = torch.Generator().manual_seed(seed)
    return Mask(
        {
            "0.weight": torch.rand(7, 5, generator=draw) > 0.4,
            "3.weight": torch.rand(3, 7, generator=draw) > 0.4,
        }
    )


seeds = st.integers(0, 2**16)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_apply_is_idempotent_and_leaves_the_rest(seed: int) -> None:
    net, mask = _net(seed), _random_mask(seed)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mask.apply_(net)
    once = {name: value.clone() for name, value in net.state_dict().items()}
    mask.apply_(net)
    for name, value in net.state_dict().items():
        assert torch.equal(value, once[name])
        kept = mask[name] if name in mask else torch.ones_like(value, dtype=torch.bool)
        assert torch.equal(value[kept], before[name][kept])
        assert (value[~kept] == 0).all()


@given(seeds, seeds)
@settings(max_examples=20, deadline=None)
def test_intersect_never_regrows(one: int, other: int) -> None:
    first, second = _random_mask(one), _random_mask(other)
    both = first.intersect(second)
    for name in both:
        assert not (both[name] & ~first[name]).any()
        assert not (both[name] & ~second[name]).any()
    assert both == second.intersect(first) == both.intersect(first)
    assert both.kept() <= min(first.kept(), second.kept())


def test_intersect_keeps_masks_of_one_side() -> None:
    first, second = Mask({"a": torch.tensor([True, False])}), Mask({"b": torch.tensor([False])})
    both = first.intersect(second)
    assert (
        set(both) == {"a", "b"}
        and torch.equal(both["a"], first["a"])
        and torch.equal(both["b"], second["b"])
    )


@pytest.mark.parametrize("name", OPTIMISERS)
def test_removed_weights_stay_exactly_zero_in_training(name: str) -> None:
    net, mask = _net(), _random_mask(1)
    optimiser = OPTIMISERS[name](net.parameters())
    draw = torch.Generator().manual_seed(0)
    for step in range(8):
        inputs, target = torch.randn(6, 5, generator=draw), torch.randn(6, 3, generator=draw)
        optimiser.zero_grad()
        (net(inputs) - target).square().mean().backward()
        optimiser.step()
        if step >= 3:  # the momentum of weights removed late would revive them
            mask.apply_(net)
            assert all((net.get_parameter(each)[~keep] == 0).all() for each, keep in mask.items())
    assert all((net.get_parameter(each)[keep] != 0).all() for each, keep in mask.items())


def test_nan_and_infinity_under_a_mask_are_removed() -> None:
    net, mask = _net(), _random_mask(2)
    with torch.no_grad():
        net[0].weight.masked_fill_(~mask["0.weight"], float("nan"))
        net[3].weight.masked_fill_(~mask["3.weight"], float("-inf"))
    mask.apply_(net)
    assert net[0].weight.isfinite().all() and net[3].weight.isfinite().all()


def test_removed_weights_are_positive_zero() -> None:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.fill_(-1.0)
    Mask({"weight": torch.zeros(1, 2, dtype=torch.bool)}).apply_(net)
    assert not torch.signbit(net.weight).any()


def test_apply_handles_any_memory_layout() -> None:
    net = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    keep = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)) > 0.5
    expected = net.weight.detach().where(keep, torch.zeros(()))
    Mask({"weight": keep}).apply_(net)
    assert torch.equal(net.weight, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_clear_keeps_every_bit_of_the_rest(dtype: torch.dtype) -> None:
    values = torch.tensor([1.5, -0.0, float("nan"), float("inf"), -1e-45, -2.0], dtype=dtype)
    for keep in (torch.tensor([True, False] * 3), torch.tensor([False, True] * 3)):
        tensor = values.clone()
        clear_(tensor, keep)
        bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
        assert (
            torch.equal(tensor.view(bits)[keep], values.view(bits)[keep])
            and (tensor.view(bits)[~keep] == 0).all()
        )


def test_counts() -> None:
    mask = Mask(
        {"a": torch.tensor([True, False, False, False]), "b": torch.tensor([[True, True]])}
    )
    assert (mask.kept(), mask.total()) == (3, 6)
    assert mask.density() == 0.5 and mask.sparsity() == 0.5
    assert mask.per_tensor() == {"a": 0.25, "b": 1.0}
    assert Mask({}).density() == 1.0 and "3 of 6" in repr(mask)


def test_built_from_a_model() -> None:
    net = _net()
    ones = Mask.ones(net, prunable(net))
    assert list(ones) == ["0.weight", "3.weight"] and ones.sparsity() == 0


def test_a_mask_does_not_follow_its_source_and_update_leaves_it() -> None:
    source = torch.tensor([True, True])
    mask = Mask({"a": source})
    source[0] = False
    stored = mask.state_dict()
    stored["a"][1] = False
    assert mask.kept() == 2
    changed = mask.updated({"a": torch.tensor([False, True]), "b": torch.tensor([True])})
    assert mask.kept() == 2 and len(mask) == 1 and changed.kept() == 2 and len(changed) == 2


def test_state_dict_round_trip() -> None:
    mask = _random_mask(5)
    assert Mask.from_state_dict(mask.state_dict()) == mask != _random_mask(6)
    assert mask != Mask({"0.weight": mask["0.weight"]}) and mask != 3
    with pytest.raises(CheckpointError, match="'a': expected a bool tensor, got torch.float32"):
        Mask.from_state_dict({"a": torch.ones(2)})


def test_a_mask_that_leaves_parameters_out_is_completed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    some = Mask({"0.weight": torch.eye(4, 3) > 0})
    whole = complete(some, model, prunable(model))
    assert list(whole) == ["0.weight", "1.weight"] and whole["1.weight"].all()
    assert torch.equal(whole["0.weight"], some["0.weight"]) and len(some) == 1
    assert complete(None, model, ["1.weight"]) == Mask.ones(model, ["1.weight"])


def test_errors_name_the_parameter() -> None:
    net = _net()
    with pytest.raises(ConfigError, match="unknown parameter '0.weigth'; closest: 0.weight"):
        Mask.ones(net, ["0.weigth"])
    with pytest.raises(ConfigError, match=r"'0.weight': expected shape \(7, 5\), got \(2,\)"):
        Mask({"0.weight": torch.ones(2, dtype=torch.bool)}).apply_(net)
    with pytest.raises(ConfigError, match="bool tensor, got torch.int64"):
        Mask({"a": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(ConfigError, match="bool tensor, got list"):
        Mask({"a": [True]})
    with pytest.raises(ConfigError, match="expected shape"):
        _random_mask(0).intersect(Mask({"0.weight": torch.ones(2, dtype=torch.bool)}))
    with pytest.raises(ConfigError, match="expected shape"):
        _random_mask(0).updated({"0.weight": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ConfigError, match="unknown masked parameter"):
        _random_mask(0)["1.weight"]


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 4, 1))
        self.mixing = nn.Parameter(torch.ones(4, 4))
        self.bias_map = nn.Parameter(torch.ones(4, 4))
        self.thin = nn.Linear(1, 6)
        self.norm = nn.LayerNorm([3, 4])
        self.prelu = nn.PReLU(4)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 5))
        self.rnn = nn.LSTM(3, 4)
        self.tied = self.thin


def test_prunable_are_weights_only() -> None:
    names = prunable(_Odd())
    assert names == [
        "mixing",
        "thin.weight",
        "normed.parametrizations.weight.original1",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
    ]


def test_prunable_of_old_weight_norm() -> None:
    with pytest.warns(FutureWarning):
        names = prunable(nn.utils.weight_norm(nn.Conv1d(2, 3, 5)))
    assert names == ["weight_v"]


def test_prunable_counts_of_the_papers_models() -> None:
    widths = (161, 2048, 2048, 2048, 161)
    fdnn = nn.Sequential(
        *(nn.Linear(i, o, device="meta") for i, o in zip(widths, widths[1:], strict=False))
    )
    lstm = nn.ModuleList(
        [
            *(nn.LSTM(i, 1024, device="meta") for i in (161, 1024, 1024, 1024)),
            nn.Linear(1024, 161, device="meta"),
        ]
    )
    for model, tensors, weights in ((fdnn, 4, 9_048_064), (lstm, 9, 30_184_448)):
        names = prunable(model)
        assert (
            len(names) == tensors
            and sum(model.get_parameter(name).numel() for name in names) == weights
        )


class _Banked(nn.Module):
    """A fixed filter bank, nearly all zeros, before a trained layer; a buffer beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.bank.weight.copy_(torch.eye(4))
        self.layer = nn.Linear(4, 4)
        self.register_buffer("table", torch.zeros(4, 4))


def test_frozen_parameters_and_buffers_are_no_weights() -> None:
    model = _Banked()
    assert prunable(model) == ["layer.weight"]
    assert prunable(copy.deepcopy(model)) == ["layer.weight"]
    fresh = _Banked()
    fresh.load_state_dict(model.state_dict())
    assert prunable(fresh) == ["layer.weight"]
    model.bank.weight.requires_grad_(True)
    assert prunable(model) == ["bank.weight", "layer.weight"]
