"""The corpora of acoustic scenes that configurations name: ``TutScenes`` and ``ClassFolder``.

Each is a SceneCorpus over a list of clips of its own: the published lists of a TUT corpus, or the
folders or the table of a user. The synthetic scenes are in synthetic.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from audioprune.data.corpus import WrappedCorpus
from audioprune.data.scenes.corpus import SceneCorpus
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
from audioprune.data.splits.shares import check_fractions
from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import NoKey, OneOf, PassedTo, Range


class _WrappedScenes(WrappedCorpus[SceneCorpus]):
    """Scenes under a name of their own, which also make features of any recording."""

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; a label is a place in this order."""
        return self._ready().classes

    def features_of(self, path: Path) -> Tensor:
        """Return the features (2, M, N) of any recording, normalised as those of training."""
        return self._ready().features_of(path)

    def reading(self) -> dict[str, Any]:
        """Return what a model file has to say so that recordings are read without the corpus."""
        return self._ready().reading()


class TutScenes(_WrappedScenes):
    """The unpacked TUT Acoustic Scenes 2017 (15 classes) or Urban Acoustic Scenes 2018 (10).

    2017 trains on the development set and tests on the evaluation set, which lie side by side;
    2018 uses fold 1. Validation takes some recordings of each class out of training. A part of a
    corpus is accepted, and ``scale`` says so.

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
        memory_mb: Most megabytes of features kept in memory.
        title: Name in tables; None for that of the corpus.
        **features: Any argument of SceneFeatures.

    Raises:
        ConfigError: A value is out of its range.

    Source: Chen, Tables 3 and 4: 4,680 and 1,620 clips (2017), 6,122 and 2,518 clips (2018). The
    paper names no validation set.
    """

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
        super().__init__(
            SceneCorpus(
                list_clips,
                SceneFeatures(**features),
                on_bad_file=on_bad_file,
                cache_dir=cache_dir,
                memory_mb=memory_mb,
                title=name,
            )
        )
        self.classes = corpus.classes
        self.hold_out = hold_out

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.inner.features


class ClassFolder(_WrappedScenes):
    """Scenes, or any other clips with one label, in folders named after the classes.

    Layouts: ``<root>/<class>/...`` or ``<root>/{train,valid,test}/<class>/...`` (``val`` and
    ``dev`` are valid), or a table of files and labels. Without folders or a column for splits,
    recordings of each class are shared out; without one for validation, training recordings are
    taken.

    Args:
        root: Folder of the corpus.
        table: CSV file with the columns filename and label, and where it has them split and
            recording; see ``table.list_table``. It decides in place of folders, ``split``
            and ``recording_from``.
        split: None takes folders named after splits if there are, else shares; ``"folders"`` or
            ``"fraction"``.
        fractions: Shares of each class's recordings in train, valid and test.
        recording_from: ``"auto"``, ``"folder"``, ``"prefix"`` or ``"file"``, see
            ``lists.list_classes``.
        valid_fraction: Share of each class's training recordings for validation where no folder is
            named so.
        hold_out: Whether these leave the training set.
        seed: Decides the splits.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where features and results of file checks are kept; empty for the user's cache
            folder.
        memory_mb: Most megabytes of features kept in memory.
        title: Name in tables.
        **features: Any argument of SceneFeatures.

    Raises:
        ConfigError: A value is out of its range.
    """

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
        check_fractions(fractions)
        check_fraction(valid_fraction)
        self.root = Path(root).expanduser()

        def list_clips(links: Links) -> SceneList:
            if table is None:
                listed = list_classes(self.root, split, fractions, recording_from, seed, links)
            else:
                listed = list_table(self.root, self._table_at(table), fractions, seed, links)
            return with_validation(listed, valid_fraction, hold_out, seed)

        super().__init__(
            SceneCorpus(
                list_clips,
                SceneFeatures(**features),
                on_bad_file=on_bad_file,
                cache_dir=cache_dir,
                memory_mb=memory_mb,
                title=title,
            )
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in alphabetical order; a label is a place in this order."""
        return self.inner.classes

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.inner.features

    def _table_at(self, table: str | Path) -> Path:
        """Return the table at its own path, or below the root where there is none."""
        place = Path(table).expanduser()
        return place if place.is_file() else self.root / place
