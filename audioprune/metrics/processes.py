"""How slow metrics run in processes of their own: ``Pool`` sends pairs of signals and gets scores.

A process that dies ends neither the caller nor the other processes. Which metrics are slow is
decided in scorer.py.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import IO

import numpy as np

from audioprune.metrics import Score, measure

Request = tuple[tuple[str, ...], np.ndarray, np.ndarray, int]
"""Names of metrics, reference (T,), estimate (T,) and sample rate in Hz."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(Exception):
    """A scoring process ended before it answered."""


class Pool:
    """A few scoring processes, each fed by one thread of this process."""

    def __init__(self, workers: int) -> None:
        self.workers = [Worker() for _ in range(workers)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self.workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, request: Request) -> Future[dict[str, Score]]:
        """Queue a request for the next idle process."""
        return self._threads.submit(self._ask, request)

    def _ask(self, request: Request) -> dict[str, Score]:
        worker = self._idle.get()
        try:
            return worker.ask(request)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all processes and forget what is queued."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            worker.stop()
        self._threads.shutdown(wait=True)
        for worker in self.workers:
            _close_pipe(worker.process.stdin)
            _close_pipe(worker.process.stdout)


class Worker:
    """One scoring process.

    It is a fresh interpreter: it inherits no threads, imports nothing of the calling program (so
    no torch), stays out of the terminal's process group (so Ctrl-C reaches the caller alone), and
    ends when the caller's end of its input closes.
    """

    def __init__(self) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
        # The search path travels as an argument: PYTHONPATH cannot carry a folder with a colon in
        # its name.
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        search = "import json, sys; sys.path[:] = json.loads(sys.argv[1])"
        code = f"{search}; from {__name__} import serve; serve()"
        command = [sys.executable, "-P", "-c", code, paths]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    def ask(self, request: Request) -> dict[str, Score]:
        """Send a request and wait for the answer.

        Raises:
            WorkerDied: The process ended before it answered.
        """
        requests, replies = self.process.stdin, self.process.stdout
        if requests is None or replies is None:
            raise WorkerDied("it has no pipes")
        try:
            pickle.dump(request, requests, protocol=pickle.HIGHEST_PROTOCOL)
            requests.flush()
            answer: dict[str, Score] = pickle.load(replies)
            return answer
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise WorkerDied(_obituary(self.process)) from error

    def stop(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.wait()


def serve() -> None:
    """Answer requests on standard input until it ends; the main function of a process."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    while True:
        try:
            request: Request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(measure_all(*request), replies)
        replies.flush()


def measure_all(
    metrics: tuple[str, ...], reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> dict[str, Score]:
    """Return the score of one pair of signals by each of several metrics."""
    return {metric: measure(metric, reference, estimate, sample_rate) for metric in metrics}


def _obituary(process: subprocess.Popen[bytes]) -> str:
    """Say how a process ended."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "its answer could not be read"
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps out of memory" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{hint}"


def _close_pipe(pipe: IO[bytes] | None) -> None:
    # What is unsent was meant for a process that has ended.
    with suppress(OSError):
        if pipe is not None:
            pipe.close()
