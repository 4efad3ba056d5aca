"""Lists of the TUT corpora: how they are on disk, their mistakes, the recordings they name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from scene_trees import (
    DEVELOPMENT_2017,
    DEVELOPMENT_2018,
    EVALUATION_2017,
    LABELS_2017,
    LABELS_2018,
    tut_2017,
    tut_2018,
    write_clip,
    write_list,
)

from audioprune.data.scenes.lists import shared_recordings
from audioprune.data.scenes.tut_lists import TUT, list_tut, read_rows, tut_corpus
from audioprune.errors import ConfigError, DataError


def _small(year: int, train: int, test: int, fold: int):
    """Return the corpus with the numbers of a small copy."""
    return replace(TUT[year], clips={fold: (train, test)})


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [False, True])
def test_2017_is_development_against_evaluation(tmp_path: Path, end: str, bom: bool) -> None:
    found = list_tut(tut_2017(tmp_path, end=end, bom=bom), _small(2017, 18, 3, 0), 0)
    assert Counter((clip.split, clip.label) for clip in found.clips) == {
        ("train", label): 6 for label in LABELS_2017
    } | {("test", label): 1 for label in LABELS_2017}
    first = found.clips[0]
    assert (first.relative, first.recording) == (f"{DEVELOPMENT_2017}/audio/b000_0_10.wav", "b000")
    assert found.classes[2] == "cafe/restaurant" and len(found.classes) == 15
    assert found.missing == "" and found.notes == ()


def test_2018_uses_fold_1_and_the_location_as_recording(tmp_path: Path) -> None:
    found = list_tut(tut_2018(tmp_path), _small(2018, 12, 3, 1), 1)
    assert {clip.label for clip in found.clips} == set(LABELS_2018)
    recordings = {
        split: {clip.recording for clip in found.clips if clip.split == split}
        for split in ("train", "test")
    }
    assert recordings["train"] == {
        "paris-0",
        "paris-1",
        "paris-10",
        "paris-11",
        "paris-20",
        "paris-21",
    }
    assert recordings["test"] == {"paris-2", "paris-12", "paris-22"}
    assert found.notes == ()


def test_lists_with_header_and_csv_suffix_are_read_alike(tmp_path: Path) -> None:
    plain, headed = (
        list_tut(tut_2018(tmp_path / suffix, suffix), TUT[2018], 1) for suffix in (".txt", ".csv")
    )
    assert [(c.relative, c.label, c.split) for c in plain.clips] == [
        (c.relative, c.label, c.split) for c in headed.clips
    ]


def test_recordings_follow_from_names_without_a_meta_list(tmp_path: Path) -> None:
    (tut_2018(tmp_path) / DEVELOPMENT_2018 / "meta.csv").unlink()
    assert {clip.recording for clip in list_tut(tmp_path, TUT[2018], 1).clips} >= {
        "paris-0",
        "paris-22",
    }


def test_renamed_evaluation_files_keep_their_recording(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    folder = tmp_path / EVALUATION_2017
    (folder / "audio" / "b900_0_10.wav").rename(folder / "audio" / "7.wav")
    rows = [
        ("audio/7.wav", "beach"),
        ("audio/c901_0_10.wav", "cafe/restaurant"),
        ("audio/t902_0_10.wav", "tram"),
    ]
    write_list(folder / "evaluation_setup" / "evaluate.txt", rows)
    write_list(folder / "evaluation_setup" / "map.txt", [("audio/7.wav", "audio/b002_40_50.wav")])
    found = list_tut(tmp_path, TUT[2017], 0)
    assert {clip.recording for clip in found.clips if clip.split == "test"} == {
        "b002",
        "c901",
        "t902",
    }
    assert shared_recordings(found.clips) == ["b002"]


def test_published_counts_are_recognised(tmp_path: Path) -> None:
    for folder, count, labels in (
        (DEVELOPMENT_2017, 312, TUT[2017].classes),
        (EVALUATION_2017, 108, TUT[2017].classes),
    ):
        numbered = [(place, label, n) for place, label in enumerate(labels) for n in range(count)]
        rows = [
            (f"audio/{folder[-3]}{place:02d}{n // 12:02d}_{n}_0.wav", label)
            for place, label, n in numbered
        ]
        (tmp_path / folder / "audio").mkdir(parents=True)
        for name, _ in rows:
            (tmp_path / folder / name).touch()
        write_list(tmp_path / folder / "meta.txt", rows)
    found = list_tut(tmp_path, *tut_corpus(2017, None))
    assert Counter(clip.split for clip in found.clips) == {"train": 4680, "test": 1620}
    assert found.missing == "" and found.notes == ()
    assert not {clip.path for clip in found.clips if clip.split == "train"} & {
        clip.path for clip in found.clips if clip.split == "test"
    }


def test_folds_and_years_are_checked() -> None:
    assert (
        tut_corpus(2017, None)[1] == 0
        and tut_corpus(2017, 4)[1] == 4
        and tut_corpus(2018, None)[1] == 1
    )
    assert TUT[2018].clips[1] == (6122, 2518)
    for year, fold in ((2017, 0), (2017, 5), (2018, 2), (2019, None)):
        with pytest.raises(ConfigError, match="expected"):
            tut_corpus(year, fold)


def test_doubled_missing_and_unlisted_files_are_counted(tmp_path: Path) -> None:
    tut_2017(tmp_path)
    folder = tmp_path / DEVELOPMENT_2017
    (folder / "audio" / "b000_0_10.wav").unlink()
    write_clip(folder / "audio" / "stray_0_10.wav", 1)
    meta = folder / "meta.txt"
    meta.write_bytes(meta.read_bytes() + b"audio/t000_0_10.wav\ttram\tt000\r\n\r\n")
    found = list_tut(tmp_path, TUT[2017], 0)
    notes = "\n".join(found.notes)
    assert "1 rows are doubled" in notes
    assert "1 files are not there: audio/b000_0_10.wav" in notes
    assert "1 audio files are in no list" in notes and "stray_0_10.wav" in notes
    assert found.missing == "17 of 4680 training and 3 of 1620 test clips"
    assert len(found.clips) == 20


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("audio/b000_0_10.wav\tbaech", "row 1: unknown scene 'baech'; closest: beach"),
        (
            "audio/b000_0_10.wav\ttram",
            "expected one label for audio/b000_0_10.wav, got beach and tram",
        ),
        ("audio/b000_0_10.wav", "expected a label"),
        ("../../secret.wav\tbeach", "expected the name of an audio file"),
        ("/etc/passwd\tbeach", "expected the name of an audio file"),
        ("audio/b000_0_10\tbeach", "expected the name of an audio file"),
    ],
)
def test_wrong_rows_are_refused_by_number(tmp_path: Path, row: str, message: str) -> None:
    meta = tut_2017(tmp_path) / DEVELOPMENT_2017 / "meta.txt"
    meta.write_text(f"{row}\n" + meta.read_text(encoding="utf-8-sig"), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list_tut(tmp_path, TUT[2017], 0)


def test_a_label_that_differs_between_lists_is_refused(tmp_path: Path) -> None:
    fold = tut_2018(tmp_path) / DEVELOPMENT_2018 / "evaluation_setup" / "fold1_train.txt"
    fold.write_text(fold.read_text().replace("\tbus", "\tpark"))
    with pytest.raises(DataError, match="expected one label for .* got bus and park"):
        list_tut(tmp_path, TUT[2018], 1)


def test_missing_folders_name_the_right_place(tmp_path: Path) -> None:
    tut_2017(tmp_path / "sets")
    with pytest.raises(DataError, match=f"point to {tmp_path / 'sets'}"):
        list_tut(tmp_path, TUT[2017], 0)
    with pytest.raises(DataError, match=f"point to {tmp_path / 'sets'}"):
        list_tut(tmp_path / "sets" / DEVELOPMENT_2017, TUT[2017], 0)
    with pytest.raises(DataError, match="no such folder; check the path"):
        list_tut(tmp_path / "nowhere", TUT[2017], 0)
    (tmp_path / "sets" / EVALUATION_2017).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="cross-validate with data.fold=1"):
        list_tut(tmp_path / "sets", TUT[2017], 0)


def test_missing_list_and_missing_audio_are_refused(tmp_path: Path) -> None:
    folder = tut_2018(tmp_path) / DEVELOPMENT_2018
    (folder / "evaluation_setup" / "fold1_evaluate.txt").unlink()
    with pytest.raises(DataError, match=r"fold1_evaluate.txt or .csv"):
        list_tut(tmp_path, TUT[2018], 1)
    write_list(folder / "evaluation_setup" / "fold1_evaluate.txt", [("audio/none.wav", "bus")])
    with pytest.raises(DataError, match="found none of 1"):
        list_tut(tmp_path, TUT[2018], 1)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.txt"
    path.write_bytes(b"audio/a.wav\tcaf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_rows(path)
