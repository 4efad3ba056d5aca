"""Scoring many recordings: processes, the cache on disk, failures that stay visible."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from shown import Shown

from audioprune.errors import AudiopruneError, ConfigError, DataError
from audioprune.metrics import METRICS, scorer
from audioprune.metrics.score_cache import CACHE_FILE
from audioprune.metrics.scorer import Scorer, score_items
from audioprune.metrics.summary import ItemScores, summarise

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


def _alike(here):
    """Return equal scores: where a signal lies in memory decides about the last bit of a sum."""
    return [
        ItemScores(each.id, pytest.approx(each.values, rel=1e-12), each.reasons) for each in here
    ]


def test_processes_give_the_same_scores_in_the_same_order(here):
    with Scorer([*SLOW, "si_sdr", "lsd"], RATE, workers=2) as pairs:
        assert pairs.score(iter(_items())) == _alike(here)
        workers = [worker.process for worker in pairs._pool.workers]
        assert pairs.score(_items()[::-1]) == _alike(here[::-1])
        assert [worker.process for worker in pairs._pool.workers] == workers
        for process in workers:
            maps = Path(f"/proc/{process.pid}/maps")
            assert not maps.exists() or "libtorch" not in maps.read_text()
    assert all(process.returncode is not None for process in workers)


def test_cache_hit_after_restart_computes_nothing(tmp_path, here, monkeypatch):
    folder = tmp_path / "x y é 漢字 =,:"
    score_items(_items(), SLOW, RATE, cache_dir=folder)
    for name in SLOW:
        monkeypatch.setitem(METRICS, name, None)
    monkeypatch.setattr(scorer, "Pool", None)
    with Scorer([*SLOW, "si_sdr", "lsd"], RATE, workers=2, cache_dir=folder) as pairs:
        assert pairs.score(_items()) == here
        assert pairs._pool is None
    assert len((folder / CACHE_FILE).read_text().splitlines()) == 3


def test_cache_key_holds_signals_rate_metric_and_version(tmp_path, monkeypatch):
    (name, reference, estimate) = _items(1)[0]
    calls = []
    monkeypatch.setitem(METRICS, "pesq_nb", lambda *_: calls.append(1) or 0.5)

    def run(r, e, rate=RATE):
        return score_items([(name, r, e)], ["pesq_nb"], rate, cache_dir=tmp_path)[0].values

    for _ in range(2):
        assert run(reference, estimate) == {"pesq_nb": 0.5}
    assert len(calls) == 1
    run(estimate, reference)
    run(reference, estimate, 8000)
    run(reference[:-1], estimate[:-1])
    assert len(calls) == 4
    monkeypatch.setattr(scorer, "version", lambda _: "99")
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
    file = tmp_path / CACHE_FILE
    file.write_bytes(damage(file.read_bytes()))
    score_items([second], ["stoi"], RATE, cache_dir=tmp_path)
    results = score_items([first], ["stoi"], RATE, cache_dir=tmp_path)
    assert results[0].values == {"stoi": 0.125}


def test_failed_items_have_reasons_and_lower_the_count(tmp_path, here):
    (name, reference, estimate) = _items(1)[0]
    bad = [
        ("dead", reference, 0 * reference),
        ("nan", reference, np.where(np.arange(len(reference)) == 3, np.nan, reference)),
        ("cut", reference, reference[:-1]),
        ("short", reference[:3000], estimate[:3000]),
    ]
    with Scorer(SLOW, RATE, workers=2, cache_dir=tmp_path) as pairs:
        failed = pairs.score(bad)
        assert pairs._pool is None  # checks alone decide
    assert not (tmp_path / CACHE_FILE).exists()
    results = [*score_items([(name, reference, estimate)], SLOW, RATE), *failed]
    summary = summarise(results)
    assert summary.n == 5 and set(summary.n_valid.values()) == {1}
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
        scorer, "version", lambda name: (_ for _ in ()).throw(scorer.PackageNotFoundError(name))
    )
    with Scorer(["pesq_raw_nb"], RATE, workers=2, cache_dir=tmp_path) as pairs:
        (result,) = pairs.score(_items(1))
        assert pairs._pool is None
    assert result.values == {"pesq_raw_nb": None} and result.reasons == {
        "pesq_raw_nb": "pesq is not installed"
    }
    assert not (tmp_path / CACHE_FILE).exists()


def test_dead_processes_are_reported_and_replaced():
    with Scorer(["pesq_nb"], RATE, workers=2) as pairs:
        for number in (signal.SIGKILL, signal.SIGSEGV):
            assert pairs.score(_items(1))[0].values["pesq_nb"] > 0
            for worker in pairs._pool.workers:
                os.kill(worker.process.pid, number)
            with pytest.raises(
                AudiopruneError,
                match=rf"a scoring process ended at 'clip0' \({number.name}.*fewer workers",
            ):
                pairs.score(_items())
            assert pairs._pool is None
        assert pairs.score(_items(1))[0].values["pesq_nb"] > 0


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="unknown metric 'stoy'; closest: stoi"):
        Scorer(["stoy"], RATE)
    with pytest.raises(ConfigError, match="positive sample_rate"):
        Scorer(["stoi"], 0)
    with pytest.raises(ConfigError, match="workers >= 0"):
        Scorer(["stoi"], RATE, workers=-1)


def test_progress_counts_every_recording_of_a_known_number(monkeypatch):
    shown = Shown()
    monkeypatch.setattr(scorer, "progress", shown)
    with Scorer(["l1"], RATE) as pairs:
        assert pairs.workers == 1 and pairs.sample_rate == RATE and pairs.metrics == ("l1",)
        pairs.score(_items(2))
        pairs.score(_items(1), "scores of mine")
        pairs.score(iter(_items(1)))
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
