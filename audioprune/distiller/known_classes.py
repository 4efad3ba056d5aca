"""Which classes a schedule file may name, and how an instance of one is built.

``build_instance`` turns a section, a class name and arguments into a pruner, a regularizer, a
learning-rate rule or a remover. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from audioprune.distiller.learning_rates import Rule
from audioprune.distiller.pruners import (
    AutomatedGradualPruner,
    BaiduRNNPruner,
    MagnitudeParameterPruner,
    SensitivityPruner,
    SparsityLevelParameterPruner,
    SplicingPruner,
)
from audioprune.distiller.regularizers import GroupLassoRegularizer, L1Regularizer
from audioprune.distiller.structures import (
    GradualStructurePruner,
    RankedStructurePruner,
    StructureParameterPruner,
)
from audioprune.errors import ConfigError, unknown_name

SECTIONS = {
    "pruner": "pruners",
    "regularizer": "regularizers",
    "lr_scheduler": "lr_schedulers",
    "extension": "extensions",
}
"""What a policy calls an instance -> the section of the file that holds it."""


@dataclass(frozen=True)
class Remover:
    """Takes units out of the model for which every filter, or every channel, is masked.

    The units are silenced, with biases and normalisations, at the epoch of the policy, and leave
    the tensors when training is over; that gives the same outputs as a removal at once.

    Attributes:
        thinning_func_str: ``remove_filters`` or ``remove_channels``.
        arch: Not used; the model declares its own units.
        dataset: Not used.

    Raises:
        ConfigError: The function is unknown.
    """

    thinning_func_str: str
    arch: str | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        known = ("remove_filters", "remove_channels")
        if self.thinning_func_str not in known:
            raise ConfigError(
                unknown_name("thinning_func_str", str(self.thinning_func_str), known)
            )


@dataclass(frozen=True)
class KnownClass:
    """A class that a file may name.

    Attributes:
        build: The dataclass that is built.
        fixed: Arguments that the name itself decides.
    """

    build: type[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, bool]:
        """Return the arguments that a file may give, and whether each is needed."""
        return {
            each.name: each.default is MISSING
            for each in fields(self.build)
            if each.name not in self.fixed
        }


CLASSES: dict[str, dict[str, KnownClass]] = {
    "pruners": {
        "SensitivityPruner": KnownClass(SensitivityPruner),
        "SparsityLevelParameterPruner": KnownClass(SparsityLevelParameterPruner),
        "MagnitudeParameterPruner": KnownClass(MagnitudeParameterPruner),
        "AutomatedGradualPruner": KnownClass(AutomatedGradualPruner),
        "L1RankedStructureParameterPruner": KnownClass(RankedStructurePruner, {"p": 1}),
        "L2RankedStructureParameterPruner": KnownClass(RankedStructurePruner, {"p": 2}),
        "L1RankedStructureParameterPruner_AGP": KnownClass(GradualStructurePruner, {"p": 1}),
        "L2RankedStructureParameterPruner_AGP": KnownClass(GradualStructurePruner, {"p": 2}),
        "StructureParameterPruner": KnownClass(StructureParameterPruner),
        "SplicingPruner": KnownClass(SplicingPruner),
        "BaiduRNNPruner": KnownClass(BaiduRNNPruner),
    },
    "regularizers": {
        "L1Regularizer": KnownClass(L1Regularizer),
        "GroupLassoRegularizer": KnownClass(GroupLassoRegularizer),
    },
    "extensions": {
        "FilterRemover": KnownClass(Remover, {"thinning_func_str": "remove_filters"}),
        "ChannelRemover": KnownClass(Remover, {"thinning_func_str": "remove_channels"}),
        "StructureRemover": KnownClass(Remover),
    },
}
"""Section -> class name in a file -> what is built; learning-rate rules are torch's own."""


def build_instance(section: str, kind: str, given: dict[str, Any]) -> Any:
    """Build what a file describes.

    Args:
        section: Section of the file, such as ``pruners``.
        kind: Name of the class.
        given: Its arguments.

    Raises:
        ConfigError: The class is unknown, or an argument is unknown, missing or wrong.
    """
    if section == "lr_schedulers":
        return Rule(kind, given)
    if kind not in CLASSES[section]:
        raise ConfigError(
            f"unsupported class: {unknown_name(f'class in {section}', kind, CLASSES[section])}"
        )
    known = CLASSES[section][kind]
    accepted = known.arguments()
    wrong = [key for key in given if key not in accepted]
    if wrong:
        raise ConfigError(
            f"{kind} does not accept {', '.join(wrong)}; it accepts {', '.join(accepted)}"
        )
    missing = [key for key, needed in accepted.items() if needed and key not in given]
    if missing:
        raise ConfigError(f"{kind}: expected {', '.join(missing)}, got none; add it")
    return known.build(**given, **known.fixed)
