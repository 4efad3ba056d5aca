"""The same corpus with the first few items of every split: ``few_of``.

The items are made or read once and kept, so that a rehearsal measures the steps and not the disk.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from audioprune.protocols import Corpus, Items, Labelled


class FewItems:
    """The first items of a set, in memory, in whatever epoch."""

    def __init__(self, items: Items, count: int) -> None:
        self.kept = [items[index] for index in range(min(count, len(items)))]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.kept[index]


class FewLabelled(FewItems):
    """The same of named classes."""

    def __init__(self, items: Labelled, count: int) -> None:
        super().__init__(items, count)
        self.classes = items.classes


@dataclass(frozen=True)
class Counts:
    """How many items of each split a rehearsal uses.

    Attributes:
        train: Training items.
        valid: Validation items.
        test: Items of each test condition.
    """

    train: int
    valid: int = 2
    test: int = 1


def few_of(corpus: Corpus, counts: Counts, patterns: Iterable[str] = ()) -> tuple[Corpus, float]:
    """Return a corpus with few items, and the seconds that reading one training item took.

    Args:
        corpus: Prepared; it stays as it is.
        counts: How many items stay.
        patterns: The first test condition stays, and the first that fits each pattern.
    """
    started = time.perf_counter()
    train = first_of(corpus.train(), counts.train)
    seconds = (time.perf_counter() - started) / max(1, len(train))
    valid = first_of(corpus.valid(), counts.valid)
    found = corpus.tests()
    tests = {name: first_of(found[name], counts.test) for name in _chosen(list(found), patterns)}
    few = copy.copy(corpus)
    vars(few).update(train=lambda: train, valid=lambda: valid, tests=lambda: tests)
    return few, seconds


def first_of(items: Items, count: int) -> FewItems:
    """Return the first items of a set, with its classes where it has any."""
    return FewLabelled(items, count) if isinstance(items, Labelled) else FewItems(items, count)


def _chosen(names: Sequence[str], patterns: Iterable[str]) -> list[str]:
    chosen = set(names[:1])
    for pattern in patterns:
        chosen |= set([name for name in names if fnmatch(name, pattern)][:1])
    return [name for name in names if name in chosen]
