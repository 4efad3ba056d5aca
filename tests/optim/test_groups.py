"""How rows and unit sets become groups, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, blocks, rows
from audioprune.errors import ConfigError
from audioprune.optim import HSPG, ProxSG, kept_units


class Net(nn.Module):
    """A convolution with its normalisation, flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.last = nn.Linear(6 * 4, 3)

    def units(self) -> list[UnitSet]:
        channel = rows(0, 6)
        return [
            UnitSet(
                "conv",
                (
                    Slice("conv.weight", 0, channel),
                    Slice("conv.bias", 0, channel),
                    *(
                        Slice(f"norm.{name}", 0, channel, "norm")
                        for name in ("weight", "bias", "running_mean", "running_var")
                    ),
                    Slice("last.weight", 1, blocks(0, 6, 4), "in"),
                ),
            )
        ]


def test_training_groups_are_the_units_that_trimming_removes() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = HSPG(net.named_parameters(), 0.1, lmbda=0.1, units=net.units(), prox_steps=1)
    assert optimizer.group_sparsity() == 0 and optimizer.param_groups[0]["groups"] == 6
    with torch.no_grad():
        net.conv.weight[2] = net.conv.bias[2] = 0
    assert optimizer.group_sparsity() == 0, "a filter with a live shift is not zero"
    with torch.no_grad():
        net.norm.weight[2] = net.norm.bias[2] = 0
    assert optimizer.group_sparsity() == 1 / 6
    assert kept_units(net.named_parameters(), net.units())["conv"].tolist() == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    norms = [
        torch.cat(
            [net.conv.weight[u].flatten(), net.conv.bias[u : u + 1], net.norm.weight[u : u + 1]]
        ).norm()
        for u in range(6)
    ]
    assert optimizer.objective_penalty() == pytest.approx(
        0.1 * float(sum(norms).detach()), rel=1e-6
    )


def test_readers_of_a_unit_are_not_shrunk() -> None:
    torch.manual_seed(0)
    net = Net()
    held = net.last.weight.detach().clone()
    optimizer = ProxSG(net.named_parameters(), 0.1, lmbda=100.0, units=net.units())
    for param in net.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    assert optimizer.group_sparsity() == 1 and torch.equal(net.last.weight, held)


def test_a_gradient_that_is_missing_inside_a_unit_counts_as_zero() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = ProxSG(net.named_parameters(), 0.1, lmbda=100.0, units=net.units())
    net.conv.weight.grad = torch.zeros_like(net.conv.weight)
    last = net.last.weight.detach().clone()
    optimizer.step()
    assert optimizer.group_sparsity() == 1 and torch.equal(net.last.weight, last)


def test_a_change_of_memory_order_is_followed() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    optimizer = ProxSG(
        conv.named_parameters(),
        1.0,
        lmbda=0.1,
        units=[UnitSet("c", (Slice("weight", 0, rows(0, 4)),))],
    )
    before = optimizer.objective_penalty()
    conv.to(memory_format=torch.channels_last)
    assert not conv.weight.is_contiguous() and optimizer.objective_penalty() == pytest.approx(
        before, rel=1e-6
    )
    start = conv.weight.detach().flatten(1).norm(dim=1)
    for param in conv.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    torch.testing.assert_close(conv.weight.detach().flatten(1).norm(dim=1), start - 0.1)


def test_kernel_groups_through_leading_axes() -> None:
    weight = nn.Parameter(torch.ones(4, 3, 5))
    with torch.no_grad():
        weight[1, 2] = 0
    units = [UnitSet("kernels", (Slice("w", 0, rows(0, 12), leading=2),), removable=False)]
    assert ProxSG([("w", weight)], 0.1, lmbda=1.0, units=units).group_sparsity() == 1 / 12


def test_rows_of_vectors_and_scalars_are_entries() -> None:
    params = [
        nn.Parameter(torch.tensor(0.0)),
        nn.Parameter(torch.tensor([0.0, 2.0])),
        nn.Parameter(torch.ones(3, 2)),
    ]
    optimizer = ProxSG(params, 0.1, lmbda=1.0, units="rows")
    assert optimizer.group_sparsity() == 2 / 6 and optimizer.entry_sparsity() == 2 / 9


def test_tiny_entries_are_not_zero() -> None:
    param = nn.Parameter(torch.full((2, 2), 1e-30))
    assert ProxSG([param], 0.1, lmbda=1.0, units="rows").group_sparsity() == 0


W = Slice("w", 0, rows(0, 4))
WRONG = [
    ([UnitSet("a", (Slice("v", 0, rows(0, 4)),))], "parameter v of unit set a"),
    ([UnitSet("a", (W,)), UnitSet("b", (Slice("w", 1, rows(0, 3)),))], "owned twice"),
    ([UnitSet("a", (Slice("w", 0, torch.zeros(4, 1, dtype=torch.int64)),))], "owned twice"),
    ([UnitSet("a", (Slice("w", 0, rows(1, 4)),))], "positions from 0 to 3"),
    ([UnitSet("a", (Slice("w", 5, rows(0, 4)),))], "on an axis of"),
    ([UnitSet("a", (Slice("w", 0, rows(0, 4), "in"),))], "got none"),
    ([UnitSet("a", (W,)), UnitSet("a", (W,))], "different names"),
    ([UnitSet("a", (W, Slice("w", 1, rows(0, 3))))], "shape"),
]


@pytest.mark.parametrize(("units", "said"), WRONG, ids=[said for _, said in WRONG])
def test_units_that_do_not_fit_are_refused(units: list[UnitSet], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        ProxSG([("w", nn.Parameter(torch.ones(4, 3)))], 0.1, lmbda=1.0, units=units)
    assert "\n" not in str(caught.value)


def test_unit_sets_need_names() -> None:
    with pytest.raises(ConfigError, match="named_parameters"):
        ProxSG([nn.Parameter(torch.ones(4, 3))], 0.1, lmbda=1.0, units=[UnitSet("a", (W,))])
    with pytest.raises(ConfigError, match="dense"):
        ProxSG([nn.Parameter(torch.ones(4, 6)[:, ::2])], 0.1, lmbda=1.0, units="rows")
    with pytest.raises(ConfigError, match="empty"):
        ProxSG([nn.Parameter(torch.ones(0, 6))], 0.1, lmbda=1.0, units="rows")
