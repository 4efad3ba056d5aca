"""Pruning by schedule files: during training, once after it, calibrated, killed and resumed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from distiller_toys import one
from tiny_runs import config, in_child, open_run, rows, signal_at_write, start, step

from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.records import read_csv
from audioprune.steps import PruneScheduled, SummarizeWeights, Train, TrainScheduled


def _schedule(folder: Path, **policy: Any) -> dict[str, Any]:
    run = open_run(folder / "names", config({}, folder))
    names = prunable(run.model)
    values = {**dict.fromkeys((f"G.{name}" for name in names[:-1]), 0.5), names[-1]: 0}
    return one(
        "SensitivityPruner", {"sensitivities": values}, **{"end": 3, "frequency": 2, **policy}
    )


def _run(folder: Path, name: str = "run", **changes: Any) -> Any:
    return open_run(folder / name, config({}, folder, **changes))


def test_training_ends_masked_and_writes_the_schedule(tmp_path: Path) -> None:
    run = _run(tmp_path)
    names = prunable(run.model)
    TrainScheduled(_schedule(tmp_path)).run(run, "train")
    table = read_csv(run.folder / "schedule.csv")
    assert [row["epoch"] for row in table] == ["0", "2"] and list(table[0]) == [
        "epoch",
        "total",
        *names,
    ]
    assert (
        0 < float(table[0]["total"]) <= float(table[1]["total"]) < 1
        and table[1][names[-1]] == "0.0"
    )
    weights = dict(run.model.named_parameters())
    zeros = sum(int((weights[name] == 0).sum()) for name in names) / sum(
        weights[name].numel() for name in names
    )
    assert zeros == pytest.approx(float(table[1]["total"]))
    row = run.results.rows["train"]
    assert (
        row["prunings"] == 2
        and row["kept_epoch"] >= 3
        and run.results.rows["train/epoch/00002"]["total_sparsity"] == zeros
    )
    assert run.results.rows["train/pruned"]["kind"] == "iteration" and set(run.mask) == set(names)


def test_the_first_pruned_state_is_iteration_1(tmp_path: Path) -> None:
    during, once = _run(tmp_path, "a"), _run(tmp_path, "b")
    TrainScheduled(_schedule(tmp_path)).run(during, "train")
    PruneScheduled(_schedule(tmp_path)).run(once, "prune")
    assert (
        during.results.rows["train/pruned"]["iteration"]
        == once.results.rows["prune"]["iteration"]
        == 1
    )
    assert (
        during.results.rows["train/pruned"]["kept_epoch"]
        == during.results.rows["train"]["kept_epoch"]
        >= 3
    )


def test_too_few_epochs_are_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    late = TrainScheduled(_schedule(tmp_path), ending_epoch=9)
    for attempt in (late.check, lambda run: late.run(run, "train")):
        with pytest.raises(
            ConfigError,
            match=r"prunes up to epoch 8, counted from 0, which takes training.epochs >= 9, got 4",
        ):
            attempt(run)
    TrainScheduled(_schedule(tmp_path), ending_epoch=2, frequency=1, epochs=2).run(run, "train")
    assert [row["epoch"] for row in run.results.of_kind("pruning")] == [0, 1]


def test_a_total_can_be_stated(tmp_path: Path) -> None:
    once = _run(tmp_path, "once")
    PruneScheduled(_schedule(tmp_path), calibrate={"total_sparsity": 0.4}).run(once, "prune")
    count = once.mask.total()
    assert (
        0.4 <= once.mask.sparsity() <= 0.4 + 1.5 / count
        and once.results.rows["prune"]["factor"] > 0
    )
    final = _run(tmp_path, "final")
    TrainScheduled(_schedule(tmp_path), calibrate={"total_sparsity": 0.5, "mode": "final"}).run(
        final, "train"
    )
    assert (
        0.5 <= final.mask.sparsity() <= 0.5 + 1.5 / count
        and final.results.rows["train"]["factor"] > 1
    )
    first = _run(tmp_path, "first")
    TrainScheduled(_schedule(tmp_path), calibrate={"total_sparsity": 0.3, "mode": "one_shot"}).run(
        first, "train"
    )
    assert first.results.rows["train/epoch/00000"]["total_sparsity"] == pytest.approx(
        0.3, abs=1.5 / count
    )
    with pytest.raises(ConfigError, match="unknown calibrate.mode 'last'"):
        TrainScheduled("dcae_sensitivity", calibrate={"mode": "last"})
    with pytest.raises(ConfigError, match="above 0 and below 1, got 1.0"):
        PruneScheduled("dcae_sensitivity", calibrate={"total_sparsity": 1.0})


def test_a_wrong_schedule_is_refused_before_the_first_step(tmp_path: Path) -> None:
    other = one("SensitivityPruner", {"sensitivities": {"G.nowhere.weight": 0.5}})
    plain = config(
        {"train": step("Train"), "prune": step("PruneScheduled", schedule=other)}, tmp_path
    )
    with pytest.raises(ConfigError, match="unknown parameter 'G.nowhere.weight'"):
        start(tmp_path / "run", plain)
    assert not (tmp_path / "run/results.jsonl").exists()
    for build in (PruneScheduled, TrainScheduled):
        with pytest.raises(ConfigError, match="pipeline.schedule: expected a schedule file"):
            build(None)


def test_what_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _run(tmp_path, training={"steps": 5})
    schedule = _schedule(tmp_path, mask_on_forward_only=True)
    schedule["pruners"]["x"]["sensitivities"]["G.nowhere.weight"] = 0.5
    TrainScheduled(schedule, strict=False).run(run, "train")
    told = capsys.readouterr().err
    assert (
        "unknown parameter 'G.nowhere.weight'" in told and "1 of 2 prunings were reached" in told
    )
    assert "end unmasked because of mask_on_forward_only" in told and run.mask is None
    with pytest.raises(ConfigError, match="unknown parameter 'G.nowhere.weight'"):
        TrainScheduled(schedule).run(_run(tmp_path, "strict"), "train")


def test_removed_filters_leave_the_model(tmp_path: Path) -> None:
    run = _run(tmp_path)
    name = prunable(run.model)[0]
    before = sum(weight.numel() for weight in run.model.parameters())
    values = one(
        "L1RankedStructureParameterPruner",
        {"group_type": "Filters", "desired_sparsity": 0.5, "weights": [name]},
        end=1,
    )
    values["extensions"] = {"thin": {"class": "FilterRemover"}}
    values["policies"] += [{"extension": {"instance_name": "thin"}, "epochs": [1]}]
    TrainScheduled(values).run(run, "train")
    shape = dict(run.model.named_parameters())[name].shape
    assert (
        shape[0] == 3
        and run.results.rows["train/trim"]["params_before"]
        == before
        > run.results.rows["train/trim"]["params_after"]
    )
    assert run.results.rows["train/trim"]["max_difference"] < 1e-6


def test_a_pipeline_packs_what_the_mask_keeps(tmp_path: Path) -> None:
    steps = {
        "train": step("Train", epochs=2),
        "prune": step("PruneScheduled", schedule=_schedule(tmp_path)),
        "finetune": step("Train", epochs=0),
        "weights": step("SummarizeWeights"),
        "pruned": step("Evaluate", variant="pruned", file="model.apz"),
    }
    plain = config(steps, tmp_path)
    assert start(tmp_path / "run", plain) == "finished"
    loaded = load_model_file(tmp_path / "run" / "model.apz", plain["model"])
    found = {row["key"]: row for row in rows(tmp_path / "run")}
    assert "finetune" not in found and 0 < found["weights"]["total_sparsity"] == pytest.approx(
        loaded.mask.sparsity()
    )


@pytest.mark.parametrize("write", [pytest.param(4, marks=pytest.mark.slow), 9, 14])
def test_killed_trainings_end_in_the_same_bits(tmp_path: Path, write: int) -> None:
    steps = {
        "train": step(
            "TrainScheduled", schedule=_schedule(tmp_path, mini_batch_pruning_frequency=3)
        )
    }
    plain = config(steps, tmp_path)
    start(tmp_path / "whole", plain)
    assert (tmp_path / "whole/schedule.csv").read_text().startswith("epoch,total,layers.")

    def work() -> None:
        signal_at_write(write)
        start(tmp_path / "killed", plain)

    assert in_child(work) == -signal.SIGKILL
    start(tmp_path / "killed", plain)
    whole, killed = (open_run(tmp_path / name, plain) for name in ("whole", "killed"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.parameters(), killed.model.parameters(), strict=True)
    )
    assert whole.mask == killed.mask and rows(tmp_path / "whole") == rows(tmp_path / "killed")
    assert (tmp_path / "whole/schedule.csv").read_bytes() == (
        tmp_path / "killed/schedule.csv"
    ).read_bytes()


def test_no_epochs_leave_the_model_as_it_is(tmp_path: Path) -> None:
    run = _run(tmp_path)
    before = [weight.clone() for weight in run.model.parameters()]
    Train(epochs=0).run(run, "finetune")
    assert (
        all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
        and "finetune" not in run.results.rows
    )


def test_the_summary_has_the_known_columns(tmp_path: Path) -> None:
    run = _run(tmp_path)
    SummarizeWeights().run(run, "weights")
    table = read_csv(run.folder / "weights_summary.csv")
    assert table[-1]["Name"] == "Total sparsity:" and table[0]["Fine (%)"] == "0.0"
    assert "| Total sparsity:" in (run.folder / "weights_summary.txt").read_text()
