"""What the streams of this process can show, how much is wanted on them, and what is safe there.

``guarded`` lets no control character through and ends quietly where a reader went away; `plain`
is a text as it may be shown; `is_rich` and `width` say what a stream can do. The rule for all of
the package: results go to standard output, how it went to standard error.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from audioprune.errors import ClosedOutput

LEVEL = "AUDIOPRUNE_LEVEL"
"""Variable of the environment: ``-1`` after -q, ``1`` after -v; a sweep's processes inherit it."""
SHOWN = "AUDIOPRUNE_SHOWN"
"""Variable of the environment with the form that results are printed in: table, json or csv."""
FORMS = ("table", "json", "csv")
MOST_COLUMNS = 100
_LEAST_COLUMNS = 40
# C0 and C1 controls; what reorders or hides a line; bytes that are not UTF-8
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_KEPT = "\n\t"


def plain(text: object, keep: str = "") -> str:
    """Return a text in which characters that steer a terminal are spelled out.

    Args:
        text: Any text, such as the name of a file.
        keep: Characters that stay as they are, such as a line end.
    """
    return _UNSAFE.sub(lambda found: _spelled(found[0], keep), str(text))


def _spelled(letter: str, keep: str) -> str:
    return letter if letter in keep else letter.encode("unicode_escape").decode()


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(letter) for letter in text)


def _cells_of(letter: str) -> int:
    import unicodedata

    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Return a text of at most so many columns; what was cut is shown by three dots."""
    if cells(text) <= columns:
        return text
    kept, used = "", 0
    for letter in text:
        used += _cells_of(letter)
        if used > columns - 3:
            break
        kept += letter
    return f"{kept.rstrip()}..."[:columns]


def is_rich(stream: TextIO | None = None) -> bool:
    """Tell whether a stream is a terminal with colours whose cursor can be moved.

    Args:
        stream: The stream; None for standard error.
    """
    stream = sys.stderr if stream is None else stream
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return False
    return stream.isatty()


def width(most: int = MOST_COLUMNS) -> int:
    """Return how many columns a line may have: those of the terminal, and not too many."""
    import shutil  # slow to import

    found = shutil.get_terminal_size((most, 24)).columns
    return max(_LEAST_COLUMNS, min(most, found))


def is_quiet() -> bool:
    """Tell whether only results and errors are wanted."""
    return os.environ.get(LEVEL) == "-1"


def is_verbose() -> bool:
    """Tell whether everything is wanted, such as the name of each written file."""
    return os.environ.get(LEVEL) == "1"


def shown_form() -> str:
    """Return the form in which results are printed: ``table``, ``json`` or ``csv``."""
    found = os.environ.get(SHOWN, "")
    return found if found in FORMS else "table"


def console(stream: TextIO) -> Any:
    """Return what rich draws with on a terminal; a guard of the stream is passed by."""
    from rich.console import Console

    bare = stream.stream if isinstance(stream, Guard) else stream
    return Console(file=bare, force_terminal=True, highlight=False, emoji=False, markup=False)


class Guard:
    """A stream through which only text comes.

    Args:
        stream: Where it goes.
        number: Its file descriptor: 1 or 2.
        on_closed: Called where nobody reads any more.
    """

    def __init__(self, stream: TextIO, number: int, on_closed: Callable[[], None]) -> None:
        self.stream = stream
        self.closed_by_reader = False
        self.above: Callable[[str], None] | None = None
        self._waiting = ""
        self._number, self._on_closed = number, on_closed

    def __getattr__(self, name: str) -> Any:
        """Return all else of the stream itself, such as its bytes."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text with its control characters spelled out.

        While something is drawn, whole lines go above it.
        """
        if self.above is not None:
            *whole, self._waiting = (self._waiting + plain(text, _KEPT)).split("\n")
            for line in whole:
                self.above(line)
            return len(text)
        return self._tried(lambda: self.stream.write(plain(text, _KEPT)), len(text))

    def let_out(self) -> None:
        """Write what waited for the end of its line while something was drawn."""
        text, self._waiting = self._waiting, ""
        if text:
            self.write(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what waits."""
        self._tried(self.stream.flush, None)

    def _tried(self, work: Callable[[], Any], otherwise: Any) -> Any:
        if self.closed_by_reader:
            return otherwise
        try:
            return work()
        except BrokenPipeError:
            self.closed_by_reader = True
            _let_go(self._number)
            self._on_closed()
        return otherwise


def _let_go(number: int) -> None:
    """Lead a file descriptor nowhere, so that nothing complains about it at the end."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), number)


@contextmanager
def guarded(on_lost_errors: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Guard both streams within a block.

    Where nobody reads the results any more the block ends; where nobody reads how it goes the
    block is only told, so that a run can save its state first.

    Args:
        on_lost_errors: Called when standard error was closed by its reader.

    Raises:
        ClosedOutput: One of the streams was closed by its reader, at the latest at the end.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        _allow_any_name(stream)
    out, err = Guard(before[0], 1, _stop), Guard(before[1], 2, on_lost_errors)
    sys.stdout, sys.stderr = out, err
    try:
        yield
        out.flush()
        err.flush()
    finally:
        if sys.stdout is out:
            sys.stdout = before[0]
        if sys.stderr is err:
            sys.stderr = before[1]
    if err.closed_by_reader:
        _stop()


def _stop() -> None:
    raise ClosedOutput("nobody reads the output any more")


def _allow_any_name(stream: TextIO) -> None:
    """Let signs that the encoding of a stream does not have be spelled out."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
