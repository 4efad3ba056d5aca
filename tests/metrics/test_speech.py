"""Speech scores against pystoi, pesq and closed forms, and reasons for what has no score."""

import math
import sys

import numpy as np
import pesq
import pystoi
import pytest
import soundfile

from audioprune.metrics import intelligibility, speech
from audioprune.metrics.speech import SPEECH_METRICS, MetricError

RATE = 16000


def talk(seconds=1.5, rate=RATE, seed=0):
    """Bursts of a harmonic tone with a wandering pitch: enough like speech for every metric."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * t)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20))
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return 0.1 * (voice + 0.1 * noise) * np.clip(np.sin(2 * np.pi * 3 * t) + 0.4, 0, 1)


def noisy(reference, level=0.05, seed=1):
    return reference + level * np.random.default_rng(seed).standard_normal(len(reference))


@pytest.fixture(scope="module")
def pair():
    reference = talk()
    return reference, noisy(reference)


@pytest.mark.parametrize("rate", [8000, 10000, 11025, 16000, 22050, 48000])
def test_intelligibility_is_that_of_pystoi_at_any_rate(rate):
    reference = talk(0.9, rate)
    for seed in (1, 2):
        other = noisy(reference, seed=seed)
        assert speech.stoi(reference, other, rate) == pytest.approx(
            pystoi.stoi(reference, other, rate), abs=1e-9
        )
        assert speech.estoi(reference, other, rate) == pytest.approx(
            pystoi.stoi(reference, other, rate, extended=True), abs=1e-9
        )
    assert speech.stoi(reference, reference, rate) == pytest.approx(1, abs=1e-9)


def test_stoi_of_pauses_and_dead_stretches_is_that_of_pystoi():
    reference = np.concatenate([talk(0.7), np.zeros(RATE // 2), 1e-4 * talk(0.4), talk(0.4)])
    other = noisy(reference)
    other[: RATE // 4] = 0
    other[RATE:] *= 20
    assert speech.stoi(reference, other, RATE) == pytest.approx(
        pystoi.stoi(reference, other, RATE), abs=1e-9
    )


def test_estoi_is_pystoi_without_its_random_numbers(pair):
    before = np.random.get_state()[1].copy()
    score = speech.estoi(*pair, RATE)
    assert score == speech.estoi(*pair, RATE)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    assert score == pytest.approx(pystoi.stoi(*pair, RATE, extended=True), abs=1e-9)
    assert speech.estoi(pair[0], pair[0], RATE) == pytest.approx(1, abs=1e-9)
    assert speech.estoi(pair[0] * 1e-3, pair[1] * 1e-3, RATE) == pytest.approx(score, abs=1e-9)


def test_raw_pesq_of_identical_signals_is_four_and_a_half(pair):
    assert speech.pesq_raw_nb(pair[0], pair[0], RATE) == pytest.approx(4.5, abs=1e-6)
    assert speech.pesq_nb(pair[0], pair[0], RATE) == pytest.approx(4.5486, abs=1e-4)
    assert speech.pesq_wb(pair[0], pair[0], RATE) == pytest.approx(4.6439, abs=1e-4)


@pytest.mark.parametrize("raw", [-0.5, 0.0, 1.0, 1.968, 3.3, 4.5])
def test_raw_pesq_inverts_the_mapping(raw):
    lqo = 0.999 + 4 / (1 + math.exp(-1.4945 * raw + 4.6607))
    assert speech.raw_from_lqo(lqo) == pytest.approx(raw, abs=1e-9)


@pytest.mark.parametrize("lqo", [0.999, 4.999, -7, math.nan])
def test_raw_pesq_refuses_what_is_no_score(lqo):
    with pytest.raises(MetricError, match="between 0.999 and 4.999"):
        speech.raw_from_lqo(lqo)


def test_pesq_rates():
    low = talk(rate=8000)
    assert 1 < speech.pesq_nb(low, noisy(low), 8000) < 4
    with pytest.raises(MetricError, match="wide-band PESQ needs 16000 Hz or more, got 8000 Hz"):
        speech.pesq_wb(low, noisy(low), 8000)
    with pytest.raises(MetricError, match="got 11025 Hz"):
        speech.pesq_nb(low, low, 11025)
    high = talk(rate=48000)
    tripled = high + 0.02 * np.repeat(np.random.default_rng(0).standard_normal(len(high) // 3), 3)
    assert speech.pesq_nb(high, high, 48000) == pytest.approx(4.5486, abs=1e-4)
    assert 1 < speech.pesq_wb(high, tripled, 48000) < 4.5


def test_pesq_refuses_more_utterances_than_its_tables_hold():
    burst = np.concatenate([np.random.default_rng(0).standard_normal(3600) * 0.1, np.zeros(3600)])
    with pytest.raises(MetricError, match="more than 48 utterances"):
        speech.pesq_nb(np.tile(burst, 60), np.tile(burst, 60), RATE)
    assert speech._utterances(np.tile(burst, 45), RATE) == 45
    assert speech._utterances(np.tile(talk(), 20), RATE) < 48
    assert speech._utterances(np.random.default_rng(0).standard_normal(30 * RATE), RATE) < 48


def test_pesq_without_utterances_has_a_reason(monkeypatch, pair):
    def finds_none(*_):
        raise pesq.NoUtterancesError(b"No utterances detected")

    monkeypatch.setattr(pesq, "pesq", finds_none)
    for metric in (speech.pesq_nb, speech.pesq_raw_nb, speech.pesq_wb):
        with pytest.raises(MetricError, match="^PESQ finds no utterance$"):
            metric(*pair, RATE)


def test_pesq_absent(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(MetricError, match="^pesq is not installed$"):
        speech.pesq_raw_nb(*pair, RATE)


def test_whatever_a_library_raises_is_a_reason(monkeypatch, pair):
    def fails(*_, **__):
        raise IndexError("out of range")

    monkeypatch.setattr(pesq, "pesq", fails)
    with pytest.raises(MetricError, match="pesq failed: IndexError: out of range"):
        speech.pesq_nb(*pair, RATE)
    monkeypatch.setattr(intelligibility, "stoi", lambda *_: math.nan)
    with pytest.raises(MetricError, match="the score is nan"):
        speech.stoi(*pair, RATE)


def test_si_sdr_closed_form():
    t = np.arange(1600) / RATE
    reference, other = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 200 * t)
    assert speech.si_sdr(reference, 3 * reference + 0.3 * other, RATE) == pytest.approx(
        20, abs=1e-9
    )
    assert speech.si_sdr(reference, -7 * (reference + 0.1 * other) + 5, RATE) == pytest.approx(
        20, abs=1e-9
    )
    assert speech.si_sdr(reference, reference + 1e-10 * other, RATE) == pytest.approx(
        200, abs=1e-3
    )
    with pytest.raises(
        MetricError, match="^the estimate is the reference up to a factor, its SI-SDR is infinite$"
    ):
        speech.si_sdr(reference, 2 * reference, RATE)


def test_si_sdr_of_what_has_no_part_of_the_reference():
    impulse = np.array([1.0, -1.0, 0.0, 0.0])
    pairs = [(impulse, impulse[::-1].copy())]
    for constant in (
        np.full(4, 0.25),
        np.full(3, 0.1),
        np.full(7, 0.1),
    ):  # 0.1 without its mean is a rounding error, not 0
        rising = 1e4 + np.arange(len(constant)) ** 2 / 7
        pairs += [(rising, constant), (constant, rising)]
    for reference, estimate in pairs:
        with pytest.raises(
            MetricError,
            match="^the estimate has no part of the reference, its SI-SDR is minus infinity$",
        ):
            speech.si_sdr(reference, estimate, RATE)


@pytest.mark.parametrize("name", SPEECH_METRICS)
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda r, e: (r, np.where(np.arange(len(e)) == 7, np.nan, e)), "the estimate holds NaN"),
        (
            lambda r, e: (np.where(np.arange(len(r)) == 7, np.inf, r), e),
            "the reference holds NaN or infinite",
        ),
        (lambda r, e: (r, 0 * e), "the estimate is silent"),
        (lambda r, e: (r, 1e-6 * e), "the estimate is silent"),
        (lambda r, e: (0 * r, e), "the reference is silent"),
        (lambda r, e: (r, e[:-1]), "expected equal lengths, got 24000 and 23999 samples"),
        (lambda r, e: (r[None], e[None]), "score one channel at a time"),
        (lambda r, e: (r[:0], e[:0]), "expected at least"),
    ],
)
def test_every_metric_refuses_bad_signals(name, spoil, reason, pair):
    with pytest.raises(MetricError, match=reason):
        SPEECH_METRICS[name](*spoil(*pair), RATE)


def test_short_signals(pair):
    short = [x[: int(0.24 * RATE)] for x in pair]
    for name in ("pesq_nb", "pesq_wb", "pesq_raw_nb"):
        with pytest.raises(MetricError, match="expected at least 0.25 s, got 0.24 s"):
            SPEECH_METRICS[name](*short, RATE)
    for name in ("stoi", "estoi"):
        with pytest.raises(MetricError, match="expected at least 0.4 s"):
            SPEECH_METRICS[name](*short, RATE)
    mostly_silent = [np.concatenate([x[:2000], np.zeros(RATE)]) for x in pair]
    for name in ("stoi", "estoi"):
        with pytest.raises(MetricError, match="fewer than 30 frames of speech"):
            SPEECH_METRICS[name](*mostly_silent, RATE)


def test_nan_trap_of_stoi(pair):
    """STOI scores a signal with a NaN sample as nearly perfect; the check stands before it."""
    spoiled = pair[0].copy()
    spoiled[10] = np.nan
    with pytest.raises(MetricError, match="NaN"):
        speech.stoi(pair[0], spoiled, RATE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pesq_wb", 1.0832337),
        ("pesq_nb", 1.6072082),
        ("pesq_raw_nb", 1.9686),
        ("stoi", 0.6739178),
        ("estoi", 0.3904500),
    ],
)
def test_reference_recordings(name, expected, shared_data):
    folder = shared_data / "metric_refs"
    reference, rate = soundfile.read(folder / "speech.wav")
    estimate, _ = soundfile.read(folder / "speech_bab_0dB.wav")
    assert SPEECH_METRICS[name](reference, estimate, rate) == pytest.approx(
        expected, abs=1e-4 if name == "pesq_raw_nb" else 1e-6
    )


def test_checks_say_what_was_got():
    x = talk(0.1)
    cases = (
        (
            (x[None], x, RATE),
            "expected two signals (T,), got shapes (1, 1600) and (1600,); score one channel at "
            "a time",
        ),
        (
            (x, x[None], RATE),
            "expected two signals (T,), got shapes (1600,) and (1, 1600); score one channel at "
            "a time",
        ),
        (
            (x, x[:-1], RATE),
            "expected equal lengths, got 1600 and 1599 samples; cut or pad one of them",
        ),
        ((x, x, 0), "expected a positive sample rate, got 0; give it in Hz"),
        ((x, x, RATE, 0.2), "expected at least 0.2 s, got 0.1 s"),
        ((x[:0], x[:0], RATE), "expected at least 0 s, got 0 s"),
        ((x * np.nan, x, RATE), "the reference holds NaN or infinite samples"),
        ((x, x * np.inf, RATE), "the estimate holds NaN or infinite samples"),
        ((np.full(9, 1e-6), np.ones(9), RATE), "the reference is silent"),
        ((np.ones(9), np.full(9, -1e-6), RATE), "the estimate is silent"),
        ((0 * x, x, RATE, 0.0, True), "the reference is silent"),
    )
    for arguments, message in cases:
        with pytest.raises(MetricError) as caught:
            speech.checked_pair(*arguments)
        assert str(caught.value) == message
    found = speech.checked_pair(np.float32([1, 2]), [0, 0], 1, 2.0, silent_estimate=True)
    assert [each.dtype for each in found] == [np.float64] * 2 and [
        each.tolist() for each in found
    ] == [[1, 2], [0, 0]]
    assert speech.checked_pair([2e-6], [2e-6], 1)[1].tolist() == [2e-6]


def test_rates_that_are_refused():
    assert (
        speech.rate_refusal("pesq_wb", 15999)
        == "wide-band PESQ needs 16000 Hz or more, got 15999 Hz; use pesq_nb"
    )
    for metric in ("pesq_nb", "pesq_raw_nb"):
        told = speech.rate_refusal(metric, 11025)
        assert (
            told == "PESQ needs 8000 or 16000 Hz, got 11025 Hz; resample both signals to 8000 Hz"
        )
        assert (
            speech.rate_refusal(metric, 8000)
            == speech.rate_refusal(metric, 16000)
            == speech.rate_refusal(metric, 44100)
            == ""
        )
    assert (
        speech.rate_refusal("pesq_wb", 16000)
        == speech.rate_refusal("stoi", 4000)
        == speech.rate_refusal("none", 1)
        == ""
    )
