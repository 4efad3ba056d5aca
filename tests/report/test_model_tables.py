"""The tables of any runs: all models, every condition, iterations, scores in long form."""

from __future__ import annotations

import csv
import io
import json

from audioprune.report.model_tables import (
    condition_table,
    iteration_table,
    score_table,
    scores_csv,
)
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import (
    to_markdown,
)


def test_the_table_of_all_models(make_run) -> None:
    for seed in (0, 1):
        run = make_run(f"a{seed}", seed=seed, pipeline_config={"k": 2}).scores("mixture", 0.5, 1.4)
        run.scores("compressed", 0.6 + 0.02 * seed, 1.6).size("uncompressed").size(
            "compressed", nonzero=500, paper=800
        )
    make_run("b", "lstm", pipeline_config={"k": 3}).status("failed", "disk | full")
    table = score_table(final(entries(load_jobs(run.folder.parent))))
    rows = {row["title"]: row for row in table.rows}
    assert list(rows) == ["Mixture", "FDNN uncompressed", "FDNN compressed", "LSTM FAILED"]
    headers = [column.header for column in table.columns]
    assert headers[:5] == [
        "Model",
        "pipeline.k",
        "STOI -5 dB (%)",
        "STOI 0 dB (%)",
        "STOI 5 dB (%)",
    ]
    assert headers[-3:] == ["Seeds", "Status", "Scale"]
    text = to_markdown(table)
    assert (
        "61.00 ± 1.41" in text
        and "5.0x" in text
        and "desk; 20 mixtures; width 64, not a reproduction" in text
    )
    assert any("standard deviation of the sample" in note for note in table.notes)
    assert (
        rows["LSTM FAILED"]["status"] == "disk | full" and rows["LSTM FAILED"]["stoi@-5.0"] == "-"
    )
    assert r"disk \| full" in text and rows["Mixture"]["status"] == "finished"
    assert rows["FDNN uncompressed"]["stoi@0.0"].reason == "not measured"
    assert all(row["scale"] for row in table.rows)


def test_the_table_names_quantizers_where_a_row_does(make_run) -> None:
    run = make_run("a").scores("mixture", 0.5, 1.4).scores("compressed", 0.6, 1.6)
    run.scores("uncompressed", 0.6, 1.6).size("uncompressed")
    run.size("compressed", quantizer="uniform, 4 bits, per channel", bits=4.0)
    table = score_table(final(entries(load_jobs(run.folder.parent))))
    assert [column.header for column in table.columns][-4:-2] == ["Quantizer", "Bits"]
    found = {row["title"]: (row["quantizer"], row["bits"]) for row in table.rows}
    assert found == {
        "Mixture": ("-", "-"),
        "FDNN uncompressed": ("-", "-"),
        "FDNN compressed": ("uniform, 4 bits, per channel", "4"),
    }


def test_scores_without_snr_and_of_other_metrics(make_run) -> None:
    run = make_run("a", "vgg")
    run.row(
        key="e/test",
        kind="score",
        label="VGG",
        variant="compressed",
        condition="test",
        metrics={"accuracy": 0.625, "own": 2.0},
    )
    table = score_table(final(entries(load_jobs(run.folder))))
    assert [column.header for column in table.columns[:3]] == ["Model", "Accuracy (%)", "own"]
    assert "62.50" in to_markdown(table) and "2.0000" in to_markdown(table)


def test_every_condition_and_every_iteration(make_run) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.6)
    run.row(
        key="c/0/p",
        kind="iteration",
        label="FDNN",
        iteration=1,
        remaining_share=0.5,
        loss_base=0.1,
        loss_valid=0.12,
        alpha_1=0.01,
    )
    jobs = load_jobs(run.folder)
    table = condition_table(entries(jobs))
    assert (
        len(table.rows) == 6
        and table.rows[0]["noise"] == "babble"
        and table.rows[0]["snr"] == "-5 dB"
    )
    assert "0.020000" in to_markdown(iteration_table(jobs))


