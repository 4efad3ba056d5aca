"""Parameters that share memory: one weight under two names, or an error that names both."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from toys import ToyData, ToyTask

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.compress.search.perturbed_loss import _stage_of
from audioprune.compress.ties import check_ties, join_views_, tie_key
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError
from audioprune.experiment.cost import cost
from audioprune.experiment.model_io import build_model
from audioprune.packing import pack
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings


class Twins(nn.Module):
    """Two linear layers; ``share`` makes the second weight out of the first."""

    def __init__(self, share=None, frozen: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        if share:
            self.second.weight = nn.Parameter(share(self.first.weight.detach()))
        if frozen:
            self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class ViewOf(Twins):
    """A transposed decoder, as a configuration names it."""

    def __init__(self) -> None:
        super().__init__(lambda w: w.T)


OVERLAPS = {
    "transposed": lambda w: w.T,
    "part": lambda w: w.view(-1)[:8].view(2, 4),
    "shifted": lambda w: w.view(-1)[3:15].view(3, 4),
    "real parts": lambda w: w.view(torch.complex64).real,
}


@pytest.mark.parametrize("kind", OVERLAPS)
def test_overlapping_parameters_are_refused_from_every_way_in(tmp_path, kind: str) -> None:
    model = Twins(OVERLAPS[kind])
    both = "'first.weight' and 'second.weight'.*clone"
    ways = {
        "prunable": lambda: prunable(model),
        "quantize": lambda: quantize_(model, None, {"first.weight": 4}),
        "join": lambda: join_views_(model),
        "pack mask": lambda: pack(
            tmp_path / "m.apz",
            model.state_dict(),
            mask=Mask.ones(model, ["second.weight"]),
            config={},
        ),
    }
    for way in ways.values():
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ConfigError, match=both):
            way()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not (tmp_path / "m.apz").exists()


def test_a_configured_model_is_refused_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match=r"'first.weight' and 'second.weight'"):
        build_model({"_target_": f"{__name__}.ViewOf"}, trusted=True)


def test_expanded_parameters_are_refused() -> None:
    for share in (
        lambda w: w[:1].expand(4, 4),
        lambda w: w[0, 0].expand(4, 4),
        lambda w: w.view(-1).as_strided((4, 4), (2, 1)),
    ):
        model = Twins(lambda w, share=share: share(w.clone()))
        with pytest.raises(ConfigError, match=r"'second.weight'.*share memory.*\.clone\(\)"):
            check_ties(model)
        with pytest.raises(ConfigError, match=r"'second.weight'"):
            prunable(model)


def test_neighbours_in_one_storage_are_no_ties() -> None:
    memory = torch.randn(32)
    for halves in (
        (memory[:16], memory[16:]),
        (memory[::2], memory[1::2]),
        (memory.view(4, 8)[:, :4], memory.view(4, 8)[:, 4:]),
    ):
        model = Twins()
        model.first.weight, model.second.weight = (
            nn.Parameter(half.view(4, 4) if half.dim() == 1 else half) for half in halves
        )
        assert prunable(model) == ["first.weight", "second.weight"]


def test_one_view_under_two_names_is_one_weight() -> None:
    model = Twins(lambda w: w)
    assert model.first.weight is not model.second.weight and tie_key(
        model.first.weight
    ) == tie_key(model.second.weight)
    assert prunable(model) == ["first.weight"]
    found = cost(model, torch.zeros(1, 4), 1.0)
    assert (found.params, found.nonzero, found.macs_per_second, found.uncounted) == (
        16,
        16,
        32,
        (),
    )
    assert _stage_of(model, ["first", "second"]) == {"first.weight": 0, "second.weight": 0}
    assert join_views_(model) == [("first.weight", "second.weight")]
    assert model.first.weight is model.second.weight and join_views_(model) == []
    assert [name for name, _ in copy.deepcopy(model).named_parameters()] == ["first.weight"]


def test_a_trim_follows_a_view() -> None:
    model = Twins(lambda w: w)
    middle = UnitSet(
        "u",
        (Slice("first.weight", 0, rows(0, 4)), Slice("first.weight", 1, rows(0, 4), role="in")),
    )
    trim_(model, [middle], {"u": torch.tensor([True, False, True, True])})
    assert model.first.weight is model.second.weight and model.second.weight.shape == (3, 3)


def test_only_what_nothing_changes_may_overlap() -> None:
    assert prunable(Twins(lambda w: w.T, frozen=True)) == []
    model = Twins()
    model.register_buffer("kernel", model.first.weight.detach().T)
    with pytest.raises(ConfigError, match="'first.weight' and 'kernel'"):
        check_ties(model)
    half = Twins(lambda w: w)
    half.first.weight.requires_grad_(False)
    with pytest.raises(ConfigError, match="one of each"):
        join_views_(half)


def test_a_training_refuses_overlaps_and_joins_views(tmp_path) -> None:
    def fit(share) -> Fit:
        model = Twins(share)
        model.add_module("last", nn.Linear(4, 2))
        model.forward = lambda x: model.last(Twins.forward(model, x))
        return Fit(
            model,
            ToyTask(),
            ToyData(),
            Settings(epochs=1, batch_size=8),
            tmp_path / str(id(share)),
            device="cpu",
        )

    with pytest.raises(ConfigError, match="'first.weight' and 'second.weight'"):
        fit(lambda w: w.T).run()
    tied = fit(lambda w: w)
    tied.run()
    assert tied.model.first.weight is tied.model.second.weight
    assert [len(group["params"]) for group in tied.state.optimizers["model"].param_groups] == [3]
