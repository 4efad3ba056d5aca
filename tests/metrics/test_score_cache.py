"""The file of scores: what several processes write to it is all there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from audioprune.metrics.score_cache import ScoreCache, pair_digests


def test_two_processes_share_a_cache(tmp_path):
    code = (
        "import sys; from audioprune.metrics.score_cache import ScoreCache\n"
        "cache = ScoreCache(sys.argv[1])\n"
        "for i in range(150): cache.put(f'{sys.argv[2]}{i}', {'stoi': i / 60})\n"
        "cache.write()"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = ScoreCache(tmp_path)
    assert all(cache.get(f"{name}{i}", "stoi") == i / 60 for name in "ab" for i in range(150))


def test_scores_are_written_a_few_at_once_and_at_the_end(tmp_path):
    cache = ScoreCache(tmp_path)
    for i in range(70):
        cache.put(str(i), {"stoi": i / 70})
    assert ScoreCache(tmp_path).get("63", "stoi") == 0.9
    assert ScoreCache(tmp_path).get("64", "stoi") is None and cache.get("64", "stoi") is not None
    cache.write()
    cache.write()
    assert len(cache.path.read_text().splitlines()) == 70
    assert ScoreCache(tmp_path).get("69", "stoi") == 69 / 70


def test_a_pair_is_named_by_samples_shapes_and_rate():
    one, two = np.float32([1, 2, 3]), np.float32([1, 2, 4])
    clean, both = pair_digests(one, two, 8000)
    assert pair_digests(one, one, 8000)[0] == clean and pair_digests(one, one, 8000)[1] != both
    others = [(two, two, 8000), (one, two, 8001), (one[None], two, 8000), (one[:2], two, 8000)]
    assert len({clean, *(pair_digests(*each)[0] for each in others)}) == 5
    assert len({both, *(pair_digests(*each)[1] for each in others)}) == 5
    assert pair_digests(one[::2], two[::2], 1) == pair_digests(
        np.float32([1, 3]), np.float32([1, 4]), 1
    )
