"""Sparse training as steps: what is recorded, resumed, chosen and trimmed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from audioprune import interrupts
from audioprune.data.scenes.corpus import collate
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.experiment.pipeline import check_steps, execute
from audioprune.experiment.run import Run
from audioprune.models.lstm import LSTM
from audioprune.models.resnet import ResNet
from audioprune.models.vgg import VGG
from audioprune.optim import kept_units
from audioprune.steps import Evaluate, TrainSparse, TrimGroups
from audioprune.steps.sparse.groups import filter_sets, zero_filters
from audioprune.steps.sparse.train import changed, learning_rates
from audioprune.tasks.scenes import SceneClassification
from audioprune.training.settings import Settings, build_optimizer, build_schedule

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(
    epochs=4,
    batch_size=4,
    optimizer="sgd",
    learning_rate=0.1,
    schedule="milestones",
    decay=0.1,
    clip_norm=None,
)


class Scenes(Dataset):
    """Loud bands tell two classes apart."""

    classes = ("low", "high")

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.randn(count, 2, 48, 48, generator=generator)
        self.labels = torch.arange(count) % 2
        for features, label in zip(self.features, self.labels, strict=True):
            features[:, 24 * label : 24 * label + 24] += 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "features": self.features[index],
            "label": int(self.labels[index]),
            "id": str(index),
        }


class Data:
    """The corpus."""

    sample_rate = 22050
    collate = staticmethod(collate)

    def train(self) -> Scenes:
        return Scenes(8, 0)

    def valid(self) -> Scenes:
        return Scenes(4, 1)

    def tests(self) -> dict[str, Scenes]:
        return {"test": Scenes(8, 2)}

    def scale(self) -> str:
        return "toy scenes"


def _run(folder: Path, task: SceneClassification | None = None) -> Run:
    torch.manual_seed(0)
    runtime = {
        "device": "cpu",
        "workers": 0,
        "save_every_s": 30.0,
        "tensorboard": False,
        "cache": "",
        "metric_workers": 0,
    }
    config = {
        "seed": 0,
        "runtime": runtime,
        "scoring": {"metrics": ["stoi"], "audio_items": 1, "latency_repeats": 0},
        "scale": "toy",
    }
    model_config = {
        "name": "vgg",
        "_target_": "audioprune.models.vgg.VGG",
        "classes": 2,
        "width": 2,
        "mels": 48,
    }
    config |= {
        "task": {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": 2},
        "checkpoint": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    model = VGG(classes=2, width=2, mels=48, pool_dropout=0.0, head_dropout=0.0)
    task = task or SceneClassification(classes=2, mixup=0.0, roll_frames=0)
    return Run(config, folder, model, model_config, Data(), task, config["task"], SETTINGS)


def _half_zero(model: VGG, shift: float = 0.0) -> None:
    """Zero every second filter with its scale; the shift is given."""
    with torch.no_grad():
        for layer in model.layers[:-1]:
            layer.conv.weight[::2] = 0.0
            layer.norm.weight[::2] = 0.0
            layer.norm.bias[::2] = shift


@pytest.mark.parametrize("method", ["hspg", "proxsg", "obproxsg", "admm", "sgd", "adam"])
def test_every_method_trains_and_records(tmp_path: Path, method: str) -> None:
    run = _run(tmp_path)
    step = TrainSparse(
        method, reach=None if method in ("sgd", "adam") else 0.5, rho=0.5, inner_steps=2
    )
    step.run(run, "train")
    epochs, (train,) = run.results.of_kind("epoch"), run.results.of_kind("train")
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    losses = [row["valid_loss"] for row in epochs]
    assert (train["kept_epoch"], train["kept"], train["keep"], train["monitor"]) == (
        4,
        losses[-1],
        "last",
        "loss",
    )
    assert (train["best"], train["best_epoch"]) == (min(losses), 1 + losses.index(min(losses)))
    for row in epochs:
        assert row["objective"] == pytest.approx(row["f"] + row["penalty"])
        assert 0 <= row["group_sparsity"] <= 1 and "valid_accuracy" in row
    if method in ("sgd", "adam"):
        assert (
            train["penalty"] == 0
            and train["reachable_share"] is None
            and train["group_sparsity"] == 0
        )
    elif method == "admm":
        assert (
            train["reachable_share"] is None
        )  # its zeros come from z, not from shrinking step by step
    else:
        rate_sum = 2 * (0.1 + 0.1 + 0.01 + 0.001)
        assert train["lmbda"] == pytest.approx(0.5 / rate_sum) and train["reach"] == pytest.approx(
            0.5
        )
        assert (
            step._plan(run, run.model).lmbda
            == train["lmbda"]
            != replace(step, lmbda=0.25)._plan(run, run.model).lmbda
            == 0.25
        )
    if method == "hspg":
        assert [row["first_stage"] for row in epochs] == [True, False, False, False] and train[
            "prox_steps"
        ] == 2


def test_reach_is_printed_and_a_small_one_warned_of(tmp_path: Path, capsys) -> None:
    TrainSparse("proxsg", lmbda=1e-3).run(_run(tmp_path), "train")
    told = capsys.readouterr().err
    assert (
        "reach lmbda" in told
        and "at most 0.0 % of 108 groups" in told
        and "no group can reach zero" in told
    )


def test_every_number_of_admm_names_its_state(tmp_path: Path) -> None:
    run = _run(tmp_path)
    TrainSparse("admm", lmbda=0.01, target_group_sparsity=0.5, rho=0.1, inner_steps=4).run(
        run, "train"
    )
    (train,), epochs = run.results.of_kind("train"), run.results.of_kind("epoch")
    # The dense x has the loss and the objective, the projected model half of its groups.
    assert (
        train["f_of"] == "x"
        and train["x_group_sparsity"] == 0.0
        and train["group_sparsity"] == pytest.approx(0.5, abs=0.01)
    )
    assert train["x_norm_sum"] > train["norm_sum"] and train["x_penalty"] == pytest.approx(
        0.01 * train["x_norm_sum"]
    )
    assert train["objective"] == pytest.approx(train["f"] + train["x_penalty"])
    last = epochs[-1]
    assert last["sparsity_of"] == "z" and last["penalty"] == pytest.approx(train["x_penalty"])
    assert last["objective"] == pytest.approx(train["objective"])
    plain = _run(tmp_path / "plain")
    TrainSparse("sgd").run(plain, "train")
    (train,) = plain.results.of_kind("train")
    assert train["f_of"] == "model" and not any(key.startswith("x_") for key in train)


def test_the_loss_is_that_of_the_epoch_whose_weights_are_kept(tmp_path: Path) -> None:
    run = _run(tmp_path)
    TrainSparse("proxsg", reach=0.5, selection="val").run(run, "train")
    (train,), epochs = run.results.of_kind("train"), run.results.of_kind("epoch")
    kept = train.get("kept_epoch", train["best_epoch"])
    assert train["f"] == epochs[kept - 1]["f"]


def test_zero_groups_leave_and_the_output_stays(tmp_path: Path) -> None:
    run = _run(tmp_path)
    steps = {
        "train": TrainSparse("admm", lmbda=0.0, target_group_sparsity=0.5, rho=0.1, inner_steps=4),
        "pruned": Evaluate("pruned", "pruned.safetensors"),
        "trim": TrimGroups(),
        "trimmed": Evaluate("trimmed", "model.safetensors"),
    }
    execute(run, steps)
    rows = run.results.rows
    (groups,) = run.results.of_kind("groups")
    assert (
        rows["train"]["group_sparsity"] == groups["group_sparsity"] == pytest.approx(0.5, abs=0.01)
    )
    assert groups["max_difference"] < 1e-5 and groups["params_after"] < groups["params_before"]
    assert (
        groups["removed_share"]
        >= groups["unit_sparsity"] - len(groups["collapsed"]) / groups["units"] - 1e-9
    )
    assert rows["pruned/test"]["metrics"] == rows["trimmed/test"]["metrics"]
    before, after = rows["pruned/size"], rows["trimmed/size"]
    assert (
        after["params"] < before["params"] and after["macs_per_second"] < before["macs_per_second"]
    )
    lines = (tmp_path / "groups.csv").read_text().splitlines()
    assert lines[0] == "set,unit,norm_before,norm_after,check" and len(lines) == 109
    lines = [line.rpartition(",")[0] for line in lines]
    assert sum(line.endswith(",0.0") for line in lines) == 54 and not any(
        ",," in line for line in lines
    )


def test_a_zero_filter_with_a_live_shift_stays(tmp_path: Path) -> None:
    for shift, removed in ((0.0, 54), (0.3, 0)):
        run = _run(tmp_path / str(shift))
        _half_zero(run.model, shift)
        TrimGroups().run(run, "trim")
        (row,) = run.results.of_kind("groups")
        assert (
            row["filter_sparsity"] == 0.5
            and row["removed"] == removed
            and row["max_difference"] < 1e-5
        )


def test_collapse_is_told(tmp_path: Path, capsys) -> None:
    run = _run(tmp_path)
    with torch.no_grad():
        for tensor in (
            run.model.layers[3].conv.weight,
            run.model.layers[3].norm.weight,
            run.model.layers[3].norm.bias,
        ):
            tensor.zero_()
    TrimGroups().run(run, "trim")
    assert (
        run.results.of_kind("groups")[0]["collapsed"] == ["layers.3"]
        and "every unit of layers.3 is zero" in capsys.readouterr().err
    )


class _Stopping(SceneClassification):
    stop_at, steps = 0, 0

    def step(self, model, batch, update):
        self.steps += 1
        if self.steps == self.stop_at:
            interrupts._requested.set()
        return super().step(model, batch, update)


@pytest.mark.parametrize(("method", "selection"), [("hspg", "val"), ("admm", "last")])
def test_an_interrupted_training_goes_on_exactly(
    tmp_path: Path, method: str, selection: str
) -> None:
    step = TrainSparse(method, reach=3.0, epsilon=0.3, rho=0.5, inner_steps=3, selection=selection)
    whole = _run(tmp_path / "a")
    step.run(whole, "train")
    task = _Stopping(classes=2, mixup=0.0, roll_frames=0)
    task.stop_at = 5
    with pytest.raises(InterruptedRun):
        step.run(_run(tmp_path / "b", task), "train")
    interrupts._requested.clear()
    again = _run(tmp_path / "b")
    step.run(again, "train")
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            whole.model.state_dict().values(), again.model.state_dict().values(), strict=True
        )
    )
    drop = ("seconds",)
    rows = [
        [{k: v for k, v in row.items() if k not in drop} for row in run.results.rows.values()]
        for run in (whole, again)
    ]
    assert rows[0] == rows[1]


def test_the_best_epoch_never_undoes_sparsity(tmp_path: Path) -> None:
    run = _run(tmp_path)
    TrainSparse("hspg", reach=8.0, selection="val").run(run, "train")
    highest = max(row["group_sparsity"] for row in run.results.of_kind("epoch"))
    kept = torch.cat(
        list(kept_units(run.model.named_parameters(), run.model.unit_sets()).values())
    )
    assert 1 - float(kept.double().mean()) == pytest.approx(highest) and highest > 0


def test_filters_as_groups() -> None:
    model = VGG(classes=2, width=2, mels=48)
    sets = filter_sets(model.unit_sets())
    assert [each.size for each in sets] == [2, 2, 4, 4, 8, 8, 8, 8, 32, 32] and all(
        len(each.slices) == 1 for each in sets
    )
    _half_zero(model, 0.3)
    assert zero_filters(model, model.unit_sets())["layers.9.conv.weight"] == (16, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "hpsg", "reach": 1.0}, "unknown method 'hpsg'.*hspg"),
        ({}, "got none"),
        ({"reach": 1.0, "selection": "best"}, "unknown selection"),
        ({"reach": 1.0, "groups": "rows"}, "unknown groups"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainSparse(**options)


def test_wrong_training_numbers_and_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown training number.*learning_rat"):
        changed(SETTINGS, {"learning_rat": 1.0})
    run = _run(tmp_path)
    run.model = torch.nn.Linear(2, 2)
    for step in (TrainSparse("hspg", reach=1.0), TrimGroups()):
        with pytest.raises(ConfigError, match="unit_sets"):
            step.run(run, "train")


def test_learning_rates_are_those_of_the_slides() -> None:
    slides = replace(
        SETTINGS,
        epochs=350,
        learning_rate=1e-4,
        schedule="warm_linear",
        hold_epochs=50,
        decay_until=250,
    )
    rates = learning_rates(slides)
    assert (
        rates[0] == rates[49] == 1e-4
        and rates[249] > 5e-6
        and rates[250] == rates[349] == pytest.approx(5e-6)
    )
    assert rates[150] == pytest.approx(5.25e-5)
    assert 1e-3 * 468 * sum(rates) == pytest.approx(0.0075, abs=1e-4)
    assert learning_rates(replace(SETTINGS, epochs=10)) == pytest.approx(
        [0.1] * 5 + [0.01] * 3 + [0.001] * 2
    )
    assert learning_rates(replace(SETTINGS, schedule="plateau")) == [0.1] * 4


def test_learning_rates_follow_the_schedule_that_trains() -> None:
    for name in (
        "constant",
        "step",
        "exponential",
        "cosine",
        "linear",
        "warm_linear",
        "milestones",
    ):
        settings = replace(
            SETTINGS,
            epochs=6,
            schedule=name,
            decay=0.5,
            hold_epochs=2,
            decay_until=4,
            final_learning_rate=0.01,
        )
        optimizer = build_optimizer(torch.nn.Linear(1, 1), settings)
        schedule = build_schedule(optimizer, settings)
        seen = []
        for _ in range(settings.epochs):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule is not None:
                schedule.step()
        assert seen == learning_rates(settings)


class _Nothing(torch.nn.Linear):
    """A model of which no unit is known."""

    def unit_sets(self) -> list:
        return []


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (torch.nn.Linear(2, 2), {}, r"Linear: expected a method unit_sets\(\)"),
        (_Nothing(2, 2), {}, r"_Nothing: expected groups of weights \(units\), got none"),
        (
            LSTM(bins=4, width=3, depth=1),
            {"groups": "filters"},
            r"LSTM: expected groups of weights \(filters\), got none",
        ),
        (
            LSTM(bins=4, width=3, depth=1),
            {},
            "LSTM: expected trained filters of linear or convolution layers",
        ),
    ],
)
def test_models_without_groups_are_refused_before_the_first_step(
    tmp_path: Path, model, options: dict[str, Any], message: str
) -> None:
    run = _run(tmp_path)
    run.model = model
    with pytest.raises(ConfigError, match=message):
        check_steps(
            run, {"train": TrainSparse("hspg", reach=1.0, **options), "trim": TrimGroups()}
        )


def test_shares_are_of_what_they_name(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.model = ResNet(classes=2, width=4, depths=(1, 1, 1, 1))
    sets = run.model.unit_sets()
    first = next(each for each in sets if each.removable and each.exact)
    weights = dict(run.model.named_parameters())
    with torch.no_grad():
        for part in first.slices:
            if part.role != "in" and part.tensor in weights:
                weights[part.tensor].movedim(part.dim, 0)[part.index[0]] = 0.0
    filters = [weight for name, weight in weights.items() if weight.dim() == 4]
    TrimGroups().run(run, "trim")
    (row,) = run.results.of_kind("groups")
    assert (
        row["filters"]
        == sum(len(weight) for weight in filters)
        > row["units"]
        == sum(each.size for each in sets)
    )
    assert (
        row["unit_sparsity"] == row["group_sparsity"] == 1 / row["units"]
        and row["filter_sparsity"] == 1 / row["filters"]
    )
