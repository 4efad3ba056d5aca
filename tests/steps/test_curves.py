"""Curves against any validation score: what they write, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from signal_toys import bits, signal_run
from torch import nn
from toys import ToyTask

from audioprune import interrupts
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.files import read_lines
from audioprune.records import read_csv
from audioprune.steps import FitBudget, SensitivityCurves
from audioprune.steps.curves import fractions_of
from audioprune.steps.validation import Validation

pytestmark = pytest.mark.usefixtures("one_thread")

BETAS = [0.0, 0.25, 0.5, 1.0]


def test_curves_are_written_for_every_metric_and_change_nothing(tmp_path: Path) -> None:
    run = signal_run(tmp_path)
    before = bits(run.model)
    SensitivityCurves(["loss", "si_sdr"], betas=BETAS).run(run, "curves")
    assert bits(run.model) == before and run.mask is None
    base = {}
    for metric, sign in (("loss", 1), ("si_sdr", -1)):
        rows = read_csv(tmp_path / f"curves-{metric}.csv")
        assert [row["tensor"] for row in rows] == ["first.weight"] * 4 + ["last.weight"] * 4
        assert [row["removed"] for row in rows[:4]] == ["0", "8", "16", "32"]
        base[metric] = float(rows[0]["value"])
        for row in rows:
            if row["value"]:
                assert float(row["degradation"]) == pytest.approx(
                    sign * (float(row["value"]) - base[metric])
                )
        assert float(rows[2]["degradation"]) > 0
    with Validation(run, ["loss", "si_sdr"]) as validation:
        assert validation.of(run.model) == pytest.approx(base)


@pytest.mark.slow
def test_the_analysis_in_distillers_shape(tmp_path: Path) -> None:
    run = signal_run(tmp_path)
    SensitivityCurves(
        ["loss", "l1", "si_sdr"], group="filter", sense_range=[0.25, 0.95, 0.25]
    ).run(run, "curves")
    table = read_csv(tmp_path / "sensitivity.csv")
    assert list(table[0]) == ["parameter", "sparsity", "l1", "si_sdr", "loss"]
    assert [row["sparsity"] for row in table[:4]] == ["0.0", "0.25", "0.5", "0.75"] and len(
        table
    ) == 8
    rows = read_csv(tmp_path / "curves-l1.csv")
    assert [row["removed"] for row in rows[:4]] == ["0", "2", "4", "6"] and float(
        rows[3]["degradation"]
    ) > 0
    channels = signal_run(tmp_path / "channels")
    SensitivityCurves(["loss"], group="channel", sense_range=[0.0, 1.0, 0.5]).run(
        channels, "curves"
    )
    assert [row["removed"] for row in read_csv(tmp_path / "channels/curves-loss.csv")] == [
        "0",
        "2",
        "0",
        "4",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0.0, 0.95, 0.05), 19),
        ((0, 1, 0.1), 10),
        ((0.5, 0.6, 0.05), 3),
        ((0.0, 1.05, 0.05), 21),
        ((0.0, 0.3, 0.1), 3),
    ],
)
def test_ranges_end_before_their_end(given: tuple[float, ...], expected: int) -> None:
    found = fractions_of(given)
    assert (
        len(found) == expected and found[0] == 0 and found == sorted(set(found)) and found[-1] <= 1
    )


def test_wrong_ranges_and_groups_are_refused() -> None:
    for given in ([0, 1], [0.5, 0.5, 0.1], [-0.1, 1, 0.1], [0, 1, 0]):
        with pytest.raises(ConfigError, match="sense_range: expected start, end and step"):
            SensitivityCurves(sense_range=given)
    with pytest.raises(ConfigError, match="unknown group 'filtr'; closest: filter"):
        SensitivityCurves(group="filtr")
    with pytest.raises(ConfigError, match="expected betas or sense_range, got both"):
        SensitivityCurves(betas=[0.0], sense_range=[0, 1, 0.5])


def test_a_model_that_cannot_be_scored_has_no_value_and_an_infinite_degradation(
    tmp_path: Path,
) -> None:
    run = signal_run(tmp_path)
    with Validation(run, ["si_sdr"], items=4) as validation:
        assert validation.of(run.model)["si_sdr"] > 3
        for parameter in run.model.parameters():
            parameter.data.zero_()
        silent = validation.of(run.model)["si_sdr"]
    assert silent != silent and validation.worse("si_sdr", silent, 3.0) == float("inf")


def test_interrupted_curves_go_on_behind_the_last_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SensitivityCurves(["loss"], betas=BETAS)
    step.run(signal_run(tmp_path / "whole"), "curves")
    run = signal_run(tmp_path / "cut")
    asked: list[str | None] = []
    stops = ["last.weight"]
    measure = Validation.with_tensor

    def watched(self: Validation, model: nn.Module, name: str | None) -> dict[str, float]:
        if name in stops:
            stops.clear()
            interrupts._requested.set()
        asked.append(name)
        return measure(self, model, name)

    monkeypatch.setattr(Validation, "with_tensor", watched)
    with pytest.raises(InterruptedRun):
        step.run(run, "curves")
    assert [row["tensor"] for row in read_lines(tmp_path / "cut/training/curves.jsonl")] == [
        "first.weight"
    ]
    interrupts._requested.clear()
    asked.clear()
    step.run(run, "curves")
    assert "first.weight" not in asked and "last.weight" in asked
    assert (tmp_path / "cut/curves-loss.csv").read_bytes() == (
        tmp_path / "whole/curves-loss.csv"
    ).read_bytes()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda: SensitivityCurves(["stoy"]), "unknown metric 'stoy'; closest: stoi"),
        (lambda: SensitivityCurves([]), "expected one or more different ones"),
        (lambda: SensitivityCurves(["loss", "loss"]), "expected one or more different ones"),
        (lambda: FitBudget("loss", -1.0), "max_drop: expected a finite number >= 0"),
        (lambda: SensitivityCurves(["loss"], betas=[0.5, 0.1]), "betas: expected ascending"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, step: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        step().check(signal_run(tmp_path, trained=False))


def test_a_task_without_signals_has_only_its_loss(tmp_path: Path) -> None:
    run = signal_run(tmp_path, trained=False)
    run.task = ToyTask()
    with pytest.raises(
        ConfigError, match="metrics: expected loss, as ToyTask makes no signals, got stoi"
    ):
        Validation(run, ["stoi"])
