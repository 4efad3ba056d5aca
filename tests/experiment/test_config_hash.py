"""The hash of a run: what changes a result changes it, nothing else does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_runs import config, whole_pipeline

from audioprune.experiment.config_hash import config_hash, result_config, run_name


def test_only_what_changes_results_enters(tmp_path: Path) -> None:
    plain = config(whole_pipeline(), tmp_path)
    known = config_hash(plain)
    for change in (
        {"runtime": {"threads": 9, "cache": "/x"}},
        {"verb": "train"},
        {"hydra": {"a": 1}},
    ):
        assert config_hash(config(whole_pipeline(), tmp_path, **change)) == known
    for change in (
        {"seed": 1},
        {"training": {"epochs": 9}},
        {"scoring": {"metrics": ["stoi"]}},
        {"data": {"items": 3}},
        {"scale": "x"},
    ):
        assert config_hash(config(whole_pipeline(), tmp_path, **change)) != known
    assert config_hash(config(whole_pipeline(3), tmp_path)) != known
    assert "runtime" not in result_config(plain)


@pytest.mark.parametrize(
    ("group", "quiet", "loud"),
    [
        ("model", {"normalise": False, "context": 0}, {"normalise": True}),
        ("data", {"voices": "made", "augment_speed": [1.0, 1.0]}, {"augment_speed": [0.9, 1.1]}),
        ("training", {"ramp_end": 0.0}, {"ramp_end": 0.5}),
        ("pipeline", {"steps": {"a": {"ramp_end": 0.0}}}, {"steps": {"a": {"ramp_end": 0.5}}}),
    ],
)
def test_keys_that_came_later_enter_only_where_they_change_something(
    tmp_path: Path, group: str, quiet: dict, loud: dict
) -> None:
    plain = config(whole_pipeline(), tmp_path)
    bare = {"steps": {"a": {}}} if group == "pipeline" else {}
    hashes = [
        config_hash({**plain, group: {**plain.get(group, {}), **change}})
        for change in (bare, quiet, loud)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    plain = config(whole_pipeline(), tmp_path)
    assert config_hash(dict(reversed(plain.items()))) == config_hash(plain)


def test_the_name_is_readable_and_safe(tmp_path: Path) -> None:
    plain = config({}, tmp_path, pipeline={"name": "a b/ü"})
    assert run_name(plain) == f"fdnn-a_b__-{config_hash(plain)}"
    assert run_name(config({}, tmp_path, model={"_target_": "x.Y"}, pipeline={})).startswith(
        "custom-custom-"
    )


@pytest.mark.parametrize("folder", [False, True])
def test_another_checkpoint_under_the_same_name_is_another_run(
    tmp_path: Path, folder: bool
) -> None:
    file = tmp_path / "model.apz"
    plain = config({}, tmp_path, checkpoint=str(tmp_path if folder else file))
    missing = config_hash(plain)
    file.write_bytes(b"one")
    one = config_hash(plain)
    file.write_bytes(b"two")
    assert len({missing, one, config_hash(plain)}) == 3


def test_another_definition_of_a_users_model_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "net_of_a_user.py").write_text("WIDTH = 1\n")
    plain = config({}, tmp_path, model={"name": "mine", "_target_": "net_of_a_user.Net"})
    one = config_hash(plain)
    assert config_hash(plain) == one
    (tmp_path / "net_of_a_user.py").write_text("WIDTH = 2\n")
    assert config_hash(plain) != one and "net_of_a_user" not in sys.modules
    config_hash(config({}, tmp_path, model={"_target_": "no.such.module.Net"}))


def test_how_a_training_computes_is_hashed_where_it_is_not_the_usual_way() -> None:
    before = {"training": {"epochs": 1}}
    usual = {"training": {"epochs": 1, "channels_last": False, "compile": False, "fused": False}}
    assert config_hash(before) == config_hash(usual)
    for key in ("channels_last", "compile", "fused"):
        assert config_hash(before) != config_hash({"training": {**usual["training"], key: True}})
