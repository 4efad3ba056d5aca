"""Losses against values by hand, and what agreement says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.tasks.foreign.comparisons import (
    LOSSES,
    Agreement,
    chosen_losses,
    distance,
    named_outputs,
    similarity_distance,
)


def _pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def test_losses_are_those_of_the_books() -> None:
    found, wanted = _pair(4, 5)
    error, size = (found - wanted).numpy(), wanted.numpy()
    assert distance("mse", found, wanted).item() == pytest.approx(
        (error**2).mean() / (size**2).mean(), rel=1e-5
    )
    assert distance("l1", found, wanted).item() == pytest.approx(
        np.abs(error).mean() / np.abs(size).mean(), rel=1e-5
    )
    powers = [np.exp(each.double().numpy()) for each in (wanted, found)]
    shares, own = (each / each.sum(1, keepdims=True) for each in powers)
    divergence = (shares * np.log(shares / own)).sum(1).mean()
    assert distance("kl", found, wanted).item() == pytest.approx(divergence, rel=1e-4)
    p, q = torch.sigmoid(wanted).double(), torch.sigmoid(found).double()
    binary = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item()
    assert distance("binary_kl", q.float(), p.float()).item() == pytest.approx(binary, rel=1e-4)
    cosines = (found * wanted).sum(1) / found.norm(dim=1) / wanted.norm(dim=1)
    assert distance("cosine", found, wanted).item() == pytest.approx(1 - cosines.mean().item())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_least_at_the_original_and_has_a_gradient(loss: str) -> None:
    found, wanted = _pair(2, 2000)
    if loss == "binary_kl":
        found, wanted = found.sigmoid(), wanted.sigmoid()
    near, far = wanted.lerp(found, 0.1).requires_grad_(), found
    values = [distance(loss, each, wanted) for each in (wanted, near, far)]
    assert values[0].item() == pytest.approx(0, abs=1e-6)
    assert values[0] < values[1] < values[2]
    values[1].backward()
    assert near.grad is not None and near.grad.abs().sum() > 0
    channel = distance(loss, near[:, None], wanted[:, None])
    assert channel.item() == pytest.approx(values[1].item(), rel=1e-4)


def test_probabilities_of_exactly_0_and_1_are_finite() -> None:
    sides = torch.tensor([0.0, 1.0])
    assert distance("binary_kl", sides, sides).item() == 0
    assert torch.isfinite(distance("binary_kl", sides, sides.flip(0)))


def test_layers_of_other_widths_are_compared_by_how_items_resemble_one_another() -> None:
    found, wanted = _pair(4, 6)
    turned = found @ torch.linalg.qr(torch.randn(6, 6))[0]  # the same likeness of the items
    assert similarity_distance(turned, found).item() == pytest.approx(0, abs=1e-9)
    narrow = similarity_distance(found[:, :3], wanted)
    gram = [each @ each.T for each in (found[:, :3], wanted)]
    rows = [each / each.norm(dim=1, keepdim=True) for each in gram]
    assert narrow.item() == pytest.approx((rows[0] - rows[1]).square().mean().item(), rel=1e-5)


def test_outputs_have_names() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    assert list(named_outputs(one)) == ["output"]
    assert list(named_outputs((one, [two, None], torch.zeros(1, dtype=int)))) == ["0", "1.0"]
    nested = named_outputs({"mask": one, "state": {"h": two}})
    assert list(nested) == ["mask", "state.h"] and nested["state.h"] is two
    assert named_outputs(None) == {}


def test_agreement_is_that_of_all_items_together() -> None:
    found, wanted = _pair(6, 7)
    agreement = Agreement("kl")
    agreement.add(found[:2], wanted[:2])
    agreement.add(found[2:], wanted[2:])
    own, theirs = found.double().numpy(), wanted.double().numpy()
    told = agreement.result()
    assert told["relative_error"] == pytest.approx(
        np.sqrt(((own - theirs) ** 2).sum() / (theirs**2).sum())
    )
    assert told["correlation"] == pytest.approx(np.corrcoef(own.ravel(), theirs.ravel())[0, 1])
    changed = (own.argmax(1) != theirs.argmax(1)).mean()
    assert told["decisions_changed"] == pytest.approx(changed)
    sides = Agreement("binary_kl")
    sides.add(torch.tensor([0.4, 0.6, 0.9, 0.1]), torch.tensor([0.6, 0.6, 0.4, 0.1]))
    assert sides.result()["decisions_changed"] == 0.5
    cosine = Agreement("cosine")
    cosine.add(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert cosine.result()["cosine"] == pytest.approx(0.5)
    same = Agreement("mse")
    same.add(wanted, wanted)
    assert same.result() == {"relative_error": 0.0, "correlation": pytest.approx(1.0)}
    empty = Agreement("mse")
    empty.add(torch.zeros(3), torch.zeros(3))
    assert empty.result() == {"relative_error": None, "correlation": None}


def test_wrong_shapes_and_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mask: expected the shape .* \(2, 4\), got \(2, 3\)"):
        distance("mse", torch.zeros(2, 3), torch.zeros(2, 4), "mask")
    with pytest.raises(ConfigError, match="unknown task.losses.a 'mes'; closest: mse"):
        chosen_losses("mse", {"a": "mes"})
    with pytest.raises(ConfigError, match="unknown task.loss 'x'"):
        chosen_losses("x", {})
