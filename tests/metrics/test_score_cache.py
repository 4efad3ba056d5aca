"""The file of scores: what several processes write to it is all there."""

from __future__ import annotations

import subprocess
import sys

from audioprune.metrics.score_cache import ScoreCache


def test_two_processes_share_a_cache(tmp_path):
    code = (
        "import sys; from audioprune.metrics.score_cache import ScoreCache\n"
        "cache = ScoreCache(sys.argv[1])\n"
        "for i in range(60): cache.put(f'{sys.argv[2]}{i}', {'stoi': i / 60})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = ScoreCache(tmp_path)
    assert all(cache.get(f"{name}{i}", "stoi") == i / 60 for name in "ab" for i in range(60))
