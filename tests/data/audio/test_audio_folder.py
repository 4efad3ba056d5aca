"""Any folder of audio: splits by a hash, segments at one rate, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from speech_trees import RATE, tone, write

from audioprune.data.audio.audio_folder import AudioFolder
from audioprune.data.audio.segments import collate, segments_of
from audioprune.data.splits.sources import Source
from audioprune.dsp import resample
from audioprune.errors import ConfigError, DataError
from audioprune.protocols import Corpus, EpochItems


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty files at two rates and several depths, one of them silent and one too short."""
    folder = tmp_path / "audio"
    for number in range(40):
        rate = RATE if number % 2 else 22050
        place = folder / f"speaker{number % 5}" / ("deep" if number % 3 else "") / f"{number}.wav"
        write(place, tone(0.6 + 0.05 * (number % 9), number, rate), rate)
    write(folder / "silent.wav", np.zeros(RATE))
    write(folder / "short.wav", tone(0.1, 99))
    return folder


def _corpus(root: Path, **options) -> AudioFolder:
    cache = str(root.parent / "cache")
    return AudioFolder(root, **{"segment_s": 0.25, "cache_dir": cache, **options})


def _files(corpus: AudioFolder) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"train": set(), "valid": set(), "test": set()}
    for record in corpus.sources():
        found[record["split"]].add(record["path"])
    return found


def test_a_hash_of_its_place_decides_the_split_of_a_file(root: Path) -> None:
    corpus = _corpus(root)
    assert isinstance(corpus, Corpus)
    files = _files(corpus)
    assert sum(map(len, files.values())) == 40 and len(set().union(*files.values())) == 40
    assert len(files["train"]) > 20 and files["valid"] and files["test"]
    assert corpus.notes == ["2 silent or short files are not used"]
    assert corpus.scale().startswith("audio_folder, ")
    before = corpus.fingerprint()
    # a new file moves no other, and one of the same audio goes where its twin is
    write(root / "zz" / "twin.wav", tone(0.65, 1))
    more = _files(_corpus(root))
    (own,) = [split for split, names in more.items() if "zz/twin.wav" in names]
    assert any(name.endswith("/1.wav") for name in more[own])
    assert {split: names - {"zz/twin.wav"} for split, names in more.items()} == files
    assert _corpus(root).fingerprint() != before


def test_segments_are_parts_of_the_resampled_file(root: Path) -> None:
    corpus = _corpus(root, segment_s=0.2)
    items = corpus.train()
    assert isinstance(items, EpochItems) and len(items) == len(items.segments)
    for index in range(len(items)):
        segment, item = items.segments[index], items[index]
        assert item["audio"].shape == (3200,) and item["speaker"].startswith("speaker")
        number = int(Path(segment.source.relative).stem)
        rate = RATE if number % 2 else 22050
        whole = resample(tone(0.6 + 0.05 * (number % 9), number, rate), rate, RATE)
        start = round(segment.start_s * RATE)
        wanted = whole[start : start + 3200]
        assert np.abs(item["audio"].numpy()[: len(wanted)] - wanted).max() < 2e-3, number
    batch = collate([items[0], items[1]])
    assert batch["audio"].shape == (2, 3200) and len(batch["id"]) == 2


def test_an_epoch_may_have_fewer_segments_others_in_each(root: Path) -> None:
    items = _corpus(root, train_segments=8).train()
    first = [items[index]["id"].partition("_")[2] for index in range(len(items))]
    items.set_epoch(1)
    second = [items[index]["id"].partition("_")[2] for index in range(len(items))]
    assert len(set(first)) == 8 and first != second
    valid = _corpus(root, valid_segments=2).valid()
    same = [valid[index]["id"] for index in range(2)]
    valid.set_epoch(1)
    assert [valid[index]["id"] for index in range(2)] == same
    with pytest.raises(IndexError, match="below 2, got 2"):
        valid[2]


def test_one_file_is_cut_in_time(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.wav", tone(10.0, 5))
    corpus = _corpus(tmp_path / "a", segment_s=0.5)
    counts = [len(each.segments) for each in (corpus.train(), corpus.valid())]
    assert counts == [16, 2] and len(corpus.tests()["held_out"]) == 2
    assert corpus.tests()["held_out"].segments[0].start_s == pytest.approx(9.0)
    source = Source(Path("x"), "x", "train", "", "", 1.1, 0.1)
    assert [each.start_s for each in segments_of(source, 0.5)] == [0.0, 0.5]
    assert len(segments_of(source, 3.0)) == 1


def test_three_files_give_every_split_one(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "b" / f"{number}.wav", tone(0.6, number))
    assert all(len(names) == 1 for names in _files(_corpus(tmp_path / "b")).values())


def test_what_is_wrong_is_said_in_one_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of audio, got none"):
        _corpus(tmp_path / "none").prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found 0 files and none that is usable"):
        _corpus(tmp_path / "empty").prepare()
    (root / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="bad.wav"):
        _corpus(root).prepare()
    assert len(_corpus(root, on_bad_file="skip").describe()["skipped"]) == 1
    with pytest.raises(ConfigError, match="fractions"):
        _corpus(root, fractions=(1.0, 0.0, 0.0))


@pytest.mark.parametrize("different", [1, 2])
def test_copies_of_fewer_than_three_files_are_cut_in_time(tmp_path: Path, different: int) -> None:
    for number in range(4):
        write(tmp_path / "audio" / f"{number}.wav", tone(4.0, number % different))
    corpus = _corpus(tmp_path / "audio", fractions=(0.5, 0.25, 0.25))
    lengths = [len(corpus.train()), len(corpus.valid()), len(corpus.tests()["held_out"])]
    assert lengths == [4 * 8, 4 * 4, 4 * 4]  # segments of 0.25 s
    (note,) = corpus.notes
    assert note == (
        f"{4 - different} of 4 files are copies of others; fewer than three files of different "
        f"audio: each is cut in time"
    )
