"""Compressing against building small: kinds of models, intervals, and who wins at equal cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audioprune.errors import DataError
from audioprune.report import write_report
from audioprune.report.figures.small_models import (
    BUILT_SMALL,
    COMPRESSED,
    HAND_MADE,
    START,
    small_models,
    verdict_table,
)
from audioprune.report.runs.entries import entries
from audioprune.report.runs.job import load_jobs

STAMP = {"corpus": "speech", "corpus_fingerprint": "a" * 20}


def _seed(make_run: Callable[..., object], seed: int, hand_made: float, macs: float = 2e6) -> Path:
    """Write one seed: an LSTM and its compressed form, a tiny LSTM, and a hand-made network."""
    run = make_run(f"lstm-{seed}", "lstm", seed=seed, model_config={"name": "lstm", "width": 256})
    run.scores("mixture", 0.4, 1.2, **STAMP).scores("uncompressed", 0.7, 1.8, **STAMP)
    run.size("uncompressed", paper=400_000).scores("compressed", 0.65 + 0.001 * seed, 1.7, **STAMP)
    run.size("compressed", paper=9_900, macs_per_second=macs)
    run = make_run(
        f"tiny-{seed}", "lstm", "train", seed=seed, model_config={"name": "lstm", "width": 24}
    )
    run.scores("mixture", 0.4, 1.2, **STAMP).scores("uncompressed", 0.6, 1.7, **STAMP)
    run.size("uncompressed", paper=9_950)
    run = make_run(f"gtcrn-{seed}", "gtcrn", "train", seed=seed)
    run.scores("mixture", 0.4, 1.2, **STAMP)
    run.scores("uncompressed", hand_made + 0.002 * seed, 1.9 - 0.1 * seed, **STAMP)
    run.size("uncompressed", paper=10_000)
    return run.folder.parent


def _verdicts(runs: Path, other: str = "GTCRN") -> dict[tuple[str, str], dict[str, Any]]:
    """Return the first row against a model by cost and score: that of the compressed one."""
    table = verdict_table(small_models(entries(load_jobs(runs))), ["stoi", "pesq_raw_nb"])
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.rows:
        if str(row["other"]).startswith(other):
            found.setdefault((str(row["cost"]).split()[0], str(row["metric"])), dict(row))
    return found


def test_kinds_follow_from_model_and_state(make_run) -> None:
    found = entries(load_jobs(_seed(make_run, 0, 0.6)))
    kinds = [(small.entry.label, small.entry.variant, small.kind) for small in small_models(found)]
    assert kinds == [
        ("LSTM", "compressed", COMPRESSED),
        ("LSTM", "uncompressed", BUILT_SMALL),
        ("GTCRN", "uncompressed", HAND_MADE),
        ("LSTM", "uncompressed", START),
    ]


def test_a_baseline_of_the_same_size_was_trained_small(make_run) -> None:
    run = make_run("a", "lstm").scores("compressed", 0.6, 1.5).size("compressed")
    run.scores("baseline", 0.5, 1.4).size("baseline")
    kinds = {
        each.entry.variant: each.kind for each in small_models(entries(load_jobs(run.folder)))
    }
    assert kinds == {"compressed": COMPRESSED, "baseline": BUILT_SMALL}


def test_the_better_one_at_equal_cost_is_named(make_run) -> None:
    for seed in range(3):
        runs = _seed(make_run, seed, 0.6)
    row = _verdicts(runs)["file", "STOI"]
    assert row["verdict"] == row["one"] == "LSTM compressed (model.width=256)"
    # differences by seed: 5, 4.9 and 4.8 points
    assert row["difference"] == "+4.90 [+4.65, +5.15]" and row["seeds"] == 3
    small = _verdicts(runs, "LSTM")["file", "PESQ (raw NB)"]
    assert small["verdict"] == "equal"  # 2.00 and 2.00 in every seed


def test_the_report_says_so_if_the_hand_made_one_wins(make_run, tmp_path: Path) -> None:
    for seed in range(3):
        runs = _seed(make_run, seed, 0.69)
    row = _verdicts(runs)["file", "STOI"]
    assert row["verdict"] == "GTCRN uncompressed" and row["one"].startswith("LSTM")
    files = write_report(runs, tmp_path / "out", "small_models")
    assert {"small_models.png", "small_models.csv", "verdicts.md"} <= {file.name for file in files}
    assert "74.85 to 75.35" in (tmp_path / "out" / "small_models.md").read_text()
    drawn = (tmp_path / "out" / "figures" / "small_models.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in drawn[1:]] == ["1", "2", "3", "4"]
    assert drawn[1].split(",")[2:5] == ["compressed", "10000", "2000000"]


def test_what_costs_more_is_not_compared(make_run) -> None:
    for seed in range(3):
        runs = _seed(make_run, seed, 0.69, macs=2.3e6)
    table = verdict_table(small_models(entries(load_jobs(runs))), ["stoi"])
    against = {
        (str(row["cost"]).split()[0], str(row["one"]).split(" (")[0])
        for row in table.rows
        if str(row["other"]).startswith("GTCRN")
    }
    assert ("MACs/s", "LSTM compressed") not in against
    assert ("file", "LSTM compressed") in against and ("MACs/s", "-") in against


def test_one_seed_is_not_judged(make_run) -> None:
    row = _verdicts(_seed(make_run, 0, 0.6))["file", "STOI"]
    assert row["verdict"] == "one seed: not judged" and row["difference"] == "+5.00"


def test_runs_without_models_are_refused(make_run, tmp_path: Path) -> None:
    run = make_run("a").scores("mixture", 0.4, 1.2)
    with pytest.raises(DataError, match="expected runs with scored models"):
        write_report(run.folder, tmp_path / "out", "small_models")
