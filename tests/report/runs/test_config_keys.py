"""Runs of before have the keys of today."""

from __future__ import annotations

import pytest

from audioprune.experiment.config_hash import _LATER
from audioprune.report.runs.config_keys import of_today
from audioprune.report.runs.job import load_jobs
from audioprune.report.runs.seeds import differences, join_seeds

ADDED = [(group, key, value) for group, keys in _LATER.items() for key, value in keys.items()]


@pytest.mark.parametrize(("group", "key", "value"), ADDED)
def test_a_run_of_before_is_joined_with_one_of_today(make_run, group, key, value) -> None:
    name = {"model": "model_config", "pipeline": "pipeline_config"}.get(group, group)
    kept = {} if name == group else {"name": "lstm" if group == "model" else "p2"}
    make_run("before", "lstm", "p2", seed=0, **{name: {**kept, "other": 1}})
    run = make_run("today", "lstm", "p2", seed=1, **{name: {**kept, "other": 1, key: value}})
    (group_of_both,) = join_seeds(load_jobs(run.folder.parent))
    assert [job.name for job in group_of_both] == ["before", "today"]


def test_another_value_is_a_difference_to_a_run_of_before(make_run) -> None:
    named = {"name": "lstm", "width": 8}
    make_run("before", "lstm", model_config=named)
    run = make_run("today", "lstm", model_config={**named, "cell": "gru"})
    assert differences(load_jobs(run.folder.parent)) == ("model.cell",)


def test_another_network_does_not_get_the_key() -> None:
    lstm = {"model.name": "lstm", "model.cell": "lstm"}
    fdnn = {"model.name": "fdnn", "model.width": 8}
    assert of_today([lstm, fdnn]) == [lstm, fdnn]


def test_keys_of_steps_are_those_of_their_pipeline() -> None:
    before = {"pipeline.name": "p2", "pipeline.steps.quantize.levels": 4}
    today = {**before, "pipeline.steps.quantize.bits": None}
    assert of_today([before, today]) == [today, today]
