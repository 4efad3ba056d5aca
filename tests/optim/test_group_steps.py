"""Vectorised and compiled steps against a plain loop over groups, many of them at zero."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.errors import ConfigError
from audioprune.optim import HSPG, OBProxSG, ProxSG
from audioprune.optim.group_steps import Move, half_space_step, prox_l1_step, prox_step
from audioprune.optim.groups import Layout

SHAPES = {"conv": (12, 3, 3, 3), "scale": (12,), "shift": (12,), "up": (5, 12, 4), "free": (7, 4)}
UNITS = [
    UnitSet(
        "channel",
        (
            Slice("conv", 0, rows(0, 12)),
            Slice("scale", 0, rows(0, 12), "norm"),
            Slice("shift", 0, rows(0, 12), "norm"),
            Slice("up", 1, rows(0, 12)),
            Slice("norm.running_mean", 0, rows(0, 12), "norm"),
            Slice("elsewhere", 1, rows(0, 12), "in"),
        ),
    ),
    UnitSet("part", (Slice("free", 0, rows(0, 3, repeat=2, stride=3)),)),
]


def _tensors(
    seed: int, dtype: torch.dtype, channels_last: bool = False
) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    found = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for name, shape in SHAPES.items()
    }
    if channels_last:
        found["conv"] = found["conv"].to(memory_format=torch.channels_last)
    return {name: nn.Parameter(tensor) for name, tensor in found.items()}


def _groups(units: object) -> list[dict[str, Tensor]]:
    """Write out every group as masks over the tensors, straight from the declaration."""
    found = []
    if units == "rows":
        for name, shape in SHAPES.items():
            for row in range(shape[0]):
                mask = torch.zeros(shape, dtype=torch.bool)
                mask[row] = True
                found.append({name: mask})
        return found
    for unit_set in units:
        for unit in range(unit_set.size):
            masks = {}
            for part in unit_set.slices:
                if part.role != "in" and part.tensor in SHAPES:
                    mask = torch.zeros(SHAPES[part.tensor], dtype=torch.bool)
                    mask.index_fill_(part.dim, part.index[unit], True)
                    masks[part.tensor] = mask
            found.append(masks)
    return found


def _pick(tensors: dict[str, Tensor], group: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name][mask] for name, mask in group.items()])


def _put(tensors: dict[str, Tensor], group: dict[str, Tensor], values: Tensor) -> None:
    for (name, mask), part in zip(
        group.items(), values.split([int(m.sum()) for m in group.values()]), strict=True
    ):
        tensors[name][mask] = part


def _loop_step(
    xs: dict[str, Tensor],
    ds: dict[str, Tensor],
    groups: list,
    lr: float,
    lmbda: float,
    epsilon: float | None,
) -> None:
    """One proximal (epsilon None) or half-space step, group by group, as the papers write it."""
    covered = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    for group in groups:
        x, d = _pick(xs, group), _pick(ds, group)
        for name, mask in group.items():
            covered[name] |= mask
        if epsilon is None:
            moved = x - lr * d
            norm = moved.norm()
            _put(
                xs,
                group,
                torch.zeros_like(x) if norm <= lr * lmbda else (1 - lr * lmbda / norm) * moved,
            )
        elif x.any():
            moved = x - lr * (d + lmbda * x / x.norm())
            _put(xs, group, torch.zeros_like(x) if moved @ x < epsilon * (x @ x) else moved)
    for name, x in xs.items():
        x[~covered[name]] -= lr * ds[name][~covered[name]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("units", ["rows", UNITS], ids=["rows", "units"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_trajectory_equals_the_loop(
    units: object, fused: bool, dtype: torch.dtype, channels_last: bool
) -> None:
    params = _tensors(1, dtype, channels_last)
    loop = {name: param.detach().clone().double().contiguous() for name, param in params.items()}
    groups, lmbda = _groups(units), 1.0 if units == "rows" else 4.0
    optimizer = HSPG(
        params.items(), 0.1, lmbda=lmbda, units=units, prox_steps=6, epsilon=0.8, fused=fused
    )
    generator = torch.Generator().manual_seed(2)
    zeros_seen = []
    for step in range(16):
        ds = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
        for name, param in params.items():
            param.grad = ds[name].to(dtype).to(memory_format=torch.preserve_format)
        _loop_step(
            loop,
            {name: d.double() for name, d in ds.items()},
            groups,
            0.1,
            lmbda,
            None if step < 6 else 0.8,
        )
        optimizer.step()
        zeros = [not _pick(loop, group).any() for group in groups]
        assert optimizer.group_sparsity() == sum(zeros) / len(groups)
        assert [not _pick(params, group).any() for group in groups] == zeros
        zeros_seen.append(sum(zeros) / len(groups))
        for name, param in params.items():
            torch.testing.assert_close(
                param.detach().double(),
                loop[name],
                atol=1e-5 if dtype == torch.float32 else 1e-12,
                rtol=0,
            )
    assert 0.3 <= zeros_seen[-1] < 1 and any(0 < share < 0.9 for share in zeros_seen)
    assert optimizer.objective_penalty() == pytest.approx(
        lmbda * sum(float(_pick(loop, group).norm()) for group in groups), rel=1e-5
    )


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("units", ["rows", UNITS], ids=["rows", "units"])
def test_entrywise_trajectory_equals_the_formula(units: object, fused: bool) -> None:
    params = _tensors(3, torch.float64)
    loop = {name: param.detach().clone() for name, param in params.items()}
    inside = {
        name: sum(
            (group[name].double() for group in _groups(units) if name in group), torch.zeros(shape)
        )
        > 0
        for name, shape in SHAPES.items()
    }
    optimizer = OBProxSG(
        params.items(), 0.1, lmbda=1.0, units=units, prox_steps=3, orthant_steps=2, fused=fused
    )
    generator = torch.Generator().manual_seed(4)
    for step in range(14):
        for name, param in params.items():
            param.grad = torch.randn(SHAPES[name], generator=generator, dtype=torch.float64)
            x, d, lam = loop[name], param.grad, inside[name].double()
            moved = x - 0.1 * d
            if step % 5 < 3:
                new = moved.sign() * (moved.abs() - 0.1 * lam).clamp(min=0)
            else:
                z = x.sign()
                new = x - 0.1 * (d + lam * z)
                new = torch.where(inside[name] & (new * z <= 0), 0.0, new)
            loop[name] = new
        optimizer.step()
        for name, param in params.items():
            torch.testing.assert_close(param.detach(), loop[name], atol=1e-13, rtol=0)
            assert ((param == 0) == (loop[name] == 0)).all()
    assert optimizer.entry_sparsity() > 0.15


@pytest.mark.parametrize("fused", [False, True])
def test_prox_is_exact_at_and_beyond_the_threshold(fused: bool) -> None:
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [6.0, 8.0]], dtype=torch.float64)
    plan = Layout("rows", None, [x]).plan([x])
    prox_step(Move(plan, [x], [torch.zeros_like(x)], 0.1, fused), 5.0)
    assert x[:3].count_nonzero() == 0 and not torch.signbit(x[:3]).any()
    assert x[3].norm().item() == pytest.approx(5.0, abs=1e-12) and torch.allclose(
        x[3], torch.tensor([3.0, 4.0], dtype=torch.float64)
    )


def test_prox_is_the_minimiser_on_a_grid() -> None:
    h, threshold = torch.tensor([[0.9, -0.4]], dtype=torch.float64), 0.35
    axis = torch.linspace(-1, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    cost = 0.5 * (grid - h).square().sum(1) + threshold * grid.norm(dim=1)
    cost_l1 = 0.5 * (grid - h).square().sum(1) + threshold * grid.abs().sum(1)
    for step, costs in ((prox_step, cost), (prox_l1_step, cost_l1)):
        x = h.clone()
        step(
            Move(Layout("rows", None, [x]).plan([x]), [x], [torch.zeros_like(x)], 0.0, False),
            threshold,
        )
        assert (x[0] - grid[costs.argmin()]).abs().max() <= 0.0051


@pytest.mark.parametrize("fused", [False, True])
def test_half_space_is_strict_and_projects_exactly_its_region(fused: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    start = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    d = 8 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    moved = start - 0.1 * (d + start / start.norm(dim=1, keepdim=True))
    inner, squares = (moved * start).sum(1), start.square().sum(1)
    zeros = []
    for epsilon in (0.0, 0.3, 0.7, 0.99):
        x = start.clone()
        half_space_step(
            Move(Layout("rows", None, [x]).plan([x]), [x], [d], 0.1, fused), 1.0, epsilon, 0.0
        )
        dead = ~x.any(dim=1)
        assert torch.equal(dead, inner < epsilon * squares)
        torch.testing.assert_close(x[~dead], moved[~dead], atol=1e-13, rtol=0)
        zeros.append(int(dead.sum()))
    assert zeros == sorted(zeros) and 0 < zeros[0] < zeros[-1] < 200


@pytest.mark.parametrize("fused", [False, True])
def test_half_space_keeps_a_step_that_stays_exactly_on_the_plane(fused: bool) -> None:
    x, d = (
        torch.tensor([[2.0, 0.0]], dtype=torch.float64),
        torch.tensor([[2.0, -3.0]], dtype=torch.float64),
    )
    half_space_step(Move(Layout("rows", None, [x]).plan([x]), [x], [d], 0.5, fused), 0.0, 0.5, 0.0)
    assert x.tolist() == [[1.0, 1.5]]  # <x+, x> = 2 = 0.5 * 4: not smaller, so kept


@pytest.mark.parametrize("fused", [False, True])
def test_non_finite_directions_stay_visible(fused: bool) -> None:
    half_space = partial(half_space_step, lmbda=0.1, epsilon=0.5, guard=0.0)
    for step in (
        partial(prox_step, threshold=0.1),
        half_space,
        partial(prox_l1_step, threshold=0.1),
    ):
        for width in (1, 3):
            x = torch.ones(4, width)
            d = torch.zeros(4, width)
            d[1] = math.nan
            step(Move(Layout("rows", None, [x]).plan([x]), [x], [d], 0.1, fused))
            assert x[1].isnan().all() and x[[0, 2, 3]].isfinite().all()


def test_a_pull_below_one_ulp_acts_on_average() -> None:
    """Each step takes 1e-9 off a norm of 1, far less than float32 can show in one step."""
    generator = torch.Generator().manual_seed(6)
    start = torch.randn(8, 4096, generator=generator)
    start /= start.norm(dim=1, keepdim=True)
    for fused in (False, True):
        for make in (
            lambda p, f=fused: HSPG(p, 1e-6, lmbda=1e-3, units="rows", prox_steps=0, fused=f),
            lambda p, f=fused: ProxSG(p, 1e-6, lmbda=1e-3, units="rows", fused=f),
        ):
            free, held = nn.Parameter(start.double()), nn.Parameter(start.clone())
            optimizer, exact = make([held]), make([free])
            noise = torch.Generator().manual_seed(7)
            for _ in range(100):
                held.grad = torch.randn(8, 4096, generator=noise)
                free.grad = held.grad.double()
                optimizer.step()
                exact.step()
            drift = (held.double() - free).detach().mul(start).sum(1)
            assert drift.abs().max() < 0.25 * 100 * 1e-9


def test_fused_true_needs_cpu_floats_of_one_type() -> None:
    param = nn.Parameter(torch.ones(4, 2, dtype=torch.bfloat16))
    param.grad = torch.ones_like(param)
    with pytest.raises(ConfigError, match="fused"):
        ProxSG([param], 0.1, lmbda=0.1, units="rows", fused=True).step()


@pytest.mark.parametrize("kind", ["group", "l1", "half", "orthant", "subgradient"])
def test_half_precision_follows_single_precision(kind: str) -> None:
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        param = nn.Parameter(torch.linspace(-1, 1, 24).reshape(6, 4).to(dtype))
        param.grad = torch.linspace(1, -1, 24).reshape(6, 4).to(dtype)
        options = {"lmbda": 2.0, "units": "rows"}
        optimizer = {
            "group": lambda p, o=options: ProxSG(p, 0.1, **o),
            "l1": lambda p, o=options: ProxSG(p, 0.1, norm="l1", **o),
            "half": lambda p, o=options: HSPG(p, 0.1, prox_steps=0, **o),
            "orthant": lambda p, o=options: OBProxSG(p, 0.1, prox_steps=0, **o),
            "subgradient": lambda p, o=options: HSPG(
                p, 0.1, prox_steps=9, first_stage="subgradient", **o
            ),
        }[kind]([param])
        for _ in range(3):
            optimizer.step()
        results.append(param.detach().float())
    torch.testing.assert_close(results[0], results[1], atol=0.03, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
def test_autograd_sees_that_the_parameters_changed(fused: bool) -> None:
    param = nn.Parameter(torch.ones(3, 2))
    loss = param.square().sum()
    param.grad = torch.ones_like(param)
    ProxSG([param], 0.1, lmbda=0.1, units="rows", fused=fused).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
