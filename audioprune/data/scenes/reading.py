"""How a classifier of scenes reads any recording, without its corpus: ``Reading``.

It holds the names of the classes, what features are, and the normalisation of the training set: a
few plain values that a model file carries. It satisfies ``protocols.ReadsRecordings``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioprune.data.scenes.features import Features, Normalisation, SceneFeatures
from audioprune.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class Reading:
    """What makes the features of a recording.

    Attributes:
        classes: Names of the classes; a label is a place in this order.
        features: What a model sees of a clip.
        normalisation: Of the training features.
    """

    classes: tuple[str, ...]
    features: SceneFeatures
    normalisation: Normalisation

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.classes

    def prepare(self) -> None:
        """Do nothing: everything is known."""

    def features_of(self, path: Path) -> Tensor:
        """Return the features (2, M, N) of any recording, normalised as those of training.

        Raises:
            DataError: It cannot be decoded.
        """
        return torch.from_numpy(self.normalisation.apply(self.features.of_file(path)))

    def facts(self) -> dict[str, Any]:
        """Return plain values from which ``read`` makes the same."""
        return {
            "classes": list(self.classes),
            "features": asdict(self.features),
            "mean": _text(self.normalisation.mean),
            "std": _text(self.normalisation.std),
        }


def read(facts: Any) -> Reading:
    """Make a reading of what a model file says.

    Raises:
        CheckpointError: It says something else.
    """
    try:
        features = SceneFeatures(**facts["features"])
        mean, std = (_numbers(facts[key], features.mels) for key in ("mean", "std"))
        classes = tuple(map(str, facts["classes"]))
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"reading: expected class names, features and their normalisation, got '{error}'; "
            f"give data=..."
        ) from error
    return Reading(classes, features, Normalisation(mean, std))


def _text(values: Features) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _numbers(text: str, count: int) -> Features:
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{len(found)} numbers for {count} bands")
    return found.astype(np.float32)


def said_by(facts: Mapping[str, Any]) -> Reading | None:
    """Return the reading of a model file, None where it has none."""
    return read(facts["reading"]) if facts.get("reading") else None
