"""The count of parameters that leave with units, against arithmetic by hand."""

from __future__ import annotations

import pytest
from toys import LoopMlp

from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.freed_parameters import freed_parameters
from audioprune.compress.units.weight_groups import weight_groups
from audioprune.errors import ConfigError


def test_freed_parameters_counts_shared_weights_once() -> None:
    freed = freed_parameters(LoopMlp(), LoopMlp().unit_sets())
    assert freed({}) == 0
    assert freed({"first": 1}) == 3 + 1 + (36 - 25) + 5
    assert freed({"second": 2}) == 2 * (6 + 1 + 1 + 2)
    assert freed({"first": 1, "second": 2}) == (3 + 1 + 11) + (30 - 15) + 2 * (1 + 1 + 2)
    with pytest.raises(ConfigError, match="removable units, got weight groups"):
        freed_parameters(LoopMlp(), weight_groups(LoopMlp()))
    with pytest.raises(ConfigError, match="tensor of unit set 'x'"):
        freed_parameters(LoopMlp(), [UnitSet("x", (Slice("d.weight", 0, rows(0, 2)),))])
