from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from speech_trees import tone, write

from audioprune.data.coded.segments import CodedRules, Segments, segment_starts
from audioprune.data.files.audio import AudioStore
from audioprune.data.speech.paired_items import PairSource
from audioprune.data.splits.sources import Source
from audioprune.errors import ConfigError


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (16384, [0]),
        (16385, [0, 1]),
        (100, [0]),
        (24576, [0, 8192]),
        (24577, [0, 8192, 8193]),
        (32768, [0, 8192, 16384]),
        (40000, [0, 8192, 16384, 23616]),
    ],
)
def test_segments_cover_an_utterance(length: int, starts: list[int]) -> None:
    assert segment_starts(length, 16384, 8192) == starts


def _segments(folder: Path, memory: int = 10**9, **rules) -> Segments:
    pairs = []
    for number, seconds in enumerate((0.5, 0.7, 0.05)):
        sides = []
        for side, factor in (("coded", 0.5), ("clean", 1.0)):
            path = write(
                folder / side / f"{number}.wav", factor * tone(seconds, number), subtype="FLOAT"
            )
            sides.append(Source(path, path.name, "train", "s", "", seconds, 0.1))
        pairs.append(PairSource(*sides, "aac-24k"))
    return Segments(pairs, AudioStore(16000, memory), CodedRules(**{"segment": 2000, **rules}))


@pytest.mark.parametrize("memory", [10**9, 0])
def test_items_are_aligned_and_each_occurs_once_in_an_epoch(tmp_path: Path, memory: int) -> None:
    items = _segments(tmp_path, memory)
    assert len(items) == 7 + 11 + 1
    found = [items[index] for index in range(len(items))]
    assert len({item["id"].partition("_")[2] for item in found}) == len(found)
    for item in found:
        name, _, start = item["id"].partition("_")[2].partition("_")
        clean = tone((0.5, 0.7, 0.05)[int(name)], int(name)).astype(np.float32)[int(start) :][
            :2000
        ]
        assert np.array_equal(item["clean"].numpy(), np.pad(clean, (0, 2000 - len(clean))))
        assert np.allclose(2 * item["noisy"].numpy(), item["clean"].numpy(), atol=1e-6)
        assert item["noise"] == "aac-24k" and item["snr_db"] is None


def test_order_follows_seed_and_epoch_alone(tmp_path: Path) -> None:
    items = _segments(tmp_path)
    first = [items[index]["id"] for index in range(len(items))]
    items.set_epoch(1)
    second = [items[index]["id"] for index in range(len(items))]
    items.set_epoch(0)
    assert [items[index]["id"] for index in reversed(range(len(items)))] == first[::-1]
    places = [[name.partition("_")[2] for name in names] for names in (first, second)]
    assert places[0] != places[1] and sorted(places[0]) == sorted(places[1])
    assert [_segments(tmp_path, seed=1)[index]["id"] for index in range(5)] != first[:5]


def test_epochs_shorter_and_longer_than_the_corpus(tmp_path: Path) -> None:
    few, many = _segments(tmp_path, train_segments=4), _segments(tmp_path, train_segments=40)
    assert (len(few), len(many)) == (4, 40)
    counts: dict[str, int] = {}
    for index in range(40):
        place = many[index]["id"].partition("_")[2]
        counts[place] = counts.get(place, 0) + 1
    assert len(counts) == 19 and set(counts.values()) == {2, 3}
    with pytest.raises(IndexError, match="below 4"):
        few[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": 0}, "segment as a whole number"),
        ({"segment": None}, "segment"),
        ({"stride": 0.0}, "stride above 0"),
        ({"stride": 1.5}, "up to 1"),
        ({"stride": float("nan")}, "stride"),
        ({"train_segments": 0}, "train_segments"),
        ({"valid_items": 1.5}, "valid_items"),
        ({"max_test_s": 0.01}, "max_test_s"),
        ({"seed": -1}, "seed"),
        ({"sample_rate": 10}, "sample_rate"),
    ],
)
def test_wrong_rules_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CodedRules(**options)


def test_hop() -> None:
    assert (
        CodedRules().hop == 8192
        and CodedRules(segment=1, stride=0.1).hop == 1
        and CodedRules().whole.rms_normalise is False
    )
