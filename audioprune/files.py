"""How files are written so that nothing half-written carries a final name, and folders are locked.

``write_atomic`` writes a file whole or not at all, ``append_line`` one record of a log; ``lock``
makes a folder belong to one process. What the files mean is decided elsewhere: model files in
checkpoint.py and packing/.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from audioprune.errors import OutputError
from audioprune.plain.sealing import opened_lines, sealed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the largest size of a file is full."""
_POLL_S = 0.5
_TOUCH_S = 15.0
_SILENCE_S = 180.0


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: str | Path, data: bytes | str | Sequence[bytes | memoryview]) -> Path:
    """Write a file completely or not at all.

    The bytes go to a temporary file in the same folder, are flushed to disk, read back and
    compared, and only then take the final name.

    Args:
        path: Final name; missing parent folders are made.
        data: Content, whole or in pieces that are written one after another; text is encoded as
            UTF-8, and what has no place there, such as a byte of a file name, is spelled out.

    Raises:
        OutputError: The folder cannot be written or the disk is full; an existing file of that
            name is unharmed.
    """
    path = Path(path)
    pieces = [data] if isinstance(data, bytes | str) else data
    payload = [
        each.encode(errors="backslashreplace") if isinstance(each, str) else each
        for each in pieces
    ]
    digest = hashlib.sha256()
    for each in payload:
        digest.update(each)
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.writelines(payload)
            stream.flush()
            os.fsync(stream.fileno())
        if sha256_file(temporary) != digest.hexdigest():
            raise OutputError(
                f"{path}: what was read back differs from what was written; check the disk"
            )
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(_explain(path, error, sum(map(len, payload)))) from error
    finally:
        with suppress(OSError):  # the first failure is the one to report
            temporary.unlink(missing_ok=True)
    return path


def drop_leftovers(folder: Path) -> list[Path]:
    """Remove the temporary files that dead processes left in a folder and below.

    Returns:
        The removed files.
    """
    found = []
    for path in list(folder.rglob("*.tmp.*")):
        owner = re.search(r"\.tmp\.(\d+)$", path.name)
        if owner and path.is_file() and not _alive(int(owner[1])):
            path.unlink(missing_ok=True)
            found.append(path)
    return found


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as indented JSON, atomically; NaN and infinity are refused."""
    return write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON record as one line; a reader skips a last line that a crash cut short."""
    append_lines(path, [record])


def append_lines(path: Path, records: Sequence[dict[str, Any]], seal: bool = True) -> None:
    """Append JSON records as lines, written to the disk at once.

    Args:
        path: The log; missing parent folders are made.
        records: What is appended.
        seal: Whether each record gets a checksum, which ``read_lines`` verifies.

    Raises:
        OutputError: The log cannot be written.
    """
    if seal:
        records = [sealed(json.loads(json.dumps(record))) for record in records]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        with open(path, "ab+") as stream:
            if stream.tell() and _last_byte(stream) != b"\n":
                lines = "\n" + lines
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(_explain(path, error, 0)) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the complete JSON records of a log; incomplete and damaged lines are left out.

    So they stand for what was not done yet. Where that is not so, see records.py.
    """
    if not path.exists():
        return []
    return opened_lines(path.read_bytes().decode("utf-8", errors="replace"))[0]


def check_writable(folder: Path, need_bytes: int = 0) -> None:
    """Fail before any work when a folder cannot take the output.

    Raises:
        OutputError: The folder cannot be made or written, or has less than ``need_bytes`` left.
    """
    write_atomic(folder / ".writable", b"ok")
    (folder / ".writable").unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise OutputError(
            f"{folder}: needs about {need_bytes / 1e6:.0f} MB, has {free / 1e6:.0f} MB; free "
            f"some space"
        )


class FolderInUse(OutputError):
    """Another living process holds a folder."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a lock left by a dead process of this machine is taken over.

    Raises:
        FolderInUse: Another living process holds the folder; the message names its pid and host.
        OutputError: The folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(path)
    except OSError as error:
        raise OutputError(_explain(path, error, 0)) from error
    try:
        yield
    finally:
        with suppress(OSError):  # whoever took it over keeps it
            if path.read_text(encoding="utf-8") == _mine():
                path.unlink()


def is_held(folder: Path) -> bool:
    """Tell whether another living process holds a folder, as far as this machine can say."""
    return _read_owner(folder / ".lock") is not None


