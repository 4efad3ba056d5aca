"""How many recordings are scored at once and never twice: ``Scorer``.

Slow scores (STOI, ESTOI, PESQ) go to processes (processes.py) and are kept on disk by the content
of the signals (score_cache.py). What a score means is said in speech.py and spectral.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType

import numpy as np

from audioprune.errors import AudiopruneError, ConfigError
from audioprune.metrics import Score, check_metrics
from audioprune.metrics.contract import MetricError, checked_pair
from audioprune.metrics.processes import Pool, WorkerDied, measure_all
from audioprune.metrics.score_cache import ScoreCache, pair_digest
from audioprune.metrics.speech import STOI_SHORTEST_S, raw_from_lqo
from audioprune.metrics.summary import ItemScores
from audioprune.progress import Progress, progress

Item = tuple[str, np.ndarray, np.ndarray]
"""Name of a recording, reference (T,) and estimate (T,)."""

FORMULAS = 1  # raise it when a formula of speech.py changes, so that no older cached score is used
SLOW_METRICS = {"stoi": "pystoi", "estoi": "pystoi", "pesq_nb": "pesq", "pesq_wb": "pesq"}
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
    """Score recordings by a list of metrics, the slow ones in processes of their own.

    Processes live until ``close`` or the end of a with-block. Signals are scored as float32. A
    process is started when the first slow score is neither cached nor refused by a check.

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
        self._needed = tuple(dict.fromkeys(map(_computed, self.metrics)))
        self._tags = {
            name: f"{name}/{library}-{_version(library)}/{FORMULAS}"
            for name, library in SLOW_METRICS.items()
        }
        self._cache = ScoreCache(cache_dir)
        self._pool: Pool | None = None

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
        """Score recordings; few of them are held in memory at once.

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
        for item in items:
            pending.append(self._start(*item))
            if len(pending) > 4 * self.workers:
                yield self._finish(pending.popleft())
        while pending:
            yield self._finish(pending.popleft())

    def _start(self, name: str, reference: np.ndarray, estimate: np.ndarray) -> _Pending:
        """Look up or compute what is cheap, and hand what is slow to a process."""
        # Copies: the caller may use its buffers again.
        reference = np.array(reference, dtype=np.float32)
        estimate = np.array(estimate, dtype=np.float32)
        pair = pair_digest(reference, estimate, self.sample_rate)
        pending = _Pending(name, pair, self._cached(pair))
        here: list[str] = []
        slow: list[str] = []
        for metric in self._needed:
            if metric not in pending.scores:
                worth_it = self._worth_a_process(metric, reference, estimate)
                (slow if worth_it else here).append(metric)
        if slow:
            self._pool = self._pool or Pool(self.workers)
            request = (tuple(slow), reference, estimate, self.sample_rate)
            pending.future = self._pool.submit(request)
        pending.fresh = measure_all(tuple(here), reference, estimate, self.sample_rate)
        return pending

    def _cached(self, pair: str) -> dict[str, Score]:
        """Return the slow scores of a pair of signals that are on disk."""
        found = {}
        for metric in self._needed:
            value = self._cache.get(pair, self._tags[metric]) if metric in SLOW_METRICS else None
            if value is not None:
                found[metric] = Score(value)
        return found

    def _worth_a_process(self, metric: str, reference: np.ndarray, estimate: np.ndarray) -> bool:
        """Tell whether a metric is slow and will reach its library.

        A silent model or a missing library starts no process.
        """
        if self.workers < 2 or metric not in SLOW_METRICS:
            return False
        if _version(SLOW_METRICS[metric]) == _ABSENT:
            return False
        try:
            checked_pair(reference, estimate, self.sample_rate, STOI_SHORTEST_S)
        except MetricError:
            return False
        return True

    def _finish(self, pending: _Pending) -> ItemScores:
        """Wait for the slow scores, keep the fresh ones, and derive the rest."""
        fresh = {**pending.fresh, **_answer(pending)}
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
        fresh: Computed in this process.
        future: Still computed in another process.
    """

    id: str
    pair: str
    scores: dict[str, Score]
    fresh: dict[str, Score] = field(default_factory=dict)
    future: Future[dict[str, Score]] | None = None


def _answer(pending: _Pending) -> dict[str, Score]:
    """Return what another process computed for a recording."""
    if pending.future is None:
        return {}
    try:
        return pending.future.result()
    except WorkerDied as error:
        raise AudiopruneError(
            f"a scoring process ended at '{pending.id}' ({error}); run again with fewer workers"
        ) from error


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
    try:
        return version(library)
    except PackageNotFoundError:
        return _ABSENT
