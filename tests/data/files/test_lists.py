"""Lists and tables are read alike wherever a person wrote them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from audioprune.data.files.lists import (
    Places,
    bare_name,
    read_cells,
    read_lines,
    read_table,
    without_ending,
)
from audioprune.data.notes.studio_online import list_sol
from audioprune.data.scenes.tut_lists import read_rows
from audioprune.data.splits.split_list import read_split_list
from audioprune.errors import DataError
from audioprune.listening.ratings import read_ratings

COMPOSED, APART = (unicodedata.normalize(form, "café_1") for form in ("NFC", "NFD"))
ROWS = (
    ("filename", "label", "split"),
    ("audio/a b.wav", "bus, tram", "train"),
    ("audio/c.wav", 'the "park"', "test"),
)


def _written(
    rows: tuple[tuple[str, ...], ...],
    separator: str,
    end: str,
    mark: bytes = b"",
    coding: str = "utf-8",
) -> bytes:
    cells = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    return mark + "".join(separator.join(row) + end for row in cells).encode(coding)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "coding"), [(b"", "utf-8"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le")]
)
def test_a_table_reads_alike_however_it_was_saved(
    tmp_path: Path, separator: str, end: str, mark: bytes, coding: str
) -> None:
    path = tmp_path / "meta.csv"
    path.write_bytes(_written(ROWS, separator, end, mark, coding))
    table = read_table(path, "a table")
    assert (table.header, *(row.cells for row in table.rows)) == ROWS
    assert [row.number for row in table.rows] == [2, 3]
    assert table.records()[1] == dict(zip(*ROWS[::2], strict=True))


def test_blank_lines_and_comments_are_passed_over_and_numbers_kept(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# mine; a, b\n\none\n\n two , 3\n")
    assert [(line.number, line.cells) for line in read_cells(path, "a list")] == [
        (3, ("one",)),
        (5, ("two", "3")),
    ]
    assert read_lines(path, "a list") == [(3, "one"), (5, "two , 3")]
    assert [line.cells[0] for line in read_cells(path, "a list", comments=False)] == [
        "# mine; a",
        "one",
        "two",
    ]


def test_what_is_no_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for content, said in (
        (b"caf\xe9", "not UTF-8 text"),
        (b'a,"b\nc,d\n', "line 2: expected a list, got unexpected end of data"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_cells(path, "a list")
    with pytest.raises(DataError, match="list, got No such file"):
        read_lines(tmp_path / "none", "a list")
    path.write_bytes(b"")
    assert read_table(path, "a list").header == ()


def test_every_reader_takes_semicolons_marks_and_windows_lines(tmp_path: Path) -> None:
    def save(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        return path

    rows = read_rows(
        save("meta.csv", 'filename;label;split\naudio/a.wav;"bus";train\naudio/b.wav;park;test\n')
    )
    assert [(row.file, row.label) for row in rows] == [
        ("audio/a.wav", "bus"),
        ("audio/b.wav", "park"),
    ]
    listed = read_split_list(save("split.csv", 'split;speaker\ntrain;"a b"\ntest;c\n'), tmp_path)
    assert listed.by_speaker == {"a b": "train", "c": "test"}
    assert (
        read_split_list(save("split.txt", "train\ta b\ntest\tc\n"), tmp_path).by_speaker
        == listed.by_speaker
    )
    sheet = read_ratings(
        [
            save(
                "mushra.csv",
                'trial_id;rating_stimulus;rating_score;session_uuid\ni1;"A;B";50;u1\n',
            )
        ]
    )
    assert [(rating.condition, rating.score) for rating in sheet.ratings] == [("A;B", 50.0)]
    columns = "Path;Family;Instrument (in full);Technique (in full);Pitch;Pitch ID;Dynamics;Fold"
    (tmp_path / "sol").mkdir()
    save("sol/metadata.csv", f"{columns}\na.wav;Brass;Horn;ordinario;C4;60;mf;0\n")
    (tmp_path / "sol" / "a.wav").touch()
    assert [(note.pitch, note.instrument) for note in list_sol(tmp_path / "sol").notes] == [
        (60, "Horn")
    ]


def test_names_keep_their_dots() -> None:
    assert (
        without_ending("a/sp1_take1.5") == "a/sp1_take1.5"
        and without_ending("a/sp1_take1.5.WAV") == "a/sp1_take1.5"
    )
    assert bare_name(f"x\\y/{APART}.flac") == COMPOSED


def test_listed_names_find_their_file(tmp_path: Path) -> None:
    for name in (f"s/{COMPOSED}/{APART}.wav", "s/sp1_take1.5.flac", "s/sp1_take1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    places = Places((tmp_path / "elsewhere", tmp_path))
    for name in (
        f"s/{APART}/{COMPOSED}.wav",
        f"./s/{COMPOSED}/{COMPOSED}",
        f"s\\{APART}\\{APART}.wav",
    ):
        assert places.find(name) == tmp_path / "s" / COMPOSED / f"{APART}.wav"
    assert places.find("s/sp1_take1.5") == tmp_path / "s" / "sp1_take1.5.flac"
    assert places.find("s/sp1_take1.6") is None and places.find("s") is None
