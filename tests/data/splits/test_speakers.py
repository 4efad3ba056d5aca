"""Who speaks in a file, for the layouts that corpora have; what cannot be read is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.data.splits.assign import assign_speech
from audioprune.data.splits.speakers import SpeakerRule, plain_speakers, speaker_of
from audioprune.errors import ConfigError, DataError

ROOT = Path("/corpus")


def _read(*names: str, **rule: str) -> list[str]:
    """Return the speaker of each file that lies below a corpus."""
    found, _ = SpeakerRule(**rule).read(ROOT, {ROOT / name: Path(name) for name in names})
    return [found[ROOT / name] for name in names]


def _groups(*names: str, **options: object) -> dict[str, str]:
    assigned, _ = assign_speech(ROOT, {ROOT / name: Path(name) for name in names}, **options)
    return {entry.path.relative_to(ROOT).as_posix(): entry.group for entry in assigned}


def test_given_rules() -> None:
    assert (
        speaker_of(Path("p1/x/a_1.wav"), "folder") == "p1"
        and speaker_of(Path("p1/x_1.wav"), "prefix") == "x"
    )
    assert (
        speaker_of(Path("p1/x_1.wav"), "file") == "p1/x_1"
        and speaker_of(Path("_x.wav"), "prefix") == "_x"
    )
    with pytest.raises(DataError, match="data.speaker_from=prefix or file"):
        speaker_of(Path("a.wav"), "folder")


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (("p1/x/a_1.wav", "p2/x/a_1.wav"), ["p1", "p2"]),
        (("p225_001.wav", "p225_002_mic1.flac", "s5_003.wav"), ["p225", "p225", "s5"]),
        (("wav48_silence_trimmed/p225/p225_001_mic1.flac",), ["p225"]),
        (("1034-121-0.flac", "1034-122-0001.flac"), ["1034", "1034"]),
        (("103/1240/103-1240-0000.flac", "104/1241/104-1241-0001.flac"), ["103", "104"]),
        (("103_1240_000001_000002.wav",), ["103"]),
        (("011a0101.wav", "011a0102.wav", "01aa0101.wav"), ["011", "011", "01a"]),
        (("11-1.1/wsj0/si_tr_s/011/011a0101.wv1",), ["011"]),
        (("session1/spk03/a.wav", "session2/spk03/b.wav"), ["spk03", "spk03"]),
        (("spk03/session1/a.wav", "spk04/session1/a.wav"), ["spk03", "spk04"]),
        (("2024-01-01/anna/a.wav", "20240102/ben/a.wav"), ["anna", "ben"]),
        (("anna/day1/a.wav", "ben/day1/a.wav"), ["anna", "ben"]),
        (("day1/anna/a.wav", "day2/anna/a.wav"), ["anna", "anna"]),
        (("DR1/FCJF0/SA1.WAV", "DR2/MABC0/SA1.WAV"), ["FCJF0", "MABC0"]),
        (("female/anna/1.wav", "male/ben/1.wav"), ["anna", "ben"]),
        (("03-01-06-01-02-01-12.wav", "03-01-06-01-02-01-13.wav"), ["12", "13"]),
        (("15a01Ea.flac", "15b02Nd.flac", "16a01Ec.flac"), ["15", "15", "16"]),
        (("anna_1.wav", "anna_2.wav", "ben_x.wav"), ["anna", "anna", "ben"]),
        (("anna_1.wav", "ben_1.wav", "carl-2.wav"), ["anna", "ben", "carl"]),
        (("anna/p001_001.wav", "ben/p001_001.wav"), ["anna", "ben"]),
        (("a/1.wav", "d_1.wav"), ["a", "d"]),
    ],
)  # fmt: skip
def test_speakers_of_known_layouts(names: tuple[str, ...], speakers: list[str]) -> None:
    assert _read(*names) == speakers


@pytest.mark.parametrize(
    "names",
    [
        ("plain.wav", "other.wav"),
        ("_x.wav",),
        ("common_voice_en_1.mp3", "common_voice_en_2.mp3"),
        ("2020-01-02.wav", "2021-11-12.wav"),
        ("utt_001.wav", "utt_002.wav"),
        ("001_hello.wav", "002_hello.wav"),
        ("clips/a.wav", "clips/b.wav"),
        ("session1/a.wav", "session2/b.wav"),
        ("2024-01-01/a.wav", "2024-01-02/b.wav"),
        ("x/anna/1.wav", "y/anna/1.wav"),
        ("s1/p03/1.wav", "s2/p03/1.wav"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_asked_for_in_one_line(names: tuple[str, ...]) -> None:
    with pytest.raises(
        DataError, match="data.speaker_csv=FILE with the columns path and speaker"
    ) as error:
        _read(*names)
    assert "\n" not in str(error.value) and str(ROOT) in str(error.value)


def test_librispeech_with_training_parts_alone_is_split_by_its_readers() -> None:
    names = [
        f"train-clean-{part}/{reader}/12/{reader}-12-0000.flac"
        for part in (100, 360)
        for reader in (100 + part, 200 + part)
    ]
    assert set(_groups(*names).values()) == {"200", "300", "460", "560"}


def test_folders_of_splits_are_no_speakers() -> None:
    names = [
        f"{part}/{speaker}/1.wav"
        for part, speakers in (("train", "abc"), ("dev", "de"))
        for speaker in speakers
    ]
    assert _groups(*names, split="fraction", speaker_from="folder") == {
        name: name.split("/")[1] for name in names
    }
    files = ("train/a/1.wav", "valid/b/1.wav", "test/a/1.wav")
    assert set(_groups(*files, speaker_from="file").values()) == {
        "train/a/1",
        "valid/b/1",
        "test/a/1",
    }


def test_a_pattern_names_the_speaker() -> None:
    assert _read("x_anna/1.wav", "y_ben/1.wav", pattern=r"_(?P<speaker>[^/]+)/") == ["anna", "ben"]
    with pytest.raises(DataError, match="found none in other.wav; correct the pattern"):
        _read("x_anna/1.wav", "other.wav", pattern=r"_(?P<speaker>[^/]+)/")
    for wrong, message in (
        ("(", "as a regular expression"),
        ("([a-z]+)", "a group"),
        ("(?P<name>x)", "a group"),
    ):
        with pytest.raises(ConfigError, match=message):
            SpeakerRule(pattern=wrong)
    with pytest.raises(ConfigError, match="got both"):
        SpeakerRule(pattern="(?P<speaker>x)", table="x.csv")
    with pytest.raises(ConfigError, match="closest: prefix"):
        SpeakerRule("prefx")


@pytest.mark.parametrize(
    "text",
    [
        "path,speaker\nclips/1.mp3,anna\nclips/2.mp3,ben\n",
        "\ufeffclient_id\tpath\nanna\t1.mp3\nben\t2.mp3\n",
        "file;speaker_id\r\n1;anna\r\n2;ben\r\n",
    ],
)
def test_a_table_names_the_speaker(tmp_path: Path, text: str) -> None:
    table = tmp_path / "speakers.csv"
    table.write_bytes(text.encode())
    places = {tmp_path / "clips" / name: Path("clips", name) for name in ("1.mp3", "2.mp3")}
    found, words = SpeakerRule(table=str(table)).read(tmp_path, places)
    assert list(found.values()) == ["anna", "ben"] and str(table) in words
    with pytest.raises(DataError, match="found none for clips/3.mp3"):
        SpeakerRule(table=str(table)).read(
            tmp_path, {tmp_path / "clips" / "3.mp3": Path("clips/3.mp3")}
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,voice\n1.wav,a\n", "columns path and speaker"),
        ("", "got nothing"),
        ("path,speaker\n1.wav,a\n1.wav,b\n", "row 3: expected one speaker"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "speakers.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        SpeakerRule(table=str(table)).read(tmp_path, {tmp_path / "1.wav": Path("1.wav")})
    with pytest.raises(DataError, match="expected a table of speakers"):
        SpeakerRule(table=str(tmp_path / "none.csv")).read(tmp_path, {})


def test_a_name_that_two_folders_hold_is_looked_up_by_its_path_alone(tmp_path: Path) -> None:
    table = tmp_path / "speakers.csv"
    table.write_text("path,speaker\na/1.wav,anna\nb/1.wav,ben\n")
    rule = SpeakerRule(table=str(table))
    assert list(rule.read(tmp_path, {tmp_path / "a/1.wav": Path("a/1.wav")})[0].values()) == [
        "anna"
    ]
    with pytest.raises(DataError, match="found none for c/1.wav"):
        rule.read(tmp_path, {tmp_path / "c/1.wav": Path("c/1.wav")})


def test_only_plain_names_count_for_a_suspicion() -> None:
    names = ("dog/1.wav", "spk03/1.wav", "p225_001.wav")
    assert plain_speakers({ROOT / name: Path(name) for name in names}) == {
        ROOT / "spk03/1.wav": "spk03",
        ROOT / "p225_001.wav": "p225",
    }
