"""Compressed streams that are cut are found."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile
from speech_trees import tone

from audioprune.data.files.checks import check_header
from audioprune.data.files.stream_ends import missing_end

CODINGS = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("kind", "coding"), CODINGS)
@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_a_cut_stream_is_found_and_a_whole_one_is_not(
    tmp_path: Path, kind: str, coding: str, share: float
) -> None:
    path = tmp_path / "a.bin"
    soundfile.write(path, tone(3.0, 1), 16000, format=kind, subtype=coding)
    content = path.read_bytes()
    assert missing_end(path) == ""
    path.write_bytes(content[: int(share * len(content))])
    assert missing_end(path).startswith("cut short")
    assert [finding.code for finding in check_header(path)] == ["truncated"]


def _frames(count: int, head: bytes = b"\xff\xfb\x90\xc4") -> bytes:
    """Return frames of 128 kbit/s at 44.1 kHz, mono, without a table: 417 bytes each."""
    return count * (head + b"\1" * 413)


def test_frames_without_a_table_are_counted_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    tag = b"ID3\4\0\0" + bytes((0, 0, 1, 2)) + b"\0" * 130
    for before, after in (
        (b"", b""),
        (tag, b""),
        (b"", b"TAG" + b"\0" * 125),
        (tag + b"\0" * 9, b"APETAGEX" + b"\0" * 40),
    ):
        path.write_bytes(before + _frames(4) + after)
        assert missing_end(path) == ""
    path.write_bytes(tag + _frames(4)[:-100])
    assert missing_end(path) == "cut short: 317 of 417 bytes of its last frame"


def test_a_table_promises_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    table = b"\xff\xfb\x90\xc4" + b"\0" * 17 + b"Info" + struct.pack(">II", 1, 10)
    whole = table.ljust(417, b"\0") + _frames(10)
    for kept, said in (
        (len(whole), ""),
        (len(whole) - 417, ""),
        (417 * 6, "cut short: 5 of 10 frames"),
    ):
        path.write_bytes(whole[:kept])
        assert missing_end(path) == said


def test_a_stream_that_a_recorder_left_open_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    page = b"OggS\0" + b"\0" + b"\0" * 20 + b"\2" + bytes((200, 100)) + b"\1" * 300
    path.write_bytes(page + page)
    assert missing_end(path) == ""
    path.write_bytes(page + page[:-1])
    assert missing_end(path) == "cut short: 328 of 329 bytes of its last page"
    path.write_bytes(page + page[:20])
    assert missing_end(path) == "cut short inside the head of a page"


def test_other_content_is_left_to_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    for content in (
        b"",
        b"ID3",
        b"fLaC" + b"\0" * 50,
        b"\xff\xff\xff\xff" * 9,
        b"ID3\4\0\0\0\0\0\0fLaC",
    ):
        path.write_bytes(content)
        assert missing_end(path) == ""
