"""Mixtures have the asked SNR and level, and depend on the seed alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from speech_trees import RATE, source, tone

from audioprune.data.speech.mixing import condition_name, require_talkers
from audioprune.errors import DataError


def _snr_db(mixture) -> float:
    clean, noisy = mixture.clean.astype(np.float64), mixture.noisy.astype(np.float64)
    return float(10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2)))


def test_snr_and_level_are_exact(mixer) -> None:
    made = mixer(babble_share=0.4)
    items = [made.training("train", index, 0) for index in range(30)] + [
        made.training("valid", index, 0) for index in range(5)
    ]
    items += [
        made.test("babble", snr_db, index) for snr_db in (-5.0, 0.0, 5.0) for index in range(5)
    ]
    for item in items:
        assert abs(_snr_db(item) - item.record["snr_db"]) < 1e-3
        assert np.sqrt(np.mean(item.noisy.astype(np.float64) ** 2)) == pytest.approx(1, abs=1e-5)
        assert item.noisy.dtype == np.float32 and item.noisy.shape == item.clean.shape


def test_items_depend_on_seed_split_index_and_epoch_only(mixer) -> None:
    first, second = mixer(babble_share=0.3), mixer(babble_share=0.3)
    wanted = [
        (split, index, epoch)
        for split in ("train", "valid")
        for index in range(4)
        for epoch in range(2)
    ]
    made = {key: first.training(*key) for key in wanted}
    for key in reversed(wanted):
        again = second.training(*key)
        assert np.array_equal(again.noisy, made[key].noisy) and again.record == made[key].record
    assert not np.array_equal(made["train", 0, 0].noisy, made["train", 0, 1].noisy)
    assert np.array_equal(made["valid", 0, 0].noisy, made["valid", 0, 1].noisy)
    assert mixer(seed=1).training("train", 0, 0).record != first.training("train", 0, 0).record
    fixed = mixer(fresh_each_epoch=False)
    assert np.array_equal(fixed.training("train", 3, 0).noisy, fixed.training("train", 3, 7).noisy)


def test_every_training_utterance_occurs_once_a_pass(mixer) -> None:
    made = mixer()
    for epoch in range(2):
        for first in (0, 12):
            used = [
                made.training("train", index, epoch).record["speech"]["path"]
                for index in range(first, first + 12)
            ]
            assert len(set(used)) == 12
    orders = [
        [made.training("train", index, epoch).record["speech"]["path"] for index in range(12)]
        for epoch in range(2)
    ]
    assert orders[0] != orders[1]


def test_test_speech_is_the_same_in_all_conditions_and_alternates(mixer) -> None:
    made = mixer()
    conditions = [(noise, snr_db) for noise in ("babble", "cafeteria") for snr_db in (-5.0, 5.0)]
    records = {
        condition: [made.test(*condition, index).record for index in range(12)]
        for condition in conditions
    }
    speech = {key: [record["speech"] for record in found] for key, found in records.items()}
    assert all(found == speech["babble", -5.0] for found in speech.values())
    assert records["babble", -5.0][3]["noise"] == records["babble", 5.0][3]["noise"]
    assert Counter(record["speaker"] for record in records["babble", 5.0][:8]) == {
        f"test{number}": 2 for number in range(4)
    }
    assert (
        made.test("babble", 0.0, 0).record["speech"]
        == made.test("babble", 0.0, 12).record["speech"]
    )
    assert (
        made.test("babble", 0.0, 0).record["noise"] != made.test("babble", 0.0, 12).record["noise"]
    )


def test_training_snrs_fill_the_range_in_steps_or_anywhere(mixer) -> None:
    stepped = {
        mixer(train_snr_step_db=1.0).training("train", index, 0).record["snr_db"]
        for index in range(100)
    }
    assert stepped == {-5.0, -4.0, -3.0, -2.0, -1.0, 0.0}
    free = [mixer().training("train", index, 0).record["snr_db"] for index in range(100)]
    assert -5 <= min(free) < -4.5 and -0.5 < max(free) <= 0 and len(set(free)) == 100


def test_babble_share_and_talkers(mixer) -> None:
    made = mixer(babble_share=0.5, babble_talkers=(2, 3))
    records = [
        made.training(split, index, 0).record
        for split in ("train", "valid")
        for index in range(100)
    ]
    babble = [record for record in records if record["noise_name"] == "babble"]
    assert 70 < len(babble) < 130
    assert {len(record["noise"]) for record in babble} == {2, 3}
    for record in babble:
        talkers = [part["path"].partition("_")[0] for part in record["noise"]]
        assert (
            len(set(talkers)) == len(talkers)
            and record["speaker"] not in talkers
            and all(name.startswith("train") for name in talkers)
        )
    assert not any(
        mixer().training("train", index, 0).record["noise_name"] == "babble" for index in range(30)
    )
    few = mixer(babble_share=1.0, babble_talkers=(9, 9)).training("train", 0, 0)
    assert len(few.record["noise"]) == 3


def test_segments_and_longest_test_items(mixer) -> None:
    made = mixer(segment_s=0.5, max_test_s=0.4)
    items = [made.training("train", index, 0) for index in range(20)]
    assert {len(item.noisy) for item in items} == {8000} and len(
        {item.record["speech"]["start"] for item in items}
    ) > 10
    assert (
        len(made.training("valid", 0, 0).noisy) == len(made.test("babble", 0.0, 0).noisy) == 6400
    )
    assert len(mixer(segment_s=50.0).training("train", 0, 0).noisy) < 16000


def test_short_noise_is_repeated_from_a_random_start(mixer) -> None:
    made = mixer(rms_normalise=False)
    items = [
        item
        for item in (made.training("train", index, 0) for index in range(40))
        if item.record["noise_name"] == "rain"
    ]
    assert len({item.record["noise"][0]["start"] for item in items}) > 5
    noise = items[0].noisy.astype(np.float64) - items[0].clean
    assert np.allclose(noise[:3200], noise[3200:6400], atol=1e-6)


def test_faint_excerpts_are_never_used(tmp_path: Path, mixer) -> None:
    made = mixer(segment_s=0.25)
    click = np.zeros(10 * RATE)
    click[70_000:70_400] = tone(0.025, 3)
    speech = np.zeros(4 * RATE)
    speech[30_000:31_000] = tone(0.0625, 4)
    made.noise = {**made.noise, "train": [source(tmp_path, "click_1", "train", "click", click)]}
    made.speech = {**made.speech, "train": [source(tmp_path, "rare_1", "train", "rare", speech)]}
    for index in range(20):
        item = made.training("train", index, 0)
        assert abs(_snr_db(item) - item.record["snr_db"]) < 1e-3 and np.isfinite(item.noisy).all()
        start = item.record["speech"]["start"]
        assert start < 31_000 and start + 4000 > 30_000


def test_condition_names() -> None:
    assert (
        condition_name("babble", -5.0) == "babble_-5dB"
        and condition_name("bus", 2.5) == "bus_2.5dB"
    )


def test_babble_needs_other_speakers(mixer) -> None:
    made = mixer(babble_share=0.1)
    require_talkers(made.rules, made.speech)
    with pytest.raises(DataError, match="at least 3 training speakers"):
        require_talkers(made.rules, {"train": made.speech["train"][:6]})
