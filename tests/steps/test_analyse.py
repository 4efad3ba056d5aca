"""Curves against any validation score and the budget step: what they write, that nothing changes by itself, and resumption."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import ToyData, ToyModel, ToySet, ToyTask

from audioprune import interrupts, packing
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.experiment.run import Run
from audioprune.files import read_lines
from audioprune.steps import FitBudget, SensitivityCurves, Train
from audioprune.steps.analyse import fractions_of
from audioprune.steps.validation import Validation
from audioprune.training.settings import Settings

BETAS = [0.0, 0.25, 0.5, 1.0]


class _SignalSet(ToySet):
    """Each item is also a signal: 200 frames of four noisy samples for two clean ones each."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(index)
        frames = torch.randn(200, 4, generator=draw)
        clean = torch.stack([frames.sum(1), frames[:, 0] - frames[:, 1]], 1)
        return {**super().__getitem__(index), "noisy": frames.flatten(), "clean": clean.flatten()}


class _Data(ToyData):
    def valid(self) -> ToySet:
        return _SignalSet(12, 1)

    def scale(self) -> str:
        return "toy points"


class _Task(ToyTask):
    sample_rate = 16000

    def validation_loss(
        self, model: nn.Module, dataset: ToySet, collate: Any, items: int | None
    ) -> BatchLoss:
        batch = collate([dataset[index] for index in range(items or len(dataset))])
        return BatchLoss(
            model, [(batch["x"], lambda output: (output - batch["y"]).square().mean(), 1.0)]
        )

    def enhance(self, model: nn.Module, noisy: Tensor) -> Tensor:
        return model(noisy.view(1, -1, 4)).flatten(1)


@pytest.fixture(autouse=True)
def quiet():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    interrupts._requested.clear()


def _run(folder: Path, trained: bool = True) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    runtime = {
        "device": "cpu",
        "workers": 0,
        "save_every_s": 1000.0,
        "tensorboard": False,
        "metric_workers": 0,
    }
    runtime["cache"] = str(folder / "cache")
    config = {
        "seed": 0,
        "scale": "toy",
        "runtime": runtime,
        "task": {},
        "pipeline": {"name": "budget"},
        "scoring": {},
    }
    settings = Settings(epochs=30, batch_size=8, learning_rate=0.02, schedule="constant")
    parts = {
        "model": ToyModel(),
        "model_config": {"name": "toy", "_target_": "toys.ToyModel"},
        "data": _Data(),
        "task": _Task(),
    }
    run = Run(config=config, folder=folder, settings=settings, task_config={}, **parts)
    if trained:
        Train().run(run, "train")
    return run


def _csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def _bits(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def test_curves_are_written_for_every_metric_and_change_nothing(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = _bits(run.model)
    SensitivityCurves(["loss", "si_sdr"], betas=BETAS).run(run, "curves")
    assert _bits(run.model) == before and run.mask is None
    base = {}
    for metric, sign in (("loss", 1), ("si_sdr", -1)):
        rows = _csv(tmp_path / f"curves-{metric}.csv")
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


def test_the_analysis_in_distillers_shape(tmp_path: Path) -> None:
    run = _run(tmp_path)
    SensitivityCurves(
        ["loss", "l1", "si_sdr"], group="filter", sense_range=[0.25, 0.95, 0.25]
    ).run(run, "curves")
    table = _csv(tmp_path / "sensitivity.csv")
    assert list(table[0]) == ["parameter", "sparsity", "l1", "si_sdr", "loss"]
    assert [row["sparsity"] for row in table[:4]] == ["0.0", "0.25", "0.5", "0.75"] and len(
        table
    ) == 8
    rows = _csv(tmp_path / "curves-l1.csv")
    assert [row["removed"] for row in rows[:4]] == ["0", "2", "4", "6"] and float(
        rows[3]["degradation"]
    ) > 0
    channels = _run(tmp_path / "channels")
    SensitivityCurves(["loss"], group="channel", sense_range=[0.0, 1.0, 0.5]).run(
        channels, "curves"
    )
    assert [row["removed"] for row in _csv(tmp_path / "channels/curves-loss.csv")] == [
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
    run = _run(tmp_path)
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
    step.run(_run(tmp_path / "whole"), "curves")
    run = _run(tmp_path / "cut")
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


@pytest.mark.parametrize(("structured", "epochs"), [(False, 0), (True, 0), (False, 2)])
def test_the_budget_is_kept_and_the_chosen_file_is_the_run_s_model(
    tmp_path: Path, structured: bool, epochs: int
) -> None:
    run = _run(tmp_path)
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
    rows = _csv(tmp_path / "budget.csv")
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
    assert {each["tensor"] for each in _csv(tmp_path / "budget_plan.csv")} == {
        "first.weight",
        "last.weight",
    }
    assert bool(
        [each for each in run.results.of_kind("train") if each["key"].startswith("budget/")]
    ) == bool(epochs)
    step.cleanup(run, "budget")
    assert not list(tmp_path.glob("training/budget*/*.apz"))


def test_rows_say_over_how_many_items_their_means_run(tmp_path: Path) -> None:
    run = _run(tmp_path)
    SensitivityCurves(["loss"], items=5, betas=BETAS).run(run, "curves")
    FitBudget("si_sdr", 1.0, candidates=2, items=40, betas=BETAS, levels=[4]).run(run, "budget")
    curves, budget = run.results.rows["curves"], run.results.rows["budget"]
    assert (curves["items"], curves["items_of"], curves["items_scored"]) == (5, 12, {"loss": 5})
    assert (budget["items"], budget["items_of"], budget["items_scored"]) == (
        12,
        12,
        {"si_sdr": 12},
    )


def test_an_interrupted_budget_ends_the_same_without_building_twice(tmp_path: Path) -> None:
    step = FitBudget("loss", 0.2, candidates=4, betas=BETAS, finetune_epochs=2)
    whole = _run(tmp_path / "whole")
    step.run(whole, "budget")
    cut = _run(tmp_path / "cut")
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
    assert _bits(cut.model) == _bits(whole.model)


def test_a_budget_that_nothing_pruned_meets_keeps_the_unpruned_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path)
    measure = Validation.worse
    monkeypatch.setattr(
        Validation,
        "worse",
        lambda self, metric, value, base: measure(self, metric, value, base) and 5.0,
    )
    before = _bits(run.model)
    FitBudget("loss", 0.0, candidates=3, betas=BETAS).run(run, "budget")
    row = run.results.rows["budget"]
    assert not row["pruned_fits"] and "no pruned model fits" in row["note"]
    assert row["candidate"] in ("dense", "quantised") and row["sparsity"] == 0.0
    assert row["candidate"] == "quantised" or _bits(run.model) == before


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
        step().check(_run(tmp_path, trained=False))


def test_a_task_without_signals_has_only_its_loss(tmp_path: Path) -> None:
    run = _run(tmp_path, trained=False)
    run.task = ToyTask()
    with pytest.raises(
        ConfigError, match="metrics: expected loss, as ToyTask makes no interrupts, got stoi"
    ):
        Validation(run, ["stoi"])
