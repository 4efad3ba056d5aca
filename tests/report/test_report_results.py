"""Finding, reading and grouping of run folders, and the published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audioprune.errors import ConfigError
from audioprune.report.published import read_reported
from audioprune.report.runs.job import find_runs, flatten, load_jobs, read_job
from audioprune.report.runs.scales import honest_scale, scale_text
from audioprune.report.runs.seeds import differences, join_seeds, models_in_turn


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
    assert "still running or was killed" in job.reason and "run.json cannot be read" in job.reason
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


def test_scales_never_read_as_a_reproduction() -> None:
    assert honest_scale("desk; 20 mixtures") == "desk; 20 mixtures, not a reproduction"
    assert honest_scale("paper; 320000 mixtures") == "paper; 320000 mixtures"
    assert honest_scale(honest_scale("desk")) == honest_scale("desk")
    assert scale_text({"width": 64}) == "width 64"


def test_only_keys_that_differ_become_columns(make_run) -> None:
    for seed in (0, 1):
        for strength in (0.0, 0.5):
            config = {
                "lambda_1": strength,
                "steps": {"train": {"lambda_1": strength}},
                "rounds": 3,
            }
            data, runtime = {"seed": seed, "segment_s": 2}, {"threads": seed}
            make_run(
                f"{seed}-{strength}", seed=seed, pipeline_config=config, data=data, runtime=runtime
            )
    jobs = load_jobs(make_run("other", model="lstm", seed=5, training={"epochs": 3}).folder.parent)
    assert differences(jobs) == ("pipeline.lambda_1",)


def test_keys_of_a_model_are_told_by_its_name(make_run) -> None:
    for model, width in (("fdnn", 2048), ("lstm", 1024)):
        run = make_run(model, model, model_config={"name": model, "width": width})
    assert differences(load_jobs(run.folder.parent)) == ()
    make_run("narrow", "fdnn", model_config={"name": "fdnn", "width": 64})
    assert differences(load_jobs(run.folder.parent)) == ("model.width",)


def test_a_step_is_told_by_the_name_of_its_pipeline(make_run) -> None:
    make_run(
        "a", pipeline="train", pipeline_config={"steps": {"score": {"file": "a"}}, "lambda_1": 0.0}
    )
    run = make_run(
        "b", pipeline="p2", pipeline_config={"steps": {"score": {"file": "b"}}, "lambda_1": 1.0}
    )
    assert differences(load_jobs(run.folder.parent)) == ("pipeline.lambda_1",)


def test_jobs_are_joined_over_seeds_only(make_run) -> None:
    for seed in (0, 1, 2):
        make_run(f"a{seed}", seed=seed, data={"seed": 0})
        make_run(f"b{seed}", seed=seed, data={"seed": 0}, pipeline_config={"sparsity": 0.5})
    groups = join_seeds(load_jobs(make_run("c", scale="paper").folder.parent))
    assert [[job.name for job in group] for group in groups] == [
        ["a0", "a1", "a2"],
        ["b0", "b1", "b2"],
        ["c"],
    ]


def test_one_seed_never_enters_a_mean_twice(make_run) -> None:
    for name, seed, checkpoint in (("a", 0, "x"), ("b", 1, "x"), ("c", 0, "y"), ("d", 1, "y")):
        make_run(name, seed=seed, checkpoint=checkpoint)
    again = make_run("again", seed=0, checkpoint="x")
    groups = join_seeds(load_jobs(again.folder.parent))
    assert [[job.name for job in group] for group in groups] == [
        ["a"],
        ["again"],
        ["b"],
        ["c", "d"],
    ]


def test_published_numbers_are_read_and_refused(tmp_path: Path) -> None:
    assert read_reported({"a": 1}, "p2") == {"a": 1}
    (tmp_path / "p2.yaml").write_text("a: 2\n")
    assert read_reported(tmp_path, "p2") == {"a": 2} == read_reported(tmp_path / "p2.yaml", "p2")
    (tmp_path / "p2.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        read_reported(tmp_path, "p2")
    with pytest.raises(ConfigError, match="give reported=FILE"):
        read_reported(tmp_path / "none.yaml", "p2")


def test_models_come_in_turn(make_run, tmp_path: Path) -> None:
    for name, model in (("a", "fdnn"), ("b", "fdnn"), ("c", "lstm"), ("d", "fdnn"), ("e", "lstm")):
        make_run(name, model)
    assert [job.folder.name for job in models_in_turn(load_jobs(tmp_path / "runs"))] == [
        "a",
        "c",
        "b",
        "e",
        "d",
    ]
