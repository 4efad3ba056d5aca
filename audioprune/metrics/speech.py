"""How intelligible and how clean one enhanced recording is: STOI, ESTOI, PESQ and SI-SDR.

Each function of SPEECH_METRICS is a ``contract.Metric`` for one recording. It refuses, with a
reason, what its library would score wrongly or crash on. Many recordings at once, the cache and
the mean are in scorer.py and summary.py.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from audioprune.metrics import intelligibility
from audioprune.metrics.contract import Metric, MetricError, checked_pair

PESQ_RATES = (8000, 16000)
PESQ_SHORTEST_S = 0.25
PESQ_UTTERANCES = 48
PESQ_FRAMES_PER_SECOND = 250
PESQ_SHORTEST_FRAMES = 50
STOI_SHORTEST_S = 0.4


def stoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score short-time objective intelligibility, 0..1 (tables print percent), at any sample rate.

    Both signals are resampled to 10 kHz, so that an 8 kHz pair has little in the highest band.

    Raises:
        MetricError: As in ``checked_pair``, with 0.4 s; or fewer than 30 frames of speech remain
            without the silent ones.

    Source: Taal, Hendriks, Heusdens & Jensen (2011).
    """
    return _finite(intelligibility.stoi(_band_pair(reference, estimate, sample_rate)))


