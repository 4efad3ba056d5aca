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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from audioprune.errors import OutputError


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write a file completely or not at all.

    The bytes go to a temporary file in the same folder, are flushed to disk, read back and
    compared, and only then take the final name.

    Args:
        path: Final name; missing parent folders are made.
        data: Content; text is encoded as UTF-8, and what has no place there, such as a byte of a
            file name, is spelled out.

    Raises:
        OutputError: The folder cannot be written or the disk is full; an existing file of that
            name is unharmed.
    """
    path = Path(path)
    payload = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        if sha256_file(temporary) != sha256(payload):
            raise OutputError(
                f"{path}: what was read back differs from what was written; check the disk"
            )
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(_explain(path, error, len(payload))) from error
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


def append_lines(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Append JSON records as lines, written to the disk at once."""
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
    """Read the complete JSON records of a log; an incomplete line is dropped."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().decode("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


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


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a lock left by a dead process of this machine is taken over.

    Raises:
        OutputError: Another living process holds the folder; the message names its pid and host.
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
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    """Take the lock.

    A complete file appears under its name at once, so that nobody reads a lock without an owner.
    """
    draft = path.with_name(f".lock.tmp.{os.getpid()}")
    draft.write_text(f"{os.getpid()} {socket.gethostname()}", encoding="utf-8")
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
        raise OutputError(
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


def _read_owner(path: Path) -> tuple[int, str] | None:
    """Return pid and host of a living owner, or None when the lock is stale."""
    try:
        pid_text, host = path.read_text(encoding="utf-8").split(maxsplit=1)
        pid = int(pid_text)
    except (OSError, ValueError):
        return None
    if host != socket.gethostname():
        return pid, host
    return (pid, host) if pid != os.getpid() and _alive(pid) else None


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
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"disk full writing {path} (needs about {need_bytes / 1e6:.1f} MB); free some "
            f"space, then run again"
        )
    return f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
