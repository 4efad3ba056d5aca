"""A mounted disk that a test can fill and make read-only: ``Disk``."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """A mounted tmpfs.

    Attributes:
        folder: Where it is mounted.
    """

    folder: Path

    def fill(self, path: str = "", synced: bool = False) -> None:
        """Leave no byte free."""
        free = os.statvfs(self.folder)
        with open(self.folder / "ballast", "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, free.f_bavail * free.f_frsize)

    def empty(self) -> None:
        """Take away what filled it."""
        (self.folder / "ballast").unlink()

    def close(self, path: str = "", synced: bool = False) -> None:
        """Let nothing be written any more; files that are open for it keep that from happening."""
        self._remount("ro")

    def open(self) -> None:
        """Let it be written again."""
        self._remount("rw")

    def _remount(self, how: str) -> None:
        command = ["mount", "-o", f"remount,{how}", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)
