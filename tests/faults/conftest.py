"""Folders in memory for trials, disks that can be filled, and a warm process to fork from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from composing import hydra_started
from faults.disks import Disk
from faults.verbs import Given, make_given
from tiny_pipelines import tiny_pipeline
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
    """A disk of 80 MB of its own, of which a run wants 50 MB free; root may mount it."""
    yield from _mounted(tmp_path / "disk", "80m")


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_io, "_package_task", lambda task, known=None: task)
        with hydra_started():
            plain = {name: tiny_pipeline(name, folder) for name in ("p2_unstructured", "p3_mask")}
        for name in plain:
            start(folder / name, plain[name])
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Given:
    """What commands read, made by commands in this process, which then knows all that they do."""
    folder = tmp_path_factory.mktemp("given")
    made = make_given(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIOPRUNE_CACHE", "cache")
        patch.chdir(tmp_path_factory.mktemp("first"))
        for name in ("train", "prune", "enhance"):
            assert made.command(name)() == 0
        shutil.move("runs", folder / "runs")
    return made
