"""Every step that removes units does so for a network that says nothing of its units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from distiller_toys import one
from tiny_runs import MyNet, config, open_run, rows, start, step
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.records import read_csv
from audioprune.steps import (
    FitBudget,
    Prune,
    PruneUnits,
    SensitivityCurves,
    SensitivityPrune,
    Train,
    TrainScheduled,
    Trim,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Skips(MyNet):
    """Two layers that write the same units, which two others read; it declares none of them."""

    def __init__(self) -> None:
        super().__init__(width=6)
        self.deep = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 17)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.inner(x))
        hidden = hidden + torch.relu(self.deep(hidden))
        return torch.sigmoid(self.outer(hidden)) * torch.sigmoid(self.gate(hidden))


class Narrow(MyNet):
    """A network of one hidden unit, which has to stay."""

    def __init__(self) -> None:
        super().__init__(width=1)


MODEL = {"name": "own", "_target_": f"{__name__}.Skips"}


def _run(folder: Path, name: str = f"{__name__}.Skips") -> Run:
    model = {"name": "own", "_target_": name}
    return open_run(folder / "r", config({}, folder / "c", model=model))


def _widths(model: nn.Module) -> tuple[int, ...]:
    return tuple(layer.weight.shape[1] for layer in (model.deep, model.outer, model.gate))


def _trimmed(run: Run, path: str) -> dict[str, Any]:
    row = run.results.rows[path]
    assert row["max_difference"] <= 1e-5 and row["params_after"] < row["params_before"]
    return row


def test_trim_and_sensitivity_by_unit(tmp_path: Path) -> None:
    run = _run(tmp_path)
    Train(lambda_2=0.01, unit_groups=True, epochs=1).run(run, "train")
    SensitivityPrune(structured=True, unit_groups=True, alpha_1=1e9).run(run, "prune")
    Trim().run(run, "trim")
    assert set(_trimmed(run, "trim")["units_after"].values()) == {1}
    assert _widths(run.model) == (1, 1, 1)


@pytest.mark.parametrize(
    ("scope", "counted", "share"), [("local", "units", 1 / 3), ("global", "weights", 0.3)]
)
def test_units_by_their_weights(tmp_path: Path, scope: str, counted: str, share: float) -> None:
    run = _run(tmp_path)
    with torch.no_grad():  # the units 1 and 4 are the weakest
        for name in ("inner", "deep"):
            layer = getattr(run.model, name)
            layer.weight[[1, 4]] *= 0.01
            layer.bias[[1, 4]] *= 0.01
    kept = run.model.outer.weight.detach()[:, [0, 2, 3, 5]].clone()
    PruneUnits(scope=scope, counted=counted, fraction=share).run(run, "prune")
    _trimmed(run, "prune")
    assert _widths(run.model) == (4, 4, 4) and torch.equal(run.model.outer.weight, kept)


def test_units_leave_with_their_masks(tmp_path: Path) -> None:
    run = _run(tmp_path)
    Prune(sparsity=0.5).run(run, "weights")
    before = run.mask
    PruneUnits(fraction=0.3).run(run, "units")
    assert before is not None and run.mask is not None
    shapes = {name: value.shape for name, value in run.model.named_parameters()}
    assert all(keep.shape == shapes[name] for name, keep in run.mask.items())


def test_half_space_training(tmp_path: Path) -> None:
    steps = {
        "train": step("TrainSparse", lmbda=2.0, prox_epochs=1, target_group_sparsity=0.5),
        "trim": step("TrimGroups"),
    }
    start(tmp_path / "r", config(steps, tmp_path / "c", model=MODEL))
    row = next(row for row in rows(tmp_path / "r") if row["kind"] == "groups")
    assert row["removed"] > 0 and row["max_difference"] <= 1e-5


def test_a_lottery(tmp_path: Path) -> None:
    steps = {
        "train": step("LotteryTrain"),
        "prune": step("LotteryPrune", criterion="magnitude", min_units=1),
        "reset": step("Rewind", reset="rewind"),
    }
    start(tmp_path / "r", config(steps, tmp_path / "c", model=MODEL, training={"epochs": 1}))
    row = next(row for row in rows(tmp_path / "r") if row["kind"] == "ticket")
    assert row["params"] <= 0.75 * sum(each.numel() for each in Skips().parameters())


def test_a_budget(tmp_path: Path) -> None:
    wish = {"max_drop": 1e9, "candidates": 2, "betas": [0, 0.5], "levels": [4], "structured": True}
    steps = {"budget": step("FitBudget", **wish)}
    start(tmp_path / "r", config(steps, tmp_path / "c", model=MODEL))
    row = next(row for row in rows(tmp_path / "r") if row["kind"] == "budget")
    assert row["pruned_fits"] and row["bytes_file"] < row["bytes_before"]


def test_a_schedule_that_removes_filters(tmp_path: Path) -> None:
    run = _run(tmp_path, "tiny_runs.MyNet")
    wish = {"group_type": "Filters", "desired_sparsity": 0.5, "weights": ["inner.weight"]}
    values = one("L1RankedStructureParameterPruner", wish, end=1)
    values["extensions"] = {"thin": {"class": "FilterRemover"}}
    values["policies"] += [{"extension": {"instance_name": "thin"}, "epochs": [1]}]
    TrainScheduled(values).run(run, "train")
    assert _trimmed(run, "train/trim")["units_before"] == {"inner": 6}


def test_curves_of_whole_units(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    SensitivityCurves(["loss"], betas=[0.0, 0.5, 1.0], whole_units=True).run(run, "curves")
    rows = read_csv(run.folder / "curves-loss.csv")
    assert [(row["tensor"], row["removed"]) for row in rows] == [
        ("inner", "0"),
        ("inner", "3"),
        ("inner", "6"),
    ]
    assert len({row["value"] for row in rows}) == 3
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_a_budget_takes_whole_units_out_for_real(tmp_path: Path) -> None:
    run = _run(tmp_path)
    step_ = FitBudget(max_drop=1e9, candidates=3, betas=[0.0, 0.5], levels=[16], whole_units=True)
    step_.check(run)
    step_.run(run, "budget")
    row = run.results.rows["budget"]
    assert _widths(run.model) == (3, 3, 3)
    assert row["pruned_fits"] and row["sparsity"] == pytest.approx(180 / 342)  # of weights
    plan = {each["tensor"]: each for each in read_csv(run.folder / "budget_plan.csv")}
    assert plan["inner"] == {"tensor": "inner", "beta": "0.5", "levels": ""}
    assert plan["inner.weight"]["levels"] == "16"
    trims = [each for each in run.results.of_kind("trim") if each["key"].startswith("budget/")]
    assert trims and all(each["max_difference"] <= 1e-5 for each in trims)
    file = run.folder / f"training/budget-candidates/{row['candidate']}.apz"
    assert file.stat().st_size == row["bytes_file"] < row["bytes_before"]


def test_whole_units_of_a_model_without_any_are_refused_at_once(tmp_path: Path) -> None:
    run = _run(tmp_path, f"{__name__}.Narrow")
    for step_ in (SensitivityCurves(whole_units=True), FitBudget(whole_units=True)):
        with pytest.raises(ConfigError, match="pipeline.whole_units=false"):
            step_.check(run)
