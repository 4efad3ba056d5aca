"""How many recordings are scored at once, never twice, and how their mean is taken without hiding what failed.

Slow scores (STOI, ESTOI, PESQ) go to separate processes and are kept on disk by the content of the
signals. What a score means stands in speech.py and spectral.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import signal
import statistics
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from audioprune.errors import AudiopruneError, ConfigError, DataError, OutputError
from audioprune.files import append_line, sha256
from audioprune.metrics import Score, check_metrics, measure
from audioprune.metrics.speech import STOI_SHORTEST_S, MetricError, checked_pair, raw_from_lqo
from audioprune.progress import progress

Item = tuple[str, np.ndarray, np.ndarray]
Request = tuple[tuple[str, ...], np.ndarray, np.ndarray, int]

CACHE_FILE = "scores.jsonl"
FORMULAS = 1  # raise it when a formula of speech.py changes, so that no older cached score is used
SLOW_METRICS = {"stoi": "pystoi", "estoi": "pystoi", "pesq_nb": "pesq", "pesq_wb": "pesq"}
DERIVED_METRICS: dict[str, tuple[str, Callable[[float], float]]] = {
    "pesq_raw_nb": ("pesq_nb", raw_from_lqo)
}
ABSENT = "absent"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class ItemScores:
    """All scores of one recording.

    Attributes:
        id: Name of the recording.
        values: Score per metric; None where there is none, never NaN.
        reasons: Why, for every metric without a score.
    """

    id: str
    values: dict[str, float | None]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Failure:
    """A recording that one metric could not score, and why."""

    id: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """Scores of many recordings.

    Attributes:
        mean: Mean over the valid recordings per metric; None where none is valid.
        std: Standard deviation of the sample (n_valid - 1 in the denominator), None for less than
            two.
        n: Number of recordings.
        n_valid: Number of recordings with a score, per metric.
        failures: Every missing score, in the order of the recordings.
    """

    mean: dict[str, float | None]
    std: dict[str, float | None]
    n: int
    n_valid: dict[str, int]
    failures: list[Failure]

    def validity(self, metric: str) -> str:
        """Return a text such as ``845 valid of 846``."""
        return f"{self.n_valid[metric]} valid of {self.n}"


def score_items(
    items: Iterable[Item],
    metrics: Sequence[str],
    sample_rate: int,
    workers: int = 1,
    cache_dir: str | Path | None = None,
) -> list[ItemScores]:
    """Score recordings once; see ``Scorer``, which keeps its processes for several calls."""
    with Scorer(metrics, sample_rate, workers, cache_dir) as scorer:
        return scorer.score(items)


def summarise(results: Sequence[ItemScores]) -> Summary:
    """Return mean, standard deviation and number of valid scores per metric, and all failures.

    Raises:
        DataError: There are no results.
    """
    if not results:
        raise DataError("expected at least one scored recording, got none; check the test set")
    mean, std, n_valid = {}, {}, {}
    for metric in results[0].values:
        valid = [value for result in results if (value := result.values[metric]) is not None]
        n_valid[metric] = len(valid)
        mean[metric] = math.fsum(valid) / len(valid) if valid else None
        std[metric] = statistics.stdev(valid) if len(valid) > 1 else None
    failures = [
        Failure(result.id, metric, reason)
        for result in results
        for metric, reason in result.reasons.items()
    ]
    return Summary(mean, std, len(results), n_valid, failures)


class Scorer:
    """Scores recordings by a list of metrics, in processes that live until ``close`` or the end of a with-block.

    Signals are scored as float32. A process is started when the first slow score is neither cached
    nor refused by a check.

    Args:
        metrics: Keys of METRICS.
        sample_rate: Sample rate of all recordings in Hz.
        workers: Number of scoring processes; 0 or 1 scores in this process.
        cache_dir: Folder that keeps slow scores; several processes may share it. None keeps
            nothing.

    Raises:
        ConfigError: A metric is unknown, or a number is out of its range.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        sample_rate: int,
        workers: int = 1,
        cache_dir: str | Path | None = None,
    ) -> None:
        if sample_rate <= 0 or workers < 0:
            raise ConfigError(
                f"expected a positive sample_rate and workers >= 0, got {sample_rate} and "
                f"{workers}; correct them"
            )
        self.metrics = check_metrics(metrics)
        self.sample_rate = sample_rate
        self.workers = workers
        self._needed = tuple(
            dict.fromkeys(
                DERIVED_METRICS[name][0] if name in DERIVED_METRICS else name
                for name in self.metrics
            )
        )
        self._tags = {
            name: f"{name}/{library}-{_version(library)}/{FORMULAS}"
            for name, library in SLOW_METRICS.items()
        }
        self._cache = _Cache(None if cache_dir is None else Path(cache_dir) / CACHE_FILE)
        self._pool: _Pool | None = None

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the scoring processes at once; a later call of ``score`` starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def score(self, items: Iterable[Item], title: str = "scoring") -> list[ItemScores]:
        """Score recordings, given as (id, reference (T,), estimate (T,)); few of them are held in memory at once.

        Returns:
            One result per recording, in the same order.

        Raises:
            AudiopruneError: A scoring process died; scores finished before are in the cache.
            OutputError: The cache cannot be written.
        """
        results: list[ItemScores] = []
        try:
            with (
                progress(title, len(items)) if isinstance(items, Sized) else nullcontext() as shown
            ):
                for result in self._results(items):
                    results.append(result)
                    if shown:
                        shown.advance()
        except BaseException:  # Ctrl-C too: what is queued must not go on
            self.close()
            raise
        return results

    def _results(self, items: Iterable[Item]) -> Iterator[ItemScores]:
        pending: deque[_Pending] = deque()
        for item in items:
            pending.append(self._start(*item))
            if len(pending) > 4 * self.workers:
                yield self._finish(pending.popleft())
        while pending:
            yield self._finish(pending.popleft())

    def _start(self, name: str, reference: np.ndarray, estimate: np.ndarray) -> _Pending:
        """Look up or compute what is cheap, and hand what is slow to a process."""
        reference, estimate = (
            np.array(x, dtype=np.float32) for x in (reference, estimate)
        )  # a copy: the caller may reuse its buffer
        pair = _digest(reference, estimate, self.sample_rate)
        cached = {
            metric: self._cache.get(pair, self._tags[metric])
            for metric in self._needed
            if metric in SLOW_METRICS
        }
        pending = _Pending(
            name,
            pair,
            {metric: Score(value) for metric, value in cached.items() if value is not None},
        )
        missing = [metric for metric in self._needed if metric not in pending.scores]
        slow = tuple(
            metric
            for metric in missing
            if metric in cached and self._worth_a_process(metric, reference, estimate)
        )
        if slow:
            self._pool = self._pool or _Pool(self.workers)
            pending.future = self._pool.submit((slow, reference, estimate, self.sample_rate))
        here = tuple(metric for metric in missing if metric not in slow)
        pending.fresh = _measure_all(here, reference, estimate, self.sample_rate)
        return pending

    def _worth_a_process(self, metric: str, reference: np.ndarray, estimate: np.ndarray) -> bool:
        """Say whether a metric will reach its library, so that a silent model or a missing library starts no process."""
        if self.workers < 2 or _version(SLOW_METRICS[metric]) == ABSENT:
            return False
        try:
            checked_pair(reference, estimate, self.sample_rate, STOI_SHORTEST_S)
        except MetricError:
            return False
        return True

    def _finish(self, pending: _Pending) -> ItemScores:
        """Wait for the slow scores, keep the fresh ones, and derive the rest."""
        fresh = dict(pending.fresh)
        if pending.future is not None:
            try:
                fresh.update(pending.future.result())
            except _WorkerDied as error:
                raise AudiopruneError(
                    f"a scoring process ended at '{pending.id}' ({error}); run again with fewer "
                    f"workers"
                ) from error
        keep = {
            self._tags[metric]: score.value
            for metric, score in fresh.items()
            if metric in SLOW_METRICS and score.value is not None
        }
        self._cache.put(pending.pair, keep)
        scores = {**pending.scores, **fresh}
        final = {name: _derive(name, scores) for name in self.metrics}
        return ItemScores(
            pending.id,
            {name: score.value for name, score in final.items()},
            {name: score.reason for name, score in final.items() if score.value is None},
        )