def test_scores_in_long_form(make_run) -> None:
    run = make_run("a", seed=4).scores(
        "compressed", 0.6, 1.6, snrs=(0.0,), n_valid={"stoi": 10, "pesq_raw_nb": 7}
    )
    rows = list(csv.DictReader(io.StringIO(scores_csv(load_jobs(run.folder)))))
    assert len(rows) == 4
    pesq = next(
        row for row in rows if row["noise"] == "cafeteria" and row["metric"] == "pesq_raw_nb"
    )
    assert (pesq["model"], pesq["variant"], pesq["snr_db"], pesq["mean"], pesq["std"]) == (
        "fdnn",
        "compressed",
        "0",
        "1.6",
        "0.2",
    )
    assert (pesq["n"], pesq["n_nan"], pesq["seed"], pesq["unit"]) == ("10", "3", "4", "MOS")
    assert pesq["scale"].endswith("not a reproduction")


def test_a_model_no_better_than_its_input_is_marked_in_every_table(make_run) -> None:
    run = (
        make_run("a")
        .scores("mixture", 0.5, 1.4)
        .scores("uncompressed", 0.7, 1.9)
        .size("uncompressed")
    )
    run.scores("pruned", 0.5, 1.4, step="compress/0/score").scores("compressed", 0.5, 1.4).size(
        "compressed", nonzero=0, paper=1
    )
    run.row(key="compress/0/p", kind="iteration", label="FDNN", iteration=1, remaining_share=0.0)
    jobs = load_jobs(run.folder)
    table = score_table(final(entries(jobs)))
    marks = {row["title"]: row["remark"] for row in table.rows}
    assert marks == {
        "Mixture": "-",
        "FDNN uncompressed": "-",
        "FDNN pruned": "no better than mixture",
        "FDNN compressed": "no better than mixture",
    }
    assert "no better than mixture" in to_markdown(table) and any(
        "no front and in no claim" in note for note in table.notes
    )
    assert "no better than mixture" in to_markdown(condition_table(entries(jobs)))
    assert [row["remark"] for row in iteration_table(jobs).rows] == ["no better than mixture"]
    long = list(csv.DictReader(io.StringIO(scores_csv(jobs))))
    assert {row["variant"] for row in long if row["remark"] == "no better than mixture"} == {
        "pruned",
        "compressed",
    }


def test_a_custom_scale_names_the_keys_that_differ(make_run) -> None:
    run = make_run("a", scale="custom; speech; width 4").scores(
        "compressed", 0.6, 1.6, label="FDNN width 4"
    )
    info = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(
        json.dumps({**info, "scale_differs": ["model.width", "training.epochs"]})
    )
    note = "Scale custom: FDNN width 4 differs from its preset in model.width, training.epochs."
    jobs = load_jobs(run.folder)
    assert (
        note in score_table(entries(jobs)).notes and note in condition_table(entries(jobs)).notes
    )


def test_the_note_on_the_tolerance_goes_by_the_numbers(make_run) -> None:
    run = make_run("a")
    for place, after in enumerate((0.12, 0.105)):
        row = {
            "key": f"c/{place}/p",
            "kind": "iteration",
            "iteration": place + 1,
            "loss_base": 0.1,
            "loss_valid": after,
        }
        run.row(**row, alpha_1=0.01)
    note = iteration_table(load_jobs(run.folder)).notes[0]
    assert "in 1 of 2 iterations" in note and "a unit with all the tensors it spans" in note
    run = make_run("b").row(key="c/0/p", kind="iteration", iteration=1, remaining_share=0.5)
    assert iteration_table(load_jobs(run.folder)).notes == ()


def test_a_mean_over_fewer_noises_than_the_others_says_so(make_run) -> None:
    make_run("a").scores("compressed", 0.6, 1.6)
    run = make_run("b", "lstm").scores("compressed", 0.7, 1.6, noises=("babble",))
    rows = {row["title"]: row for row in score_table(entries(load_jobs(run.folder.parent))).rows}
    assert rows["LSTM compressed"]["stoi@0.0"].reason == "mean over babble only"
    assert rows["FDNN compressed"]["stoi@0.0"].reason == ""
