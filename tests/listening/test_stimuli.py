"""Stimuli: anchors where they belong, one loudness, one headroom, no lag."""

from __future__ import annotations

import math

import numpy as np
import pytest
from listening_parts import RATE, corpus
from scipy.signal import freqz

from audioprune.data.coded.alignment import measure_lag
from audioprune.errors import ConfigError, DataError
from audioprune.listening.items import Item, choose_items
from audioprune.listening.loudness import SAMPLE_RATE, loudness_lufs
from audioprune.listening.stimuli import (
    anchor_filter,
    anchors_for,
    as_pcm16,
    check_name,
    common_gain,
    lowpass,
    render_trial,
)


@pytest.fixture(scope="module")
def item() -> Item:
    return choose_items(corpus(), 1, 0, (0.1, 9.0))[0]


@pytest.mark.parametrize("corner", [3500.0, 7000.0])
def test_anchor_filter_fits_the_recommendation(corner: float) -> None:
    marks = [corner, corner * 8 / 7, corner * 9 / 7]
    hertz = np.concatenate(
        [np.linspace(0, 0.9 * corner, 200), marks, np.linspace(9 / 7 * corner, 24000, 300)]
    )
    gain_db = 20 * np.log10(
        np.abs(freqz(anchor_filter(corner), worN=hertz, fs=SAMPLE_RATE)[1]) + 1e-12
    )
    assert np.abs(gain_db[:200]).max() < 0.1 and gain_db[200] == pytest.approx(-3.0, abs=0.01)
    assert gain_db[201] < -25 and gain_db[202:].max() < -50


@pytest.mark.parametrize("corner", [3500.0, 7000.0])
def test_anchor_has_no_lag(corner: float) -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE // 4)
    low = lowpass(noise, corner)
    assert low.shape == noise.shape and measure_lag(noise, low, SAMPLE_RATE).samples == 0
    pulse = np.zeros(4001)
    pulse[2000] = 1.0
    assert np.allclose(lowpass(pulse, corner), lowpass(pulse, corner)[::-1])


def test_anchors_need_something_to_take_away() -> None:
    assert list(anchors_for(16000)) == ["anchor35", "anchor70"]
    assert list(anchors_for(14000)) == ["anchor35"] == list(anchors_for(8000))
    assert anchors_for(7000) == {}


def test_trial_is_equally_loud_and_long(item: Item) -> None:
    trial = render_trial(
        item, {"A": 0.01 * item.clean, "B": 5 * item.unprocessed}, "noisy", RATE, -23.0
    )
    assert list(trial.stimuli) == ["reference", "noisy", "A", "B", "anchor35", "anchor70"]
    assert {len(stimulus.samples) for stimulus in trial.stimuli.values()} == {
        round(0.5 * SAMPLE_RATE)
    } and trial.duration_s == 0.5
    assert all(
        loudness_lufs(stimulus.samples) == pytest.approx(-23, abs=1e-6)
        for stimulus in trial.stimuli.values()
    )
    assert {stimulus.lag for stimulus in trial.stimuli.values()} == {0}
    assert np.allclose(trial.stimuli["A"].samples, trial.stimuli["reference"].samples)
    assert trial.stimuli["A"].gain_db == pytest.approx(
        trial.stimuli["reference"].gain_db + 40, abs=1e-6
    )
    assert all(
        abs(stimulus.samples[place]) < 1e-4
        for stimulus in trial.stimuli.values()
        for place in (0, -1)
    )


def test_a_late_system_is_seen(item: Item) -> None:
    late = np.concatenate([np.zeros(160), item.clean[:-160]])
    assert render_trial(item, {"A": late}, "noisy", RATE, -23.0).stimuli["A"].lag == 480


def test_one_factor_keeps_everything_below_full_scale(item: Item) -> None:
    trials = [render_trial(item, {}, "noisy", RATE, level) for level in (-23.0, -3.0)]
    peak = max(
        np.abs(stimulus.samples).max() for trial in trials for stimulus in trial.stimuli.values()
    )
    assert peak > 1 and common_gain(trials) == pytest.approx(10 ** (-1 / 20) / peak)
    assert common_gain(trials[:1]) == 1.0
    loudest = max(
        np.abs(as_pcm16(s.samples, common_gain(trials))).max()
        for trial in trials
        for s in trial.stimuli.values()
    )
    assert loudest == round(32767 * 10 ** (-1 / 20))


def test_pcm_is_rounded() -> None:
    assert as_pcm16(np.array([0.0, 1.0, -0.5, 1e-5]), 1.0).tolist() == [0, 32767, -16384, 0]


@pytest.mark.parametrize(
    ("change", "message"), [(0.0, "expected an audible signal"), (math.nan, "not finite")]
)
def test_unheard_systems_are_named(item: Item, change: float, message: str) -> None:
    with pytest.raises(DataError, match=f"{item.name}, A: .*{message}"):
        render_trial(item, {"A": change * item.clean}, "noisy", RATE, -23.0)


def test_other_lengths_are_refused(item: Item) -> None:
    with pytest.raises(DataError, match=r"A: expected 8000 finite samples, got \(7999,\)"):
        render_trial(item, {"A": item.clean[1:]}, "noisy", RATE, -23.0)


def test_limits_of_a_trial(item: Item) -> None:
    with pytest.raises(ConfigError, match="at most 12 conditions in a trial, got 13"):
        render_trial(item, {str(number): item.clean for number in range(9)}, "noisy", RATE, -23.0)
    long = Item("x", item.clean, item.clean, "c", "", "", 12.5)
    with pytest.raises(ConfigError, match="at most 12 s, got 12.5 s"):
        render_trial(long, {}, "noisy", RATE, -23.0)


def test_names_of_controls_are_taken() -> None:
    for name in ("reference", "anchor35", "coded"):
        with pytest.raises(ConfigError, match=f"systems.{name}: expected a name of its own"):
            check_name(name, "coded")
    check_name("noisy", "coded")