@contextmanager
def lock_in_turn(
    folder: Path, waiting: Callable[[str], None], between: Callable[[], None]
) -> Iterator[None]:
    """Hold a folder for this process, once the process that holds it now lets go.

    The owner shows that it lives by touching the lock: that of a machine which went down, whose
    processes cannot be asked from here, is taken over when it was not touched for `_SILENCE_S`.

    Args:
        folder: The folder.
        waiting: Told once, in words, for whom this process waits.
        between: Called about twice a second while it waits; what it raises ends the waiting.

    Raises:
        OutputError: The folder cannot be written.
    """
    with ExitStack() as held:
        told, seen, since = False, "", time.monotonic()
        while True:
            try:
                held.enter_context(lock(folder))
                break
            except FolderInUse as error:
                if not told:
                    waiting(str(error).partition(";")[0])
                    told = True
            now = _sign_of_life(folder)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _SILENCE_S and not _is_stopped_here(folder):
                _bury_silent(folder, seen)
            between()
            time.sleep(_POLL_S)
        held.enter_context(_touching(folder / ".lock"))
        yield


def _sign_of_life(folder: Path) -> str:
    """Return who holds a folder, and when the lock was touched last."""
    path = folder / ".lock"
    try:
        return f"{path.read_text(encoding='utf-8')} {path.stat().st_mtime_ns}"
    except OSError:
        return ""


def _bury_silent(folder: Path, seen: str) -> None:
    """Remove the lock of an owner that gave no sign of life; any other lock is put back."""
    grave = folder / f".lock.silent.tmp.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.rename(folder / ".lock", grave)
        if f"{grave.read_text(encoding='utf-8')} {grave.stat().st_mtime_ns}" != seen:
            with suppress(FileExistsError):
                _appear(grave, folder / ".lock")
        grave.unlink()


@contextmanager
def _touching(path: Path) -> Iterator[None]:
    """Touch a lock again and again while it is held."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(_TOUCH_S):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _take(path: Path) -> None:
    """Take the lock.

    A complete file appears under its name at once, so that nobody reads a lock without an owner.
    """
    draft = path.with_name(f".lock.tmp.{os.getpid()}")
    draft.write_text(_mine(), encoding="utf-8")
    try:
        for _ in range(3):
            try:
                _appear(draft, path)
                return
            except FileExistsError:
                _refuse_living(path)
                _bury(path)
    finally:
        draft.unlink(missing_ok=True)
    raise OutputError(
        f"{path.parent}: the lock file could not be taken; another process keeps taking it"
    )


def _appear(draft: Path, path: Path) -> None:
    """Give a file its final name, unless another has it."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: the owner's name arrives a moment after the file.
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(draft.read_text(encoding="utf-8"))


def _refuse_living(path: Path) -> None:
    """Refuse to take a lock whose owner lives."""
    held = _read_owner(path)
    if held is not None:
        raise FolderInUse(
            f"{path.parent} is in use by process {held[0]} on {held[1]}; wait for it or choose "
            f"another folder (remove {path} if that process is gone)"
        )


def _bury(path: Path) -> None:
    """Remove a stale lock; that of a process which took the folder in between is put back."""
    grave = path.with_name(f".lock.stale.tmp.{os.getpid()}")
    with suppress(FileNotFoundError):
        os.rename(path, grave)
        if _read_owner(grave) is not None:
            with suppress(FileExistsError):
                _appear(grave, path)
        grave.unlink()


def _mine() -> str:
    """Return what the lock of this process says: pid, host, and when the process began."""
    pid = os.getpid()
    return f"{pid} {socket.gethostname()} {_began(pid)}"


def _began(pid: int) -> str:
    """Return what tells a process from a later one of the same number, or nothing.

    That is the boot of the machine and the clock tick at which the process began.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{boot[:8]}-{fields[19]}"


def _is_stopped_here(folder: Path) -> bool:
    """Tell whether the owner is a living process of this machine, such as a suspended one."""
    owner = _read_owner(folder / ".lock")
    return owner is not None and owner[1] == socket.gethostname()


def _read_owner(path: Path) -> tuple[int, str] | None:
    """Return pid and host of a living owner, or None when the lock is stale."""
    try:
        pid_text, host, *began = path.read_text(encoding="utf-8").split()
        pid = int(pid_text)
    except (OSError, ValueError):
        return None
    if host != socket.gethostname():
        return pid, host
    if pid == os.getpid() or not _alive(pid):
        return None
    now = _began(pid)
    later = bool(began and now) and began[0] != now  # another process has that number today
    return None if later else (pid, host)


def _alive(pid: int) -> bool:
    """Tell whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _last_byte(stream: BinaryIO) -> bytes:
    """Return the last byte of an open file; a crash may have cut the line that ends there."""
    stream.seek(-1, os.SEEK_END)
    return stream.read(1)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(path: Path, error: OSError, need_bytes: int) -> str:
    """Say in one line why a file could not be written."""
    if error.errno in FULL:
        return (
            f"disk full writing {path} (needs about {need_bytes / 1e6:.1f} MB); free some "
            f"space, then run again"
        )
    return f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
