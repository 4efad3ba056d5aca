"""Scoring many recordings: processes, the cache on disk, failures that stay visible."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from shown import Shown

from audioprune.errors import AudiopruneError, ConfigError, DataError
from audioprune.metrics import METRICS, pool
from audioprune.metrics.pool import ItemScores, Scorer, score_items, summarise

RATE = 16000
SLOW = ("stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb")


def _talk(seed, seconds=0.8):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 130 * k * t + rng.uniform(0, 6)) / k for k in range(1, 15))
    return 0.1 * voice * np.clip(
        np.sin(2 * np.pi * 3 * t) + 0.5, 0, 1
    ) + 1e-3 * rng.standard_normal(len(t))


def _items(count=3):
    rng = np.random.default_rng(9)
    return [
        (f"clip{i}", _talk(i), _talk(i) + 0.03 * rng.standard_normal(int(0.8 * RATE)))
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def here():
    return score_items(_items(), [*SLOW, "si_sdr", "lsd"], RATE)


def test_values_are_those_of_the_metrics(here):
    name, reference, estimate = _items()[1]
    pair = reference.astype(np.float32), estimate.astype(np.float32)
    assert here[1].id == name and here[1].reasons == {}
    for metric, value in here[1].values.items():
        assert value == pytest.approx(METRICS[metric](*pair, RATE), abs=1e-12), metric


def test_processes_give_the_same_scores_in_the_same_order(here):
    with Scorer([*SLOW, "si_sdr", "lsd"], RATE, workers=2) as scorer:
        assert scorer.score(iter(_items())) == here
        workers = [worker.process for worker in scorer._pool.workers]
        assert scorer.score(_items()[::-1]) == here[::-1]
        assert [worker.process for worker in scorer._pool.workers] == workers
        for process in workers:
            maps = Path(f"/proc/{process.pid}/maps")
            assert not maps.exists() or "libtorch" not in maps.read_text()
    assert all(process.returncode is not None for process in workers)


def test_cache_hit_after_restart_computes_nothing(tmp_path, here, monkeypatch):
    folder = tmp_path / "x y é 漢字 =,:"
    score_items(_items(), SLOW, RATE, cache_dir=folder)
    for name in SLOW:
        monkeypatch.setitem(METRICS, name, None)
    monkeypatch.setattr(pool, "_Pool", None)
    with Scorer([*SLOW, "si_sdr", "lsd"], RATE, workers=2, cache_dir=folder) as scorer:
        assert scorer.score(_items()) == here
        assert scorer._pool is None
    assert len((folder / pool.CACHE_FILE).read_text().splitlines()) == 3


def test_cache_key_holds_signals_rate_metric_and_version(tmp_path, monkeypatch):
    (name, reference, estimate) = _items(1)[0]
    calls = []
    monkeypatch.setitem(METRICS, "stoi", lambda *_: calls.append(1) or 0.5)

    def run(r, e, rate=RATE):
        return score_items([(name, r, e)], ["stoi"], rate, cache_dir=tmp_path)[0].values

    for _ in range(2):
        assert run(reference, estimate) == {"stoi": 0.5}
    assert len(calls) == 1
    run(estimate, reference)
    run(reference, estimate, 8000)
    run(reference[:-1], estimate[:-1])
    assert len(calls) == 4
    monkeypatch.setattr(pool, "version", lambda _: "99")
    run(reference, estimate)
    assert len(calls) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"0.5", b"0.7"),
        lambda line: line[: len(line) // 2],
        lambda line: b"\xff\xfe\x00" + line,
        lambda line: b"",
        lambda line: b"[1, 2]\n",
        lambda line: b"17\n",
        lambda line: b'{"pair": 3, "scores": 4, "check": 5}\n',
        lambda line: line.replace(b"0.5", b"NaN"),
    ],
)
def test_damaged_cache_lines_are_ignored(tmp_path, monkeypatch, damage):
    values = iter([0.5, 0.25, 0.125])
    monkeypatch.setitem(METRICS, "stoi", lambda *_: next(values))
    first, second = _items(2)
    score_items([first], ["stoi"], RATE, cache_dir=tmp_path)
    file = tmp_path / pool.CACHE_FILE
    file.write_bytes(damage(file.read_bytes()))
    score_items([second], ["stoi"], RATE, cache_dir=tmp_path)
    results = score_items([first], ["stoi"], RATE, cache_dir=tmp_path)
    assert results[0].values == {"stoi": 0.125}


def test_two_processes_share_a_cache(tmp_path):
    code = (
        "import sys; from pathlib import Path; from audioprune.metrics.pool import _Cache\n"
        "cache = _Cache(Path(sys.argv[1]))\n"
        "for i in range(60): cache.put(f'{sys.argv[2]}{i}', {'stoi': i / 60})"
    )
    path = tmp_path / pool.CACHE_FILE
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = pool._Cache(path)
    assert all(cache.get(f"{name}{i}", "stoi") == i / 60 for name in "ab" for i in range(60))


def test_failed_items_have_reasons_and_lower_the_count(tmp_path, here):
    (name, reference, estimate) = _items(1)[0]
    bad = [
        ("dead", reference, 0 * reference),
        ("nan", reference, np.where(np.arange(len(reference)) == 3, np.nan, reference)),
        ("cut", reference, reference[:-1]),
        ("short", reference[:3000], estimate[:3000]),
    ]
    with Scorer(SLOW, RATE, workers=2, cache_dir=tmp_path) as scorer:
        failed = scorer.score(bad)
        assert scorer._pool is None  # checks alone decide
    assert not (tmp_path / pool.CACHE_FILE).exists()
    results = [*score_items([(name, reference, estimate)], SLOW, RATE), *failed]
    summary = summarise(results)
    assert summary.n == 5 and set(summary.n_valid.values()) == {1}
    assert summary.validity("pesq_raw_nb") == "1 valid of 5"
    assert summary.mean["stoi"] == here[0].values["stoi"] and summary.std["stoi"] is None
    assert len(summary.failures) == 4 * len(SLOW)
    assert {f.id: f.reason for f in summary.failures if f.metric == "pesq_raw_nb"} == {
        "dead": "the estimate is silent",
        "nan": "the estimate holds NaN or infinite samples",
        "cut": "expected equal lengths, got 12800 and 12799 samples; cut or pad one of them",
        "short": "expected at least 0.25 s, got 0.188 s",
    }
    json.dumps([r.values for r in results], allow_nan=False)


def test_missing_library_is_a_reason_and_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setattr(
        pool, "version", lambda name: (_ for _ in ()).throw(pool.PackageNotFoundError(name))
    )
    with Scorer(["pesq_raw_nb"], RATE, workers=2, cache_dir=tmp_path) as scorer:
        (result,) = scorer.score(_items(1))
        assert scorer._pool is None
    assert result.values == {"pesq_raw_nb": None} and result.reasons == {
        "pesq_raw_nb": "pesq is not installed"
    }
    assert not (tmp_path / pool.CACHE_FILE).exists()


def test_summary_by_hand():
    results = [
        ItemScores(str(i), {"a": v, "b": None}, {"b": "why"})
        for i, v in enumerate([1.0, 2.0, 6.0])
    ]
    summary = summarise(results)
    assert summary.mean == {"a": 3.0, "b": None} and summary.n_valid == {"a": 3, "b": 0}
    assert (
        summary.std["a"] == pytest.approx(np.std([1, 2, 6], ddof=1)) and summary.std["b"] is None
    )
    assert summary.failures[0] == pool.Failure("0", "b", "why")
    with pytest.raises(DataError, match="at least one scored recording"):
        summarise([])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_dead_process_is_reported_and_replaced(number):
    with Scorer(["stoi"], RATE, workers=2) as scorer:
        scorer.score(_items(1))
        for worker in scorer._pool.workers:
            os.kill(worker.process.pid, number)
        with pytest.raises(
            AudiopruneError,
            match=rf"a scoring process ended at 'clip0' \({number.name}.*fewer workers",
        ):
            scorer.score(_items())
        assert scorer._pool is None
        assert scorer.score(_items(1))[0].values["stoi"] > 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_interrupt_ends_all_processes(tmp_path):
    """A program without a main guard that imports torch first; Ctrl-C reaches the caller only, which ends the rest."""
    script = tmp_path / "program.py"
    script.write_text(
        "import torch, numpy as np\n"
        "from audioprune.metrics.pool import Scorer\n"
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


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="unknown metric 'stoy'; closest: stoi"):
        Scorer(["stoy"], RATE)
    with pytest.raises(ConfigError, match="positive sample_rate"):
        Scorer(["stoi"], 0)
    with pytest.raises(ConfigError, match="workers >= 0"):
        Scorer(["stoi"], RATE, workers=-1)


def test_workers_are_started_with_one_thread_and_the_rest_of_the_environment(monkeypatch):
    asked = {}

    class Popen:
        def __init__(self, command, **options):
            asked.update(options, command=command)

    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(pool.subprocess, "Popen", Popen)
    pool._Worker()
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


def test_progress_counts_every_recording_of_a_known_number(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(pool, "progress", shown)
    with Scorer(["l1"], RATE) as scorer:
        assert scorer.workers == 1 and scorer.sample_rate == RATE and scorer.metrics == ("l1",)
        scorer.score(_items(2))
        scorer.score(_items(1), "scores of mine")
        scorer.score(iter(_items(1)))
    assert shown.calls == [("scoring", 2, [1, 1]), ("scores of mine", 1, [1])]


def test_refusals_say_what_was_got():
    for rate, workers in ((0, 1), (-1, 0), (RATE, -1)):
        with pytest.raises(ConfigError) as caught:
            Scorer(["l1"], rate, workers)
        assert (
            str(caught.value)
            == f"expected a positive sample_rate and workers >= 0, got {rate} and {workers}; "
            f"correct them"
        )
    with pytest.raises(DataError) as caught:
        summarise([])
    assert (
        str(caught.value) == "expected at least one scored recording, got none; check the test set"
    )
    assert Scorer(["l1"], 1, 0).workers == 0
