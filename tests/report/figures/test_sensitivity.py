"""Sensitivity curves and chosen clusters: read, drawn and tabulated."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from audioprune.report.figures.sensitivity import (
    quantization_table,
    read_sensitivity,
    sensitivity_figure,
)
from audioprune.report.runs.job import load_jobs

PNG = b"\x89PNG\r\n\x1a\n"


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_sensitivity_curves_are_read_and_drawn(make_run, tmp_path) -> None:
    run = make_run("a").sensitivity(10, {"w": 0.1}).sensitivity(2, {"w": 0.3, "v": 0.95})
    (job,) = load_jobs(run.folder)
    curves = read_sensitivity(job)
    assert [(curve.iteration, curve.tensor, curve.chosen) for curve in curves] == [
        (2, "w", 0.3),
        (2, "v", 0.95),
        (10, "w", 0.1),
    ]
    assert curves[0].beta[:2] == (0.0, 0.05)
    drawn = sensitivity_figure(tmp_path, "s", job, "a")
    assert [row["beta"] for row in _read(drawn.csv) if row["chosen"] == "True"] == [
        "0.3",
        "0.95",
        "0.1",
    ]
    assert "w 10 %" in drawn.alt and drawn.png.read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (("0", "1", "0"), 0.05),
        (("0.05", "0.05", "0.05"), 0.05),
        (("False", "False", "True"), 0.1),
        (("", "", ""), None),
    ],
)
def test_the_chosen_ratio_as_a_mark_or_as_a_value(make_run, flags, chosen) -> None:
    run = make_run("a")
    lines = [f"1,w,{beta},0.1,{flag}" for beta, flag in zip((0.0, 0.05, 0.1), flags, strict=True)]
    (run.folder / "sensitivity-1.csv").write_text(
        "\n".join(["iteration,tensor,beta,loss_increase,chosen", *lines, "1,w,bad"])
    )
    (curve,) = read_sensitivity(load_jobs(run.folder)[0])
    assert curve.chosen == chosen and len(curve.beta) == 3


def test_without_curves_nothing_is_drawn(make_run, tmp_path) -> None:
    assert sensitivity_figure(tmp_path, "s", load_jobs(make_run("a").folder)[0], "a") is None


def test_the_chosen_clusters_are_tabulated(make_run) -> None:
    run = make_run("a")
    assert quantization_table(load_jobs(run.folder)[0]) is None
    lines = [
        "tensor,levels,loss_increase,bits,chosen",
        "w,2,0.5,1.0,False",
        "w,4,0.1,2.0,True",
        "v,8,,3.0,True",
    ]
    (run.folder / "quantization.csv").write_text("\n".join(lines))
    table = quantization_table(load_jobs(run.folder)[0])
    assert [(row["tensor"], row["levels"], row["loss_increase"]) for row in table.rows] == [
        ("w", 4, 0.1),
        ("v", 8, None),
    ]
    assert "not recorded" in table.notes[0] and "kept" not in [
        column.key for column in table.columns
    ]


def test_a_tensor_of_which_nothing_is_left_has_no_clusters(make_run) -> None:
    run = make_run("a")
    lines = [
        "tensor,levels,loss_increase,bits,chosen,kept",
        "w,0,0.0,0.0,True,0",
        "v,4,0.1,2.0,True,7",
        "u,2,0.0,1.0,True,0",
    ]
    (run.folder / "quantization.csv").write_text("\n".join(lines))
    table = quantization_table(load_jobs(run.folder)[0])
    assert [(row["levels"], row["bits"], row["kept"]) for row in table.rows] == [
        (0, 0, 0),
        (4, 2, 7),
        (0, 0, 0),
    ]
    assert table.notes == ("K = 0: no weight of the tensor was left to share a value.",)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "the loss on the validation set when one tensor alone is pruned"),
        ({"sensitivity_items": 2}, "the loss on 2 items of the validation set when one tensor"),
        ({"unit_groups": True}, "one set of units with all the tensors it spans, alone"),
    ],
)
def test_a_caption_says_what_was_measured(make_run, tmp_path, config, words: str) -> None:
    run = make_run("a", pipeline_config=config).sensitivity(1, {"w": 0.3})
    assert words in sensitivity_figure(tmp_path, "s", load_jobs(run.folder)[0], "a").caption
