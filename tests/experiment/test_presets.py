"""When a run may carry the scale that its preset declares."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from tiny_runs import config, open_run, rows, start, step

from audioprune import cli
from audioprune.commands import experiments
from audioprune.experiment.model_io import build_model
from audioprune.experiment.presets import differing, further, shortfall

PRESET: dict[str, Any] = {
    "scale": "paper",
    "model": {"name": "vgg", "_target_": "m.VGG", "width": 32},
    "task": {"name": "scenes", "_target_": "t.Scenes", "mixup": 0.3},
    "data": {
        "name": "tut2018",
        "_target_": "d.Tut",
        "root": "???",
        "cache_dir": "",
        "seed": 0,
        "mels": 256,
        "split": None,
    },
    "training": {"epochs": 350, "betas": [0.9, 0.999]},
}


def _changed(group: str, **values: Any) -> dict[str, Any]:
    return {**PRESET, group: {**PRESET[group], **values}}


@pytest.mark.parametrize(
    ("own", "keys"),
    [
        (PRESET, []),
        (_changed("data", root="/clips"), []),
        (_changed("data", root="/clips", cache_dir="/c", seed=3, split="/lists/mine.csv"), []),
        (_changed("data", split="by_pitch"), ["data.split"]),
        (_changed("data", mels=64), ["data.mels"]),
        (_changed("data", name="class_folder", root="/x"), ["data"]),
        (_changed("model", width=4), ["model.width"]),
        (_changed("model", name="own", _target_="mine.Net"), ["model"]),
        (_changed("task", mixup=0.0), ["task.mixup"]),
        (
            _changed("training", epochs=1, betas=[0.8, 0.999]),
            ["training.epochs", "training.betas"],
        ),
        ({**PRESET, "scale": "huge"}, ["scale"]),
    ],
)
def test_keys_that_differ_are_named(own: dict[str, Any], keys: list[str]) -> None:
    assert differing(own, PRESET) == keys


def test_a_corpus_far_below_the_published_one_is_named() -> None:
    assert shortfall("tut2018", {"train": {"clips": 18}}) == "data (18 of 6122 clips)"
    assert shortfall("wsj0_mix", {"train": {"mixtures": 40}}) == "data (40 of 320000 mixtures)"
    assert (
        shortfall("tut2018", {"train": {"clips": 6122}})
        == shortfall("nsynth", {"train": {"notes": 7900}})
        == ""
    )
    assert shortfall("my_corpus", {"train": {"clips": 1}}) == shortfall("tut2018", {}) == ""


def test_a_checkpoint_of_another_width_is_no_preset() -> None:
    plain = {"scale": "desk", "model": {"width": 8, "classes": None}, "data": {"name": "x"}}
    assert further(plain, {"width": 8, "classes": 3}, dict) == []
    assert further(plain, {"width": 4, "classes": 3}, dict) == ["checkpoint"]


def test_the_scale_of_a_run_is_declared_only_without_differences(tmp_path: Path) -> None:
    plain = config(
        {"score": step("Evaluate", variant="uncompressed", file="model.safetensors")},
        tmp_path / "cache",
    )
    assert open_run(tmp_path / "same", plain).scale == "toy; 12 tiny items; width 6"
    from omegaconf import OmegaConf

    from audioprune.experiment.build import run_job

    run_job(OmegaConf.create(plain), tmp_path / "other", [], ["model.width"])
    facts = json.loads((tmp_path / "other" / "run.json").read_text())
    assert facts["scale"] == "custom; 12 tiny items; width 6" and facts["scale_differs"] == [
        "model.width"
    ]
    assert {row["scale"].partition(";")[0] for row in rows(tmp_path / "other")} == {"custom"}


def test_a_row_carries_the_width_of_the_model_that_it_is_about(tmp_path: Path) -> None:
    steps = {"small": step("SameSizeBaseline", width=3)}
    plain = config(steps, tmp_path / "cache", training={"epochs": 1})
    start(tmp_path / "run", plain)
    assert {
        row["scale"] for row in rows(tmp_path / "run") if "baseline" in str(row.get("variant"))
    } == {"toy; 12 tiny items; width 3"}
    run = open_run(tmp_path / "again", plain)
    other = build_model(
        {"_target_": "audioprune.models.fdnn.FDNN", "bins": 17, "width": 5}, trusted=True
    )
    assert run.scale_of(other).endswith("width 5") and run.scale.endswith("width 6")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[list[str]]]:
    """What each composed job is told to differ in; the experiment itself is not carried out."""
    found: list[list[str]] = []
    monkeypatch.setattr(
        experiments,
        "run",
        lambda config, folder, overrides, differs, swept: found.append(differs) or "finished",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    GlobalHydra.instance().clear()
    yield found
    GlobalHydra.instance().clear()


def test_the_command_line_is_compared_with_its_experiment(told: list[list[str]]) -> None:
    assert (
        cli.run_verb(
            "prune",
            ["experiment=p4/vgg_2018", "data.root=/c", "model.width=4", "training.epochs=1"],
        )
        == 0
    )
    assert cli.run_verb("prune", ["experiment=p4/vgg_2018", "data.root=/c", "model.width=32"]) == 0
    assert cli.run_verb("train", ["scale=paper"]) == 0
    assert told == [["model.width", "training.epochs"], [], ["scale"]]


def test_jobs_of_a_sweep_are_compared_one_by_one(told: list[list[str]]) -> None:
    assert cli.run_verb("prune", ["-m", "experiment=p2/fdnn_demo", "model.width=512,64"]) == 0
    assert told == [[], ["model.width"]]
