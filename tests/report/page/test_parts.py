"""Training curves, layer bars and confusions of a page."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRun

from audioprune.report.page.parts import confusion_section, removed_section, training_section
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs

Make = Callable[..., FakeRun]


def _log(run: FakeRun, step: str, losses: list[float]) -> None:
    run.row(key=step, kind="train", monitor="loss")
    path = run.folder / "training" / step.replace("/", "-") / "log.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"loss": loss}) + "\n" for loss in losses))


@pytest.mark.usefixtures("undrawn")
def test_fine_tuning_follows_training_and_seeds_are_joined(make_run: Make, tmp_path: Path) -> None:
    for seed in (0, 1):
        run = make_run(f"r{seed}", seed=seed)
        _log(run, "train", [3.0 + seed, 2.0])
        _log(run, "compress/0/finetune", [1.0])
    section = training_section(load_jobs(tmp_path / "runs"), tmp_path / "out")
    (figure,) = section.figures
    with open(figure.csv, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["panel"] for row in rows} == {"Training loss"}
    assert [(float(row["x"]), float(row["mean"])) for row in rows] == [(1, 3.5), (2, 2), (3, 1)]
    assert rows[0]["seeds"] == "2" and float(rows[0]["std"]) == pytest.approx(0.5**0.5)


def test_layers_have_a_bar_for_every_run(make_run: Make, tmp_path: Path) -> None:
    for name in ("a", "b", "none"):
        run = make_run(name)
        if name != "none":
            run.row(key="p", kind="iteration", density_per_tensor={"w": 0.25})
    section = removed_section(load_jobs(tmp_path / "runs"))
    titles = [chart.title for chart in section.bars]
    assert titles == ["FDNN, left of each layer", "FDNN (b), left of each layer"]
    assert section.bars[0].rows == (("w", 0.25, "25.0 % of the weights"),)


def test_confusions_of_seeds_are_added(make_run: Make, tmp_path: Path) -> None:
    for seed in (0, 1):
        row = {"kind": "score", "variant": "pruned", "model": "vgg", "label": "VGG"}
        more = {"condition": "test", "metrics": {"accuracy": 0.9}, "classes": ["<a>", "b"]}
        run = make_run(f"r{seed}", model="vgg", seed=seed)
        run.row(key="pruned/test", **row, **more, confusion=[[5, seed], [2, 4]])
    (matrix,) = confusion_section(final(entries(load_jobs(tmp_path / "runs")))).matrices
    assert matrix.names == ("<a>", "b") and matrix.counts == ((10, 1), (4, 8))
    assert matrix.caption == "VGG pruned"
