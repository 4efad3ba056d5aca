"""The live display: steps with their state, what runs within them, time left, hostile names."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack

import pytest

from audioprune import progress as module
from audioprune.progress import among_jobs, progress, run_display, stage, warn
from audioprune.terminal import live, streams
from audioprune.terminal.live import Board, Step, drawn, inner_text, open_live, seconds_text


def _board() -> Board:
    return Board("FDNN on \x1b[31mx", [Step("train"), Step("compress"), Step("quantize")])


def test_steps_are_shown_with_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    board = _board()
    board.begin("train")
    now[0] = 65.0
    assert board.end("train", "loss 0.1") is board.steps[0]
    board.begin("compress/1/prune")
    assert board.end("compress/1/prune", "stoi 0.7") is None
    board.begin("compress/1/finetune")
    now[0] = 70.0
    lines = [text for text, _ in drawn(board, 60)]
    assert lines[0].startswith("FDNN on \\x1b[31mx") and lines[0].endswith("1 min 10 s")
    assert lines[1:] == [
        " ✓ train     1 min 5 s  loss 0.1",
        " ▸ compress  5.0 s  pass 2: finetune  stoi 0.7",
        " · quantize",
    ]
    assert [text for text, _ in drawn(board, 60, fancy=False)][1].startswith(" + train")
    board.end("compress", failed=True)
    assert [style for _, style in drawn(board, 60)][2] == "bold red"


class Loop:
    """A loop that runs."""

    title, total, done, note = "train", 4, 1, "loss 0.5"

    def left_s(self) -> float:
        return 90.0


def test_a_running_step_shows_its_loops() -> None:
    board = _board()
    board.begin("train")
    board.pieces.append(Loop())
    board.warning = "stopping"
    lines = [text for text, _ in drawn(board, 100)]
    assert lines[2] == f"     train  {'━' * 6}{'─' * 18}  1/4  loss 0.5  1 min 30 s left"
    assert lines[-1] == "stopping" and max(map(len, lines)) <= 100
    assert max(len(text) for text, _ in drawn(board, 40)) <= 40


def test_many_steps_are_shown_around_the_one_that_runs() -> None:
    board = Board("x", [Step(f"s{n}") for n in range(40)])
    board.begin("s20")
    lines = [text for text, _ in drawn(board, 80)]
    assert len(lines) <= 14 and any("s20" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (42, "42 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_times_suit_their_size(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_passes_are_counted_from_one() -> None:
    assert inner_text("0/prune") == "pass 1: prune" and inner_text("") == ""


class Terminal(io.StringIO):
    """A terminal that remembers."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_board_is_drawn_and_messages_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", streams.Guard(screen, 2, lambda: None))
    board = _board()
    with open_live(board):
        board.begin("train")
        print("a note \x1b[2J", file=sys.stderr)
        board.end("train")
    text = screen.getvalue()
    assert "a note \\x1b[2J" in text and "✓ train" in text
    assert text.index("a note") < text.rindex("✓ train")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_a_run_off_a_terminal_prints_a_line_for_a_long_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    with run_display("x", ["train", "score"], []):
        with stage("train") as notes:
            now[0] = 6.0
            notes.append("loss 1")
        with stage("score"):
            now[0] = 7.0
    assert capsys.readouterr().err == "[1/2] train: done in 6.0 s, loss 1\n"


def test_verbose_tells_every_step_and_quiet_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for level, lines in (
        ("1", ["rounds, pass 1: train: loss 2", "[1/1] rounds: done in"]),
        ("-1", []),
    ):
        monkeypatch.setenv(streams.LEVEL, level)
        with run_display("x", ["rounds"], []), stage("rounds"), stage("rounds/0/train") as notes:
            notes.append("loss 2")
        found = capsys.readouterr().err.splitlines()
        assert len(found) == len(lines)
        assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_jobs_side_by_side_show_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 11))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    display = ExitStack()
    with display, among_jobs(side_by_side=True), run_display("x", ["train"], []), stage("train"):
        display.enter_context(progress("train", 3)).advance()
    assert capsys.readouterr().err == ""


def test_a_warning_is_shown_only_where_steps_are_drawn() -> None:
    assert not warn("stopping")
    with run_display("x", ["train"], []):
        assert not warn("stopping")


def test_a_failed_step_says_so() -> None:
    with run_display("x", ["train"], []):
        board = module._Shown.board
        with pytest.raises(ValueError), stage("train"):
            raise ValueError
        assert board is not None and board.steps[0].state == "failed"
