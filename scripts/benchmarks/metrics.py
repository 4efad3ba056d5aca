"""How fast are recordings scored, beside pystoi and beside one process? ``ITEM``.

The recordings are made: bursts of harmonic tones in white noise.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from audioprune.metrics import intelligibility, measure
from audioprune.metrics.scorer import Scorer
from audioprune.metrics.spectral import log_spectral_distance
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least, at_most

Signal = NDArray[np.float64]
LEVELS = (0.01, 0.03, 0.1, 0.3)
RATE = 16_000


def speech(number: int, rate: int = RATE, seconds: float = 4.0) -> Signal:
    """Return bursts of a harmonic tone with a wandering pitch."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * t + number)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 3 * t) + 0.4, 0, 1)


def pairs(count: int, rate: int = RATE) -> list[tuple[Signal, Signal]]:
    """Return clean signals, each with several noises."""
    found = []
    for number in range(count):
        clean = speech(number, rate)
        for level in LEVELS:
            noise = np.random.default_rng(len(found)).standard_normal(len(clean))
            found.append((clean, clean + level * noise))
    return found


def equal_scores(mine: list[float], other: list[float]) -> str:
    """Say how far the scores are apart; refuse more than a millionth."""
    apart = float(np.abs(np.subtract(mine, other)).max())
    if apart > 1e-6:
        raise Unequal(f"scores differ by {apart:.1e}")
    return f"scores differ by {apart:.1e} at most"


def rows(run: Run) -> Iterator[Row]:
    """Measure intelligibility, whole test sets, a second evaluation, processes and the rest."""
    pystoi = run.peer("pystoi")
    for rate in (8000, 16_000) if run.quick else (8000, 10_000, 16_000, 48_000):
        data = pairs(2 if run.quick else 8, rate)
        for name, score in (("STOI", intelligibility.stoi), ("ESTOI", intelligibility.estoi)):
            if pystoi is None or (run.quick and name == "ESTOI" and rate == 8000):
                continue
            theirs = partial(_pystoi, pystoi.stoi, data, rate, name == "ESTOI")
            yield from run.against(
                f"{name}, {rate // 1000} kHz, clean signals known",
                partial(_ours, score, data, rate),
                {"pystoi": Peer(theirs, at_least(8))},
                check=equal_scores,
                unit="ms",
            )
    data = pairs(4 if run.quick else 16)
    if pystoi:
        both = partial(_both, pystoi.stoi, data)
        yield from run.against(
            "STOI and ESTOI of a test set, four noises for each clean signal",
            partial(_scored, data, ("stoi", "estoi")),
            {"pystoi, both": Peer(both, at_least(8))},
            check=equal_scores,
            turns=3,
        )
    yield from again(data[:8])
    yield from processes(data[:8], 2 if run.quick else 5)
    yield from batches(data)
    reference, estimate = data[2]
    names = ("stoi", "estoi", "si_sdr", "lsd", "pesq_nb", "pesq_wb")
    parts = {name: partial(measure, name, reference, estimate, RATE) for name in names}
    run.profile("one recording of 4 s at 16 kHz, clean signal known", parts)


def _ours(
    score: Callable[..., float], data: list[tuple[Signal, Signal]], rate: int
) -> list[float]:
    intelligibility._PAIRS = intelligibility._Recent(1)  # every pair is new, no clean signal is
    return [score(intelligibility.band_pair(*pair, rate)) for pair in data]


def _pystoi(
    stoi: Callable[..., float], data: list[tuple[Signal, Signal]], rate: int, extended: bool
) -> list[float]:
    return [float(stoi(*pair, rate, extended=extended)) for pair in data]


def _both(stoi: Callable[..., float], data: list[tuple[Signal, Signal]]) -> list[float]:
    # of the same single-precision samples as the scorer's
    data = [
        (a.astype(np.float32).astype(float), b.astype(np.float32).astype(float)) for a, b in data
    ]
    return _pystoi(stoi, data, RATE, False) + _pystoi(stoi, data, RATE, True)


