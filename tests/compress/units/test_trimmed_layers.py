"""Normalisations that count what left, attention with fewer heads: values against torch's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet
from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import resize_, trim_
from audioprune.compress.units.trimmed_layers import (
    CountedGroupNorm,
    TrimmedAttention,
    count_,
    count_like_,
    is_countable,
)
from audioprune.compress.units.verify import verify_units
from audioprune.errors import ConfigError

GENERATOR = torch.Generator().manual_seed(0)
NORMS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "one axis": (nn.LayerNorm(6), (3, 4, 6)),
    "two axes": (nn.LayerNorm((4, 6), eps=1e-3), (3, 4, 6)),
    "without shift": (nn.LayerNorm(6, bias=False), (3, 6)),
    "groups": (nn.GroupNorm(3, 6), (2, 6, 5)),
    "one group of planes": (nn.GroupNorm(1, 6), (2, 6, 5, 3)),
    "groups without further axes": (nn.GroupNorm(2, 6), (4, 6)),
    "root mean square": (nn.RMSNorm(6), (3, 4, 6)),
}


@pytest.mark.parametrize("kind", NORMS)
def test_a_counting_norm_of_all_features_is_torchs_own(kind: str) -> None:
    norm, shape = copy.deepcopy(NORMS[kind])
    x = torch.randn(shape, generator=GENERATOR)
    wanted = norm(x)
    count_(norm)
    assert is_countable(norm) and norm.counted.dtype == torch.int64
    torch.testing.assert_close(norm(x), wanted)


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_a_counting_norm_of_half_precision_sums_in_float32(kind: Any) -> None:
    norm = kind(301).half()
    x = 100 * torch.randn(4, 301, generator=GENERATOR).half()  # squares sum to 3e6, half has 65504
    wanted = norm(x)
    count_(norm)
    torch.testing.assert_close(norm(x), wanted, rtol=1e-2, atol=1e-3)
    assert norm(x).dtype == torch.float16


def test_attention_goes_on_with_its_dropout() -> None:
    mine = nn.MultiheadAttention(8, 2, dropout=1.0, batch_first=True)
    mine.__class__ = TrimmedAttention
    x = torch.randn(2, 3, 8, generator=GENERATOR)
    assert mine.train()(x, x, x)[1].abs().max() == 0  # type: ignore[union-attr]
    assert mine.eval()(x, x, x)[1].abs().min() > 0  # type: ignore[union-attr]


def _model(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 6, 1), norm, nn.ReLU(), nn.Conv1d(6, 2, 1)).eval()


def test_a_trimmed_norm_counts_on_and_is_rebuilt_from_its_state() -> None:
    model, x = _model(nn.GroupNorm(2, 6)), torch.randn(2, 3, 5, generator=GENERATOR)
    sets, _ = derive_units(model, x)
    assert [(each.size, each.exact) for each in sets] == [(3, True)]  # one channel of each group
    before = copy.deepcopy(model.state_dict())
    trim_(model, sets, {"0": torch.tensor([True, False, True])})
    trim_(model, derive_units(model, x)[0], {"0": torch.tensor([True, False])})
    norm = model[1]
    assert isinstance(norm, CountedGroupNorm)
    assert (int(norm.counted), norm.num_channels, norm.num_groups) == (3, 2, 2)
    state = model.state_dict()
    fresh = _model(nn.GroupNorm(2, 6))
    fresh.load_state_dict(before)
    count_like_(fresh, state)
    resize_(fresh, {name: tuple(value.shape) for name, value in state.items()})
    fresh.load_state_dict(state)
    assert torch.equal(fresh(x), model(x))
    # a snapshot of the plain model has no count
    small = {name: value for name, value in state.items() if not name.endswith("counted")}
    model.load_state_dict(small)


def test_channels_normalised_alone_need_no_count() -> None:
    model, x = _model(nn.GroupNorm(6, 6)), torch.randn(2, 3, 5, generator=GENERATOR)
    sets, _ = derive_units(model, x)
    assert [each.size for each in sets] == [6] and verify_units(model, sets, x) <= 1e-5
    trim_(model, sets, {"0": torch.arange(6) < 4})
    assert type(model[1]) is nn.GroupNorm and model[1].num_groups == 4


ATTENTION: dict[str, dict[str, Any]] = {
    "self": {},
    "time first": {"batch_first": False},
    "other keys and values": {"kdim": 5, "vdim": 7},
    "without biases": {"bias": False},
}


@pytest.mark.parametrize("kind", ATTENTION)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_all_heads_is_torchs_own(kind: str, masked: bool) -> None:
    settings = {"batch_first": True} | ATTENTION[kind]
    mine = nn.MultiheadAttention(8, 2, **settings).eval()
    q = torch.randn(3, 3, 8, generator=GENERATOR)
    k = torch.randn(3, 3, mine.kdim, generator=GENERATOR)
    v = torch.randn(3, 3, mine.vdim, generator=GENERATOR)
    masks: dict[str, Any] = {}
    if masked:
        masks["attn_mask"] = torch.ones(3, 3, dtype=torch.bool).triu(1)
        masks["key_padding_mask"] = torch.tensor([[False, True, False]] * 3)
    wanted = mine(q, k, v, average_attn_weights=False, **masks)
    mine.__class__ = TrimmedAttention
    torch.testing.assert_close(mine(q, k, v, average_attn_weights=False, **masks), wanted)
    torch.testing.assert_close(mine(q[0], k[0], v[0])[0].shape, wanted[0][0].shape)
    mask = torch.randn(6, 3, 3, generator=GENERATOR)  # one for each item and head
    mine.__class__ = nn.MultiheadAttention
    wanted = mine(q, k, v, attn_mask=mask)
    mine.__class__ = TrimmedAttention
    torch.testing.assert_close(mine(q, k, v, attn_mask=mask), wanted)


def test_whole_heads_and_the_width_leave_an_encoder() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 4, 6, batch_first=True)
    model = nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2)).eval()
    x = torch.randn(2, 5, 3, generator=GENERATOR)
    sets, _ = derive_units(model, x)
    assert {each.name: (each.size, each.exact) for each in sets} == {
        "0": (8, True),
        "1.self_attn": (4, True),
        "1.linear1": (6, True),
    }
    assert verify_units(model, sets, x) <= 1e-5
    keep = {"0": torch.arange(8) < 5, "1.self_attn": torch.arange(4) > 0}
    trim_(model, sets, keep)
    attention = model[1].self_attn
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (3, 2, 5)
    assert attention.in_proj_weight.shape == (18, 5) and model(x).shape == (2, 5, 2)
    assert [each.size for each in derive_units(model, x)[0]] == [5, 3, 6]


class Attending(nn.Module):
    """One attention between two layers."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)
        self.attention = nn.MultiheadAttention(8, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.a(x)
        return self.b(self.attention(hidden, hidden, hidden)[0])


def _rebuilt(model: nn.Module, heads: int) -> nn.Module:
    """Return a fresh model of the full widths with the state of a trimmed one."""
    state, fresh = model.state_dict(), Attending(heads).eval()
    count_like_(fresh, state)
    resize_(fresh, {name: tuple(value.shape) for name, value in state.items()})
    fresh.load_state_dict(state)
    return fresh


def test_a_single_head_becomes_narrower() -> None:
    torch.manual_seed(0)
    model, x = Attending(1).eval(), torch.randn(2, 5, 3, generator=GENERATOR)
    sets, _ = derive_units(model, x)
    inner = next(each for each in sets if each.name == "attention")
    assert (inner.size, inner.exact, inner.slices[0].index.shape) == (8, True, (8, 3))
    assert verify_units(model, sets, x, seed=3) <= 1e-5
    before = copy.deepcopy(model.state_dict())
    for kept in (torch.arange(8) < 5, torch.arange(5) != 1):
        trim_(model, derive_units(model, x)[0], {"attention": kept})
    attention = model.attention
    assert isinstance(attention, TrimmedAttention)
    assert (attention.num_heads, attention.head_dim, attention.counted.tolist()) == (1, 4, [8])
    assert attention.in_proj_weight.shape == (12, 8) and attention.out_proj.weight.shape == (8, 4)
    assert torch.equal(_rebuilt(model, 1)(x), model(x))
    # a snapshot of the plain attention has no count
    small = {k: v for k, v in model.state_dict().items() if not k.endswith("counted")}
    model.load_state_dict(small)
    assert "attention.counted" not in before


def test_narrower_heads_can_still_leave() -> None:
    torch.manual_seed(0)
    model, x = Attending(2).eval(), torch.randn(2, 5, 3, generator=GENERATOR)
    place = torch.arange(4)[:, None]
    every = torch.cat([place + 4 * block for block in range(6)], 1)  # of 2 heads and q, k, v
    columns = UnitSet(
        "columns",
        (
            Slice("attention.in_proj_weight", 0, every),
            Slice("attention.in_proj_bias", 0, every),
            Slice("attention.out_proj.weight", 1, every[:, :2], "in"),
        ),
    )
    assert verify_units(model, [columns], x) <= 1e-5
    uneven = UnitSet(
        "uneven", tuple(replace(part, index=part.index[:, ::2]) for part in columns.slices)
    )
    with pytest.raises(
        ConfigError, match=r"equally many positions left in every head, got \[3, 4\]"
    ):
        trim_(copy.deepcopy(model), [uneven], {"uneven": torch.arange(4) > 0})
    trim_(model, [columns], {"columns": torch.arange(4) > 1})
    sets, _ = derive_units(model, x)
    assert [each.size for each in sets if each.name == "attention"] == [2]
    assert verify_units(model, sets, x) <= 1e-5
    trim_(model, sets, {"attention": torch.tensor([False, True])})
    attention = model.attention
    assert (attention.num_heads, attention.head_dim, attention.counted.tolist()) == (1, 2, [4])
    assert torch.equal(_rebuilt(model, 2)(x), model(x))
