"""Training with rounded weights: what stays on the grid, what is masked, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import config, open_run, rows, start, step

from audioprune import interrupts, packing
from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError, DivergedError, InterruptedRun
from audioprune.experiment.run import Run
from audioprune.steps import FinetuneQuantized, Prune, Quantize
from audioprune.steps.quantize.straight_through import StraightThrough

GRID = {"quantizer": "uniform", "bits": 3, "per": "channel"}
TUNED: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "r", config({}, tmp_path / "c"))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def loss(run: Run) -> float:
    return run.task.validation_loss(run.model, run.data.valid(), run.data.collate, None).base()


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize(
    "options",
    [GRID, {**GRID, "symmetric": False, "per": "tensor"}, {"levels": 4}, {"bits": 2}]
    + [{"levels": 4, "learn": "values"}],
)
def test_the_kept_weights_are_allowed_values_and_pruned_ones_zero(
    run: Run, tmp_path: Path, pruned: bool, options: dict[str, Any]
) -> None:
    if pruned:
        Prune(0.5).run(run, "prune")
    before = weights(run)
    FinetuneQuantized(**options, **TUNED).run(run, "quantize")
    assert run.codebooks is not None and list(run.codebooks) == prunable(run.model)
    packing.pack(  # refuses weights that are not the values of their form
        tmp_path / "m.apz",
        run.model.state_dict(),
        mask=run.mask,
        codebooks=run.codebooks,
        config={},
    )
    for name in prunable(run.model):
        value = weights(run)[name]
        assert (value[before[name] == 0] == 0).all() or not pruned
        if "levels" in options:
            assert run.codebooks[name].levels <= 4
    row = rows(run.folder)[-1]
    assert (row["key"], row["kind"], row["epochs"]) == ("quantize", "train", 2)
    assert row["kept"] == pytest.approx(loss(run), rel=1e-4)
    assert not torch.equal(before["layers.0.bias"], weights(run)["layers.0.bias"])


def test_it_begins_with_what_quantize_makes_and_lowers_its_loss(run: Run) -> None:
    trained = weights(run)
    Quantize(**GRID).run(run, "a")
    alone, lost = weights(run), loss(run)
    run.model.load_state_dict(trained)
    FinetuneQuantized(**GRID).run(run, "b")
    assert all(torch.equal(value, alone[name]) for name, value in weights(run).items())
    run.model.load_state_dict(trained)
    FinetuneQuantized(**GRID, **TUNED).run(run, "c")
    assert loss(run) < lost


def test_a_stopped_training_goes_on_to_the_same_bits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = weights(run)
    FinetuneQuantized(**GRID, **TUNED).run(run, "whole")
    wanted = weights(run)
    run.model.load_state_dict(trained)
    true, seen = StraightThrough.on_step_end, []

    def stopping(self: StraightThrough, model: torch.nn.Module) -> None:
        true(self, model)
        seen.append(1)
        if len(seen) == 3:
            interrupts._requested.set()

    monkeypatch.setattr(StraightThrough, "on_step_end", stopping)
    try:
        with pytest.raises(InterruptedRun):
            FinetuneQuantized(**GRID, **TUNED).run(run, "parts")
    finally:
        interrupts._requested.clear()
    run.model.load_state_dict(trained)
    FinetuneQuantized(**GRID, **TUNED).run(run, "parts")
    assert len(seen) == 8
    assert all(torch.equal(value, wanted[name]) for name, value in weights(run).items())


def test_what_cannot_be_rounded_is_named_before_the_training(run: Run) -> None:
    with torch.no_grad():
        run.model.layers[0].weight[0, 0] = torch.nan
    with pytest.raises(DivergedError, match=r"^layers\.0\.weight: expected finite weights"):
        FinetuneQuantized(**GRID, **TUNED).run(run, "quantize")


def test_a_pipeline_stores_grids_and_names_them_in_its_rows(tmp_path: Path) -> None:
    steps = {
        "train": step("Train", epochs=1),
        "quantize": step("FinetuneQuantized", **GRID, epochs=1),
        "recalibrate": step("Recalibrate", batches=2),
        "compressed": step("Evaluate", variant="compressed", file="model.apz"),
    }
    plain = config(steps, tmp_path / "c")
    start(tmp_path / "r", plain)
    found = {row["key"]: row for row in rows(tmp_path / "r")}
    size = found["compressed/size"]
    assert (size["quantizer"], size["bits"]) == ("uniform, 3 bits, per channel", 3.0)
    assert found["recalibrate"]["layers"] == 0 and "nothing to measure" in str(
        found["recalibrate"]["remark"]
    )
    again = open_run(tmp_path / "r", plain)
    packed = packing.unpack(tmp_path / "r" / "model.apz")
    assert again.codebooks is not None
    for name, form in again.codebooks.items():
        for part, tensor in form.tensors().items():
            assert torch.equal(packed.codebooks[name].tensors()[part], tensor)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"quantizer": "grid"}, "quantizer"),
        ({"quantizer": "uniform", "levels": 16}, "levels: expected none for a uniform grid"),
        ({"quantizer": "uniform", "bits": 9}, "bits: expected a whole number from 2 to 8"),
        ({"bits": 1}, "bits: expected a whole number from 2 to 8"),
        ({"bits": 4, "levels": 16}, "expected levels or bits"),
        ({"per": "channel"}, "per: expected tensor for k-means"),
        ({"symmetric": False}, "symmetric: expected true for k-means.*got false"),
        ({"scale": "max"}, "scale: expected least_squares for k-means"),
        ({**GRID, "per": "row"}, "per"),
        ({**GRID, "scale": "mse"}, "scale"),
        ({**GRID, "learn": "values"}, "learn: expected weights for a uniform grid"),
        ({"learn": "codes"}, "learn"),
        ({"epochs": -1}, "epochs: expected a whole number"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        FinetuneQuantized(**options)
    assert "\n" not in str(caught.value)


def test_a_monitor_that_is_not_measured_is_refused_before_it_begins(run: Run) -> None:
    run.settings = type(run.settings)(monitor="accuracy")
    FinetuneQuantized(**GRID).check(run)
    with pytest.raises(ConfigError, match="monitor"):
        FinetuneQuantized(**GRID, epochs=1).check(run)
