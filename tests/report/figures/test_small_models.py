"""Compressing against building small: kinds of models, intervals, and who wins at equal cost."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

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


def _verdicts(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with open(folder / "verdicts.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:  # the compressed model's row comes first
        found.setdefault((row["At equal"].split()[0], row["Score"], row["Other"][:5]), row)
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


def test_the_better_one_at_equal_cost_is_named(make_run, tmp_path: Path) -> None:
    for seed in range(3):
        runs = _seed(make_run, seed, 0.6)
    files = write_report(runs, tmp_path / "out", "small_models")
    assert {"small_models.png", "small_models.csv", "verdicts.md"} <= {file.name for file in files}
    found = _verdicts(tmp_path / "out")
    row = found["file", "STOI", "GTCRN"]
    assert row["Better"] == row["One"] and row["Seeds"] == "3"
    # differences by seed: 5, 4.9 and 4.8 points
    assert row["One less other, 95 % interval"] == "+4.90 [+4.65, +5.15]"
    small = next(
        v for k, v in found.items() if k[:2] == ("file", "PESQ (raw NB)") and k[2] == "LSTM "
    )
    assert small["Better"] == "equal"  # 2.00 and 2.00 in every seed
    shown = (tmp_path / "out" / "small_models.md").read_text()
    assert "75.00 to 75.50" not in shown and "74.85 to 75.35" in shown


def test_the_report_says_so_if_the_hand_made_one_wins(make_run, tmp_path: Path) -> None:
    for seed in range(3):
        runs = _seed(make_run, seed, 0.69)
    write_report(runs, tmp_path / "out", "small_models")
    row = _verdicts(tmp_path / "out")["file", "STOI", "GTCRN"]
    assert row["Better"] == "GTCRN uncompressed" and row["One"].startswith("LSTM")


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


def test_one_seed_is_not_judged(make_run, tmp_path: Path) -> None:
    write_report(_seed(make_run, 0, 0.6), tmp_path / "out", "small_models")
    row = _verdicts(tmp_path / "out")["file", "STOI", "GTCRN"]
    assert row["Better"] == "one seed: not judged"
    assert row["One less other, 95 % interval"] == "+5.00"


def test_runs_without_models_are_refused(make_run, tmp_path: Path) -> None:
    run = make_run("a").scores("mixture", 0.4, 1.2)
    with pytest.raises(DataError, match="expected runs with scored models"):
        write_report(run.folder, tmp_path / "out", "small_models")
