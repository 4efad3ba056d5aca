"""Which files are one recording by their names, and how groups are joined."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from audioprune.data.splits.noise import assign_noise
from audioprune.data.splits.recordings import joined, recording_of
from audioprune.errors import DataError

ROOT = Path("/noise")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DKITCHEN/ch01.wav", "DKITCHEN/ch16.wav"),
        ("metro_000.wav", "metro_001.wav"),
        ("babble-part3.wav", "babble-part12.wav"),
        ("x_seg2.wav", "x_seg3.wav"),
        ("noise_part1.wav", "noise_part2.wav"),
        ("rain.wav", "rain (2).wav"),
        ("rain.wav", "rain - Copy.wav"),
        ("street_ch1.wav", "street_ch2.wav"),
        ("street_L.wav", "street_R.wav"),
        ("street left.wav", "street right.wav"),
        ("16k/metro.wav", "48k/metro.wav"),
        ("metro_16k.wav", "metro-10db.wav"),
        ("talk_0.0_10.0.wav", "talk_10.0_20.5.wav"),
        ("a001_0_10.wav", "a001_10_20.wav"),
        ("airport-barcelona-0-0-a.wav", "airport-barcelona-0-13-b.wav"),
        ("public_square-paris-12-3-a.wav", "public_square-paris-12-4-a.wav"),
        ("1-100032-A-0.wav", "5-100032-B-0.wav"),
        ("100032-3-0-0.wav", "100032-3-1-7.wav"),
    ],
)  # fmt: skip
def test_pieces_of_one_recording(first: str, second: str) -> None:
    assert recording_of(Path(first)) == recording_of(Path(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("n0.wav", "n1.wav"),
        ("001.wav", "002.wav"),
        ("noise_001.wav", "noise_002.wav"),
        ("noise-free-sound-0001.wav", "noise-free-sound-0002.wav"),
        ("dog/dog_1.wav", "dog/dog_2.wav"),
        ("metro_0.wav", "tram_0.wav"),
        ("a/metro_0.wav", "b/metro_1.wav"),
        ("A/ch01.wav", "B/ch01.wav"),
        ("public_square-paris-12-3-a.wav", "public_square-paris-13-3-a.wav"),
        ("nonspeech_n001.flac", "nonspeech_n002.flac"),
    ],
)  # fmt: skip
def test_recordings_of_their_own(first: str, second: str) -> None:
    assert recording_of(Path(first)) != recording_of(Path(second))


def test_numbered_files_of_a_folder_are_one_noise_where_asked() -> None:
    assert (
        recording_of(Path("metro/000.wav"), True)
        == recording_of(Path("metro/metro_1.wav"), True)
        == "metro"
    )
    assert recording_of(Path("000.wav"), True) != recording_of(Path("001.wav"), True)


def test_groups_are_joined_over_all_their_members() -> None:
    keys = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    assert joined(keys, [("b1", "a2"), ("b1", "nobody")]) == {
        "a1": "a",
        "a2": "a",
        "b1": "a",
        "c1": "c",
    }
    assert (
        set(joined(keys, [("c1", "b1"), ("a1", "b1")]).values()) == {"a"} and joined(keys) == keys
    )


def _noise(*names: str, links: tuple[tuple[str, str], ...] = (), **options: str) -> dict[str, str]:
    pairs = [(ROOT / one, ROOT / other) for one, other in links]
    assigned, _ = assign_noise(
        ROOT, {ROOT / name: Path(name) for name in names}, (0.6, 0.1, 0.3), 0, pairs, **options
    )
    return {entry.path.relative_to(ROOT).as_posix(): entry.split for entry in assigned}


def test_channels_and_pieces_of_a_noise_get_one_split() -> None:
    names = [
        f"{place}/ch{channel:02d}.wav"
        for place in ("KITCHEN", "PARK", "METRO")
        for channel in range(1, 17)
    ]
    names += [
        f"{kind}_{number:03d}.wav" for kind in ("rain", "fan", "tram") for number in range(9)
    ]
    for seed in range(3):
        assigned, _ = assign_noise(
            ROOT, {ROOT / name: Path(name) for name in names}, (0.6, 0.1, 0.3), seed
        )
        kept = {entry.together: entry.split for entry in assigned}
        assert len(kept) == 6 and Counter(kept.values()) == {"train": 4, "test": 2}
        assert all(entry.split == kept[entry.together] for entry in assigned)
        assert {entry.rule for entry in assigned} == {
            f"noise files are recordings by their names; shares of the recordings by seed {seed}"
        }


def test_the_same_audio_under_two_names_gets_one_split() -> None:
    names = [f"n{number}.wav" for number in range(10)]
    alone = _noise(*names)
    one, other = (
        next(name for name in names if alone[name] == "test"),
        next(name for name in names if alone[name] == "train"),
    )
    found = _noise(*names, links=((one, other),))
    assert found[one] == found[other] and set(found.values()) == {"train", "test"}


def test_one_recording_cannot_be_split_unless_each_file_is_said_to_be_one() -> None:
    names = ("metro_000.wav", "metro_001.wav", "metro_002.wav")
    with pytest.raises(
        DataError, match="found 1 recording, metro, in 3 files .data.noise_from=file"
    ):
        _noise(*names)
    assert Counter(_noise(*names, noise_from="file").values()) == {"train": 2, "test": 1}
    same = (names[:2], names[1:])
    with pytest.raises(
        DataError, match="found 1 recording, metro_000.wav, in 3 files .they hold the same audio."
    ):
        _noise(*names, noise_from="file", links=same)
