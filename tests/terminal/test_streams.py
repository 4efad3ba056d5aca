"""Streams: nothing steers the terminal, a closed pipe ends quietly, levels are kept."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from audioprune.errors import ClosedOutput
from audioprune.terminal import streams
from audioprune.terminal.streams import Guard, cells, cut, guarded, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("caf\udce9", "caf\\udce9"),
        ("über 語 <script>", "über 語 <script>"),
    ],
)
def test_what_steers_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain("a\nb", "\n") == "a\nb"


def test_widths_are_those_of_a_terminal() -> None:
    assert cells("ab") == 2 and cells("語") == 2 and cells("e\u0301") == 1
    assert cut("abcdefgh", 6) == "abc..." and cut("abc", 6) == "abc"
    assert cut("語語語語", 6) == "語..." and cells(cut("語語語語", 6)) <= 6


def test_a_guard_lets_lines_through_and_nothing_that_steers() -> None:
    stream = io.StringIO()
    guard = Guard(stream, 1, lambda: None)
    print("a\x1b[2Jb", file=guard)
    guard.writelines(["c\r", "d"])
    assert stream.getvalue() == "a\\x1b[2Jb\nc\\rd"


def test_whole_lines_go_above_what_is_drawn() -> None:
    above: list[str] = []
    stream = io.StringIO()
    guard = Guard(stream, 2, lambda: None)
    guard.above = above.append
    guard.write("one\ntw")
    guard.write("o\nthree")
    guard.above = None
    guard.let_out()
    assert above == ["one", "two"] and stream.getvalue() == "three"


class Closed(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def _let_nothing_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_let_go", lambda number: None)


def test_results_that_nobody_reads_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_nothing_go(monkeypatch)
    monkeypatch.setattr(sys, "stdout", Closed())
    reached = []
    with pytest.raises(ClosedOutput), guarded():
        print("x")
        reached.append(True)
    assert not reached and ClosedOutput.exit_code == 141


def test_a_run_whose_messages_nobody_reads_may_save_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _let_nothing_go(monkeypatch)
    monkeypatch.setattr(sys, "stderr", Closed())
    told, reached = [], []
    with pytest.raises(ClosedOutput), guarded(lambda: told.append(True)):
        print("x", file=sys.stderr)
        print("y", file=sys.stderr)
        reached.append(True)
    assert told == [True] and reached


def test_streams_are_restored() -> None:
    before = sys.stdout, sys.stderr
    with guarded():
        assert isinstance(sys.stdout, Guard) and sys.stdout.stream is before[0]
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("words", [["data", "--help"], ["--help"], ["prune", "--help", "all"]])
def test_a_closed_pipe_ends_quietly(words: list[str]) -> None:
    """What ``audioprune ... | head -1`` does, with a pipe that is closed from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    code = (
        f"import sys; sys.argv = ['audioprune', *{words}]; from audioprune.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


def test_levels_and_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(streams.LEVEL, "-1")
    assert streams.is_quiet() and not streams.is_verbose()
    monkeypatch.setenv(streams.LEVEL, "1")
    assert streams.is_verbose() and not streams.is_quiet()
    monkeypatch.setenv(streams.SHOWN, "csv")
    assert streams.shown_form() == "csv"
    monkeypatch.setenv(streams.SHOWN, "")
    assert streams.shown_form() == "table"
