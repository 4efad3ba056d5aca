"""The weight that falls step by step: from which epoch on, never below 0, and stored."""

from __future__ import annotations

import pytest

from audioprune.errors import ConfigError
from audioprune.training.decaying_weight import DecayingWeight


def test_it_falls_from_its_epoch_on_and_goes_on_after_loading() -> None:
    weight = DecayingWeight(10.0, 4.0, 1)
    found = []
    for epoch in (0, 0, 1, 1, 2):
        weight.epoch = epoch
        found.append(weight.step())
    assert found == [10, 10, 6, 2, 0]
    again = DecayingWeight(30.0, 4.0, 0)
    again.load_state_dict(weight.state_dict())
    assert again.step() == 30 - 4 * 4
    with pytest.raises(ConfigError, match="expected l1_decay_from of at least 0, got -1"):
        DecayingWeight(1.0, 0.0, -1)
