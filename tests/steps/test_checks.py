"""What a step cannot do is refused before the first one begins, not after hours of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distiller_toys import one
from tiny_runs import config, open_run, start, step

from audioprune.errors import AudiopruneError, ConfigError
from audioprune.experiment.pipeline import build_steps, check_steps

MINE = {"name": "mine", "_target_": "tiny_runs.MyNet"}
BRANCHES = {"name": "branches", "_target_": "tiny_runs.MyBranches"}
FDNN = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 17,
    "width": 6,
    "depth": 2,
}
SCHEDULE = one("SensitivityPruner", {"sensitivities": {"layers.0.weight": 0.5}}, end=2)
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "train groups": (
        FDNN,
        step("Train", lambda_2=0.1, groups={"dense": "row"}),
        "unknown kind of layer in groups 'dense'",
    ),
    "train group kind": (
        FDNN,
        step("Train", lambda_2=0.1, groups={"linear": "diagonal"}),
        "unknown group kind of linear",
    ),
    "train units": (
        BRANCHES,
        step("Train", lambda_2=0.1, unit_groups=True),
        "expected units that can be removed, got none",
    ),
    "train lambda": (
        FDNN,
        step("Train", lambda_1=-1.0),
        "lambda_1: expected a finite number from 0",
    ),
    "train epochs": (
        FDNN,
        step("Train", epochs=-1),
        "epochs: expected a whole number of at least 0",
    ),
    "train rate": (
        FDNN,
        step("Train", learning_rate=0.0),
        "learning_rate: expected a number above 0",
    ),
    "prune scope": (
        FDNN,
        step("Prune", sparsity=0.5, scope="globl"),
        "unknown scope 'globl'; closest: global",
    ),
    "prune sparsity": (
        FDNN,
        step("Prune", sparsity=1.5),
        "sparsity: expected a fraction from 0 to 1, got 1.5",
    ),
    "prune rounds": (
        FDNN,
        step("Prune", sparsity=0.5, rounds=0),
        "rounds: expected a whole number of at least 1",
    ),
    "sensitivity method": (
        FDNN,
        step("SensitivityPrune", method="bisect"),
        "unknown method 'bisect'; closest: bisection",
    ),
    "sensitivity alpha": (
        FDNN,
        step("SensitivityPrune", alpha_1=-0.1),
        "alpha_1: expected a finite number from 0",
    ),
    "sensitivity items": (
        FDNN,
        step("SensitivityPrune", items=0),
        "items: expected a whole number of at least 1",
    ),
    "sensitivity groups": (
        FDNN,
        step("SensitivityPrune", structured=True, groups={"lin": "row"}),
        "unknown kind of layer",
    ),
    "sensitivity units": (
        BRANCHES,
        step("SensitivityPrune", structured=True, unit_groups=True),
        "expected units that can be removed, got none",
    ),
    "trim": (
        BRANCHES,
        step("Trim"),
        "expected units that can be removed, got none.*prune by masks only",
    ),
    "trim groups": (BRANCHES, step("TrimGroups"), "expected units that can be removed, got none"),
    "quantize levels": (
        FDNN,
        step("Quantize", levels=0),
        "levels: expected a whole number from 1 to 65536, got 0",
    ),
    "quantize alpha": (
        FDNN,
        step("Quantize", alpha_2=-1.0),
        "alpha_2: expected a finite number from 0",
    ),
    "baseline width": (MINE, step("SameSizeBaseline"), "expected a method width_for"),
    "baseline given": (FDNN, step("SameSizeBaseline", width=0), "width"),
    "baseline metrics": (
        FDNN,
        step("SameSizeBaseline", metrics=["stoy"]),
        "unknown metric 'stoy'",
    ),
    "budget metric": (
        FDNN,
        step("FitBudget", metric="stoy"),
        "unknown metric 'stoy'; closest: stoi",
    ),
    "budget drop": (
        FDNN,
        step("FitBudget", max_drop=-1.0),
        "max_drop: expected a finite number >= 0",
    ),
    "budget betas": (
        FDNN,
        step("FitBudget", betas=[0.5, 0.1]),
        "betas: expected ascending numbers",
    ),
    "budget levels": (
        FDNN,
        step("FitBudget", levels=[4, 2]),
        "levels: expected ascending numbers",
    ),
    "budget candidates": (
        FDNN,
        step("FitBudget", candidates=0),
        "candidates: expected a whole number",
    ),
    "curves metrics": (
        FDNN,
        step("SensitivityCurves", metrics=["loss", "loss"]),
        "expected one or more different ones",
    ),
    "curves groups": (
        FDNN,
        step("SensitivityCurves", structured=True, groups={"x": "row"}),
        "unknown kind of layer",
    ),
    "evaluate metrics": (
        FDNN,
        step("Evaluate", variant="x", file="x.apz", metrics=["stoy"]),
        "unknown metric 'stoy'",
    ),
    "evaluate conditions": (
        FDNN,
        step("Evaluate", variant="x", file="x.apz", conditions=["*_9dB"]),
        "unknown test condition",
    ),
    "evaluate checkpoint": (FDNN, step("Evaluate", variant="x"), "expected checkpoint="),
    "evaluate ending": (
        FDNN,
        step("Evaluate", variant="x", file="x.bin"),
        "ends in .safetensors or .apz",
    ),
    "evaluate file": (
        FDNN,
        step("Evaluate", variant="x", file="first.apz"),
        "got first.apz of first, .*bad; rename",
    ),
    "lottery moment": (
        FDNN,
        step("LotteryTrain", rewind="soon"),
        "expected steps or epochs such as 500it",
    ),
    "lottery end": (
        FDNN,
        step("LotteryTrain", rewind="4ep"),
        "a moment before the last of 16 steps",
    ),
    "lottery units": (
        BRANCHES,
        step("LotteryPrune"),
        "expected units that can be removed, got none.*pipeline.mode=mask",
    ),
    "lottery mode": (FDNN, step("LotteryPrune", mode="trimm"), "closest: trim"),
    "lottery weights": (
        FDNN,
        step("LotteryPrune", mode="mask", criterion="information"),
        "unknown criterion of pipeline.mode=mask",
    ),
    "lottery norms": (
        FDNN,
        step("LotteryPrune", criterion="normalization"),
        "expected a model with normalisation layers",
    ),
    "scheduled names": (MINE, step("TrainScheduled", schedule=SCHEDULE), "layers.0.weight"),
    "scheduled epochs": (
        FDNN,
        step("TrainScheduled", schedule=SCHEDULE, epochs=1),
        "prunes up to epoch 1",
    ),
    "scheduled once": (MINE, step("PruneScheduled", schedule=SCHEDULE), "layers.0.weight"),
    "sparse units": (
        BRANCHES,
        step("TrainSparse", reach=1.0),
        "expected units that can be removed, got none",
    ),
    "sparse settings": (
        FDNN,
        step("TrainSparse", reach=1.0, settings={"epoch": 3}),
        "unknown training number",
    ),
    "sparse share": (FDNN, step("TrainSparse", method="admm", lmbda=0.1, rho=-1.0), "rho"),
}


SMALL = {"train": step("Train"), "loop": step("Repeat", most=2, steps={"trim": step("Trim")})}


def _pipeline(bad: dict[str, Any], nested: bool) -> dict[str, Any]:
    steps = {"train": step("Train"), "first": step("Evaluate", variant="a", file="first.apz")}
    return (
        {**steps, "loop": step("Repeat", most=2, steps={"bad": bad})}
        if nested
        else {**steps, "bad": bad}
    )


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_settings_are_refused_before_any_work(
    tmp_path: Path, name: str, nested: bool
) -> None:
    model, bad, message = WRONG[name]
    with pytest.raises(AudiopruneError, match=message):
        start(tmp_path / "r", config(_pipeline(bad, nested), tmp_path / "c", model=model))
    assert (
        not (tmp_path / "r" / "training").exists()
        and not (tmp_path / "r" / "results.jsonl").exists()
    )


TRAININGS = (
    step("Train"),
    step("TrainScheduled", schedule=SCHEDULE),
    step("TrainSparse", reach=1.0),
    step("LotteryTrain"),
    step("SameSizeBaseline", width=5),
    step("FitBudget", finetune_epochs=1),
)


@pytest.mark.parametrize("bad", TRAININGS, ids=lambda bad: bad["_target_"].rpartition(".")[2])
def test_a_monitor_that_the_task_does_not_measure_is_refused(
    tmp_path: Path, bad: dict[str, Any]
) -> None:
    plain = config(_pipeline(bad, False), tmp_path / "c", training={"monitor": "accuracy"})
    plain["pipeline"]["steps"] = {"bad": bad}
    with pytest.raises(ConfigError, match="unknown training.monitor of Enhancement 'accuracy'"):
        start(tmp_path / "r", plain)


def test_a_step_that_is_done_is_not_checked_again(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c", model=BRANCHES))
    steps = build_steps({"steps": SMALL})
    with pytest.raises(ConfigError, match="unit_sets"):
        check_steps(run, steps)
    run.completed = {"loop/0/trim"}
    with pytest.raises(ConfigError, match="unit_sets"):
        check_steps(run, steps)
    run.completed = {"loop/0/trim", "loop/1/trim"}
    check_steps(run, steps)
    run.completed = {"loop"}
    check_steps(run, steps)
