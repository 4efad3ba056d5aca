"""The corpus of ten artificial acoustic scenes, which needs no recordings: ``SyntheticScenes``.

Scenes differ in how their events follow one another, begin, fade, glide and echo; which spectrum a
clip has is largely chance. How a clip is made is in synthesis.py. The folder of clips is read back
as a ClassFolder like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from audioprune.data.corpus import GeneratedCorpus
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.scenes.corpora import ClassFolder
from audioprune.data.scenes.features import SceneFeatures
from audioprune.data.scenes.synthesis import SAMPLE_RATE, SCENES, Audio, synthesise
from audioprune.data.splits.folders import SPLITS
from audioprune.errors import ConfigError
from audioprune.ranges import PassedTo, Range

_VERSION = 1
_OF_FOLDERS = ("table", "split", "fractions", "recording_from", "valid_fraction")
"""Raised whenever the same recipe gives other audio."""
_TITLE = "synthetic_scenes"
_BYTES_PER_SECOND = 2.2 * SAMPLE_RATE
"""What a second of a clip takes on disk as FLAC, about."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the audio.

    Attributes:
        seed: Decides every clip.
        clips: Clips of each class in train, valid and test; each is a recording of its own.
        duration_s: Length of a clip in seconds.
        version: Version of the synthesizer.

    Raises:
        ConfigError: A value is out of its range.
    """

    seed: int
    clips: tuple[int, int, int]
    duration_s: float
    version: int = _VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(
                f"expected seed as a whole number of at least 0, got {self.seed}; use for "
                f"instance 0"
            )
        if not all(isinstance(count, int) and 1 <= count <= 10_000 for count in self.clips):
            raise ConfigError(
                f"expected 1 to 10000 clips of each class in each split, got "
                f"{list(self.clips)}; use for instance 60, 15, 25"
            )
        if not 1.0 <= self.duration_s <= 60:
            raise ConfigError(
                f"expected duration_s from 1 to 60 s, got {self.duration_s}; use for instance 3"
            )

    def pieces(self) -> dict[str, Callable[[], Audio]]:
        """Return a function for each clip (T, 2) by its path ``<split>/<class>/<number>.flac``."""
        pieces: dict[str, Callable[[], Audio]] = {}
        for place, scene in enumerate(SCENES):
            number = 0
            for split, count in zip(SPLITS, self.clips, strict=True):
                for _ in range(count):
                    path = f"{split}/{scene.name}/{number:05d}.flac"
                    pieces[path] = partial(self._clip, place, number)
                    number += 1
        return pieces

    def _clip(self, place: int, number: int) -> Audio:
        rng = np.random.default_rng([self.seed, place, number])
        return synthesise(SCENES[place], rng, self.duration_s).T


class SyntheticScenes(GeneratedCorpus[ClassFolder]):
    """Artificial acoustic scenes of ten classes, a ClassFolder over a folder that it writes.

    Long-term spectra overlap, so that a linear model on them finds little; what tells classes
    apart is the rate, regularity, shape and glide of events, and the reverberation. The default
    takes about 15 s to make and 140 MB.

    Args:
        root: Folder to write or read; empty for one in the user's cache folder, named after the
            recipe.
        seed: Decides every clip.
        clips_per_class: Training clips of each class.
        valid_clips_per_class: Validation clips of each class.
        test_clips_per_class: Test clips of each class.
        duration_s: Length of a clip in seconds.
        mels: Number of mel bands.
        cache_dir: Cache folder; empty for the user's.
        **options: Any other argument of ClassFolder, such as ``hop_length`` or ``memory_mb``;
            ``hold_out`` changes nothing, for there is a validation set.

    Attributes:
        sample_rate: Rate at which features are computed, in Hz.
        classes: Names of the classes.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        root: str | Path = "",
        *,
        seed: Annotated[int, Range(0)] = 0,
        clips_per_class: Annotated[int, Range(1, 10_000)] = 60,
        valid_clips_per_class: Annotated[int, Range(1, 10_000)] = 15,
        test_clips_per_class: Annotated[int, Range(1, 10_000)] = 25,
        duration_s: Annotated[float, Range(1, 60)] = 3.0,
        mels: Annotated[int, Range(1, 4096)] = 64,
        cache_dir: str = "",
        **options: Annotated[Any, PassedTo(ClassFolder, but=_OF_FOLDERS)],
    ) -> None:
        clips = (clips_per_class, valid_clips_per_class, test_clips_per_class)
        recipe = Recipe(seed, clips, float(duration_s))
        folder = GeneratedFolder.at(root, _TITLE, asdict(recipe), cache_dir)
        corpus = ClassFolder(
            folder.root,
            split="folders",
            duration_s=recipe.duration_s,
            mels=mels,
            cache_dir=cache_dir,
            **{"title": _TITLE, **options},
        )
        super().__init__(corpus, folder, recipe)
        self.classes = tuple(scene.name for scene in SCENES)

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.inner.features

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; a label is a place in this order."""
        return self._ready().class_names()

    def features_of(self, path: Path) -> Tensor:
        """Return the features (2, M, N) of any recording, normalised as those of training."""
        return self._ready().features_of(path)

    def reading(self) -> dict[str, Any]:
        """Return what a model file has to say so that recordings are read without the corpus."""
        return self._ready().reading()

    def _generate(self) -> None:
        seconds = len(SCENES) * sum(self.recipe.clips) * self.recipe.duration_s
        self.folder.make(self.recipe.pieces(), SAMPLE_RATE, round(seconds * _BYTES_PER_SECOND))
