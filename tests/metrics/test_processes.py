"""Scoring processes: their environment, their end and what a dead one does."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audioprune.metrics import processes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_interrupt_ends_all_processes(tmp_path):
    """A program without a main guard imports torch first; Ctrl-C reaches it alone."""
    script = tmp_path / "program.py"
    script.write_text(
        "import torch, numpy as np\n"
        "from audioprune.metrics.scorer import Scorer\n"
        "def items():\n"
        "    rng = np.random.default_rng(0)\n"
        "    for i in range(10**6):\n"
        "        x = rng.standard_normal(16000)\n"
        "        if i == 12: print(*[w.process.pid for w in scorer._pool.workers], flush=True)\n"
        "        yield str(i), x, x + rng.standard_normal(16000)\n"
        "scorer = Scorer(['stoi', 'pesq_nb'], 16000, workers=2)\n"
        "scorer.score(items())\n"
    )
    # A shell that runs the tests in the background lets its children ignore interrupts; a program
    # that is started anew does not.
    listens = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    program = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listens,
    )
    try:
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert len(pids) == 2
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors
    assert "serve()" not in errors
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_workers_are_started_with_one_thread_and_the_rest_of_the_environment(monkeypatch):
    asked = {}

    class Popen:
        def __init__(self, command, **options):
            asked.update(options, command=command)

    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(processes.subprocess, "Popen", Popen)
    processes.Worker()
    assert asked["env"] == {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    assert asked["env"]["KEPT"] == "yes" and asked["start_new_session"] is True
    assert asked["stdin"] == asked["stdout"] == subprocess.PIPE and asked["command"][:3] == [
        sys.executable,
        "-P",
        "-c",
    ]
