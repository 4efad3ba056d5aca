"""Atomic files, logs and locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audioprune import files
from audioprune.errors import OutputError
from audioprune.files import (
    append_line,
    check_writable,
    drop_leftovers,
    lock,
    read_lines,
    sha256,
    sha256_file,
    write_atomic,
    write_json,
)


def test_write_atomic_leaves_exactly_one_file(tmp_path: Path) -> None:
    target = write_atomic(tmp_path / "new é" / "x.bin", b"abc")
    assert target.read_bytes() == b"abc"
    assert [entry.name for entry in target.parent.iterdir()] == ["x.bin"]
    assert sha256_file(target) == sha256(b"abc")


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write_atomic(tmp_path / "x", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk full"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_log_drops_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, {"a": 1})
    with open(path, "a") as stream:
        stream.write('{"a": 2')
    assert read_lines(path) == [{"a": 1}]


def test_appending_after_a_cut_line_loses_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    append_line(path, {"a": 3})
    assert read_lines(path) == [{"a": 1}, {"a": 3}]


def test_lock_names_its_living_owner(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom audioprune.files import lock\n"
        f"with lock(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"process {other.pid} "), lock(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with lock(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_too_little_space_is_said_before_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="needs about"):
        check_writable(tmp_path, need_bytes=10**18)
    with pytest.raises(OutputError, match="cannot write"):
        check_writable(Path("/proc/nothing"))
    check_writable(tmp_path)
    assert json.dumps([entry.name for entry in tmp_path.iterdir()]) == "[]"


def test_the_first_failure_is_the_one_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*file/x"):
        write_atomic(tmp_path / "file" / "x", b"abc")
    with pytest.raises(OutputError, match="cannot write"), lock(tmp_path / "file" / "folder"):
        pass


def test_a_stale_lock_is_taken_over_by_one_process_only(tmp_path: Path) -> None:
    """Many processes find the lock of a dead one at once; one holds the folder at a time."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom audioprune.errors import "
        "OutputError\nfrom audioprune.files import lock\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "while not (folder / 'go').exists():\n    pass\n"
        "try:\n    with lock(folder):\n        print('held', flush=True)\n        "
        "time.sleep(1.5)\n"
        "except OutputError as error:\n    print('refused' if 'in use' in str(error) else "
        "error, flush=True)\n"
    )
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / ".lock").write_text(f"{dead.pid} {os.uname().nodename}")
    others = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    answers = sorted(other.communicate(timeout=30)[0].strip() for other in others)
    assert answers == ["held", *["refused"] * 4]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["go"]


def test_only_leftovers_of_dead_processes_are_dropped(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"x.tmp.{dead.pid}", f"y.tmp.{os.getpid()}", "z.tmp.notes", "w"):
        (tmp_path / name).touch()
    assert [path.name for path in drop_leftovers(tmp_path)] == [f"x.tmp.{dead.pid}"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_lock_that_gives_no_sign_of_life_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_POLL_S", 0.01)
    monkeypatch.setattr(files, "_SILENCE_S", 0.05)
    (tmp_path / ".lock").write_text("7 another_machine")
    told: list[str] = []
    with files.lock_in_turn(tmp_path, told.append, lambda: None):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} ")
    assert len(told) == 1 and "process 7 on another_machine" in told[0]
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_touched_is_waited_for_until_the_user_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_POLL_S", 0.01)
    monkeypatch.setattr(files, "_SILENCE_S", 0.2)
    held, count = tmp_path / ".lock", [0]
    held.write_text("7 another_machine")

    def between() -> None:
        count[0] += 1
        os.utime(held, ns=(count[0], count[0]))
        if count[0] == 40:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        files.lock_in_turn(tmp_path, lambda told: None, between),
    ):
        pytest.fail("the folder was taken")
    assert held.read_text() == "7 another_machine"


def test_a_held_lock_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_TOUCH_S", 0.01)
    held = tmp_path / ".lock"
    with files.lock_in_turn(tmp_path, lambda told: None, lambda: None):
        os.utime(held, ns=(1, 1))
        deadline = time.monotonic() + 20
        while held.stat().st_mtime_ns == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.stat().st_mtime_ns > 1
    assert not held.exists()


def test_the_lock_of_a_process_whose_number_another_has_is_stale(tmp_path: Path) -> None:
    host = os.uname().nodename
    (tmp_path / ".lock").write_text(f"{os.getppid()} {host} {files._began(os.getppid())}")
    with pytest.raises(OutputError, match=f"process {os.getppid()} on"), files.lock(tmp_path):
        pass
    (tmp_path / ".lock").write_text(f"{os.getppid()} {host} 01234567-1")
    with files.lock(tmp_path):
        assert (
            tmp_path / ".lock"
        ).read_text() == f"{os.getpid()} {host} {files._began(os.getpid())}"
    assert not list(tmp_path.iterdir())


def test_whoever_lost_a_lock_leaves_that_of_its_heir(tmp_path: Path) -> None:
    with files.lock(tmp_path):
        (tmp_path / ".lock").write_text("7 another_machine")
    assert (tmp_path / ".lock").read_text() == "7 another_machine"


def test_a_suspended_process_of_this_machine_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_POLL_S", 0.001)
    monkeypatch.setattr(files, "_SILENCE_S", 0.002)
    held, count = tmp_path / ".lock", [0]
    held.write_text(f"{os.getppid()} {os.uname().nodename}")

    def between() -> None:
        count[0] += 1
        if count[0] == 20:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        files.lock_in_turn(tmp_path, lambda told: None, between),
    ):
        pytest.fail("the folder was taken")
    assert held.exists()
