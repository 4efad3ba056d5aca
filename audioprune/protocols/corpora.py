"""The contracts of corpora: recordings on disk, split and turned into items and batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

Batch = dict[str, Any]
"""What ``collate`` makes of items: tensors with the batch axis first, and lists of names."""
Collate = Callable[[Sequence[Mapping[str, Any]]], Batch]


@runtime_checkable
class Items(Protocol):
    """A set of items; item i of epoch e depends on the seed, the split, i and e alone."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Return one item, with CPU tensors."""
        ...


@runtime_checkable
class EpochItems(Items, Protocol):
    """Items that are drawn anew in every epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next items belong to."""
        ...


@runtime_checkable
class Preloads(Items, Protocol):
    """Items that can decode ahead what fits into memory, for loader processes to share."""

    def preload(self) -> None:
        """Decode ahead; items stay the same."""
        ...


@runtime_checkable
class Labelled(Items, Protocol):
    """Items of named classes; an item's ``label`` is an index into ``classes``."""

    classes: Sequence[str]


@runtime_checkable
class Collates(Protocol):
    """A corpus that joins items to batches itself; without it torch's default does."""

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Join items to a batch."""
        ...


@runtime_checkable
class Corpus(Collates, Protocol):
    """Recordings on disk, split and turned into items.

    To add one, write a class with these members, give it a file ``conf/data/NAME.yaml`` with its
    ``_target_``, and let the items hold what its tasks read: ``id``, ``noisy`` and ``clean`` (T,)
    for enhancement, ``audio`` (T,) and ``pitch`` for notes, ``features`` (C, M, N) and ``label``
    for scenes. ``audioprune.data.corpus`` has a base for what all corpora share.

    Attributes:
        sample_rate: In Hz, known before ``prepare``.
    """

    sample_rate: int

    def prepare(self) -> None:
        """Find and check the files; the second call does nothing.

        Raises:
            DataError: A file is missing or cannot be trusted; the message names it.
        """
        ...

    def train(self) -> Items:
        """Return the training items."""
        ...

    def valid(self) -> Items:
        """Return the validation items, the same in every epoch."""
        ...

    def tests(self) -> Mapping[str, Items]:
        """Return the test items by condition, such as ``babble_-5dB``."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of everything that decides which items there are and what they hold."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the size of every split and the rules of splitting, as plain values."""
        ...

    def scale(self) -> str:
        """Return the size of the training set in a few words."""
        ...

    def leaks(self) -> Sequence[Any]:
        """Return what is suspected to be in several splits."""
        ...

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each source, as plain values."""
        ...


@runtime_checkable
class ReadsRecordings(Protocol):
    """A corpus that makes of any recording what its models are fed."""

    def class_names(self) -> Sequence[str]:
        """Return the names of the classes, after ``prepare``."""
        ...

    def prepare(self) -> None:
        """Find out what the features depend on."""
        ...

    def features_of(self, path: Path) -> Tensor:
        """Return the features of a recording, without a batch axis.

        Raises:
            DataError: It cannot be decoded.
        """
        ...


@runtime_checkable
class TellsReading(Protocol):
    """A corpus whose models can read any recording without it."""

    def reading(self) -> dict[str, Any]:
        """Return what a model file has to say for that, as plain values, after ``prepare``."""
        ...


@runtime_checkable
class NamesNotes(Protocol):
    """A corpus of notes that knows its families and instruments by name."""

    families: tuple[str, ...]
    instruments: tuple[str, ...]
