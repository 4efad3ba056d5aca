"""Augmented mixtures keep their SNR, are new in every epoch, and validation never changes."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.data.speech.augmentation import Augmentation, curved, faster, joined
from audioprune.errors import ConfigError

EVERYTHING = Augmentation(equaliser_db=5.0, speed=(0.9, 1.1), second_noise=0.5, level_db=6.0)


def _levels(mixture) -> tuple[float, float]:
    clean, noisy = mixture.clean.astype(np.float64), mixture.noisy.astype(np.float64)
    snr_db = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    return float(snr_db), float(np.sqrt(np.mean(noisy**2)))


def test_training_mixtures_vary_within_their_limits(mixer) -> None:
    made = mixer(babble_share=0.3, augmentation=EVERYTHING)
    plain = mixer(babble_share=0.3)
    noises, levels = [], []
    for index in range(24):
        item, without = made.training("train", index, 0), plain.training("train", index, 0)
        snr_db, level = _levels(item)
        assert abs(snr_db - item.record["snr_db"]) < 1e-3
        assert item.record["snr_db"] == without.record["snr_db"]
        assert item.noisy.shape == without.noisy.shape and item.noisy.dtype == np.float32
        assert not np.array_equal(item.noisy, without.noisy)
        assert 0.9 <= item.record["speed"] <= 1.1
        noises.append(len(item.record["noise"]) - len(without.record["noise"]))
        levels.append(20 * np.log10(level))
    assert set(noises) == {0, 1}
    assert -6.1 < min(levels) < -2 and 2 < max(levels) < 6.1


def test_mixtures_are_new_in_every_epoch_and_validation_stays(mixer) -> None:
    made, plain = mixer(augmentation=EVERYTHING), mixer()
    for index in range(6):
        epochs = [made.training("train", index, epoch).noisy for epoch in range(3)]
        assert not any(np.array_equal(epochs[0], other) for other in epochs[1:])
        assert np.array_equal(made.training("train", index, 1).noisy, epochs[1])
        valid = [made.training("valid", index, epoch) for epoch in range(3)]
        assert all(np.array_equal(valid[0].noisy, each.noisy) for each in valid)
        assert np.array_equal(plain.training("valid", index, 0).noisy, valid[0].noisy)
    known = made.test("babble", 0.0, 1), plain.test("babble", 0.0, 1)
    assert np.array_equal(known[0].noisy, known[1].noisy)
    assert "augmentation" in made.rules.facts() and "augmentation" not in plain.rules.facts()


def test_faster_speech_is_higher_and_has_the_asked_length() -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(17600) / 16000).astype(np.float32)
    played = faster(wave, 1.1, 16000)
    assert played.shape == (16000,)
    peak_hz = np.argmax(np.abs(np.fft.rfft(played)))
    assert peak_hz == pytest.approx(484, abs=1)
    assert np.array_equal(faster(wave, 1.0, 100), wave[:100])
    assert faster(wave[:8000], 0.9, 8880)[-100:].any()


def test_a_second_noise_is_no_louder_than_the_first() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal(4000), 100 * rng.standard_normal(4000)
    for seed in range(10):
        both = joined(first, second, np.random.default_rng(seed))
        added_db = 20 * np.log10((both - first).std() / first.std())
        assert -10.1 < added_db < 0.1


def test_a_curve_stays_within_its_limits() -> None:
    impulse = np.zeros(1000)
    impulse[0] = 1
    for seed in range(20):
        found = curved(impulse, 16000, 5.0, np.random.default_rng(seed))
        gains_db = 20 * np.log10(np.abs(np.fft.rfft(found, 1000)))
        assert gains_db.max() < 5.5 and gains_db.min() > -5.5
    assert np.allclose(curved(impulse, 16000, 0.0, np.random.default_rng(0)), impulse)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"equaliser_db": -1.0}, "augment_equaliser_db: expected a number from 0 to 24"),
        ({"second_noise": 1.5}, "augment_second_noise: expected a number from 0 to 1"),
        ({"level_db": float("nan")}, "augment_level_db"),
        ({"speed": (1.1, 0.9)}, r"augment_speed: expected \[slowest, fastest\]"),
    ],
)
def test_wrong_limits_are_refused(wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation(**wrong)


@pytest.mark.parametrize("speed", [0.97, 1.001, 1.1])
def test_other_speeds_keep_the_whole_spectrum(speed: float) -> None:
    """A training set without high frequencies teaches that these are noise."""
    wave = np.random.default_rng(0).standard_normal(48000).astype(np.float32)

    def level_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2 / len(samples)
        hz = np.fft.rfftfreq(len(samples), 1 / 16000)
        return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean()))

    played = faster(wave, speed, int(48000 / speed) - 8)
    for low_hz in (1000, 5500, 6000, 6500):
        band = low_hz, low_hz + 500
        assert level_db(played, *band) == pytest.approx(level_db(wave, *band), abs=1)


def test_half_of_the_items_keep_their_speed() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([EVERYTHING.draw_speed(rng) for _ in range(400)])
    assert 0.4 < np.mean(drawn == 1.0) < 0.6
    assert drawn.min() < 0.91 and drawn.max() > 1.09
