"""A rehearsal runs every step with few units, counts those of the whole, leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from audioprune.compress.search.sensitivity import BETAS
from audioprune.experiment.rehearsal import Forecast, executor, rehearse
from audioprune.experiment.rehearsal.forecast import REST
from audioprune.protocols.work import (
    CLUSTERED,
    SCORED_ITEM,
    SEARCHED_ITEM,
    STORED,
    TRAINING_STEP,
    VALIDATED_ITEM,
)

MOST = 4
TENSORS = 3  # prunable ones of the tiny FDNN
PARAMS = 17 * 6 + 6 + 6 * 6 + 6 + 6 * 17 + 17


def _rehearsed(folder: Path, steps: dict[str, Any], **changes: Any) -> Forecast:
    plain = tiny_runs.config(steps, folder / "cache", **changes)
    run = folder / "run"
    run.mkdir()
    return rehearse(plain, [], tiny_runs.TinySpeech(), run, place=folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Forecast]:
    folder = tmp_path_factory.mktemp("rehearsed")
    return folder, _rehearsed(folder, tiny_runs.whole_pipeline(MOST))


def _counts(forecast: Forecast, path: str) -> dict[str, float]:
    step = next(each for each in forecast.steps if each.path == path)
    return {each.unit: each.count for each in step.units}


def test_every_step_is_run_once_and_counted_at_true_size(found: tuple[Path, Forecast]) -> None:
    _, forecast = found
    assert [(step.path, step.passes) for step in forecast.steps] == [
        *(("train", 1), ("uncompressed", 1), ("compress/prune", MOST)),
        *(("compress/finetune", MOST), ("compress/score", MOST), ("quantize", 1)),
        ("compressed", 1),
    ]
    assert all(step.measured and not step.failure for step in forecast.steps)
    # 12 items in batches of 3, 4 epochs, 3 validation items after each
    assert _counts(forecast, "train") == {TRAINING_STEP: 16, VALIDATED_ITEM: 12, REST: 1}
    assert _counts(forecast, "compress/finetune")[TRAINING_STEP] == 4
    # three tensors, every fraction but 0, all 3 validation items
    searched = TENSORS * (len(BETAS) - 1) * 3
    assert _counts(forecast, "compress/prune")[SEARCHED_ITEM] == searched
    weights = PARAMS - 29  # without biases
    assert _counts(forecast, "quantize") == {
        SEARCHED_ITEM: 8 * TENSORS * 3,
        CLUSTERED: pytest.approx(9 * weights / 1e6),
    }
    assert _counts(forecast, "uncompressed") == {SCORED_ITEM: 4, STORED: PARAMS / 1e6}
    assert _counts(forecast, "compress/score")[SCORED_ITEM] == 2  # one of the two conditions


def test_totals_are_units_times_what_one_took(found: tuple[Path, Forecast]) -> None:
    _, forecast = found
    for step in forecast.steps:
        assert all(each.seconds >= 0 for each in step.units)
        units = sum(each.seconds * each.count for each in step.units)
        assert step.total_s == pytest.approx(step.passes * units)
        assert step.host_bytes > 1e6
    assert forecast.total_s == pytest.approx(sum(step.total_s for step in forecast.steps))
    assert forecast.facts["items"] == [12, 3, 4] and forecast.facts["params"] == PARAMS
    assert forecast.problems == ()


def test_few_units_are_done_and_nothing_claims_a_scale(found: tuple[Path, Forecast]) -> None:
    folder, _ = found
    rows = tiny_runs.rows(folder / "run")
    trained = next(row for row in rows if row["key"] == "train")
    assert trained["steps"] == executor.STEPS
    assert {row["scale"].split(";")[0] for row in rows if "scale" in row} == {"custom"}
    assert not [path for path in folder.iterdir() if path.name not in ("run", "cache")]


def test_what_fails_is_named_and_the_rest_is_rehearsed(tmp_path: Path) -> None:
    steps = {
        "train": tiny_runs.step("Train"),
        "scored": tiny_runs.step(
            "Evaluate", variant="x", file="x.safetensors", conditions=["rain_*"]
        ),
        "quantize": tiny_runs.step("Quantize", levels=4),
    }
    forecast = _rehearsed(tmp_path, steps, scoring={"latency_repeats": 0})
    assert [bool(step.failure) for step in forecast.steps] == [False, True, False]
    assert any("scored: " in each and "rain_*" in each for each in forecast.problems)


def test_a_machine_that_is_too_small_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "host_bytes", lambda: 1_000_000)
    monkeypatch.setattr(executor, "free_disk", lambda place: 10)
    forecast = _rehearsed(tmp_path, {"train": tiny_runs.step("Train")})
    memory, disk = forecast.problems
    assert memory.startswith("train: expected ") and "got 0.0 GB; lower" in memory
    assert "of free disk" in disk and "runtime.folder=" in disk


def test_a_long_step_is_cut_to_fewer_items_and_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_LONGEST_STEP_S", 0.0)
    forecast = _rehearsed(tmp_path, {"train": tiny_runs.step("Train")})
    assert forecast.facts["batch"] == [1, 3]
    assert _counts(forecast, "train")[TRAINING_STEP] == 16
