"""How much memory a piece of work takes at most, on the host and on the device: ``Peaks``."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what Linux calls the peak of the resident set


@dataclass(frozen=True)
class Peaks:
    """Largest memory since ``begin_peaks``, in bytes.

    Attributes:
        host: Resident memory of this process; where the system keeps no peak of its own, the
            largest since it began.
        device: Memory of the device's allocator; 0 without a device.
    """

    host: int
    device: int


def begin_peaks() -> None:
    """Forget the peaks so far, as far as the system allows it.

    Memory that was freed is given back first: it would hide what is taken next.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        _RESET.write_text(_RESET_PEAK)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        torch.cuda.reset_peak_memory_stats()


def peaks() -> Peaks:
    """Return the peaks so far."""
    device = 0
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        device = torch.cuda.max_memory_allocated()
    return Peaks(_host_peak(), device)


def _host_peak() -> int:
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def host_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def device_bytes() -> int:
    """Return the memory of the CUDA device in use, or 0."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
        return 0
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def free_disk(folder: Path) -> int:
    """Return the free bytes where a folder is, or will be."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
