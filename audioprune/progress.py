"""How a long job shows how far it is: a bar on a terminal, plain lines elsewhere.

``progress`` opens a display, ``track`` shows a loop. Nothing here influences a result; jobs under
five seconds stay silent when they are not on a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Item = TypeVar("Item")
_PLAIN_EVERY_S = 10.0


class Progress:
    """One running job of a known number of pieces.

    Args:
        title: What is being done, in a few words.
        total: Number of pieces, at least 1.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = max(1, total)
        self.done = 0
        self.note = ""
        self._start = self._last = time.monotonic()
        self._first = 0
        self._bar = _open_bar(title, self.total) if sys.stderr.isatty() else None

    def skip(self, pieces: int) -> None:
        """Count pieces that an earlier run finished; the time left is estimated without them."""
        self._first += pieces
        self.advance(pieces)

    def advance(self, pieces: int = 1, note: str = "") -> None:
        """Count finished pieces and show a short note, such as the current loss."""
        self.done += pieces
        self.note = note or self.note
        if self._bar:
            shown = f"{self.title} {self.note}"
            self._bar.update(self._bar.task_ids[0], completed=self.done, description=shown)
        elif time.monotonic() - self._last > _PLAIN_EVERY_S:
            self._last = time.monotonic()
            left = f"(about {self._left_s():.0f} s left)"
            line = f"{self.title}: {self.done}/{self.total} {self.note} {left}"
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()

    def _left_s(self) -> float:
        fresh = max(1, self.done - self._first)
        return (time.monotonic() - self._start) / fresh * max(0, self.total - self.done)


@contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """Open a progress display for the length of a with-block."""
    display = Progress(title, total)
    try:
        yield display
    finally:
        display.close()


def track(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yield items while showing how many of them are done."""
    if total is None:
        items = list(items)
        total = len(items)
    with progress(title, total) as display:
        for item in items:
            yield item
            display.advance()


def _open_bar(title: str, total: int) -> RichProgress:
    """Show a bar on the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(title, total=total)
    bar.start()
    return bar
