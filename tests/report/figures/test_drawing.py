"""Figures: what stands in the CSV beside each, same bytes again, the Pareto front, sensitivity curves, spectrograms."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.report.clips import clips
from audioprune.report.figures.drawing import Line, Panel, footer_of, lettered, line_figure
from audioprune.report.figures.pareto import front, pareto_figure, pareto_figures, points_of
from audioprune.report.figures.sensitivity import (
    quantization_table,
    read_sensitivity,
    sensitivity_figure,
)
from audioprune.report.figures.spectrograms import spectrogram_figure
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Value
from audioprune.report.runs.job import load_jobs

PNG = b"\x89PNG\r\n\x1a\n"


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_lines_and_their_csv(tmp_path) -> None:
    line = Line("FDNN", ((0.0, Value(1.0)), (1.0, Value(0.5, 0.1, 2)), (2.0, Value(None))), "desk")
    panels = [Panel("(a)", "left (%)", "percent", (line,), ("Unprocessed", 0.25))]
    drawn = line_figure(tmp_path, "lines", panels, 1, "iteration", "A caption.")
    rows = _read(drawn.csv)
    assert [(row["line"], row["x"], row["mean"], row["std"]) for row in rows] == [
        ("FDNN", "0", "100", ""),
        ("FDNN", "1", "50", "10"),
        ("FDNN", "2", "", ""),
        ("Unprocessed", "", "25", ""),
    ]
    assert rows[0]["scale"] == "desk, not a reproduction" and "from 100.00 to 50.00" in drawn.alt
    before = drawn.png.read_bytes()
    assert before.startswith(PNG) and b"Software" not in before
    assert (
        line_figure(tmp_path, "lines", panels, 1, "iteration", "A caption.").png.read_bytes()
        == before
    )


def test_the_footer_names_every_scale_once() -> None:
    assert footer_of(["desk", "paper", "desk", ""]) == "Scale: desk, not a reproduction | paper"


def _sweep(make_run):
    for place, (size, stoi) in enumerate([(1000, 0.5), (2000, 0.7), (3000, 0.6), (4000, 0.8)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place}).scores(
            "mixture", 0.4, 1.2
        )
        run.scores("compressed", stoi, 1.5 + stoi).size("compressed", paper=size)
    return entries(load_jobs(run.folder.parent))


def test_the_front_holds_what_no_smaller_model_beats(make_run, tmp_path) -> None:
    kind, points = points_of(_sweep(make_run))
    assert kind == "bytes_file" and [point.number for point in points] == [1, 2, 3, 4]
    assert [point.number for point in front(points, "stoi")] == [1, 2, 4]
    assert points[1].name == "FDNN compressed (pipeline.sparsity=1)"
    drawn = pareto_figure(tmp_path, "pareto", entries(load_jobs(tmp_path / "runs")))
    row = _read(drawn.csv)[1]
    assert row["STOI (%)"] == "80" and float(row["bytes_file (MB)"]) == pytest.approx(
        2100 / 2**20, rel=1e-5
    )
    assert "4: FDNN compressed" in drawn.caption


def test_one_size_is_no_sweep(make_run, tmp_path) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5).size("compressed")
    assert pareto_figure(tmp_path, "pareto", entries(load_jobs(run.folder))) is None


def test_models_no_better_than_their_input_stand_on_no_front(make_run, tmp_path) -> None:
    for place, (size, stoi) in enumerate([(10, 0.4), (2000, 0.7), (3000, 0.6)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place}).scores(
            "mixture", 0.4, 1.2
        )
        run.scores("compressed", stoi, 0.8 + stoi).size("compressed", paper=size)
    found = entries(load_jobs(run.folder.parent))
    _, points = points_of(found)
    assert [point.mark for point in points] == ["no better than mixture", "", ""]
    assert [point.number for point in front(points, "stoi")] == [2]
    drawn = pareto_figure(tmp_path, "pareto", found)
    assert [row["remark"] for row in _read(drawn.csv)] == ["no better than mixture", "", ""]
    assert "Hollow: no better" in drawn.caption


def test_models_of_two_corpora_share_no_front(make_run, tmp_path) -> None:
    for place, size in enumerate((1000, 2000, 3000, 4000)):
        stamp = {"corpus": "speech", "corpus_fingerprint": "ab"[place % 2] * 20}
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5 + 0.1 * place, 1.5, **stamp).size("compressed", paper=size)
    drawn = pareto_figures(tmp_path, "pareto", entries(load_jobs(run.folder.parent)))
    assert [figure.csv.name for figure in drawn] == ["pareto-1-speech.csv", "pareto-2-speech.csv"]
    assert [[row["STOI (%)"] for row in _read(figure.csv)] for figure in drawn] == [
        ["60", "80"],
        ["70", "90"],
    ]
    assert ["a" * 12 in figure.caption for figure in drawn] == [True, False]


def test_means_over_other_conditions_are_not_compared(make_run, tmp_path) -> None:
    for place, (size, snrs) in enumerate(
        [(1000, (-5.0, 0.0)), (500, (0.0,)), (2000, (-5.0, 0.0))]
    ):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5 + 0.1 * place, 1.5, snrs=snrs).size("compressed", paper=size)
    found = entries(load_jobs(run.folder.parent))
    assert [point.entry.config["pipeline.sparsity"] for point in points_of(found)[1]] == ["0", "2"]
    assert (
        "not scored under all conditions: 1." in pareto_figure(tmp_path, "pareto", found).caption
    )


def test_a_smaller_distance_is_on_the_front(make_run) -> None:
    for place, (size, distance) in enumerate([(1000, 0.5), (2000, 0.3), (3000, 0.4)]):
        run = make_run(f"s{place}", pipeline_config={"sparsity": place})
        run.scores("compressed", 0.5, 1.5, metrics={"lsd": distance}).size(
            "compressed", paper=size
        )
    _, points = points_of(entries(load_jobs(run.folder.parent)))
    assert [point.number for point in front(points, "lsd")] == [1, 2]


def test_panels_are_lettered_by_their_place_in_the_paper() -> None:
    assert lettered(["one", "two"]) == ("(a) one", "(b) two")


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


def test_a_spectrogram_shows_the_tone_where_it_is(make_run, tmp_path) -> None:
    run = make_run("a")
    folder = run.folder / "audio" / "street"
    folder.mkdir(parents=True)
    tone = (
        0.25 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000) + 0.5
    )  # a constant offset must not count as loud
    for version, gain in (("noisy", 0.1), ("clean", 1.0)):
        soundfile.write(folder / f"x_{version}.flac", gain * tone, 16000)
    drawn = spectrogram_figure(tmp_path, "sp", clips(load_jobs(run.folder))[0])
    rows = _read(drawn.csv)
    assert {row["version"] for row in rows} == {"noisy", "clean"} and len(rows) == 200
    frame = next(row for row in rows if row["version"] == "clean" and row["time_s"] == "0.500")
    levels = {
        int(name.split()[0]): float(value) for name, value in frame.items() if name.endswith("Hz")
    }
    assert (
        max(levels, key=levels.get) == 2000
        and levels[2000] == pytest.approx(0.0, abs=0.2)
        and levels[6000] == -60
    )
    quiet = next(row for row in rows if row["version"] == "noisy" and row["time_s"] == "0.500")
    assert float(quiet["2000 Hz"]) == pytest.approx(-20.0, abs=0.3)
