"""Folders in memory for trials, a disk that can be filled, and a warm process to fork from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from faults.disks import Disk
from tiny_pipelines import pipelines_composed, tiny_pipeline
from tiny_runs import start

from audioprune.experiment import model_io

_MEMORY = Path("/dev/shm")
"""Where syncing costs nothing; what is tested is what a process leaves, not what a disk keeps."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one, removed at once: trials are many."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 MB of its own, which holds 50 MB when a run begins; root may mount it."""
    yield from _mounted(tmp_path / "disk", "64m")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 2 MB."""
    yield from _mounted(tmp_path / "disk", "2m")


def _mounted(folder: Path, size: str) -> Iterator[Disk]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root alone")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Import and compile in this process what its children would each do for themselves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch, pipelines_composed():
        patch.setattr(model_io, "_package_task", lambda task, known=None: task)
        for name in ("p2_unstructured", "p3_mask"):
            start(folder / name, tiny_pipeline(name, folder))
    yield
    torch.set_num_threads(threads)
