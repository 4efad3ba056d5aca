"""How many recordings are scored at once and never twice: ``Scorer``.

PESQ goes to processes (processes.py), the other scores to threads, while the caller makes the next
signals. STOI, ESTOI and PESQ are kept on disk by the content of the signals (score_cache.py). What
a score means is said in speech.py and spectral.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType

import numpy as np

from audioprune.errors import AudiopruneError, ConfigError
from audioprune.metrics import Score, check_metrics, intelligibility
from audioprune.metrics.contract import MetricError, checked_pair
from audioprune.metrics.processes import Pool, WorkerDied, measure_all
from audioprune.metrics.score_cache import ScoreCache, pair_digests
from audioprune.metrics.speech import PESQ_SHORTEST_S, raw_from_lqo
from audioprune.metrics.summary import ItemScores
from audioprune.progress import Progress, progress

Item = tuple[str, np.ndarray, np.ndarray]
"""Name of a recording, reference (T,) and estimate (T,)."""

FORMULAS = 1  # raise it when a formula of speech.py changes, so that no older cached score is used
OWN = "own"
SLOW_METRICS = {"stoi": OWN, "estoi": OWN, "pesq_nb": "pesq", "pesq_wb": "pesq"}
"""Metrics that are kept on disk, with the library that computes them in processes, or ``OWN``."""
_WAITING_BYTES = 256 << 20
DERIVED_METRICS: dict[str, tuple[str, Callable[[float], float]]] = {
    "pesq_raw_nb": ("pesq_nb", raw_from_lqo)
}
_ABSENT = "absent"


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


class Scorer:
    """Score recordings by a list of metrics, while the next ones are made.

    Threads and processes live until ``close`` or the end of a with-block. Signals are scored as
    float32. A process is started when the first score of a library is neither cached nor refused
    by a check. Recordings wait in memory, 256 MiB of them at most.

    Args:
        metrics: Keys of METRICS.
        sample_rate: Sample rate of all recordings in Hz.
        workers: Number of scoring threads and, beside them, processes; 0 or 1 scores in the
            caller's thread.
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
        self._needed = tuple(dict.fromkeys(map(_computed, self.metrics)))
        self._tags = {
            name: f"{name}/{_version(library)}/{FORMULAS}"
            for name, library in SLOW_METRICS.items()
        }
        self._cache = ScoreCache(cache_dir)
        self._pool: Pool | None = None
        self._threads: ThreadPoolExecutor | None = None

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
        """End threads and processes at once; a later call of ``score`` starts new ones."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._cache.write()

    def score(self, items: Iterable[Item], title: str = "scoring") -> list[ItemScores]:
        """Score recordings; where they are made one after the other, the next ones meanwhile.

        Args:
            items: Name, reference (T,) and estimate (T,) of each recording.
            title: What the progress display says.

        Returns:
            One result per recording, in the same order.

        Raises:
            AudiopruneError: A scoring process died; scores finished before are in the cache.
            OutputError: The cache cannot be written.
        """
        results: list[ItemScores] = []
        shown: AbstractContextManager[Progress | None] = nullcontext()
        if isinstance(items, Sized):
            shown = progress(title, len(items))
        try:
            with shown as display:
                for result in self._results(items):
                    results.append(result)
                    if display:
                        display.advance()
        except BaseException:  # Ctrl-C too: what is queued must not go on
            self.close()
            raise
        return results

    def _results(self, items: Iterable[Item]) -> Iterator[ItemScores]:
        pending: deque[_Pending] = deque()
        waiting = 0
        for item in items:
            pending.append(self._start(*item))
            waiting += pending[-1].bytes
            while pending and (waiting > _WAITING_BYTES or pending[0].done):
                waiting -= pending[0].bytes
                yield self._finish(pending.popleft())
        while pending:
            yield self._finish(pending.popleft())
        self._cache.write()

    def _start(self, name: str, reference: np.ndarray, estimate: np.ndarray) -> _Pending:
        """Look up what is known, and hand the rest to threads and processes."""
        # Copies: the caller may use its buffers again.
        reference = np.array(reference, dtype=np.float32)
        estimate = np.array(estimate, dtype=np.float32)
        digests = pair_digests(reference, estimate, self.sample_rate)
        pending = _Pending(name, digests[1], self._cached(digests[1]))
        here: list[str] = []
        slow: list[str] = []
        for metric in self._needed:
            if metric not in pending.scores:
                worth_it = self._worth_a_process(metric, reference, estimate)
                (slow if worth_it else here).append(metric)
        pending.bytes = reference.nbytes + estimate.nbytes if here or slow else 0
        if slow:
            self._pool = self._pool or Pool(self.workers)
            request = (tuple(slow), reference, estimate, self.sample_rate)
            pending.futures.append(self._pool.submit(request))
        if here:
            job = (tuple(here), reference, estimate, self.sample_rate, digests)
            pending.futures.append(self._here(*job))
        return pending

    def _here(
        self,
        names: tuple[str, ...],
        reference: np.ndarray,
        estimate: np.ndarray,
        sample_rate: int,
        digests: tuple[str, str],
    ) -> Future[dict[str, Score]]:
        """Compute scores in a thread of this process, or at once where there is none."""

        def measured() -> dict[str, Score]:
            with intelligibility.named(*digests):
                return measure_all(names, reference, estimate, sample_rate)

        if self.workers > 1:
            self._threads = self._threads or ThreadPoolExecutor(self.workers)
            return self._threads.submit(measured)
        future: Future[dict[str, Score]] = Future()
        future.set_result(measured())
        return future

    def _cached(self, pair: str) -> dict[str, Score]:
        """Return the slow scores of a pair of signals that are on disk."""
        found = {}
        for metric in self._needed:
            value = self._cache.get(pair, self._tags[metric]) if metric in SLOW_METRICS else None
            if value is not None:
                found[metric] = Score(value)
        return found

    def _worth_a_process(self, metric: str, reference: np.ndarray, estimate: np.ndarray) -> bool:
        """Tell whether a metric is a library's and will reach it.

        A silent model or a missing library starts no process.
        """
        library = SLOW_METRICS.get(metric, OWN)
        if self.workers < 2 or library == OWN or _version(library).endswith(_ABSENT):
            return False
        try:
            checked_pair(reference, estimate, self.sample_rate, PESQ_SHORTEST_S)
        except MetricError:
            return False
        return True

    def _finish(self, pending: _Pending) -> ItemScores:
        """Wait for the slow scores, keep the fresh ones, and derive the rest."""
        fresh = _answer(pending)
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


@dataclass
class _Pending:
    """A recording on its way.

    Attributes:
        id: Its name.
        pair: Digest of both signals.
        scores: From the cache.
        futures: Being computed in threads and other processes.
        bytes: Of both signals, where they wait for scores.
    """

    id: str
    pair: str
    scores: dict[str, Score]
    futures: list[Future[dict[str, Score]]] = field(default_factory=list)
    bytes: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is computed any more."""
        return all(future.done() for future in self.futures)


def _answer(pending: _Pending) -> dict[str, Score]:
    """Return what was computed for a recording."""
    found: dict[str, Score] = {}
    try:
        for future in pending.futures:
            found |= future.result()
    except WorkerDied as error:
        raise AudiopruneError(
            f"a scoring process ended at '{pending.id}' ({error}); run again with fewer workers"
        ) from error
    return found


def _computed(name: str) -> str:
    """Return the metric that is computed for a wished one."""
    return DERIVED_METRICS[name][0] if name in DERIVED_METRICS else name


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
    """Return a library with its version, as tags of scores have it."""
    if library == OWN:
        return OWN
    try:
        return f"{library}-{version(library)}"
    except PackageNotFoundError:
        return f"{library}-{_ABSENT}"
