"""The corpora of acoustic scenes by name: the two TUT corpora, and any folder with one folder for each class.

Both are a SceneCorpus over another list of clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.files.checks import Finding
from audioprune.data.scenes.corpus import SceneCorpus, SceneSet, collate
from audioprune.data.scenes.features import SceneFeatures
from audioprune.data.scenes.lists import (
    RECORDING_RULES,
    SceneList,
    check_fraction,
    list_classes,
    with_validation,
)
from audioprune.data.scenes.table import list_table
from audioprune.data.scenes.tut_lists import list_tut, tut_corpus
from audioprune.data.splits.recordings import Links
from audioprune.data.splits.rules import share_out
from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import NoKey, OneOf, PassedTo, Range


class TutScenes:
    """TUT Acoustic Scenes 2017 (15 classes) or TUT Urban Acoustic Scenes 2018 (10 classes), as they are unpacked.

    2017 trains on the development set and tests on the evaluation set, which lie side by side;
    2018 uses fold 1. Validation takes some recordings of each class out of training. A part of a
    corpus is accepted and said in ``scale``.

    Args:
        root: Folder that holds ``TUT-acoustic-scenes-2017-development`` and ``-evaluation``, or
            ``TUT-urban-acoustic-scenes-2018-development``.
        year: 2017 or 2018.
        fold: Fold of the development set; None for the paper's split.
        valid_fraction: Share of each class's training recordings that is used for validation.
        hold_out: Whether these leave the training set; the paper trains on all clips.
        seed: Chooses them.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where features and results of file checks are kept; empty for the user's cache
            folder.
        memory_mb: Most megabytes of features kept in memory, in each process.
        title: Name in tables; None for that of the corpus.
        **features: Any argument of SceneFeatures.

    Raises:
        ConfigError: A value is out of its range.

    Source: Chen, Tables 3 and 4: 4,680 and 1,620 clips (2017), 6,122 and 2,518 clips (2018). The
    paper names no validation set.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        root: str | Path,
        *,
        year: Annotated[int, Range(2017, 2018)] = 2017,
        fold: Annotated[int | None, Range(1, 4)] = None,
        valid_fraction: Annotated[float, Range(above=0, below=1)] = 0.1,
        hold_out: bool = True,
        seed: Annotated[int, Range(0)] = 0,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str = "",
        memory_mb: Annotated[float, Range(0)] = 1024.0,
        title: Annotated[str | None, NoKey()] = None,
        **features: Annotated[Any, PassedTo(SceneFeatures)],
    ) -> None:
        corpus, chosen = tut_corpus(year, fold)
        check_fraction(valid_fraction)
        place = Path(root).expanduser()

        def list_clips(links: Links) -> SceneList:
            return with_validation(
                list_tut(place, corpus, chosen, links), valid_fraction, hold_out, seed
            )

        name = title or corpus.title + (f" fold {fold}" if fold else "")
        self.scenes = SceneCorpus(
            list_clips,
            SceneFeatures(**features),
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
            title=name,
        )
        self.sample_rate = self.scenes.sample_rate
        self.classes = corpus.classes

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.scenes.features

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""
        return self.scenes.notes

    def prepare(self) -> None:
        """Find the clips and prepare them; see SceneCorpus.prepare."""
        self.scenes.prepare()

    def train(self) -> SceneSet:
        """Return the training items."""
        return self.scenes.train()

    def valid(self) -> SceneSet:
        """Return the validation items."""
        return self.scenes.valid()

    def tests(self) -> dict[str, SceneSet]:
        """Return the test items, under the name ``"test"``."""
        return self.scenes.tests()

    def fingerprint(self) -> str:
        """Return a hash of the files, their use and the features."""
        return self.scenes.fingerprint()

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus."""
        return self.scenes.describe()

    def scale(self) -> str:
        """Return the size of the training set in a few words; a partial corpus says so."""
        return self.scenes.scale()

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits; see SceneCorpus.leaks."""
        return self.scenes.leaks()

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each clip."""
        return self.scenes.manifest()

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        return self.scenes.write_manifest(path)


class ClassFolder:
    """Scenes, or any other clips with one label, in folders named after the classes.

    Layouts: ``<root>/<class>/...`` or ``<root>/{train,valid,test}/<class>/...`` (``val`` and
    ``dev`` are valid), or a table of files and labels. Without folders or a column for splits,
    recordings of each class are shared out; without one for validation, training recordings are
    taken.

    Args:
        root: Folder of the corpus.
        table: CSV file with the columns filename and label, and where it has them split and
            recording; see ``scene_table.list_table``. It decides in place of folders, ``split``
            and ``recording_from``.
        split: None takes folders named after splits if there are, else shares; ``"folders"`` or
            ``"fraction"``.
        fractions: Shares of each class's recordings in train, valid and test.
        recording_from: ``"auto"``, ``"folder"``, ``"prefix"`` or ``"file"``, see
            ``scene_lists.list_classes``.
        valid_fraction: Share of each class's training recordings for validation where no folder is
            named so.
        hold_out: Whether these leave the training set.
        seed: Decides the splits.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where features and results of file checks are kept; empty for the user's cache
            folder.
        memory_mb: Most megabytes of features kept in memory, in each process.
        title: Name in tables.
        **features: Any argument of SceneFeatures.

    Raises:
        ConfigError: A value is out of its range.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        root: str | Path,
        *,
        table: str | Path | None = None,
        split: str | None = None,
        fractions: Annotated[Sequence[float], Range(0, 1)] = (0.8, 0.1, 0.1),
        recording_from: str = "auto",
        valid_fraction: Annotated[float, Range(above=0, below=1)] = 0.1,
        hold_out: bool = True,
        seed: Annotated[int, Range(0)] = 0,
        on_bad_file: Annotated[str, OneOf("stop", "skip")] = "stop",
        cache_dir: str = "",
        memory_mb: Annotated[float, Range(0)] = 1024.0,
        title: Annotated[str, NoKey()] = "class_folder",
        **features: Annotated[Any, PassedTo(SceneFeatures)],
    ) -> None:
        if split not in (None, "folders", "fraction"):
            raise ConfigError(unknown_name("split", split, ("folders", "fraction")))
        if recording_from not in RECORDING_RULES:
            raise ConfigError(unknown_name("recording_from", recording_from, RECORDING_RULES))
        share_out(("a", "b", "c"), fractions, seed, "names")
        check_fraction(valid_fraction)
        self.root = Path(root).expanduser()

        def list_clips(links: Links) -> SceneList:
            if table is None:
                listed = list_classes(self.root, split, fractions, recording_from, seed, links)
            else:
                place = Path(table).expanduser()
                listed = list_table(
                    self.root,
                    place if place.is_file() else self.root / place,
                    fractions,
                    seed,
                    links,
                )
            return with_validation(listed, valid_fraction, hold_out, seed)

        self.scenes = SceneCorpus(
            list_clips,
            SceneFeatures(**features),
            on_bad_file=on_bad_file,
            cache_dir=cache_dir,
            memory_mb=memory_mb,
            title=title,
        )
        self.sample_rate = self.scenes.sample_rate

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in alphabetical order; a label is a place in this order."""
        return self.scenes.classes

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.scenes.features

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""
        return self.scenes.notes

    def prepare(self) -> None:
        """Find the clips and prepare them; see SceneCorpus.prepare."""
        self.scenes.prepare()

    def train(self) -> SceneSet:
        """Return the training items."""
        return self.scenes.train()

    def valid(self) -> SceneSet:
        """Return the validation items."""
        return self.scenes.valid()

    def tests(self) -> dict[str, SceneSet]:
        """Return the test items, under the name ``"test"``."""
        return self.scenes.tests()

    def fingerprint(self) -> str:
        """Return a hash of the files, their use and the features."""
        return self.scenes.fingerprint()

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus."""
        return self.scenes.describe()

    def scale(self) -> str:
        """Return the size of the training set in a few words; a partial corpus says so."""
        return self.scenes.scale()

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits; see SceneCorpus.leaks."""
        return self.scenes.leaks()

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each clip."""
        return self.scenes.manifest()

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        return self.scenes.write_manifest(path)
