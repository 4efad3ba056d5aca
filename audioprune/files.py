"""How a file is written so that nothing half-written ever carries a final name, and how one folder belongs to one process.

It does not know what the files mean; see checkpoint.py and packing.py for model files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
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

    The bytes go to a temporary file in the same folder, are flushed to disk, read back and compared, and only then take
    the final name.

    Args:
        path: Final name; missing parent folders are made.
        data: Content; text is encoded as UTF-8.

    Raises:
        OutputError: The folder cannot be written or the disk is full; an existing file of that name is unharmed.
    """
    path = Path(path)
    payload = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        if sha256_file(temporary) != sha256(payload):
            raise OutputError(f"{path}: what was read back differs from what was written; check the disk")
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(_explain(path, error, len(payload))) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write a value as indented JSON, atomically; NaN and infinity are refused."""
    return write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON record as one line; a reader skips a last line that a crash cut short."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, allow_nan=False) + "\n"
        with open(path, "ab+") as stream:
            if stream.tell() and _last_byte(stream) != b"\n":
                line = "\n" + line
            stream.write(line.encode())
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
    (folder / ".writable").unlink()
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise OutputError(f"{folder}: needs about {need_bytes / 1e6:.0f} MB, has {free / 1e6:.0f} MB; free some space")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a lock left by a dead process of this machine is taken over.

    Raises:
        OutputError: Another living process holds the folder; the message names its pid and host.
    """
    path = folder / ".lock"
    folder.mkdir(parents=True, exist_ok=True)
    _take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> None:
    owner = f"{os.getpid()} {socket.gethostname()}"
    for _ in range(3):
        try:
            with open(path, "x", encoding="utf-8") as stream:
                stream.write(owner)
            return
        except FileExistsError:
            held = _read_owner(path)
            if held is not None:
                raise OutputError(
                    f"{path.parent} is in use by process {held[0]} on {held[1]}; wait for it or choose another folder"
                ) from None
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(_explain(path, error, 0)) from error
    raise OutputError(f"{path.parent}: the lock file could not be taken; another process keeps taking it")


def _read_owner(path: Path) -> tuple[int, str] | None:
    """Return pid and host of a living owner, or None when the lock is stale."""
    try:
        pid_text, host = path.read_text(encoding="utf-8").split(maxsplit=1)
        pid = int(pid_text)
    except (OSError, ValueError):
        return None
    if host != socket.gethostname():
        return pid, host
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return pid, host
    return None if pid == os.getpid() else (pid, host)


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
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"disk full writing {path} (needs about {need_bytes / 1e6:.1f} MB); free some space, then run again"
    return f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
