"""Reading ratings by column name, with every damaged row named."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.errors import DataError
from audioprune.listening.ratings import read_ratings
from audioprune.listening.scores import Rating

HEADER = (
    "session_test_id,listener,session_uuid,trial_id,rating_stimulus,rating_score,rating_time,"
    "rating_comment\n"
)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.csv",
        "rating_score,age,trial_id,session_uuid,rating_stimulus,session_test_id\n77,30,i1,u1,DCAE,t\n",
    )
    assert read_ratings([path]).ratings == [Rating("t", "u1", "i1", "DCAE", 77.0)]


def test_quotes_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    text = (
        "\ufeff"
        + HEADER.replace("\n", "\r\n")
        + 't,"a, ""b""",u1,i1,coded,50.5,1000,"said\nmore"\r\n'
    )
    assert read_ratings([_write(tmp_path / "a.csv", text)]).ratings == [
        Rating("t", "u1", "i1", "coded", 50.5)
    ]


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    rows = [
        "t,a,u1,i1,A,50,1,",
        "t,a,u1,i1,,50,1,",
        "t,a,u1,,A,50,1,",
        "t,a,u1,i1,B,abc,1,",
        "t,a,u1,i1,C,100.5,1,",
        "t,a,u1,i1,D,,1,",
    ]
    rows += ["t,a,u1,i1,E,nan,1,", "t,a,u1,i1,F,5,1,x,y", "t,a,u1,i1,G"]
    sheet = read_ratings([_write(tmp_path / "a.csv", HEADER + "\n".join(rows) + "\n")])
    assert [rating.condition for rating in sheet.ratings] == ["A"]
    assert sheet.damaged == [
        "a.csv:3: no rating_stimulus",
        "a.csv:4: no trial_id",
        "a.csv:5: expected a score of 0 to 100, got 'abc'",
        "a.csv:6: expected a score of 0 to 100, got 100.5",
        "a.csv:7: expected a score of 0 to 100, got ''",
        "a.csv:8: expected a score of 0 to 100, got nan",
        "a.csv:9: expected a score of 0 to 100, got 'more cells than columns'",
        "a.csv:10: expected a score of 0 to 100, got ''",
    ]


def test_repeated_rows_count_once(tmp_path: Path) -> None:
    first = _write(tmp_path / "a.csv", HEADER + "t,a,u1,i1,A,50,1,\n")
    joined = _write(
        tmp_path / "b.csv",
        HEADER + "t,a,u1,i1,A,50,1,\n" + HEADER + "t,a,u1,i1,A,60,1,\nt,b,u2,i1,A,60,1,\n",
    )
    sheet = read_ratings([first, joined])
    assert [(rating.listener, rating.score) for rating in sheet.ratings] == [
        ("u1", 50.0),
        ("u2", 60.0),
    ]
    assert sheet.repeated == 1
    assert sheet.damaged == [
        "b.csv:4: another score (60) for the same listener, trial and condition as a.csv:2 (50)"
    ]


def test_questionnaire_tells_sessions_apart_without_uuid(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.csv",
        "email,age,trial_id,rating_stimulus,rating_score\na@b,3,i1,A,1\nc@d,3,i1,A,2\n",
    )
    assert [rating.listener for rating in read_ratings([path]).ratings] == ["a@b 3", "c@d 3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b;c\n1;2;3\n",
            "expected the columns trial_id, rating_stimulus, rating_score, found a, b, c",
        ),
        ("", "found nothing"),
        (HEADER, "expected ratings, found no good row"),
        (HEADER + "t,a,u1,i1,A,x,1,\n", "first: a.csv:2: expected a score"),
    ],
)
def test_useless_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_ratings([_write(tmp_path / "a.csv", text)])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_ratings([tmp_path / "none.csv"])
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_ratings([tmp_path / "b.csv"])
