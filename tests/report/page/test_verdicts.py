"""What the page says first: how much smaller, at what cost, how sure."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRun
from scipy.stats import t as student

from audioprune.report.page.verdicts import bytes_text, verdicts
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs

Make = Callable[..., FakeRun]


def _verdicts(folder: Path):
    return verdicts(final(entries(load_jobs(folder))))


def _items(run: FakeRun, scores: dict[str, list[float]]) -> None:
    """Write the scores of three items under one condition."""
    for variant, several in scores.items():
        key = f"{variant}/babble_-5dB"
        row = {"kind": "score", "variant": variant, "model": "fdnn", "label": "FDNN", "key": key}
        mean = {"stoi": statistics.fmean(several)}
        run.row(**row, condition="babble_-5dB", noise="babble", snr_db=-5.0, metrics=mean)
        lines = [f"{key},i{place},{score}" for place, score in enumerate(several)]
        text = "\n".join(["key,id,stoi", *lines]) + "\n"
        (run.folder / f"items-{variant}.csv").write_text(text)


def test_seeds_are_paired_and_give_the_interval(make_run: Make, tmp_path: Path) -> None:
    drops = (0.00, 0.01, 0.05)
    for seed, drop in enumerate(drops):
        run = make_run(f"r{seed}", seed=seed).scores("mixture", 0.5, 1.0)
        run.scores("uncompressed", 0.7 + seed / 10, 2.0).size("uncompressed")
        run.scores("compressed", 0.7 + seed / 10 - drop, 2.0)
        run.size("compressed", nonzero=300, paper=400)
    (verdict,) = _verdicts(tmp_path / "runs")
    half = student.ppf(0.975, 2) * statistics.stdev(drops) / 3**0.5
    mean = statistics.fmean(drops)
    assert verdict.smaller == "8.0 times smaller"  # 4000 bytes over a file of 500
    assert verdict.sizes == "3.9 kB before, 500 bytes after"
    low, high = 100 * (-mean - half), 100 * (-mean + half)
    assert verdict.cost == f"STOI -2.0 points [{low:+.1f}, {high:+.1f}]"
    assert verdict.basis == "3 seeds, interval over seeds" and verdict.mark == ""
    assert verdict.gain == "STOI +28.0 points over the unprocessed input"
    assert verdict.sentence == (
        f"FDNN compressed: 8.0 times smaller, {verdict.cost} (3 seeds, interval over seeds)."
    )


def test_one_seed_has_an_interval_over_its_recordings_alone(make_run: Make) -> None:
    run = make_run("one").size("uncompressed")
    run.size("compressed", paper=400)
    before, after = [0.5, 0.6, 0.7], [0.51, 0.58, 0.67]
    _items(run, {"uncompressed": before, "compressed": after})
    (verdict,) = _verdicts(run.folder)
    changes = [b - a for a, b in zip(before, after, strict=True)]
    half = student.ppf(0.975, 2) * statistics.stdev(changes) / 3**0.5
    mean = statistics.fmean(changes)
    ends = f"[{100 * (mean - half):+.1f}, {100 * (mean + half):+.1f}]"
    assert verdict.cost == f"STOI {100 * mean:+.1f} points {ends}"
    assert verdict.basis == "1 seed, interval over 3 recordings"


def test_one_seed_without_scores_of_recordings_has_no_interval(make_run: Make) -> None:
    run = make_run("one").scores("uncompressed", 0.7, 2.0).size("uncompressed")
    run.scores("compressed", 0.69, 2.0).size("compressed", paper=400)
    (verdict,) = _verdicts(run.folder)
    assert verdict.cost == "STOI -1.0 points" and verdict.basis == "1 seed: no interval"
    assert verdict.gain == ""


def test_a_model_no_better_than_its_input_and_a_file_no_smaller_say_so(make_run: Make) -> None:
    run = make_run("one").scores("mixture", 0.7, 2.0)
    run.scores("uncompressed", 0.7, 2.0).size("uncompressed")
    run.scores("pruned", 0.6, 1.5).size("pruned", paper=3900)
    (verdict,) = _verdicts(run.folder)
    assert verdict.mark == "no better than its input" and verdict.smaller == "no smaller"
    assert verdict.sentence.endswith("(1 seed: no interval); no better than its input.")


def test_the_smallest_file_of_a_pipeline_is_judged_and_failed_runs_are_not(
    make_run: Make, tmp_path: Path
) -> None:
    run = make_run("one").scores("uncompressed", 0.7, 2.0).size("uncompressed")
    run.scores("pruned", 0.7, 2.0).size("pruned", paper=2000)
    run.scores("compressed", 0.7, 2.0).size("compressed", paper=100)
    make_run("two", model="lstm").status("failed", "no memory")
    (verdict,) = _verdicts(tmp_path / "runs")
    assert verdict.entry.variant == "compressed" and verdict.smaller == "20 times smaller"


def test_without_the_uncompressed_model_nothing_is_compared(make_run: Make) -> None:
    run = make_run("one").scores("compressed", 0.69, 2.0).size("compressed", paper=400)
    (verdict,) = _verdicts(run.folder)
    assert verdict.smaller == "a file of 500 bytes; its size before was not measured"
    assert verdict.cost == "STOI 79.00 %" and verdict.basis.startswith("no uncompressed model")


def test_a_lottery_is_compared_with_its_unpruned_network(make_run: Make) -> None:
    run = make_run("one")
    for place, test in ((0, 2.0), (1, 2.5)):
        run.row(
            key=f"s{place}", kind="lottery", iteration=place, round=place, test=test, disk=4000
        )
    row = {"kind": "score", "variant": "trimmed", "label": "FDNN", "condition": "test"}
    run.row(key="smallest/test", **row, metrics={"error": 2.5}, trivial=9.0)
    run.size("trimmed", paper=300, step="smallest")
    (verdict,) = _verdicts(run.folder)
    assert verdict.smaller == "10 times smaller" and verdict.cost == "error +0.5000"
    assert verdict.compared and verdict.basis == "1 seed, not paired"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 kB"),
        (150000, "146 kB"),
        (2**21, "2.0 MB"),
    ],
)
def test_bytes_are_said_in_words(count: int, text: str) -> None:
    assert bytes_text(count) == text
