"""Shared fixtures and the path of the toys."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings named by AUDIOPRUNE_SHARED_DATA; skip the test without it."""
    folder = os.environ.get("AUDIOPRUNE_SHARED_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set AUDIOPRUNE_SHARED_DATA to a folder of real recordings to run this test")
    return Path(folder)
