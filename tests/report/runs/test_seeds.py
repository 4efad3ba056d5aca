"""Which jobs are joined over seeds, and which configuration keys a table shows."""

from __future__ import annotations

from pathlib import Path

from audioprune.report.runs.job import load_jobs
from audioprune.report.runs.seeds import differences, join_seeds, models_in_turn


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


def test_what_a_network_imitates_is_that_of_its_seed(make_run) -> None:
    for seed in (0, 1):
        teacher = {"name": "imitate", "teacher": f"{seed}.pt", "teacher_sha256": str(seed)}
        run = make_run(str(seed), seed=seed, task=teacher)
    jobs = load_jobs(run.folder.parent)
    assert differences(jobs) == () and [len(group) for group in join_seeds(jobs)] == [2]


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
