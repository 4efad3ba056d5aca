"""Which classes and arguments a schedule file may name."""

from __future__ import annotations

from typing import Any

import pytest

from audioprune.distiller.known_classes import build_instance
from audioprune.distiller.structures import RankedStructurePruner
from audioprune.errors import ConfigError


def test_a_name_decides_some_arguments() -> None:
    given = {"group_type": "Filters", "desired_sparsity": 0.5, "weights": ["conv.weight"]}
    built = build_instance("pruners", "L2RankedStructureParameterPruner", given)
    assert built == RankedStructurePruner(**given, p=2)
    with pytest.raises(ConfigError, match="does not accept p"):
        build_instance("pruners", "L2RankedStructureParameterPruner", {**given, "p": 1})


@pytest.mark.parametrize(
    ("section", "kind", "given", "message"),
    [
        (
            "pruners",
            "SensitivityPrunr",
            {},
            "unsupported class: unknown class in pruners 'SensitivityPrunr'; closest: "
            "SensitivityPruner",
        ),
        (
            "pruners",
            "ActivationAPoZRankedFilterPruner",
            {},
            "unsupported class.*known: AutomatedGradualPruner",
        ),
        (
            "pruners",
            "SensitivityPruner",
            {"sensitivty": {}},
            "does not accept sensitivty; it accepts sensitivities",
        ),
        (
            "pruners",
            "SensitivityPruner",
            {},
            "SensitivityPruner: expected sensitivities, got none",
        ),
        ("regularizers", "GroupVarianceRegularizer", {}, "unsupported class"),
        ("lr_schedulers", "StepLR", {"step": 3}, "StepLR does not accept step"),
        (
            "extensions",
            "StructureRemover",
            {"thinning_func_str": "remove"},
            "unknown thinning_func_str 'remove'",
        ),
    ],
)
def test_unknown_classes_and_arguments_are_refused(
    section: str, kind: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_instance(section, kind, given)
    assert "\n" not in str(caught.value)
