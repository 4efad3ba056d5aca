"""Pruning steps: exact counts, masks that never regrow, and trimming that changes nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run, rows, step

from audioprune import interrupts
from audioprune.compress.masks import Mask, prunable
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.experiment.model_io import instantiate
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Repetition
from audioprune.files import read_lines
from audioprune.steps import Prune, Repeat, SensitivityPrune, Train, Trim

MODELS = {
    "fdnn": (
        {"_target_": "audioprune.models.fdnn.FDNN", "bins": 17, "width": 12, "depth": 3},
        "irm",
        32,
    ),
    "lstm": (
        {"_target_": "audioprune.models.lstm.LSTM", "bins": 17, "width": 6, "depth": 2},
        "magnitude",
        32,
    ),
    "tcnn": ({"_target_": "audioprune.models.tcnn.TCNN", "width": 0.0625}, "waveform", 320),
    "gcrn": ({"_target_": "audioprune.models.gcrn.GCRN", "width": 0.0625}, "complex", 320),
}


def _run(tmp_path: Path, name: str = "fdnn") -> Run:
    model, target, frame = MODELS[name]
    task = {"target": target, "frame_length": frame, "hop_length": frame // 2}
    plain = config(
        {}, tmp_path / "c", model={"name": name, **model}, task=task, training={"epochs": 1}
    )
    return open_run(tmp_path / "r", plain)


def _prunable(run: Run) -> int:
    return sum(dict(run.model.named_parameters())[name].numel() for name in prunable(run.model))


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.85, 1.0])
def test_prune_removes_the_smallest_weights_exactly(
    tmp_path: Path, scope: str, sparsity: float
) -> None:
    run = _run(tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    Prune(sparsity, scope).run(run, "prune")
    assert run.mask is not None
    if scope == "global":
        assert run.mask.total() - run.mask.kept() == round(sparsity * _prunable(run))
    for name in prunable(run.model):
        kept, weight = run.mask[name], before[name]
        assert torch.equal(
            run.model.state_dict()[name], torch.where(kept, weight, torch.zeros(()))
        )
        if scope == "local":
            assert int((~kept).sum()) == round(sparsity * weight.numel())
            if kept.any() and (~kept).any():
                assert weight[~kept].abs().max() <= weight[kept].abs().min()
    assert rows(run.folder)[0]["nonzero"] == run.mask.kept() + sum(
        p.numel() for n, p in run.model.named_parameters() if p.dim() == 1
    )


def test_gradual_rounds_rise_to_the_target_and_never_regrow(tmp_path: Path) -> None:
    run = _run(tmp_path)
    seen = [Mask.ones(run.model, prunable(run.model))]
    for index in range(4):
        Prune(0.9, rounds=4).run(run, f"compress/{index}/prune")
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.add_(0.0)
        seen.append(run.mask)
        assert all((seen[-1][name] <= seen[-2][name]).all() for name in prunable(run.model))
    densities = [mask.kept() / mask.total() for mask in seen]
    assert all(a > b for a, b in zip(densities, densities[1:], strict=False)) and densities[
        -1
    ] == pytest.approx(0.1, abs=1e-3)


def test_an_unknown_scope_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown scope 'globl'; closest: global"):
        Prune(0.5, "globl").run(_run(tmp_path), "prune")


@pytest.mark.parametrize("structured", [False, True])
def test_sensitivity_masks_shrink_and_stay_within_the_tolerance(
    tmp_path: Path, structured: bool
) -> None:
    run = _run(tmp_path)
    Train().run(run, "train")
    before = Mask.ones(run.model, prunable(run.model))
    for index in range(2):
        SensitivityPrune(alpha_1_relative=0.05, structured=structured, min_removed=0.0).run(
            run, f"c/{index}/p"
        )
        assert run.mask is not None
        assert all((run.mask[name] <= before[name]).all() for name in prunable(run.model))
        assert all(
            (run.model.state_dict()[name][~run.mask[name]] == 0).all()
            for name in prunable(run.model)
        )
        before = run.mask
        for row in csv.DictReader((run.folder / f"sensitivity-{index + 1}.csv").open()):
            assert 0 <= float(row["beta"]) <= 100
    found = [row for row in rows(run.folder) if row["kind"] == "iteration"]
    assert [row["iteration"] for row in found] == [1, 2] and found[0]["removed_share"] > 0
    assert found[1]["remaining_share"] <= found[0]["remaining_share"]


def test_zero_tolerance_removes_no_weight_that_matters_and_asks_to_stop(tmp_path: Path) -> None:
    run = _run(tmp_path)
    Train().run(run, "train")
    for index in range(9):
        SensitivityPrune(alpha_1=0.0, min_removed=0.5).run(run, f"c/{index}/p")
        if run.states.of("c", Repetition).reason:
            break
    asked = run.states.of("c", Repetition)
    assert "removed" in asked.reason and asked.index == index < 8


def test_an_interrupted_analysis_does_no_tensor_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, broken = _run(tmp_path / "a"), _run(tmp_path / "b")
    pruning = SensitivityPrune(alpha_1_relative=0.05)
    pruning.run(straight, "p")
    interrupts._requested.set()
    try:
        with pytest.raises(InterruptedRun):
            pruning.run(broken, "p")
    finally:
        interrupts._requested.clear()
    first = read_lines(broken.folder / "training" / "p.jsonl")
    assert len(first) == 1 and broken.mask is None
    pruning.run(broken, "p")
    names = [row["tensor"] for row in read_lines(broken.folder / "training" / "p.jsonl")]
    assert names[0] == first[0]["tensor"] and len(names) == len(set(names)) == len(
        prunable(broken.model)
    )
    assert rows(broken.folder) == rows(straight.folder)
    assert all(torch.equal(straight.mask[name], broken.mask[name]) for name in names)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "tcnn")) for name in MODELS],
)
def test_trimming_changes_no_output_and_the_run_goes_on(tmp_path: Path, name: str) -> None:
    run = _run(tmp_path, name)
    if name != "lstm":
        Train().run(run, "train")
    _remove_units(run)
    Trim().run(run, "trim")
    row = next(row for row in rows(run.folder) if row["kind"] == "trim")
    assert row["max_difference"] <= 1e-5 and row["params_after"] < row["params_before"]
    assert sum(row["units_after"].values()) < sum(row["units_before"].values())
    assert all(
        run.mask[each].shape == dict(run.model.named_parameters())[each].shape
        for each in prunable(run.model)
    )
    run.finish("trim", True)
    again = open_run(run.folder, run.config)
    assert again.completed == {"trim"}
    example = again.model.example_input()
    assert torch.equal(again.model.eval()(example), run.model.eval()(example))
    Train(epochs=1).run(again, "finetune")
    assert all(
        (again.model.state_dict()[each][~again.mask[each]] == 0).all()
        for each in prunable(again.model)
    )


def _remove_units(run: Run) -> None:
    """Mask every second unit of every set whose removal is exact, as structured pruning would."""
    from audioprune.compress.units.zero import zero_units_

    sets = [each for each in run.model.unit_sets() if each.removable]
    with torch.no_grad():
        zero_units_(
            run.model, sets, {each.name: torch.arange(each.size) % 2 == 0 for each in sets}
        )
    weights = dict(run.model.named_parameters())
    run.mask = Mask({name: weights[name] != 0 for name in prunable(run.model)})


def test_a_structured_pipeline_trims_what_it_pruned(tmp_path: Path) -> None:
    run = _run(tmp_path)
    body = {
        "prune": step("SensitivityPrune", structured=True, alpha_1_relative=0.3),
        "finetune": step("Train", epochs=1),
    }
    Train(lambda_1=0.01, lambda_2=0.01).run(run, "train")
    Repeat(body, most=2).run(run, "compress")
    instantiate(step("Trim")).run(run, "trim")
    assert next(row for row in rows(run.folder) if row["kind"] == "trim")["max_difference"] <= 1e-5


@pytest.mark.parametrize("name", ["fdnn", "lstm"])
def test_pruned_units_leave_for_real(tmp_path: Path, name: str) -> None:
    run = _run(tmp_path, name)
    Train(lambda_1=0.01, lambda_2=0.01, unit_groups=True).run(run, "train")
    SensitivityPrune(structured=True, unit_groups=True, alpha_1=1e9).run(
        run, "prune"
    )  # all but the floor of each set
    Train(lambda_1=0.01, lambda_2=0.01, unit_groups=True, epochs=1).run(run, "finetune")
    Trim().run(run, "trim")
    row = next(row for row in rows(run.folder) if row["kind"] == "trim")
    exact = {each.name for each in run.model.unit_sets() if each.exact}
    assert row["max_difference"] <= 1e-5 and row["params_after"] < row["params_before"]
    assert {count for each, count in row["units_after"].items() if each in exact} == {1}
    run.finish("trim", True)
    assert open_run(run.folder, run.config).mask.total() == run.mask.total()
    Train(lambda_2=0.01, unit_groups=True, epochs=1).run(run, "again")


def test_unit_groups_need_units(tmp_path: Path) -> None:
    plain = config({}, tmp_path / "c", model={"name": "mine", "_target_": "tiny_runs.MyBranches"})
    with pytest.raises(
        ConfigError,
        match="MyBranches: expected units that can be removed, got none.*unit_groups=false",
    ):
        SensitivityPrune(structured=True, unit_groups=True).run(
            open_run(tmp_path / "r", plain), "prune"
        )


def test_a_model_of_which_no_unit_can_be_found_is_told_why(tmp_path: Path) -> None:
    plain = config({}, tmp_path / "c", model={"name": "mine", "_target_": "tiny_runs.MyBranches"})
    with pytest.raises(ConfigError) as caught:
        Trim().run(open_run(tmp_path / "r", plain), "trim")
    assert str(caught.value) == (
        "MyBranches: expected units that can be removed, got none ('inner': 'add' joins it with "
        "what has no units; 'outer': its output leaves the model); declare them in a method "
        "unit_sets() or prune by masks only"
    )


def test_units_of_a_model_that_declares_none_leave_for_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = config({}, tmp_path / "c", model={"name": "mine", "_target_": "tiny_runs.MyNet"})
    run = open_run(tmp_path / "r", plain)
    Train(lambda_1=0.01, lambda_2=0.01, unit_groups=True, epochs=1).run(run, "train")
    SensitivityPrune(structured=True, unit_groups=True, alpha_1=1e9).run(run, "prune")
    Trim().run(run, "trim")
    row = run.results.rows["trim"]
    assert row["units_before"] == {"inner": 6} and row["units_after"] == {"inner": 1}
    told = "trim: stays whole: 'outer': its output leaves the model\n"
    assert told in capsys.readouterr().err
    assert row["max_difference"] <= 1e-5 and run.model.inner.out_features == 1
    run.finish("trim", True)
    assert open_run(run.folder, run.config).model.outer.in_features == 1


@pytest.mark.parametrize(
    "options", [{"alpha_1_relative": 0.3}, {}, {"alpha_1": 0.07, "alpha_1_relative": 0.3}]
)
def test_a_relative_tolerance_is_a_share_of_the_loss(
    tmp_path: Path, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    loss = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, None).base()
    SensitivityPrune(**options).run(run, "prune")
    expected = options.get("alpha_1", options.get("alpha_1_relative", 0.01) * loss)
    assert run.results.rows["prune"]["alpha_1"] == pytest.approx(
        expected
    ) and loss != pytest.approx(1.0, rel=0.1)


def test_tensors_of_which_nothing_is_left_are_named(caplog: pytest.LogCaptureFixture) -> None:
    from audioprune.steps.prune import _warn_of_emptied

    full = Mask({name: torch.ones(2, dtype=torch.bool) for name in "abcde"})
    empty = torch.zeros(2, dtype=torch.bool)
    _warn_of_emptied("step", full, Mask({**dict(full), "b": empty}))
    assert caplog.messages == ["step: no weight is left in b"]
    _warn_of_emptied("step", full, Mask(dict.fromkeys("abcde", empty)))
    assert caplog.messages[1] == "step: no weight is left in a, b, c and 2 more"
    _warn_of_emptied("step", Mask({"a": empty}), Mask({"a": empty}))
    assert len(caplog.messages) == 2
