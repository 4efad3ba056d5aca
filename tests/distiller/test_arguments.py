"""Which arguments of pruners are refused, with which message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audioprune.distiller.pruners import (
    AutomatedGradualPruner,
    BaiduRNNPruner,
    MagnitudeParameterPruner,
    SensitivityPruner,
    SparsityLevelParameterPruner,
    SplicingPruner,
)
from audioprune.errors import ConfigError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: SensitivityPruner({"w": -1}),
            "sensitivities, 'w': expected a number >= 0, got -1",
        ),
        (lambda: SensitivityPruner({"w": float("nan")}), "expected a number >= 0, got nan"),
        (lambda: SensitivityPruner({"w": True}), "got True"),
        (lambda: SensitivityPruner({"w": "much"}), "got 'much'"),
        (lambda: SensitivityPruner({}), "an empty one"),
        (lambda: SensitivityPruner(["w"]), "got list"),
        (lambda: MagnitudeParameterPruner({"w": 1}), r"expected an entry '\*'"),
        (lambda: SparsityLevelParameterPruner({"w": 1.5}), "from 0 to 1, got 1.5"),
        (
            lambda: AutomatedGradualPruner(0.5, 0.5, ["w"]),
            "final_sparsity above initial_sparsity, got 0.5 and 0.5",
        ),
        (lambda: AutomatedGradualPruner(0.1, 0.5, []), "list of parameter names"),
        (
            lambda: AutomatedGradualPruner(0.1, 1.5, ["w"]),
            "final_sparsity: expected a number from 0 to 1",
        ),
        (lambda: SplicingPruner({"w": 1}, -0.9, 1.1), "low_thresh_mult: expected a number >= 0"),
        (lambda: BaiduRNNPruner(0, 0.5, None, 1, 1, ["w"]), "q: expected a number >= 0, got None"),
    ],
)
def test_wrong_numbers_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