def estoi(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score extended short-time objective intelligibility, at most 1, at any sample rate.

    No random numbers are added against division by zero, so that equal signals give equal scores;
    a constant band counts as 0.

    Raises:
        MetricError: As in ``stoi``.

    Source: Jensen & Taal (2016).
    """
    return _finite(intelligibility.estoi(_band_pair(reference, estimate, sample_rate)))


def _band_pair(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> intelligibility.Pair:
    reference, estimate = checked_pair(reference, estimate, sample_rate, STOI_SHORTEST_S)
    try:
        return intelligibility.band_pair(reference, estimate, sample_rate)
    except intelligibility.TooFewFrames as error:
        raise MetricError(
            "fewer than 30 frames of speech remain after the silent frames are removed"
        ) from error


def raw_from_lqo(lqo: float) -> float:
    """Return the raw narrow-band PESQ score, -0.5..4.5, of a mapped score (MOS-LQO).

    Identical signals give 4.5.

    Raises:
        MetricError: ``lqo`` is outside the open interval (0.999, 4.999) of the mapping.

    Source: ITU-T P.862.1, lqo = 0.999 + 4 / (1 + exp(-1.4945 raw + 4.6607)), inverted.
    """
    if not 0.999 < lqo < 4.999:
        raise MetricError(
            f"expected a mapped score between 0.999 and 4.999, got {lqo}; it is no narrow-band "
            f"PESQ"
        )
    return (4.6607 - math.log(4 / (lqo - 0.999) - 1)) / 1.4945


def pesq_nb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score narrow-band PESQ as mapped MOS-LQO, 1.0..4.549.

    Accepted are 8000 and 16000 Hz; higher rates are brought to 16000 Hz first, other rates are
    refused.

    Raises:
        MetricError: As in ``checked_pair``, with 0.25 s; the rate is not accepted; PESQ is not
            installed, finds no utterance, or the reference holds more utterances than the
            library's tables safely take.

    Source: ITU-T P.862 and P.862.1.
    """
    return _pesq(reference, estimate, sample_rate, "nb")


def pesq_raw_nb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score narrow-band PESQ as raw MOS, -0.5..4.5; rates and errors as in ``pesq_nb``.

    That is the scale of Tan & Wang (ICASSP 2021). The mapping is inverted for each recording,
    before any mean.
    """
    return raw_from_lqo(pesq_nb(reference, estimate, sample_rate))


def pesq_wb(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score wide-band PESQ as mapped MOS-LQO, 1.0..4.644.

    Otherwise as ``pesq_nb``, but 8000 Hz has no wide band and is refused.

    Source: ITU-T P.862.2.
    """
    return _pesq(reference, estimate, sample_rate, "wb")


def rate_refusal(metric: str, sample_rate: int) -> str:
    """Return why a metric cannot be computed at a sample rate in Hz, or nothing.

    Unknown metrics have no reason.
    """
    if metric == "pesq_wb" and sample_rate < PESQ_RATES[1]:
        return f"wide-band PESQ needs 16000 Hz or more, got {sample_rate} Hz; use pesq_nb"
    too_low = sample_rate < PESQ_RATES[1] and sample_rate not in PESQ_RATES
    if metric.startswith("pesq_") and too_low:
        return (
            f"PESQ needs 8000 or 16000 Hz, got {sample_rate} Hz; resample both signals to 8000 Hz"
        )
    return ""


def si_sdr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Score the scale-invariant signal-to-distortion ratio in dB.

    10 log10(||a s||^2 / ||a s - e||^2) with a = <e, s> / ||s||^2, for the reference s and the
    estimate e; both lose their mean first.

    Raises:
        MetricError: As in ``checked_pair``; or the ratio is infinite, because the estimate is the
            reference or has no part of it.

    Source: Le Roux, Wisdom, Erdogan & Hershey (2019).
    """
    reference, estimate = checked_pair(reference, estimate, sample_rate)
    # Without its mean nothing is left of a constant signal, but rounding.
    constant = min(np.ptp(reference), np.ptp(estimate)) == 0
    reference, estimate = reference - reference.mean(), estimate - estimate.mean()
    power = float(reference @ reference)
    target = reference * (float(estimate @ reference) / power) if power > 0 else reference
    signal, distortion = float(target @ target), float(np.sum((target - estimate) ** 2))
    rounding = np.finfo(np.float64).eps ** 2
    if constant or signal <= rounding * distortion:
        raise MetricError(
            "the estimate has no part of the reference, its SI-SDR is minus infinity"
        )
    if distortion <= rounding * signal:
        raise MetricError("the estimate is the reference up to a factor, its SI-SDR is infinite")
    return 10 * math.log10(signal / distortion)


def _pesq(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, mode: str) -> float:
    """Score PESQ in the mode ``nb`` or ``wb``, as mapped MOS-LQO."""
    reference, estimate = checked_pair(reference, estimate, sample_rate, PESQ_SHORTEST_S)
    reason = rate_refusal(f"pesq_{mode}", sample_rate)
    if reason:
        raise MetricError(reason)
    library = _library("pesq")
    rate = min(sample_rate, PESQ_RATES[1])
    if rate != sample_rate:
        reference = soxr.resample(reference, sample_rate, rate, quality="VHQ")
        estimate = soxr.resample(estimate, sample_rate, rate, quality="VHQ")
    # The library keeps utterances in tables of 50 and writes past their end: 60 utterances end the
    # whole process.
    if _utterances(reference, rate) > PESQ_UTTERANCES:
        raise MetricError(
            f"the reference holds more than {PESQ_UTTERANCES} utterances; cut it into shorter "
            f"recordings"
        )
    silence = library.NoUtterancesError
    try:
        value = _from_library(
            "pesq", lambda: library.pesq(rate, reference, estimate, mode), silence
        )
    except silence as error:
        raise MetricError("PESQ finds no utterance") from error
    return _finite(value)


def _utterances(signal: np.ndarray, sample_rate: int) -> int:
    """Return the most utterances that any threshold on the power finds.

    Utterances and pauses last 50 frames of 4 ms or more.
    """
    width = sample_rate // PESQ_FRAMES_PER_SECOND
    frames = signal[: len(signal) // width * width].reshape(-1, width)
    if len(frames) < 2 * PESQ_SHORTEST_FRAMES * PESQ_UTTERANCES:
        return 0  # too short to hold so many
    power = np.mean(frames**2, axis=1)
    thresholds = np.quantile(power, np.linspace(0, 0.95, 20))
    return max(_runs(power > threshold, PESQ_SHORTEST_FRAMES) for threshold in thresholds)


def _runs(active: np.ndarray, shortest: int) -> int:
    """Count runs of True of at least ``shortest`` frames, shorter gaps between them filled."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) == 0:
        return 0
    apart = starts[1:] - ends[:-1] > shortest
    first, last = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    return int(np.sum(last - first >= shortest))


def _library(name: str) -> Any:
    """Import a module of a scoring library, which may be absent where no compiler was."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MetricError(f"{name.split('.')[0]} is not installed") from error


def _from_library(name: str, call: Callable[[], Any], *expected: type[Exception]) -> Any:
    """Turn whatever a library raises into a reason: one recording must not end a whole test."""
    try:
        return call()
    except expected:
        raise
    except Exception as error:
        raise MetricError(f"{name} failed: {type(error).__name__}: {error}") from error


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise MetricError(f"the score is {value}")
    return float(value)


SPEECH_METRICS: dict[str, Metric] = {
    "stoi": stoi,
    "estoi": estoi,
    "pesq_raw_nb": pesq_raw_nb,
    "pesq_nb": pesq_nb,
    "pesq_wb": pesq_wb,
    "si_sdr": si_sdr,
}
