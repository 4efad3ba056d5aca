"""The frequency of a policy, which gradual pruners need."""

from __future__ import annotations

import pytest

from audioprune.distiller.context import TrainingPosition, required_frequency
from audioprune.errors import ConfigError


def test_a_policy_of_listed_epochs_has_no_frequency() -> None:
    assert required_frequency(TrainingPosition(4, 0, 30, 2)) == 2
    with pytest.raises(ConfigError, match="for a gradual pruner, got a list of epochs"):
        required_frequency(TrainingPosition(4, 0, 30, None))
