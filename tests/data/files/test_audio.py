"""Audio is found, decoded, resampled and kept in memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import HOSTILE, RATE, tone, write

from audioprune.data.files.audio import AudioStore, find_audio, read_audio, read_info
from audioprune.data.files.checks import inspect_file
from audioprune.errors import DataError


def test_finds_audio_in_order_and_follows_links_once(tmp_path: Path) -> None:
    root = tmp_path / HOSTILE
    write(root / "b" / "two.FLAC".lower(), tone(0.1, 1))
    write(root / "a" / "one.wav", tone(0.1, 2))
    (root / "a" / "notes.txt").write_text("no audio")
    (root / ".hidden.wav").write_bytes(b"x")
    (root / "directory.wav").mkdir()
    os.symlink(root, root / "a" / "loop")
    os.symlink("nowhere", root / "dangling.wav")
    names = [path.relative_to(root).as_posix() for path in find_audio(root)]
    assert names == ["a/one.wav", "b/two.flac", "dangling.wav", "directory.wav"]


_SUBTYPES = {
    "wav": ("PCM_16", "PCM_24", "PCM_U8", "ULAW", "DOUBLE"),
    "flac": ("PCM_24",),
    "aiff": ("PCM_16",),
}
FORMATS = [(suffix, subtype) for suffix, subtypes in _SUBTYPES.items() for subtype in subtypes]


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_reads_formats_whole_and_in_part(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(0.2, 3), subtype=subtype)
    samples, rate = read_audio(path)
    assert samples.shape == (3200, 1) and rate == RATE and samples.dtype == np.float32
    assert np.array_equal(read_audio(path, 100, 50)[0], samples[100:150])
    assert read_info(path).duration_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder with the name"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_bytes(b"garbage" * 100), "not decodable"),
        (lambda path: os.symlink("gone.wav", path), "a link to gone.wav"),
    ],
)
def test_says_in_one_line_why_a_file_cannot_be_read(tmp_path: Path, make, reason: str) -> None:
    path = tmp_path / "bad.wav"
    make(path)
    for function in (read_audio, read_info):
        with pytest.raises(DataError, match="expected a readable audio file") as error:
            function(path)
        assert (
            reason in str(error.value)
            and str(path) in str(error.value)
            and "\n" not in str(error.value)
        )


def test_store_gives_the_same_samples_with_and_without_memory(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", tone(0.5, 4))
    other_rate = write(tmp_path / "b.wav", np.stack([tone(0.5, 5, 44100)] * 2, axis=1), 44100)
    full, none = AudioStore(RATE, 10**9), AudioStore(RATE, 0)
    for path in (flac, other_rate):
        assert np.array_equal(full.whole(path), none.whole(path))
        assert np.array_equal(full.excerpt(path, 100, 2000), none.excerpt(path, 100, 2000))
        assert full.length(path) == none.length(path) == len(full.whole(path)) == 8000
    assert not none._held and full.whole(flac) is full.whole(flac)


def test_store_mixes_down_and_resamples(tmp_path: Path) -> None:
    times = np.arange(8000) / 8000
    left = 0.5 * np.sin(2 * np.pi * 440 * times)
    path = write(tmp_path / "a.wav", np.stack([left, np.zeros(8000)], axis=1), 8000, "FLOAT")
    mono = AudioStore(RATE, 10**6).whole(path)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(mono - expected)[500:-500].max() < 1e-3


@pytest.mark.parametrize("size", [0x80000000, 0xFFFFFFFF, 0])
def test_a_recording_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    whole = write(tmp_path / "whole.wav", tone(0.5, 1, 8000), 8000, "PCM_16")
    content = bytearray(whole.read_bytes())
    content[4:8], content[40:44] = (
        struct.pack("<I", each) for each in ((size + 36) & 0xFFFFFFFF, size)
    )
    piped = tmp_path / "piped.wav"
    piped.write_bytes(content)
    assert read_info(piped) == read_info(whole) and read_info(piped).frames == 4000
    assert (
        inspect_file(piped).audio_sha256 == inspect_file(whole).audio_sha256
        and inspect_file(piped).findings == ()
    )
    for rate in (8000, RATE):
        for budget in (0, 10**6):
            store = AudioStore(rate, budget)
            assert store.length(piped) == rate // 2
            assert np.array_equal(
                store.excerpt(piped, 100, 300), AudioStore(rate, 0).excerpt(whole, 100, 300)
            )
            store.preload({piped: 0.5})
            assert np.array_equal(store.whole(piped), AudioStore(rate, 0).whole(whole))


def test_preload_holds_all_or_nothing(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.wav", tone(0.1, number)) for number in range(3)]
    small, large = AudioStore(RATE, 2 * 6400), AudioStore(RATE, 3 * 6400)
    small.preload(dict.fromkeys(paths, 0.1))
    large.preload(dict.fromkeys(paths, 0.1))
    assert len(small._held) == 0 and len(large._held) == 3


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "PCM_16"), (".flac", "PCM_16")])
def test_a_crop_of_a_long_file_reads_only_its_part(
    tmp_path: Path, suffix: str, subtype: str
) -> None:
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count what a process reads")
    path = tmp_path / f"long{suffix}"
    samples = 0.3 * np.random.default_rng(1).standard_normal((2, 60 * RATE))
    soundfile.write(path, samples.T, RATE, subtype)
    whole = AudioStore(RATE, 10**9).whole(path)
    store = AudioStore(RATE, 0)
    assert store.length(path) == 60 * RATE

    def read_bytes() -> int:
        return int(counter.read_text().split()[1])

    before = read_bytes()
    part = store.excerpt(path, 30 * RATE + 7, RATE)
    assert read_bytes() - before < path.stat().st_size / 10
    assert np.array_equal(part, whole[30 * RATE + 7 : 31 * RATE + 7])