def serve() -> None:
    """Answer scoring requests on standard input until it ends; the main function of a scoring process."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    while True:
        try:
            request: Request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_measure_all(*request), replies)
        replies.flush()


@dataclass
class _Pending:
    """A recording on its way: scores from the cache, scores computed here, scores still computed elsewhere."""

    id: str
    pair: str
    scores: dict[str, Score]
    fresh: dict[str, Score] = field(default_factory=dict)
    future: Future[dict[str, Score]] | None = None


class _WorkerDied(Exception):
    """A scoring process ended before it answered."""


class _Worker:
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
        code = (
            f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import "
            f"serve; serve()"
        )
        command = [sys.executable, "-P", "-c", code, paths]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    def ask(self, request: Request) -> dict[str, Score]:
        """Send a request and wait for the answer."""
        try:
            pickle.dump(request, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise _WorkerDied(_obituary(self.process)) from error

    def stop(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.wait()


class _Pool:
    """A few scoring processes, each fed by one thread of this process."""

    def __init__(self, workers: int) -> None:
        self.workers = [_Worker() for _ in range(workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
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
            for pipe in (worker.process.stdin, worker.process.stdout):
                _close_pipe(pipe)


class _Cache:
    """Scores by content, one JSON line per recording; lines that are cut, damaged or unknown are as if absent.

    Each line carries a checksum, since a flipped bit in a number is still a number.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._scores: dict[tuple[str, str], float] = {}
        if path is not None and path.exists():
            try:
                lines = path.read_bytes().split(b"\n")
            except OSError as error:
                raise OutputError(
                    f"cannot read {path}: {error.strerror}; remove it or choose another folder"
                ) from error
            for line in lines:
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            pair, scores, check = record["pair"], record["scores"], record["check"]
            if check == _checksum(pair, scores):
                self._scores.update({(pair, tag): float(value) for tag, value in scores.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def get(self, pair: str, tag: str) -> float | None:
        """Return a score, or None."""
        return self._scores.get((pair, tag))

    def put(self, pair: str, scores: dict[str, float]) -> None:
        """Keep scores of one recording."""
        if self.path is None or not scores:
            return
        self._scores.update({(pair, tag): value for tag, value in scores.items()})
        append_line(self.path, {"pair": pair, "scores": scores, "check": _checksum(pair, scores)})


def _checksum(pair: str, scores: dict[str, float]) -> str:
    return sha256(json.dumps([pair, scores], sort_keys=True).encode())[:16]


def _digest(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> str:
    """Return the SHA-256 of both signals' float32 samples, their shapes and the sample rate."""
    digest = hashlib.sha256(repr((sample_rate, reference.shape, estimate.shape)).encode())
    digest.update(reference.tobytes())
    digest.update(estimate.tobytes())
    return digest.hexdigest()


def _measure_all(
    metrics: tuple[str, ...], reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> dict[str, Score]:
    return {metric: measure(metric, reference, estimate, sample_rate) for metric in metrics}


def _derive(name: str, scores: dict[str, Score]) -> Score:
    if name not in DERIVED_METRICS:
        return scores[name]
    base, formula = DERIVED_METRICS[name]
    score = scores[base]
    try:
        return score if score.value is None else Score(formula(score.value))
    except MetricError as error:
        return Score(None, str(error))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ABSENT


def _obituary(process: subprocess.Popen[Any]) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "its answer could not be read"
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps out of memory" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{hint}"


def _close_pipe(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:  # unsent bytes for a process that has ended
        return
