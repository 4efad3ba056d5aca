"""Noisy and clean files are paired by name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from audioprune.data.speech.pairing import LengthRule, find_pairs, partners_differ, read_conditions
from audioprune.errors import ConfigError, DataError


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("noisy/a_1.wav", "clean/a_1.flac"), ["a_1.wav"]),
        (("Noisy/train/a/1.wav", "Clean/train/a/1.wav"), ["train/a/1.wav"]),
        (
            tuple(
                f"{side}_{part}_wav/p_1.wav"
                for side in ("noisy", "clean")
                for part in ("trainset_28spk", "testset")
            ),
            ["test/p_1.wav", "train/p_1.wav"],
        ),
        (
            ("train/noisy/1.wav", "train/clean/1.wav", "dev/noisy/2.wav", "dev/clean/2.wav"),
            ["train/1.wav", "valid/2.wav"],
        ),
        (("noisy_train/1.wav", "clean_train/1.wav"), ["train/1.wav"]),
    ],
)
def test_layouts(tmp_path: Path, names: tuple[str, ...], places: list[str]) -> None:
    pairs, problems = find_pairs(_touch(tmp_path / "noisy speech", *names), None, None)
    assert sorted(pair.relative.as_posix() for pair in pairs) == places and not problems
    assert all(
        "oisy" in pair.noisy.as_posix().removeprefix(str(tmp_path / "noisy speech"))
        and pair.clean.exists()
        for pair in pairs
    )


def test_two_roots_and_missing_partners(tmp_path: Path) -> None:
    _touch(tmp_path / "n", "1.wav", "2.wav")
    _touch(tmp_path / "c", "1.wav", "3.wav")
    pairs, problems = find_pairs(None, tmp_path / "n", tmp_path / "c")
    assert [pair.relative.name for pair in pairs] == ["1.wav"]
    assert [(p.path.name, p.code, p.reason) for p in problems] == [
        ("2.wav", "partner", f"no clean file 2.* in {tmp_path / 'c'}"),
        ("3.wav", "partner", f"no noisy file 3.* in {tmp_path / 'n'}"),
    ]


def test_missing_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        find_pairs(tmp_path / "none", None, None)
    with pytest.raises(DataError, match=f"found a.wav; point to {tmp_path}"):
        find_pairs(_touch(tmp_path / "noisy", "a.wav"), None, None)
    with pytest.raises(DataError, match="expected a folder of audio at clean_root"):
        find_pairs(None, tmp_path, tmp_path / "none")
    with pytest.raises(DataError, match="found 2 without a partner"):
        find_pairs(_touch(tmp_path / "x", "noisy/a.wav", "clean/b.wav"), None, None)


def test_conditions(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("p232_001 bus 2.5\n\np232_002.wav, cafe, 17.5\n")
    assert read_conditions(path) == {"p232_001": ("bus", 2.5), "p232_002": ("cafe", 17.5)}
    for text in ("p1 bus", "p1 bus loud", "p1 bus nan", "p1 bus 1\np1 bus 2"):
        path.write_text(text)
        with pytest.raises(DataError, match="log.txt, line"):
            read_conditions(path)
    with pytest.raises(DataError, match="expected a list of noises and SNRs"):
        read_conditions(tmp_path / "none")


def test_partners_differ() -> None:
    assert partners_differ((16000, 100), (16000, 100)) == ""
    assert partners_differ((16000, 99), (16000, 100)) == "99 samples, its clean file 100 samples"
    assert partners_differ((8000, 100), (16000, 100)) == "8000 Hz, its clean file 16000 Hz"


def test_names_meet_whether_accents_are_composed_or_apart(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    _touch(
        tmp_path / "x",
        f"clean/{composed}/{composed}_1.wav",
        f"noisy/{apart}/{apart}_1.wav",
        "clean/a.5.wav",
        "noisy/a.5.flac",
    )
    pairs, problems = find_pairs(tmp_path / "x", None, None)
    assert len(pairs) == 2 and not problems
    log = tmp_path / "log.txt"
    log.write_text(
        f"{apart}_1 bus 2.5\nsp1_take1.5 bus 5\nsp1_take2.5.wav bus 10\n", encoding="utf-8"
    )
    assert read_conditions(log) == {
        f"{composed}_1": ("bus", 2.5),
        "sp1_take1.5": ("bus", 5.0),
        "sp1_take2.5": ("bus", 10.0),
    }


def test_conditions_may_be_a_table(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes('\ufeffname;noise;snr\r\n"a b.wav";"city; bus";2.5\r\n'.encode())
    assert read_conditions(path) == {"a b": ("city; bus", 2.5)}


def test_lengths_are_equal_or_cut_within_a_tolerance() -> None:
    equal, cut = LengthRule(), LengthRule("shortest", 0.05)
    assert equal.fault((16000, 900), (16000, 900)) == cut.fault((16000, 900), (16000, 900)) == ""
    assert (
        equal.fault((16000, 160), (16000, 320))
        == "160 samples, its clean file 320 samples; data.lengths=shortest cuts both"
    )
    assert cut.fault((16000, 160), (16000, 960)) == ""
    told = (
        "160 samples, its clean file 961 samples: 0.0501 s apart, more than "
        "data.length_tolerance_s=0.05"
    )
    assert cut.fault((16000, 160), (16000, 961)) == equal.fault((16000, 160), (16000, 961)) == told
    assert cut.fault((8000, 100), (16000, 100)) == "8000 Hz, its clean file 16000 Hz"
    assert cut.note([0.0, 0.01, 0.02]) == [
        "2 of 3 pairs differ by up to 20 ms; both files are cut to the shorter"
    ]
    assert cut.note([0.0]) == []
    for options in ({"lengths": "longest"}, {"tolerance_s": -1.0}, {"tolerance_s": float("nan")}):
        with pytest.raises(ConfigError):
            LengthRule(**options)
