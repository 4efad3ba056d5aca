"""Weight-normalised layers: how they are folded, and which masks of their parts are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from audioprune.compress.weight_norm import (
    copy_of,
    fold_like_,
    fold_norms_,
    fold_weight_norm_,
    is_normed,
    refuse_normed,
)
from audioprune.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*")
NEW, OLD = nn.utils.parametrizations.weight_norm, nn.utils.weight_norm
PARTS = {
    NEW: ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    OLD: ("weight_g", "weight_v"),
}


@pytest.mark.parametrize("wrap", [NEW, OLD])
def test_masks_of_either_part_are_refused_and_other_masks_are_not(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    model = nn.Sequential(nn.Linear(2, 3), wrap(nn.Linear(3, 2)))
    first, second = (f"1.{part}" for part in PARTS[wrap])
    for masked, named in (
        ([first], first),
        (["0.weight", second], second),
        ([second, first], first),
    ):
        with pytest.raises(ConfigError) as caught:
            refuse_normed(model, masked)
        assert str(caught.value) == (
            f"mask of '{named}': expected a plain weight, got a part of the weight-normalised "
            f"'1.weight', "
            "whose rows without a kept weight would be 0/0; fold first: fold_weight_norm_(model)"
        )
    refuse_normed(model, ["0.weight", "1.bias"])
    refuse_normed(model, ())


@pytest.mark.parametrize("wrap", [NEW, OLD])
def test_a_layer_that_is_the_model_has_no_prefix(wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = wrap(nn.Linear(3, 2))
    with pytest.raises(
        ConfigError, match=f"^mask of '{PARTS[wrap][1]}': .* weight-normalised 'weight', "
    ):
        refuse_normed(layer, PARTS[wrap][1:])
    before = layer.weight.detach().clone()
    assert fold_weight_norm_(layer) == ["weight"]
    assert torch.equal(layer.weight, before) and fold_weight_norm_(layer) == []
    refuse_normed(layer, ["weight"])


@pytest.mark.parametrize("wrap", [NEW, OLD])
@pytest.mark.parametrize(
    ("frozen", "trained"), [((), True), ((0,), True), ((1,), True), ((0, 1), False)]
)
def test_a_folded_weight_is_frozen_where_both_parts_were(
    wrap: Callable[[nn.Module], nn.Module], frozen: tuple[int, ...], trained: bool
) -> None:
    model = nn.Sequential(wrap(nn.Linear(3, 2)))
    for part in frozen:
        model.get_parameter(f"0.{PARTS[wrap][part]}").requires_grad_(False)
    assert is_normed(model) and fold_weight_norm_(model) == ["0.weight"] and not is_normed(model)
    assert isinstance(model[0].weight, nn.Parameter) and model[0].weight.requires_grad is trained


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        (["0.weight", "1.weight"], True),
        (["0.weight"], False),
        (["0.weight", "1.weight", "1.weight_v"], False),
        ([], False),
    ],
)
def test_a_model_is_folded_like_another_only_where_all_names_agree(
    names: list[str], folded: bool
) -> None:
    model = nn.Sequential(OLD(nn.Linear(3, 2)), OLD(nn.Linear(2, 2)))
    fold_like_(model, names)
    assert is_normed(model) is not folded


def test_other_parametrizations_are_no_weight_norm() -> None:
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), nn.Linear(2, 1)
    )
    assert not is_normed(model) and fold_weight_norm_(model) == []
    refuse_normed(model, ["0.parametrizations.weight.original"])


SPECTRAL = nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm


@pytest.mark.parametrize("wrap", [NEW, OLD, *SPECTRAL])
def test_a_copy_is_folded_alone_and_gives_the_same_output(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    model = nn.Sequential(wrap(nn.Linear(3, 4)), wrap(nn.Conv1d(4, 2, 1))).eval()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    def run(net: nn.Module) -> torch.Tensor:
        return net[1](net[0](x).T[None, :, :])

    wanted, names = run(model), set(model.state_dict())
    twin = copy_of(model)
    assert fold_norms_(twin) == ["0.weight", "1.weight"] and fold_norms_(twin) == []
    assert set(twin.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    torch.testing.assert_close(run(twin), wanted)
    assert set(model.state_dict()) == names and torch.equal(run(model), wanted)
    wanted.sum().backward()  # the original's weights kept their history
