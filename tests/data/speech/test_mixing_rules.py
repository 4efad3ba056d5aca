"""The numbers of a mixture are checked."""

from __future__ import annotations

import pytest

from audioprune.data.speech.mixing_rules import MixingRules
from audioprune.errors import ConfigError


@pytest.mark.parametrize(
    "rules",
    [
        {"sample_rate": 0},
        {"train_snr_db": (0.0, -5.0)},
        {"train_snr_db": (float("nan"), 0.0)},
        {"train_snr_step_db": 0.0},
        {"test_snr_db": ()},
        {"test_snr_db": (0.0, 0.0)},
        {"segment_s": 0.01},
        {"segment_s": -1.0},
        {"max_test_s": float("inf")},
        {"babble_share": 1.5},
        {"babble_share": float("nan")},
        {"babble_talkers": (1, 4)},
        {"babble_talkers": (5, 4)},
        {"seed": -1},
    ],
)
def test_wrong_rules_are_refused_by_name(rules: dict) -> None:
    with pytest.raises(ConfigError, match="expected") as error:
        MixingRules(**rules)
    assert next(iter(rules)) in str(error.value)
