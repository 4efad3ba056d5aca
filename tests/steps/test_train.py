"""The training step: masks, penalties, what it records, what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run, rows

from audioprune.compress.masks import prunable
from audioprune.experiment.pipeline import execute
from audioprune.experiment.run import Run
from audioprune.files import read_lines
from audioprune.steps import Prune, Quantize, Train


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "r", config({}, tmp_path / "c"))


def test_training_lowers_the_loss_and_says_how_long_it_was(run: Run) -> None:
    before = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, None).base()
    Train().run(run, "train")
    row = rows(run.folder)[0]
    assert row["best"] < 0.5 * before and (row["epochs"], row["steps"]) == (4, 16)
    assert run.task.validation_loss(
        run.model, run.data.valid(), run.data.collate, None
    ).base() == pytest.approx(row["kept"], rel=1e-4)


def test_own_numbers_replace_those_of_the_experiment(run: Run) -> None:
    Train(epochs=1, learning_rate=1e-12).run(run, "train")
    assert rows(run.folder)[0]["epochs"] == 1


def test_pruned_weights_stay_pruned_and_codebooks_are_dropped(run: Run) -> None:
    Prune(0.5).run(run, "prune")
    Quantize(levels=2).run(run, "quantize")
    assert run.codebooks is not None
    Train(lambda_1=0.01).run(run, "finetune")
    assert run.codebooks is None
    assert all(
        (run.model.state_dict()[name][~run.mask[name]] == 0).all() for name in prunable(run.model)
    )


@pytest.mark.parametrize("penalty", [{"lambda_1": 1.0}, {"lambda_1": 1.0, "lambda_2": 1.0}])
def test_penalties_shrink_weights(tmp_path: Path, penalty: dict[str, float]) -> None:
    sums = []
    for place, options in (("a", {}), ("b", penalty)):
        run = open_run(tmp_path / place, config({}, tmp_path / "c"))
        Train(**options).run(run, "train")
        sums.append(
            sum(
                float(dict(run.model.named_parameters())[name].abs().sum().detach())
                for name in prunable(run.model)
            )
        )
    assert sums[1] < 0.8 * sums[0]


def test_nothing_is_trained_that_came_from_a_checkpoint(run: Run) -> None:
    run.from_checkpoint = True
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    Train(only_from_scratch=True).run(run, "train")
    assert all(
        torch.equal(before[name], value) for name, value in run.model.state_dict().items()
    ) and not rows(run.folder)


def test_checkpoints_of_a_fine_tuning_are_dropped_and_those_of_a_training_kept(run: Run) -> None:
    execute(run, {"train": Train(epochs=1)})
    execute(run, {"finetune": Train(epochs=1)}, "compress/0/")
    assert list((run.folder / "training" / "train").glob("*.safetensors"))
    assert [path.name for path in (run.folder / "training" / "compress-0-finetune").iterdir()] == [
        "log.jsonl"
    ]


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_penalties_have_the_strengths_of_the_step(run: Run, strength: float) -> None:
    weights = [
        weight for name, weight in run.model.named_parameters() if name in prunable(run.model)
    ]
    mean = float(sum(weight.detach().abs().sum() for weight in weights)) / sum(
        weight.numel() for weight in weights
    )
    assert float(Train(lambda_1=strength)._penalty(run)(run.model)) == pytest.approx(
        strength * mean
    )
    group = float(Train(lambda_2=1.0)._penalty(run)(run.model))
    assert float(Train(lambda_1=strength, lambda_2=0.5)._penalty(run)(run.model)) == pytest.approx(
        strength * mean + 0.5 * group
    )
    assert Train()._penalty(run) is None


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("monitor", ["loss", "si_sdr"])
def test_the_row_tells_the_best_validation_from_the_one_that_is_kept(
    tmp_path: Path, keep: str, monitor: str
) -> None:
    numbers = {"keep": keep, "monitor": monitor, "learning_rate": 0.5, "epochs": 5}
    run = open_run(tmp_path / "r", config({}, tmp_path / "c", training=numbers))
    Train().run(run, "train")
    (row,) = rows(run.folder)
    values = [
        each[f"valid_{monitor}"]
        for each in read_lines(run.folder / "training" / "train" / "log.jsonl")
    ]
    best = min(values) if monitor == "loss" else max(values)
    assert (row["monitor"], row["best"], row["best_epoch"], row["keep"]) == (
        monitor,
        best,
        1 + values.index(best),
        keep,
    )
    assert (row["kept"], row["kept_epoch"]) == (
        (values[-1], 5) if keep == "last" else (best, row["best_epoch"])
    )
    assert not {"best_loss"} & set(row)


def test_no_epoch_before_the_whole_regulariser_is_kept(tmp_path: Path) -> None:
    """A strong regulariser spoils the loss, so the best epoch lies before it; it is not kept."""
    kept = []
    for place, end in (("none", 0.0), ("ramp", 0.75)):
        run = open_run(tmp_path / place, config({}, tmp_path / "c"))
        Train(lambda_1=1000.0, ramp_begin=end, ramp_end=end).run(run, "train")
        row = rows(run.folder)[0]
        kept.append((row["best_epoch"], row["kept_epoch"]))
    assert kept[1][0] < 4 and kept[1][1] == 4
    assert kept[0][1] == kept[0][0]  # without a ramp all epochs count
