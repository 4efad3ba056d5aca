"""The report of sensitivity curves and budget searches: read, drawn, tabulated, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import same_bytes

from audioprune.errors import DataError
from audioprune.report import write_report
from audioprune.report.figures.curves import budget_table, read_curves
from audioprune.report.runs.job import load_jobs

BUDGET = """candidate,tau,drop,bytes,sparsity,fits,chosen
dense,,0.0,400000,0.0,True,False
tau-9,0.01,0.03,90000,0.7,True,True
tau-30,0.05,0.4,40000,0.9,False,False
tau-12,0.02,,60000,0.8,False,False
"""


def _curves(folder: Path, metric: str, tensors: int = 3) -> None:
    lines = ["tensor,beta,removed,value,degradation"]
    for tensor in range(tensors):
        lines += [
            f"layers.{tensor}.weight,{beta / 4},{beta},{0.8 - beta**2 / 100},{beta**2 / 100}"
            for beta in range(4)
        ]
        lines.append(f"layers.{tensor}.weight,1.0,4,,")
    (folder / f"curves-{metric}.csv").write_text("\n".join([*lines, "broken,,,,"]) + "\n")


def _budget(run) -> None:
    (run.folder / "budget.csv").write_text(BUDGET)
    row = {
        "key": "budget",
        "kind": "budget",
        "label": "FDNN",
        "metric": "pesq_raw_nb",
        "max_drop": 0.05,
        "value_before": 2.0,
        "drop": 0.03,
    }
    run.row(
        **row,
        bytes_file=90000,
        bytes_before=400000,
        sparsity=0.7,
        candidates=4,
        pruned_fits=True,
        note="",
    )


def test_curves_are_read_with_their_gaps(make_run) -> None:
    run = make_run("a")
    _curves(run.folder, "stoi")
    found = read_curves(load_jobs(run.folder)[0])
    assert list(found) == ["stoi"] and [each.tensor for each in found["stoi"]] == [
        f"layers.{place}.weight" for place in range(3)
    ]
    assert found["stoi"][0].beta == (0.0, 0.25, 0.5, 0.75, 1.0) and found["stoi"][
        0
    ].degradation == (0.0, 0.01, 0.04, 0.09, None)


def test_everything_is_drawn_and_drawn_alike_again(make_run, tmp_path) -> None:
    run = make_run("a")
    _curves(run.folder, "stoi")
    _curves(run.folder, "loss", 6)
    _budget(run)
    files = write_report(run.folder, tmp_path / "out", "curves")
    names = [file.name for file in files]
    assert names[:4] == ["budget.md", "budget.csv", "budget.tex", "budget.json"]
    drawn = [
        f"{stem}.{ending}"
        for stem in ("curves-1-a-loss", "curves-1-a-stoi", "budget-1-a")
        for ending in ("png", "svg", "pdf", "csv")
    ]
    assert names[4:] == drawn
    assert (tmp_path / "out/figures/curves-1-a-stoi.csv").read_text().splitlines()[
        5
    ] == "layers.0.weight,1,"
    again = write_report(run.folder, tmp_path / "again", "curves")
    assert [same_bytes(file) for file in files] == [same_bytes(file) for file in again]


def test_the_table_tells_allowed_and_measured_drop(make_run) -> None:
    run = make_run("a")
    _budget(run)
    table = budget_table(load_jobs(run.folder))
    assert (
        table.rows[0]["metric"] == "PESQ (raw NB)"
        and table.rows[0]["drop"] == 0.03
        and table.rows[0]["name"] == "a"
    )


def test_runs_without_either_are_refused(make_run, tmp_path) -> None:
    with pytest.raises(DataError, match="pipeline=curves or pipeline=budget, got none"):
        write_report(make_run("a").folder, tmp_path / "out", "curves")
    assert not (tmp_path / "out").exists()


def test_a_search_says_on_what_it_was_measured_and_by_which_network(make_run) -> None:
    run = (
        make_run("a", scale="custom; width 2048")
        .scores("mixture", 0.5, 1.4)
        .scores("compressed", 0.5, 1.4)
    )
    row = {
        "key": "b",
        "kind": "budget",
        "label": "FDNN",
        "metric": "stoi",
        "max_drop": 0.05,
        "drop": 0.0,
        "scale": "custom; width 4",
    }
    run.row(**row, items=2).row(**{**row, "key": "c"}, items=None)
    table = budget_table(load_jobs(run.folder))
    assert [row["items"] for row in table.rows] == [
        "2 items of the validation set",
        "the validation set",
    ]
    assert table.rows[0]["scale"] == "custom; width 4, not a reproduction"
    assert table.rows[0]["remark"] == "no better than mixture" and "Remark" in [
        column.title for column in table.columns
    ]
