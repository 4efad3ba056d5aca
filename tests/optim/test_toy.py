"""The four optimisers on a group-sparse logistic regression with independently fixed results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from audioprune.optim import ADMM, HSPG, OBProxSG, ProxSG

LAMBDA = 0.05
STEPS = 1200


@cache
def _problem() -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """400 samples, 20 groups of 5 weights of which 5 matter.

    Returns matrix, labels, start and the batches of 60 epochs.
    """
    random = np.random.RandomState(0)
    matrix = random.standard_normal((400, 100))
    truth = np.zeros(100)
    for group in range(5):
        truth[5 * group : 5 * group + 5] = random.standard_normal(5)
    labels = np.where(matrix @ truth + 0.5 * random.standard_normal(400) > 0, 1.0, -1.0)
    start = 0.1 * np.random.RandomState(1000).standard_normal(100)
    order = np.random.RandomState(0)
    batches = np.concatenate([order.permutation(400).reshape(20, 20) for _ in range(60)])
    assert (
        (matrix * labels[:, None]).shape == (400, 100)
        and np.isclose(matrix.sum(), -151.144773)
        and (labels > 0).sum() == 209
    )
    assert np.isclose(start[0], -0.080446, atol=1e-6) and list(batches[0][:5]) == [
        132,
        309,
        341,
        196,
        246,
    ]
    return (
        torch.from_numpy(matrix),
        torch.from_numpy(labels),
        torch.from_numpy(start).reshape(20, 5),
        batches,
    )


def _loss(matrix: Tensor, labels: Tensor, x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(-labels * (matrix @ x.reshape(-1))).mean()


def _train(
    make: Callable[[list[Tensor]], Optimizer],
) -> tuple[Tensor, Optimizer, Callable[[Tensor], float]]:
    matrix, labels, start, batches = _problem()
    x = torch.nn.Parameter(start.clone())
    optimizer = make([x])
    for rows, signs in zip(matrix[batches], labels[batches], strict=True):
        # the slope of `_loss`, by hand
        slope = torch.sigmoid(-signs * (rows @ x.detach().reshape(-1))).mul_(signs)
        x.grad = (slope @ rows).div_(-len(signs)).reshape(x.shape)
        optimizer.step()
    return x.detach(), optimizer, lambda at: float(_loss(matrix, labels, at))


def test_the_slope_is_that_of_the_loss() -> None:
    matrix, labels, start, _ = _problem()
    x = start.clone().requires_grad_()
    _loss(matrix, labels, x).backward()
    slope = torch.sigmoid(-labels * (matrix @ start.reshape(-1))) * labels
    torch.testing.assert_close(x.grad.reshape(-1), -(slope @ matrix) / len(labels))


def _each_once(names: Iterable[str]) -> list[Any]:
    """Return each row with the plain steps or the fused ones in turn; the other ones are slow.

    That both take the same steps is tested one by one in test_group_steps.
    """
    return [
        pytest.param(name, fused, marks=() if fused == bool(place % 2) else pytest.mark.slow)
        for place, name in enumerate(names)
        for fused in (False, True)
    ]


ROWS = {
    "ProxSG": (lambda p: ProxSG(p, 0.05, lmbda=LAMBDA, units="rows"), 0.441850, 0.246683, 0.0),
    "HSPG eps 0": (
        lambda p: HSPG(p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=600),
        0.439376,
        0.248148,
        0.65,
    ),
    "HSPG eps .5": (
        lambda p: HSPG(p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=600, epsilon=0.5),
        0.438873,
        0.249722,
        0.75,
    ),
    "HSPG eps .8": (
        lambda p: HSPG(p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=600, epsilon=0.8),
        0.438873,
        0.249568,
        0.75,
    ),
    "HSPG released": (
        lambda p: HSPG(
            p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=600, first_stage="subgradient"
        ),
        0.439376,
        0.248150,
        0.65,
    ),
    "sub-gradient": (
        lambda p: HSPG(
            p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=math.inf, first_stage="subgradient"
        ),
        0.443138,
        0.246196,
        0.0,
    ),
    "ProxSG lr .2": (lambda p: ProxSG(p, 0.2, lmbda=LAMBDA, units="rows"), 0.452676, None, 0.0),
    "HSPG lr .2": (
        lambda p: HSPG(p, 0.2, lmbda=LAMBDA, units="rows", prox_steps=600),
        0.440554,
        None,
        0.7,
    ),
}


@pytest.mark.parametrize(("name", "fused"), _each_once(ROWS))
def test_group_methods_reach_the_reference(name: str, fused: bool) -> None:
    make, total, loss, sparsity = ROWS[name]
    x, optimizer, smooth = _train(lambda p: make([{"params": p, "fused": fused}]))
    assert smooth(x) + optimizer.objective_penalty() == pytest.approx(total, abs=1e-6)
    assert loss is None or smooth(x) == pytest.approx(loss, abs=1e-6)
    assert optimizer.group_sparsity() == sparsity
    assert optimizer.objective_penalty() == pytest.approx(
        LAMBDA * float(x.norm(dim=1).sum()), rel=1e-12
    )


@pytest.mark.parametrize(
    ("rho", "x_row", "z_row"),
    [
        (0.1, (0.443075, 0.247085, 0.0), (0.438884, 0.247628, 0.75)),
        (1.0, None, (0.438931, 0.249532, 0.70)),
    ],
)
def test_admm_reaches_the_reference(rho: float, x_row: tuple | None, z_row: tuple) -> None:
    x, optimizer, smooth = _train(
        lambda p: ADMM(p, 0.05, lmbda=LAMBDA, rho=rho, inner_steps=10, units="rows")
    )
    z = optimizer.state[optimizer.param_groups[0]["params"][0]]["z"]
    for of, at, row in (("x", x, x_row), ("z", z, z_row)):
        if row is not None:
            assert smooth(at) + optimizer.objective_penalty(of) == pytest.approx(row[0], abs=1e-6)
            assert smooth(at) == pytest.approx(row[1], abs=1e-6)
            assert optimizer.group_sparsity(of) == row[2]


L1_ROWS = {
    "ProxSG": (
        lambda p: ProxSG(p, 0.05, lmbda=LAMBDA, units="rows", norm="l1"),
        0.538727,
        0.40,
        None,
    ),
    "OBProxSG+": (
        lambda p: OBProxSG(p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=600),
        0.533472,
        0.86,
        0.75,
    ),
    "OBProxSG 5/5": (
        lambda p: OBProxSG(p, 0.05, lmbda=LAMBDA, units="rows", prox_steps=100, orthant_steps=100),
        0.533472,
        0.86,
        0.75,
    ),
}


@pytest.mark.parametrize(("name", "fused"), _each_once(L1_ROWS))
def test_l1_methods_reach_the_reference(name: str, fused: bool) -> None:
    make, total, entries, groups = L1_ROWS[name]
    x, optimizer, smooth = _train(lambda p: make([{"params": p, "fused": fused}]))
    assert smooth(x) + LAMBDA * float(x.abs().sum()) == pytest.approx(total, abs=1e-6)
    assert optimizer.objective_penalty() == pytest.approx(LAMBDA * float(x.abs().sum()), rel=1e-12)
    assert optimizer.entry_sparsity() == entries
    assert groups is None or optimizer.group_sparsity() == groups
