from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.coded.vctk import VALENTINI, Vctk, audio_folder
from audioprune.data.splits.assign import Assigned
from audioprune.errors import ConfigError, DataError


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def _new(
    root: Path, speakers: tuple[str, ...] = ("p226", "p227", "p232", "p257", "p280", "p287", "s5")
) -> Path:
    for speaker in speakers:
        for mic in ("mic1",) if speaker == "p280" else ("mic1", "mic2"):
            _touch(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_{mic}.flac")
    _touch(root / "wav48_silence_trimmed" / "log.txt")
    return root


def _flat(root: Path, train: tuple[str, ...] = ("p226", "p227", "p287")) -> Path:
    for speaker in train:
        _touch(root / "clean_trainset_28spk_wav" / f"{speaker}_001.wav")
        _touch(root / "noisy_trainset_28spk_wav" / f"{speaker}_001.wav")
    for speaker in ("p232", "p257"):
        _touch(root / "clean_testset_wav" / f"{speaker}_001.wav")
    return root


def _assign(voices: Vctk) -> tuple[dict[str, set[str]], list[str]]:
    root, paths = voices.find()
    assigned, notes = voices.assign(root, {path: path.relative_to(root) for path in paths})
    splits: dict[str, set[str]] = {}
    for entry in assigned:
        assert isinstance(entry, Assigned) and entry.path.name.startswith(entry.group)
        splits.setdefault(entry.split, set()).add(entry.group)
    return splits, notes


def test_the_list_of_valentini() -> None:
    assert {split: len(names) for split, names in VALENTINI.items()} == {
        "train": 26,
        "valid": 2,
        "test": 2,
    }
    every = [name for names in VALENTINI.values() for name in names]
    assert len(set(every)) == 30 and all(name.startswith("p") for name in every)


def test_layout_of_092(tmp_path: Path) -> None:
    root = _new(tmp_path / "VCTK-Corpus-0.92")
    folder, paths = Vctk(root).find()
    assert (
        folder == root / "wav48_silence_trimmed"
        and len(paths) == 7
        and all(path.stem.endswith("_mic1") for path in paths)
    )
    assert "p280" not in {path.parent.name for path in Vctk(root, "mic2").find()[1]}
    splits, notes = _assign(Vctk(root))
    assert splits == {"train": {"p227"}, "valid": {"p226", "p287"}, "test": {"p232", "p257"}}
    assert any("25 speakers have no file" in note for note in notes) and any(
        "does not name 2 files" in note for note in notes
    )


def test_layout_of_080(tmp_path: Path) -> None:
    for speaker in ("p226", "p227", "p232"):
        _touch(tmp_path / "wav48" / speaker / f"{speaker}_001.wav")
    _touch(tmp_path / "wav48" / "notes" / "readme_1.wav")
    assert len(Vctk(tmp_path, "mic2").find()[1]) == 3
    assert _assign(Vctk(tmp_path))[0] == {"train": {"p227"}, "valid": {"p226"}, "test": {"p232"}}


def test_flat_layout_takes_clean_files_and_the_folders_splits(tmp_path: Path) -> None:
    voices = Vctk(_flat(tmp_path))
    assert len(voices.find()[1]) == 5
    splits, notes = _assign(voices)
    assert (
        splits == {"train": {"p227"}, "valid": {"p226", "p287"}, "test": {"p232", "p257"}}
        and "2 of 3" in notes[0]
    )
    other, _ = _assign(Vctk(_flat(tmp_path / "56", ("p234", "p235", "p237"))))
    assert other["test"] == {"p232", "p257"} and len(other["valid"]) == 1


def test_holdout(tmp_path: Path) -> None:
    speakers = tuple(f"p{225 + number}" for number in range(29)) + ("s5",)
    splits, notes = _assign(Vctk(_new(tmp_path / "many", speakers), split="holdout"))
    assert sorted(splits["test"]) == list(speakers[-8:]) and sorted(splits["valid"]) == list(
        speakers[-12:-8]
    )
    assert len(splits["train"]) == 18 and notes == []
    splits, notes = _assign(
        Vctk(_new(tmp_path / "few", ("p225", "p226", "p227")), split="holdout")
    )
    assert (
        splits == {"train": {"p225"}, "valid": {"p226"}, "test": {"p227"}}
        and "only 3 speakers" in notes[0]
    )
    with pytest.raises(DataError, match="at least 3 speakers"):
        _assign(Vctk(_new(tmp_path / "two", ("p225", "p226")), split="holdout"))


def test_a_list_or_a_mapping_decides(tmp_path: Path) -> None:
    root = _new(tmp_path)
    chosen = {"train": ["p226", "s5"], "valid": ["p227"], "test": ["p232"]}
    assert {
        split: sorted(names) for split, names in _assign(Vctk(root, split=chosen))[0].items()
    } == chosen
    listed = tmp_path / "list.txt"
    listed.write_text("train p226\nvalid p227\ntest p232\ntest p226\n")
    with pytest.raises(DataError, match="expected speaker 'p226' in one split"):
        _assign(Vctk(root, split=str(listed)))


def test_a_speaker_in_two_folders_is_refused(tmp_path: Path) -> None:
    _touch(_flat(tmp_path) / "clean_testset_wav" / "p227_002.wav")
    with pytest.raises(DataError, match="every speaker in one split, got speaker 'p227'"):
        _assign(Vctk(tmp_path))


def test_a_part_of_the_corpus_without_the_test_speakers(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"valentini split .*test: p232, p257\), found p225, p226; use data.split=holdout",
    ) as caught:
        _assign(Vctk(_new(tmp_path, ("p225", "p226"))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("below", ["wav48_silence_trimmed", "wav48_silence_trimmed/p226"])
def test_too_low_a_path_is_told_the_root(tmp_path: Path, below: str) -> None:
    root = _new(tmp_path / "VCTK")
    with pytest.raises(DataError, match=f"point to {root}$"):
        audio_folder(root / below)


@pytest.mark.parametrize("above", [".", "a"])
def test_too_high_a_path_is_told_the_root(tmp_path: Path, above: str) -> None:
    root = _flat(tmp_path / "a" / "VCTK")
    with pytest.raises(DataError, match=f"point to {root}$"):
        audio_folder(tmp_path / above)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        audio_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="found an empty folder; check the path"):
        audio_folder(tmp_path)
    _touch(tmp_path / "wav48_silence_trimmed" / "p226" / "p226_001.flac")
    with pytest.raises(DataError, match=r"expected files \*_mic1.flac"):
        Vctk(tmp_path).find()
    with pytest.raises(ConfigError, match="unknown mic 'mic3'"):
        Vctk(tmp_path, "mic3")
    assert Vctk(tmp_path).describe() == {
        "root": str(tmp_path),
        "mic": "mic1",
        "split": "valentini",
    }


def test_genders(tmp_path: Path) -> None:
    assert Vctk(tmp_path).genders() == {"p232": "M", "p257": "F"}
    (tmp_path / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS\np225  23  F    English\n226  22  M    English\ns5 ? \n"
    )
    assert Vctk(tmp_path).genders() == {"p225": "F", "p226": "M", "p232": "M", "p257": "F"}


def test_real_excerpts(shared_data: Path) -> None:
    voices = Vctk(shared_data / "VCTK-Corpus-0.92", split="holdout")
    assert _assign(voices)[0] == {"train": {"p225"}, "valid": {"p226"}, "test": {"p287"}}
