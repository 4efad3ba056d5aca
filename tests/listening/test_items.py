"""Which recordings a test holds: balanced, drawn by seed, of the wanted length."""

from __future__ import annotations

from collections import Counter

import pytest
from listening_parts import Corpus, Items, corpus

from audioprune.errors import ConfigError, DataError
from audioprune.listening.items import choose_items, speaker_of

ANY = (0.1, 9.0)


def test_items_are_balanced_over_gender_speaker_and_condition() -> None:
    chosen = choose_items(corpus(), 8, 0, ANY)
    assert Counter(item.gender for item in chosen) == {"F": 4, "M": 4}
    assert Counter(item.speaker for item in chosen) == dict.fromkeys(("f1", "f2", "m1", "m2"), 2)
    assert max(Counter(item.condition for item in chosen).values()) <= 5
    assert len({item.name for item in chosen}) == 8 and chosen[0].duration_s == 0.5


def test_balance_without_genders_is_over_speakers() -> None:
    few = Corpus({"aac-24k": Items(["p1", "p1", "p1", "p2"], 12)})
    assert Counter(item.speaker for item in choose_items(few, 6, 0, ANY)) == {"p1": 3, "p2": 3}


def test_seed_decides() -> None:
    names = [[item.name for item in choose_items(corpus(), 4, seed, ANY)] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_a_recording_comes_once_whatever_its_conditions() -> None:
    chosen = choose_items(corpus(), 8, 3, ANY)
    assert len({item.name.split("dB_")[1] for item in chosen}) == 8
    with pytest.raises(DataError, match="expected 9 test items .* found 8 of 8"):
        choose_items(corpus(), 9, 3, ANY)


def test_patterns_choose_conditions() -> None:
    assert {item.condition for item in choose_items(corpus(), 4, 0, ANY, ["*_5dB"])} == {
        "hiss_5dB"
    }
    with pytest.raises(
        ConfigError, match="expected conditions that match one of hiss_0dB, hiss_5dB, got rain"
    ):
        choose_items(corpus(), 4, 0, ANY, ["rain"])


def test_lengths_are_kept() -> None:
    mixed = Corpus({"long": Items(["a"], 2, seconds=2.0), "short": Items(["b"], 5)})
    assert {item.condition for item in choose_items(mixed, 2, 0, (1.0, 3.0))} == {"long"}
    with pytest.raises(
        DataError,
        match=r"expected 1 test items of 3 to 10 s, found 0 of \d \(lengths 0.50 to 2.00 s\)",
    ):
        choose_items(mixed, 1, 0)


@pytest.mark.parametrize("wrong", [(3.0,), (0.0, 1.0), (5.0, 3.0)])
def test_wrong_lengths_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="duration_s as .shortest, longest."):
        choose_items(corpus(), 1, 0, wrong)


def test_other_corpora_are_refused() -> None:
    scenes = Corpus({"all": [{"features": 0, "id": "x"}]})
    with pytest.raises(ConfigError, match="items without noisy, clean"):
        choose_items(scenes, 1, 0, ANY)


@pytest.mark.parametrize(
    ("identity", "speaker"),
    [
        ("000004_p232_001", "p232"),
        ("000000_speaker027_003", "speaker027"),
        ("000001_1089-134686-0001", "1089"),
        ("recording", ""),
    ],
)
def test_speaker_of_an_id(identity: str, speaker: str) -> None:
    assert speaker_of(identity) == speaker
