"""The live display of one run: its steps, their state, time left, the current loss: ``Board``.

A `Board` knows what is done; `drawn` returns it as lines, and `open_live` shows them on a terminal
by rich until it is closed. Nothing here measures or decides anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from audioprune.terminal import streams
from audioprune.terminal.streams import Guard, cells, cut, plain

_WAITING, _RUNNING, _DONE, _FAILED = "waiting", "running", "done", "failed"
_MARKS = {_WAITING: "·", _RUNNING: "▸", _DONE: "✓", _FAILED: "✗"}
_PLAIN_MARKS = {_WAITING: ".", _RUNNING: ">", _DONE: "+", _FAILED: "!"}
_STYLES = {_WAITING: "bright_black", _RUNNING: "bold", _DONE: "green", _FAILED: "bold red"}
_BAR_CELLS = 24
_MOST_STEPS = 12
_PER_SECOND = 5


class Piece(Protocol):
    """A loop of known length, such as an epoch; see audioprune.progress."""

    title: str
    total: int
    done: int
    note: str

    def left_s(self) -> float:
        """Return the seconds that are left, as far as can be said."""
        ...


@dataclass
class Step:
    """One step of a run.

    Attributes:
        name: Its name in the pipeline.
        state: ``waiting``, ``running``, ``done`` or ``failed``.
        began: When, by a clock that only rises.
        seconds: How long it took.
        inner: What runs within it now, such as ``pass 2: finetune``.
        note: What came out, such as a score.
    """

    name: str
    state: str = _WAITING
    began: float = 0.0
    seconds: float = 0.0
    inner: str = ""
    note: str = ""


@dataclass
class Board:
    """What a run does now.

    Attributes:
        title: What runs.
        steps: Its steps in their order.
        pieces: Loops that run now, the innermost last.
        warning: A line below everything.
        last: What the last loop said at its end, such as a loss.
        began: When, by a clock that only rises.
    """

    title: str
    steps: list[Step]
    pieces: list[Piece] = field(default_factory=list)
    warning: str = ""
    last: str = ""
    began: float = field(default_factory=lambda: time.monotonic())

    def begin(self, path: str) -> None:
        """Say that a step begins; a path such as ``compress/1/prune`` is within another one."""
        name, _, below = path.partition("/")
        step = self._of(name)
        if step.state != _RUNNING:
            step.state, step.began = _RUNNING, time.monotonic()
        step.inner, self.last = inner_text(below), ""

    def end(self, path: str, note: str = "", failed: bool = False) -> Step | None:
        """Say that a step ended and what came out; return it where it is a whole one."""
        name, _, below = path.partition("/")
        step = self._of(name)
        step.note = note or self.last or step.note
        if below:
            return None
        step.seconds = time.monotonic() - step.began
        step.state, step.inner = _FAILED if failed else _DONE, ""
        return step

    def _of(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        self.steps.append(Step(name))
        return self.steps[-1]


def inner_text(path: str) -> str:
    """Return a path within a step in words: ``1/prune`` is ``pass 2: prune``."""
    words = [f"pass {int(part) + 1}" if part.isdecimal() else part for part in path.split("/")]
    return ": ".join(word for word in words if word)


def seconds_text(seconds: float) -> str:
    """Return a time in the units that suit it, such as ``2 min 5 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def drawn(board: Board, width: int, fancy: bool = True) -> list[tuple[str, str]]:
    """Return the lines of a board, each with its style.

    Args:
        board: What runs.
        width: Columns of a line.
        fancy: Whether signs beyond ASCII can be shown.
    """
    marks = _MARKS if fancy else _PLAIN_MARKS
    spent = seconds_text(time.monotonic() - board.began)
    head = cut(plain(board.title), width - len(spent) - 2)
    lines = [(f"{head}{' ' * (width - cells(head) - len(spent))}{spent}", "bold cyan")]
    steps = _window(board.steps)
    wide = max((cells(step.name) for step in steps), default=0)
    for step in steps:
        text = f" {marks[step.state]} {step.name:{wide}}  {_said(step)}".rstrip()
        lines.append((cut(text, width), _STYLES[step.state]))
        if step.state == _RUNNING:
            lines += [(cut(_piece_text(piece, fancy), width), "") for piece in board.pieces[-2:]]
    if board.warning:
        lines.append((cut(plain(board.warning), width), "bold yellow"))
    return lines


def _window(steps: Sequence[Step]) -> list[Step]:
    """Return the steps around the running one, where there are too many for a screen."""
    if len(steps) <= _MOST_STEPS:
        return list(steps)
    now = next((n for n, step in enumerate(steps) if step.state == _RUNNING), len(steps) - 1)
    first = min(max(0, now - _MOST_STEPS // 2), len(steps) - _MOST_STEPS)
    return list(steps[first : first + _MOST_STEPS])


def _said(step: Step) -> str:
    if step.state == _WAITING:
        return ""
    spent = step.seconds if step.state != _RUNNING else time.monotonic() - step.began
    known = step.state != _DONE or step.seconds
    parts = [seconds_text(spent) if known else "done before", step.inner, step.note]
    return "  ".join(plain(part) for part in parts if part)


def _piece_text(piece: Piece, fancy: bool) -> str:
    share = min(1.0, piece.done / piece.total)
    full = round(share * _BAR_CELLS)
    signs = ("━", "─") if fancy else ("#", "-")
    bar = signs[0] * full + signs[1] * (_BAR_CELLS - full)
    parts = [plain(piece.title), bar, f"{piece.done}/{piece.total}", plain(piece.note)]
    if piece.done and piece.done < piece.total:
        parts.append(f"{seconds_text(piece.left_s())} left")
    return "     " + "  ".join(part for part in parts if part)


@contextmanager
def open_live(board: Board, keep: bool = True) -> Iterator[None]:
    """Show a board on the terminal of standard error within a block.

    Args:
        board: What runs.
        keep: Whether the steps stay on the screen at the end.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    guard = sys.stderr if isinstance(sys.stderr, Guard) else None
    console = streams.console(sys.stderr)
    fancy = (getattr(console.file, "encoding", "") or "").lower().startswith("utf")

    def group() -> Any:
        found = drawn(board, min(console.width, streams.MOST_COLUMNS), fancy)
        return Group(*(Text(text, style, no_wrap=True) for text, style in found))

    live = Live(
        get_renderable=group,
        console=console,
        refresh_per_second=_PER_SECOND,
        transient=not keep,
        redirect_stdout=guard is None,
        redirect_stderr=guard is None,
    )
    with live, _above(guard, lambda line: console.print(Text(line))):
        yield
        board.pieces.clear()


@contextmanager
def _above(guard: Guard | None, say: Callable[[str], None]) -> Iterator[None]:
    """Let lines that are printed meanwhile stand above the display."""
    guards = [each for each in (guard, sys.stdout) if isinstance(each, Guard) and each.isatty()]
    for each in guards:
        each.above = say
    try:
        yield
    finally:
        for each in guards:
            each.above = None
            each.let_out()