def _scored(
    data: list[tuple[Signal, Signal]],
    names: tuple[str, ...],
    workers: int = 0,
    folder: str | None = None,
    scorer: Scorer | None = None,
) -> list[float]:
    """Return the scores of all recordings, metric by metric."""
    intelligibility._CLEAN = intelligibility._Recent(64 << 20)
    intelligibility._PAIRS = intelligibility._Recent(4 << 20)
    items = [(str(number), *pair) for number, pair in enumerate(data)]
    if scorer:
        found = scorer.score(items)
    else:
        with Scorer(names, RATE, workers, folder) as made:
            found = made.score(items)
    return [float(each.values[name] or 0.0) for name in names for each in found]


def again(data: list[tuple[Signal, Signal]]) -> Iterator[Row]:
    """Score a test set whose scores are kept on disk."""
    names = ("stoi", "pesq_nb")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        first = _scored(data, names, 0, folder)
        once = time.process_time() - begun
        begun = time.process_time()
        second = _scored(data, names, 0, folder)
        spent = time.process_time() - begun
    note = "scores are equal" if first == second else "NOT the same scores"
    row = Row("unchanged audio scored again, STOI and PESQ", "the first time", "ms", 0.0)
    row.ours, row.theirs, row.ratio = 1e3 * spent, 1e3 * once, spent / once
    row.cost, row.goal, row.note = True, at_most(0.02), note
    row.met = row.ratio <= 0.02 and first == second
    yield row


def processes(data: list[tuple[Signal, Signal]], turns: int) -> Iterator[Row]:
    """Score PESQ by one process and by two, by the clock."""
    names, seconds = ("pesq_wb",), dict[int, list[float]]({0: [], 2: []})
    with Scorer(names, RATE, 2) as scorer:
        _scored(data[:4], names, scorer=scorer)  # start both
        for _ in range(turns):
            for workers, taken in seconds.items():
                begun = time.perf_counter()
                _scored(data, names, 0, scorer=scorer if workers else None)
                taken.append(time.perf_counter() - begun)
    ratios = [one / two for one, two in zip(seconds[0], seconds[2], strict=True)]
    row = Row("PESQ by two processes", "by one", "s", min(seconds[2]), min(seconds[0]))
    row.ratio, row.low, row.high = float(np.median(ratios)), min(ratios), max(ratios)
    row.goal, row.met, row.turns = at_least(1.8), row.ratio >= 1.8, turns
    row.note = "by the clock: it takes two cores that nothing else uses"
    yield row


def batches(data: list[tuple[Signal, Signal]]) -> Iterator[Row]:
    """Score the spectral distance of all recordings in one array, and one by one."""
    clean, other = (np.stack(each) for each in zip(*data, strict=True))
    run = Run()
    yield from run.against(
        f"log-spectral distance of {len(data)} recordings in one array",
        lambda: list(log_spectral_distance(clean, other)),
        {"one by one": Peer(lambda: [float(log_spectral_distance(*pair)) for pair in data])},
        check=equal_scores,
        unit="ms",
        turns=3,
    )


ITEM = Item(
    title="Scores of speech",
    about=(
        "STOI and ESTOI of recordings of 4 s against pystoi, whose random numbers in ESTOI move a "
        "score by about 1e-12; a test set through the scorer, digests included; the same audio "
        "once more, with scores on disk; PESQ by two processes."
    ),
    rows=rows,
    why=(
        "A third of STOI is the change of the sample rate, a quarter the transforms. PESQ is the "
        "reference implementation in C and sets the time of a test set that asks for it. Scoring "
        "again reads and digests the samples. An array of many recordings is no faster than one "
        "by one: transforms of one fill the vector units already, and large arrays leave the "
        "cache."
    ),
    order=50,
)
