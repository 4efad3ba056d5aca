"""Run folders: found, read, and refused where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioprune.errors import ConfigError
from audioprune.report.runs.job import find_runs, flatten, read_job


def test_runs_are_found_in_a_folder_a_glob_and_a_list(make_run, tmp_path: Path) -> None:
    folders = [make_run(name).folder for name in ("b", "a")]
    runs = tmp_path / "runs"
    assert find_runs(folders[0]) == [folders[0]]
    assert find_runs(runs) == sorted(folders)
    assert find_runs(str(runs / "[ab]")) == sorted(folders)
    assert find_runs([runs / "b", runs]) == [runs / "b", runs / "a"]


def test_a_glob_passes_by_folders_without_runs(make_run, tmp_path: Path) -> None:
    folder = make_run("a").folder
    (tmp_path / "runs" / "empty").mkdir()
    assert find_runs(str(tmp_path / "runs" / "*")) == [folder]


@pytest.mark.parametrize("spec", ["nowhere", "nowhere/*", []])
def test_what_is_not_there_is_refused(spec, tmp_path: Path) -> None:
    given = [] if spec == [] else str(tmp_path / spec)
    with pytest.raises(ConfigError, match="expected"):
        find_runs(given)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="run `audioprune train` first"):
        find_runs(tmp_path / "empty")


def test_a_cut_last_line_is_dropped_and_a_later_key_replaces(make_run) -> None:
    run = make_run("a").row(key="x", kind="train", epochs=1).row(key="x", kind="train", epochs=2)
    with open(run.folder / "results.jsonl", "a") as stream:
        stream.write('{"key": "y", "kind": "tr')
    assert read_job(run.folder).rows == ({"key": "x", "kind": "train", "epochs": 2},)


def test_damaged_files_make_a_job_unfinished(make_run) -> None:
    run = make_run("a")
    (run.folder / "run.json").write_text("{")
    (run.folder / "status.json").unlink()
    job = read_job(run.folder)
    assert job.status == "unfinished"
    assert "still running or was killed" in job.reason and "run.json is damaged" in job.reason
    assert job.name == "a"


def test_a_job_that_failed_early_is_named_by_hydras_record(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "lstm-p2-1"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "status.json").write_text(
        json.dumps({"status": "failed", "reason": "no such corpus"})
    )
    config = (
        "seed: 3\nmodel: {name: lstm}\npipeline: {name: p2, k: 2, j: '${pipeline.k}'}\nruntime: "
        "{threads: 1}\n"
    )
    (folder / ".hydra" / "config.yaml").write_text(config)
    job = read_job(folder)
    assert (job.model, job.pipeline, job.seed, job.status, job.reason) == (
        "lstm",
        "p2",
        3,
        "failed",
        "no such corpus",
    )
    assert job.config["pipeline.k"] == 2 and "pipeline.j" not in job.config


def test_configurations_are_flattened() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": "{}", "d": "[1, 2]"}
