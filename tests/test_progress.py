"""Progress: silent where it should be, plain lines off a terminal, an honest estimate."""

from __future__ import annotations

import pytest

from audioprune import progress as module
from audioprune.progress import Progress, progress, track


def test_short_jobs_off_a_terminal_stay_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([1, 2, 3], "work")) == [1, 2, 3]
    assert list(track(iter("ab"), "work", 2)) == ["a", "b"]
    found = capsys.readouterr()
    assert found.err == "" and found.out == ""


def test_long_jobs_print_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with progress("train", 10) as display:
        for _ in range(10):
            display.advance(1, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(
        line.startswith("train: ") and "loss 0.5" in line and "s left" in line for line in lines
    )


def test_skipped_pieces_do_not_enter_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    display = Progress("train", 100)
    display.skip(90)
    now[0] = 8.0
    display.advance(2)
    assert display.done == 92 and display.left_s() == pytest.approx(8.0 / 2 * 8)
    display.advance(20)
    assert display.left_s() == 0.0
    display.close()


def test_a_bar_is_closed_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Bar:
        task_ids = (0,)

        def update(self, *_: object, **__: object) -> None:
            raise ValueError("broken terminal")

        def stop(self) -> None:
            closed.append(True)

    monkeypatch.setattr(module.streams, "is_rich", lambda: True)
    monkeypatch.setattr(module, "_open_bar", lambda *_: Bar())
    with pytest.raises(ValueError, match="terminal"), progress("x", 1) as display:
        display.advance()
    assert closed == [True]
