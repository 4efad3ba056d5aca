"""Collected runs: a report of the file is the report of the folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioprune.errors import DataError
from audioprune.experiment.results import ScoredItems
from audioprune.report import write_report
from audioprune.report.runs.collected import collect
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs


def _runs(make_run):
    for seed in (0, 1, 2):
        run = make_run(f"run{seed}", seed=seed, training={"epochs": 3}, runtime={"threads": 2})
        run.scores("mixture", 0.5, 1.4).scores("uncompressed", 0.6 + 0.001 * seed, 1.6)
        run.scores("compressed", 0.59 + 0.002 * seed, 1.55).size("uncompressed")
        run.size("compressed", nonzero=300, paper=400).iterations(0.5, 0.3)
        run.scores("pruned", 0.58, 1.5, step="compress/1/score")
        (run.folder / "env.json").write_text(json.dumps({"git": "abc", "python": "3.11"}))
        (run.folder / ".hydra").mkdir()
        words = ["experiment=p2/fdnn_desk", f"seed={seed}", "runtime.folder=x"]
        (run.folder / ".hydra" / "overrides.yaml").write_text(
            "\n".join(f"- {word}" for word in words)
        )
    make_run("broken", seed=3).scores("mixture", 0.5, 1.4).status("failed", "x")
    return run.folder.parent


def _tables(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.md")}


def test_a_report_of_collected_runs_is_that_of_their_folders(make_run, tmp_path: Path) -> None:
    runs = _runs(make_run)
    kept = [runs / f"run{seed}" for seed in (0, 1, 2)]
    assert collect(runs, tmp_path / "kept") == (3, 3)
    only = ["table1", "table2", "claims"]
    write_report(kept, tmp_path / "one", "p2", only=only)
    write_report(tmp_path / "kept", tmp_path / "two", "p2", only=only)
    assert _tables(tmp_path / "one") == _tables(tmp_path / "two") and _tables(tmp_path / "one")


def test_a_run_is_told_by_command_commit_and_time(make_run, tmp_path: Path) -> None:
    runs = _runs(make_run)
    (runs / "run1" / "status.json").write_text('{"status": "finished", "seconds": 90.5}')
    collect(runs, tmp_path / "kept")
    job = load_jobs(tmp_path / "kept" / "rows.jsonl")[1]
    assert job.command == "audioprune prune experiment=p2/fdnn_desk seed=1"
    assert job.environment["git"] == "abc" and job.seconds == 90.5 and job.seed == 1
    assert job.config["training.epochs"] == 3 and "runtime.threads" not in job.config


def test_collecting_again_changes_nothing_and_replaces_by_name(make_run, tmp_path: Path) -> None:
    runs, kept = _runs(make_run), tmp_path / "kept"
    collect(runs, kept)
    before = (kept / "rows.jsonl").read_bytes()
    assert collect(runs, kept) == (3, 3) and (kept / "rows.jsonl").read_bytes() == before
    assert collect(runs / "run1", kept) == (1, 3) and (kept / "rows.jsonl").read_bytes() == before
    with pytest.raises(DataError, match="expected finished runs"):
        collect(runs / "broken", kept)


def test_scores_of_items_are_kept_for_final_states_alone(make_run, tmp_path: Path) -> None:
    runs = _runs(make_run)
    for seed in (0, 1, 2):
        for step in ("mixture", "uncompressed", "compressed", "compress/1/score"):
            items = ScoredItems(runs / f"run{seed}", step)
            for noise in ("babble", "cafeteria"):
                for snr in (-5, 0, 5):
                    scores = [0.1 + seed, None if step == "compressed" else 0.25]
                    items.add(f"{step}/{noise}_{snr}dB", {"id": ["a", "b"], "stoi": scores})
            items.write()
    collect(runs, tmp_path / "kept")
    paths = (runs / "run?", tmp_path / "kept")
    direct, kept = (final(entries(load_jobs(path))) for path in paths)
    for entry in (each for each in kept if each.variant != "pruned"):  # scored in a repetition
        twin = next(other for other in direct if other.title == entry.title)
        mine = entry.by_item("stoi", entry.conditions())
        theirs = twin.by_item("stoi", twin.conditions())
        for seed in (0, 1, 2):
            assert list(mine[seed].values()) == list(theirs[seed].values())
        assert len({tuple(items) for items in mine.values()}) == 1  # paired across the seeds
    dense = next(entry for entry in kept if entry.variant == "uncompressed")
    assert list(dense.by_item("stoi", dense.conditions())[1].values()) == pytest.approx(
        [1.1, 0.25]
    )
    small = next(entry for entry in kept if entry.variant == "compressed")
    assert small.by_item("stoi", small.conditions())[1] == {}  # one item has no score
    lines = (tmp_path / "kept" / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    told = [row for row in rows if "items" in row]
    assert all(not row["key"].startswith("compress/") for row in told)
    assert len({row["items"]["id"] for row in told}) == 1 and len(told) == 3 * 6 * 3


def test_a_file_without_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"kind": "score", "key": "x"}\n')
    with pytest.raises(DataError, match="expected a line of kind run"):
        load_jobs(tmp_path)
