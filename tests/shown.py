"""A progress display that only remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Shown:
    """Records title, total and advance of `audioprune.progress.progress`, once it is closed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, list[int]]] = []

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Shown]:
        self._steps: list[int] = []
        yield self
        self.calls.append((title, total, self._steps))

    def advance(self, pieces: int = 1, note: str = "") -> None:
        self._steps.append(pieces)
