"""How a long job shows how far it is: live on a terminal, plain lines elsewhere.

``run_display`` shows the steps of a run and ``stage`` one of them; ``progress`` opens a display of
pieces, ``track`` shows a loop. Nothing here influences a result; jobs under five seconds stay
silent when they are not on a terminal, and jobs that run side by side always.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from audioprune.terminal import streams
from audioprune.terminal.live import Board, Step, inner_text, open_live, seconds_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Item = TypeVar("Item")
_PLAIN_EVERY_S = 10.0
_PLAIN_LEAST_S = 5.0
"""A step that took less is not told where lines stay."""
_SHOW_CURSOR = b"\x1b[?25h\n"


class _Shown:
    """What this process shows now.

    Attributes:
        board: The steps of the run that runs, or None.
        live: Whether they are drawn on a terminal.
        silent: Whether nothing is shown, since other jobs run beside this one.
        keep: Whether the steps stay on the screen.
    """

    board: Board | None = None
    live = False
    silent = False
    keep = True


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
        self._board = _Shown.board if _Shown.live else None
        alone = self._board is None and not _is_silent() and streams.is_rich()
        self._bar = _open_bar(title, self.total) if alone else None
        if self._board:
            self._board.pieces.append(self)

    def skip(self, pieces: int) -> None:
        """Count pieces that an earlier run finished; the time left is estimated without them."""
        self._first += pieces
        self.advance(pieces)

    def advance(self, pieces: int = 1, note: str = "") -> None:
        """Count finished pieces and show a short note, such as the current loss."""
        self.done += pieces
        self.note = note or self.note
        if self._bar:
            shown = f"{streams.plain(self.title)} {streams.plain(self.note)}"
            self._bar.update(self._bar.task_ids[0], completed=self.done, description=shown)
        elif not self._board and not _is_silent():
            self._tell()

    def _tell(self) -> None:
        if time.monotonic() - self._last <= _PLAIN_EVERY_S:
            return
        self._last = time.monotonic()
        left = f"(about {self.left_s():.0f} s left)"
        _say(f"{self.title}: {self.done}/{self.total} {self.note} {left}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
        if self._board and self in self._board.pieces:
            self._board.pieces.remove(self)
            if " " in self.note:  # such as a loss; the name of a tensor says nothing afterwards
                self._board.last = self.note

    def left_s(self) -> float:
        """Return the seconds that are left, if pieces go on to take as long as those so far."""
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


@contextmanager
def run_display(title: str, names: Sequence[str], done: Iterable[str] = ()) -> Iterator[None]:
    """Show the steps of a run within a block.

    Args:
        title: What runs.
        names: Its steps in their order.
        done: Those that an earlier call finished.
    """
    steps = [Step(name, "done" if name in set(done) else "waiting") for name in names]
    before = _Shown.board, _Shown.live
    _Shown.board = Board(title, steps)
    _Shown.live = streams.is_rich() and not _is_silent()
    try:
        with ExitStack() as stack:
            if _Shown.live:
                stack.enter_context(open_live(_Shown.board, _Shown.keep))
            yield
    finally:
        _Shown.board, _Shown.live = before


@contextmanager
def stage(path: str) -> Iterator[list[str]]:
    """Show one step of the run within a block.

    Args:
        path: Its path in the pipeline, such as ``compress/1/prune``.

    Yields:
        A list that takes what came out, such as a score, as its last item.
    """
    board, notes = _Shown.board, list[str]()
    if board is None:
        yield notes
        return
    board.begin(path)
    try:
        yield notes
    except BaseException:
        board.end(path, failed=True)
        raise
    ended = board.end(path, notes[-1] if notes else "")
    if not _Shown.live:
        _tell_step(board, path, ended, notes)


def _tell_step(board: Board, path: str, ended: Step | None, notes: Sequence[str]) -> None:
    """Print a line about a step that took a while, where nothing is drawn."""
    if _is_silent():
        return
    if ended is not None and (ended.seconds >= _PLAIN_LEAST_S or streams.is_verbose()):
        place = [step.name for step in board.steps].index(ended.name) + 1
        note = f", {ended.note}" if ended.note else ""
        done = f"{ended.name}: done in {seconds_text(ended.seconds)}{note}"
        _say(f"[{place}/{len(board.steps)}] {done}")
    elif ended is None and streams.is_verbose():
        name, _, below = path.partition("/")
        said = f": {notes[-1]}" if notes else ""
        _say(f"{name}, {inner_text(below)}{said}")


@contextmanager
def among_jobs(side_by_side: bool) -> Iterator[None]:
    """Show a job of a sweep within a block.

    Args:
        side_by_side: Whether other jobs run at the same time; nothing is then shown, else the
            display goes at the end.
    """
    before = _Shown.silent, _Shown.keep
    _Shown.silent, _Shown.keep = side_by_side, False
    try:
        yield
    finally:
        _Shown.silent, _Shown.keep = before


def _say(line: str) -> None:
    print(streams.plain(line), file=sys.stderr, flush=True)


def _is_silent() -> bool:
    return _Shown.silent or streams.is_quiet()


def warn(text: str) -> bool:
    """Show a line below the steps; return whether they are drawn. A signal may call this."""
    if _Shown.board is None or not _Shown.live:
        return False
    _Shown.board.warning = text
    return True


def show_cursor() -> None:
    """Show the cursor again where the process ends at once."""
    if _Shown.live:
        os.write(2, _SHOW_CURSOR)


def _open_bar(title: str, total: int) -> RichProgress:
    """Show a bar on the terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=streams.console(sys.stderr), transient=True)
    bar.add_task(streams.plain(title), total=total)
    bar.start()
    return bar
