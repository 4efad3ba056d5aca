"""The gradients of rounded weights, by hand, and what the model holds between two updates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.quantize.kmeans import KMeans, cluster
from audioprune.compress.quantize.uniform import Uniform
from audioprune.steps.quantize.straight_through import (
    SharedValues,
    StraightThrough,
    counts,
    shared_gradients,
)


class One(nn.Module):
    """A layer of five weights; its output is their product with the input."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weights]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.weight * x).sum()


KEEP = torch.tensor([[True, True, True, False, True]])
X = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])


def test_the_gradient_of_a_rounded_weight_moves_the_weight_behind_it() -> None:
    model = One(-1.0, 0.4, 0.6, 0.0, 1.0)
    form = Uniform(2, scale="max").quantize(model.weight, None, KEEP)  # -1, 0, 1
    hook = StraightThrough({"weight": form}, {"weight": KEEP})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    hook.on_training_begin(model, {})
    assert model.weight.tolist() == [[-1.0, 0.0, 1.0, 0.0, 1.0]]
    loss = model(X).square()  # the rounded weights: (-1 + 3 + 5)^2 = 49
    assert float(loss) == 49
    loss.backward()
    hook.before_update(model)
    # d loss / d w = 2 * 7 * x, but nothing for what is removed
    assert model.weight.grad.tolist() == [[14.0, 28.0, 42.0, 0.0, 70.0]]
    assert model.weight.tolist() == pytest.approx(torch.tensor([[-1.0, 0.4, 0.6, 0.0, 1.0]]))
    optimizer.step()
    behind = model.weight.detach().clone()
    torch.testing.assert_close(behind, torch.tensor([[-3.8, -5.2, -7.8, 0.0, -13.0]]))
    hook.on_step_end(model)
    assert model.weight.tolist() == [[-1.0, -1.0, -1.0, 0.0, -1.0]]
    # all four lie beyond the grid now: no gradient passes, and none is lost from the weights
    model.weight.grad = None
    model(X).backward()
    hook.before_update(model)
    assert model.weight.grad.count_nonzero() == 0 and torch.equal(model.weight, behind)


def test_codebooks_pass_every_gradient_and_keep_zeros() -> None:
    model = One(-1.0, 0.4, 0.6, 0.0, 1.0)
    form = KMeans(2).quantize(model.weight, None, KEEP)
    hook = StraightThrough({"weight": form}, {"weight": KEEP})
    hook.on_training_begin(model, {})
    assert model.weight.unique().tolist() == pytest.approx([-1.0, 0.0, 2 / 3])
    model(X).backward()
    hook.before_update(model)
    assert model.weight.grad.tolist() == [[1.0, 2.0, 3.0, 0.0, 5.0]]
    with torch.no_grad():
        model.weight[0, 1] = -0.2
    hook.on_step_end(model)
    assert float(model.weight[0, 1]) == -1.0 and float(model.weight[0, 3]) == 0.0


def test_what_lies_behind_is_stored_and_restored() -> None:
    model, twin = One(0.3, 0.4, 0.6, 0.0, 1.0), One(0.3, 0.4, 0.6, 0.0, 1.0)
    form = Uniform(3).quantize(model.weight, None, KEEP)
    hooks = [StraightThrough({"weight": form}, {"weight": KEEP}) for _ in range(2)]
    hooks[0].on_training_begin(model, {})
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.5]]))
    hooks[0].on_step_end(model)
    hooks[1].on_training_begin(twin, {})
    hooks[1].load_state_dict(hooks[0].state_dict())
    hooks[1].before_update(twin)
    assert twin.weight.tolist() == pytest.approx(torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.5]]))


def test_the_gradient_of_a_shared_value_is_the_sum_over_its_weights() -> None:
    """Checked against the derivative of the loss by the value itself."""
    codes = torch.tensor([0, 1, 1, 0])
    values = torch.tensor([0.5, -0.25], dtype=torch.float64, requires_grad=True)
    x = X[KEEP].double()
    ((values[codes] * x).sum() ** 2).backward()
    weight = torch.tensor([0.5, -0.25, -0.25, 0.5], dtype=torch.float64, requires_grad=True)
    ((weight * x).sum() ** 2).backward()
    torch.testing.assert_close(shared_gradients(weight.grad, codes), values.grad)
    assert counts(codes).tolist() == [2, 2]
    assert shared_gradients(torch.empty(0), torch.empty(0, dtype=torch.int64)).numel() == 0


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_shared_values_move_as_one(kind: type[torch.optim.Optimizer]) -> None:
    model = One(-1.0, 0.5, 0.5, 0.0, -1.0)
    book = cluster(model.weight, 2, KEEP)
    hook = SharedValues({"weight": book.codes}, {"weight": KEEP})
    hook.on_training_begin(model, {})
    value = torch.tensor([-1.0, 0.5], requires_grad=True)
    codes = book.codes.long()
    mine, reference = kind(model.parameters(), lr=0.1), kind([value], lr=0.1)
    for _ in range(3):
        mine.zero_grad()
        model(X).square().backward()
        hook.before_update(model)
        mine.step()
        hook.on_step_end(model)
        reference.zero_grad()
        (value[codes] * X[KEEP]).sum().square().backward()
        value.grad /= 2  # the mean of two weights
        reference.step()
        torch.testing.assert_close(model.weight[KEEP], value[codes], rtol=1e-5, atol=1e-6)
        assert len(model.weight[KEEP].unique()) == 2 and float(model.weight[0, 3].detach()) == 0
