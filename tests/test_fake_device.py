"""Everything works on another device than the CPU; the checks are in ``fake_device_checks``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _passes(wanted: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-m", "slow or not slow", "-k", wanted, str(HERE / "fake_device_checks.py")]
    given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    given["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what no check uses is not imported
    done = subprocess.run(command, capture_output=True, text=True, env=given, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.slow
def test_trainings_and_cuts_work_on_another_device() -> None:
    _passes("(training and dcae) or (trimming and vgg)")


@pytest.mark.slow
def test_all_networks_and_pipelines_work_on_another_device() -> None:
    _passes("test")
