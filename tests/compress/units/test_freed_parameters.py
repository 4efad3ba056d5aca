"""The count of parameters that leave with units, against arithmetic by hand."""

from __future__ import annotations

import pytest
from torch import nn

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.freed_parameters import freed_parameters
from audioprune.compress.units.weight_groups import weight_groups
from audioprune.errors import ConfigError


class _Mlp(nn.Module):
    """3 -> 6 -> 5 -> 2 with a recurrent-like square weight on the first hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.loop, self.b, self.c = (
            nn.Linear(3, 6),
            nn.Linear(6, 6, bias=False),
            nn.Linear(6, 5),
            nn.Linear(5, 2),
        )
        self.norm = nn.BatchNorm1d(5)

    def unit_sets(self) -> list[UnitSet]:
        first = [
            ("a.weight", 0, "out"),
            ("a.bias", 0, "out"),
            ("loop.weight", 0, "out"),
            ("loop.weight", 1, "in"),
            ("b.weight", 1, "in"),
        ]
        second = [("b.weight", 0, "out"), ("b.bias", 0, "out"), ("c.weight", 1, "in")]
        second += [("norm.weight", 0, "norm"), ("norm.running_mean", 0, "norm")]
        return [
            UnitSet(
                name, tuple(Slice(tensor, dim, rows(0, size), role) for tensor, dim, role in parts)
            )
            for name, parts, size in (("first", first, 6), ("second", second, 5))
        ]


def test_freed_parameters_counts_shared_weights_once() -> None:
    freed = freed_parameters(_Mlp(), _Mlp().unit_sets())
    assert freed({}) == 0
    assert freed({"first": 1}) == 3 + 1 + (36 - 25) + 5
    assert freed({"second": 2}) == 2 * (6 + 1 + 1 + 2)
    assert freed({"first": 1, "second": 2}) == (3 + 1 + 11) + (30 - 15) + 2 * (1 + 1 + 2)
    with pytest.raises(ConfigError, match="removable units, got weight groups"):
        freed_parameters(_Mlp(), weight_groups(_Mlp()))
    with pytest.raises(ConfigError, match="tensor of unit set 'x'"):
        freed_parameters(_Mlp(), [UnitSet("x", (Slice("d.weight", 0, rows(0, 2)),))])
