"""What the budget step chooses and writes, and that it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from signal_toys import bits, signal_run

from audioprune import interrupts, packing
from audioprune.errors import InterruptedRun
from audioprune.records import read_csv
from audioprune.steps import FitBudget, SensitivityCurves
from audioprune.steps.validation import Validation

pytestmark = pytest.mark.usefixtures("one_thread")

BETAS = [0.0, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("structured", "epochs"),
    [(False, 0), (True, 0), pytest.param(False, 2, marks=pytest.mark.slow)],
)
def test_the_budget_is_kept_and_the_chosen_file_is_the_run_s_model(
    tmp_path: Path, structured: bool, epochs: int
) -> None:
    run = signal_run(tmp_path)
    with Validation(run, ["si_sdr"]) as validation:
        before = validation.of(run.model)["si_sdr"]
    step = FitBudget(
        "si_sdr",
        1.0,
        candidates=5,
        levels=[2, 4, 8, 16, 32],
        structured=structured,
        finetune_epochs=epochs,
    )
    step.run(run, "budget")
    row = run.results.rows["budget"]
    rows = read_csv(tmp_path / "budget.csv")
    chosen = [each for each in rows if each["chosen"] == "True"]
    assert (
        len(chosen) == 1
        and chosen[0]["fits"] == "True"
        and row["candidate"] == chosen[0]["candidate"]
    )
    with Validation(run, ["si_sdr"]) as validation:
        drop = before - validation.of(run.model)["si_sdr"]
    assert (
        drop <= 1.0
        and drop == pytest.approx(row["drop"], abs=1e-9)
        and row["value_before"] == pytest.approx(before)
    )
    fitting = [int(each["bytes"]) for each in rows if float(each["drop"] or "inf") <= 1.0]
    assert row["bytes_file"] == min(fitting) < row["bytes_before"]
    assert (
        row["sparsity"] == pytest.approx(1 - run.mask.density())
        and row["pruned_fits"]
        and row["note"] == ""
    )
    packed = packing.unpack(tmp_path / f"training/budget-candidates/{row['candidate']}.apz")
    assert all(
        torch.equal(packed.state[name], value) for name, value in run.model.state_dict().items()
    )
    assert {each["tensor"] for each in read_csv(tmp_path / "budget_plan.csv")} == {
        "first.weight",
        "last.weight",
    }
    assert bool(
        [each for each in run.results.of_kind("train") if each["key"].startswith("budget/")]
    ) == bool(epochs)
    step.cleanup(run, "budget")
    assert not list(tmp_path.glob("training/budget*/*.apz"))


def test_rows_say_over_how_many_items_their_means_run(tmp_path: Path) -> None:
    run = signal_run(tmp_path)
    SensitivityCurves(["loss"], items=5, betas=BETAS).run(run, "curves")
    FitBudget("si_sdr", 1.0, candidates=2, items=40, betas=BETAS, levels=[4]).run(run, "budget")
    curves, budget = run.results.rows["curves"], run.results.rows["budget"]
    assert (curves["items"], curves["items_of"], curves["items_scored"]) == (5, 12, {"loss": 5})
    assert (budget["items"], budget["items_of"], budget["items_scored"]) == (
        12,
        12,
        {"si_sdr": 12},
    )


@pytest.mark.slow
def test_an_interrupted_budget_ends_the_same_without_building_twice(tmp_path: Path) -> None:
    step = FitBudget("loss", 0.2, candidates=4, betas=BETAS, finetune_epochs=2)
    whole = signal_run(tmp_path / "whole")
    step.run(whole, "budget")
    cut = signal_run(tmp_path / "cut")
    cut.task.stop_at = cut.task.steps + 3  # within the fine-tuning of the first candidate
    with pytest.raises(InterruptedRun):
        step.run(cut, "budget")
    interrupts._requested.clear()
    cut.task.stop_at = None
    done = {
        file.name: file.stat().st_mtime_ns
        for file in (tmp_path / "cut/training/budget-candidates").glob("*.apz")
    }
    assert "dense.apz" in done and cut.mask is None
    step.run(cut, "budget")
    again = {
        file.name: file.stat().st_mtime_ns
        for file in (tmp_path / "cut/training/budget-candidates").glob("*.apz")
    }
    assert done.items() <= again.items()
    for name in ("budget.csv", "budget_plan.csv", "curves-loss.csv", "level-curves-loss.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert bits(cut.model) == bits(whole.model)


def test_a_budget_that_nothing_pruned_meets_keeps_the_unpruned_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = signal_run(tmp_path)
    measure = Validation.worse
    monkeypatch.setattr(
        Validation,
        "worse",
        lambda self, metric, value, base: measure(self, metric, value, base) and 5.0,
    )
    before = bits(run.model)
    FitBudget("loss", 0.0, candidates=3, betas=BETAS).run(run, "budget")
    row = run.results.rows["budget"]
    assert not row["pruned_fits"] and "no pruned model fits" in row["note"]
    assert row["candidate"] in ("dense", "quantised") and row["sparsity"] == 0.0
    assert row["candidate"] == "quantised" or bits(run.model) == before
