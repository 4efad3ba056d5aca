"""Polite stops: the first signal asks, the second ends, and handlers are given back."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from tiny_runs import in_child

from audioprune.errors import InterruptedRun
from audioprune.interrupts import check_stop, graceful, stop_requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with graceful():
        check_stop()
        os.kill(os.getpid(), number)
        assert stop_requested()
        with pytest.raises(InterruptedRun, match="the same command resumes it") as caught:
            check_stop()
    assert (
        caught.value.exit_code == 130
        and signal.getsignal(number) is before
        and not stop_requested()
    )
    assert "again: stop at once" in capfd.readouterr().err


def test_the_second_signal_ends_at_once() -> None:
    def work() -> None:
        with graceful():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(3)

    assert in_child(work) == 130


def test_a_request_of_an_earlier_run_is_forgotten() -> None:
    with graceful():
        os.kill(os.getpid(), signal.SIGTERM)
    with graceful():
        check_stop()


def test_other_threads_change_no_handler() -> None:
    seen = []

    def work() -> None:
        with graceful():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
