"""What schedule files may say: the published one, small ones of every kind, and every kind of mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from distiller_toys import Zoo, hook_of, one, step, train
from torch import nn

from audioprune.compress.masks import prunable
from audioprune.distiller import ScheduleHook, load_schedule
from audioprune.errors import ConfigError
from audioprune.models.dcae import DCAE

EXAMPLES = {
    "sensitivity with a group lasso and a decay": """
        version: 1
        pruners:
          my_pruner:
            class: 'SensitivityPruner'
            sensitivities:
              'module.conv.weight': 0.25
              'up.module.weight': 0.35
        regularizers:
          kernels:
            class: GroupLassoRegularizer
            reg_regims:
              'image.weight': [0.000012, '2D']
              conv.weight: [1e-5, Channels]
        lr_schedulers:
          decay:
            class: ExponentialLR
            gamma: 0.9
        policies:
          - pruner:
              instance_name : 'my_pruner'
            starting_epoch: 0
            ending_epoch: 4
            frequency: 2
          - regularizer:
              instance_name: kernels
            starting_epoch: 0
            ending_epoch: 4
            frequency: 1
          - lr_scheduler:
              instance_name: decay
            starting_epoch: 2
            ending_epoch: 200
            frequency: 1
        """,
    "gradual, elements and filters": """
        version: 1
        pruners:
          fine: {class: AutomatedGradualPruner, initial_sparsity: 0.05, final_sparsity: 0.85, weights: [out.weight, rnn.weight_hh_l0]}
          filters:
            class: 'L1RankedStructureParameterPruner_AGP'
            initial_sparsity : 0.10
            final_sparsity: 0.50
            group_type: Filters
            weights: [module.conv.weight,
                      module.image.weight]
        lr_schedulers:
          steps: {class: MultiStepMultiGammaLR, milestones: [1, 3], gammas: [0.1, 0.2]}
        policies:
          - pruner: {instance_name: fine}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
          - pruner:
              instance_name: filters
              args: {mini_batch_pruning_frequency: 2, keep_mask: True, discard_masks_at_minibatch_end: false, fold_batchnorm: False}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
          - lr_scheduler: {instance_name: steps}
            starting_epoch: 0
            ending_epoch: 400
            frequency: 1
        """,
    "ranked filters at one epoch, listed epochs": """
        version: 1
        pruners:
          filter_pruner_60: {class: L1RankedStructureParameterPruner, group_type: Filters, desired_sparsity: 0.6, weights: [conv.weight]}
          channels: {class: L2RankedStructureParameterPruner, group_type: Channels, desired_sparsity: 0.3, weights: [out.weight]}
        policies:
          - pruner: {instance_name: filter_pruner_60}
            epochs: [0]
          - pruner: {instance_name: channels}
            epochs: [0, 2, 3]
        """,
    "splicing": """
        version: 1
        pruners:
          surgery:
            class: SplicingPruner
            low_thresh_mult: 0.9
            hi_thresh_mult: 1.1
            sensitivity_multiplier: 0.005
            sensitivities: {conv.weight: 0.4, '*': 0.1}
        policies:
          - pruner:
              instance_name: surgery
              args: {mask_on_forward_only: True, mask_gradients: True, keep_mask: True, mini_batch_pruning_frequency: 1}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
        """,
    "recurrent, levels, magnitudes, l1": """
        version: 1
        pruners:
          rnn: {class: BaiduRNNPruner, initial_sparsity: 0.05, final_sparsity: 0.5, q: 0.3, ramp_epoch: 1, ramp_slope_mult: 2,
                weights: [rnn.weight_ih_l0]}
          level: {class: SparsityLevelParameterPruner, levels: {conv.weight: 0.4}}
          structures: {class: StructureParameterPruner, reg_regims: {image.weight: [0.1, 3D]}, threshold_criteria: Mean_Abs}
          tiny: {class: MagnitudeParameterPruner, thresholds: {'*': 1e-6}}
        regularizers:
          l1: {class: L1Regularizer, reg_regims: {up.weight: 1e-4}, threshold_criteria: Mean_Abs}
        policies:
          - pruner: {instance_name: rnn}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
          - pruner: {instance_name: level, args: {levels: {conv.weight: 0.5}, skip_first_minibatch: true}}
            epochs: [0]
          - pruner: {instance_name: structures, args: {use_double_copies: True, mask_on_forward_only: True}}
            epochs: [0, 1]
          - pruner: {instance_name: tiny}
            epochs: [2]
          - regularizer: {instance_name: l1, args: {keep_mask: True}}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
        """,
}


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_files_of_every_kind_are_carried_out(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(line[8:] for line in text.splitlines()), encoding="utf-8")
    model = Zoo()
    hook = hook_of(path, model)
    train(hook, model, 4)
    assert hook.history and hook.history[-1]["total"] > 0.01


def test_the_published_schedule() -> None:
    schedule = load_schedule("dcae_sensitivity")
    (policy,) = schedule.policies
    sensitivities = policy.actor.sensitivities
    assert len(sensitivities) == 22 and sum(value > 0 for value in sensitivities.values()) == 8
    assert {name for name, value in sensitivities.items() if value} == {
        *(f"G.enc_blocks.{index}.conv.weight" for index in (7, 8, 9)), *(f"G.dec_blocks.{index}.deconv.weight" for index in range(5))
    }  # fmt: skip
    assert (
        schedule.pruning_epochs() == list(range(0, 129, 2))
        and len(schedule.pruning_epochs()) == 65
    )
    assert schedule.last_change() == 128 and not schedule.notes


def test_the_published_names_are_the_weights_of_the_enhancer() -> None:
    model = DCAE(width=0.0625)
    bound = load_schedule("dcae_sensitivity").bound(model)
    weights = dict(model.named_parameters())
    assert (
        set(bound.policies[0].actor.sensitivities) == set(prunable(model))
        and len(prunable(model)) == 22
    )
    assert all(weights[name].dim() == 3 for name in prunable(model))
    hook = ScheduleHook(bound)
    kept = hook.prune_once(model)
    assert all(
        kept[name].all() == (bound.policies[0].actor.sensitivities[name] == 0) for name in kept
    )
    zeros = sum(int((~kept[name]).sum()) for name in kept) / sum(
        weights[name].numel() for name in kept
    )
    assert hook.history[0]["total"] == pytest.approx(zeros) and 0.1 < zeros < 0.25


def test_epochs_can_be_replaced() -> None:
    schedule = load_schedule("dcae_sensitivity").at_epochs(None, 10, 3)
    assert (
        schedule.pruning_epochs() == [0, 3, 6, 9] and schedule.policies[0].moment(3).frequency == 3
    )
    with pytest.raises(ConfigError, match="expected 0 <= start < end"):
        schedule.at_epochs(12, None, None)
    listed = one("SensitivityPruner", {"sensitivities": {"*": 1}})
    listed["policies"] = [{"pruner": {"instance_name": "x"}, "epochs": [1]}]
    assert load_schedule(listed).at_epochs(None, None, None).pruning_epochs() == [1]
    with pytest.raises(ConfigError, match="it lists its epochs"):
        load_schedule(listed).at_epochs(0, None, None)


def test_unknown_parameters_are_refused_or_left_out() -> None:
    values = one(
        "SensitivityPruner", {"sensitivities": {"G.conv weight": 0.3, "G.up.weight": 0.3}}
    )
    with pytest.raises(
        ConfigError,
        match="pruner 'x': unknown parameter 'G.conv weight'; closest: conv.weight.*strict=false",
    ):
        load_schedule(values).bound(Zoo())
    loose = load_schedule(values).bound(Zoo(), strict=False)
    assert (
        loose.policies[0].actor.sensitivities == {"up.weight": 0.3}
        and "left out" in loose.notes[0]
    )
    with pytest.raises(ConfigError, match="expected a parameter of the model, got none"):
        load_schedule(values).bound(nn.Linear(1, 1), strict=False)
    ranked = one(
        "L1RankedStructureParameterPruner",
        {"group_type": "Rows", "desired_sparsity": 0.5, "weights": ["module.out.weight"]},
    )
    assert load_schedule(ranked).bound(Zoo()).policies[0].actor.weights == ["out.weight"]
    with pytest.raises(ConfigError, match=r"unknown parameter '\*'"):
        load_schedule(
            one(
                "AutomatedGradualPruner",
                {"initial_sparsity": 0, "final_sparsity": 0.5, "weights": ["*"]},
            )
        ).bound(Zoo())


def _with(change: dict[str, Any]) -> dict[str, Any]:
    return {**one("SensitivityPruner", {"sensitivities": {"conv.weight": 0.3}}), **change}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (one("SensitivityPrunr", {}), "unsupported class: unknown class in pruners 'SensitivityPrunr'; closest: "
            "SensitivityPruner"),
        (one("ActivationAPoZRankedFilterPruner", {}), "unsupported class.*known: AutomatedGradualPruner"),
        (one("SensitivityPruner", {"sensitivty": {}}), "does not accept sensitivty; it accepts sensitivities"),
        (one("SensitivityPruner", {}), "SensitivityPruner: expected sensitivities, got none"),
        (one("GroupVarianceRegularizer", {}, "regularizers"), "unsupported class"),
        (one("StepLR", {"step": 3}, "lr_schedulers"), "StepLR does not accept step"),
        (_with({"pruners": {"x": None}}), "pruners, 'x': expected a mapping with the key class, got nothing"),
        (_with({"pruners": None, "pruner1": {"class": "SensitivityPruner"}}), "unknown section 'pruner1'; closest: pruners"),
        (_with({"pruners": ["x"]}), "pruners: expected a mapping of names to settings, got list"),
        (_with({"quantizers": {"q": {"class": "DorefaQuantizer"}}}), "quantizers are not supported.*pipeline=quantize"),
        (_with({"policies": None}), "expected a list 'policies'"),
        (_with({"policies": ["x"]}), "expected a mapping with one of pruner"),
        (_with({"policies": [{"pruner": {"instance_name": "x"}, "ending epoch": 3}]}), "key of a policy .*; closest: ending_epoch"),
        (_with({"policies": [{"pruner": {"instance name": "x"}, "epochs": [1]}]}), "expected the keys instance_name .* got instance name"),
        (_with({"policies": [{"pruner": None, "epochs": [1]}]}), "got None"),
        (_with({"policies": [{"epochs": [1]}]}), "expected one of pruner, .* in a policy, got none"),
        (_with({"policies": [{"quantizer": {"instance_name": "x"}, "epochs": [1]}]}), "got quantizer"),
        (_with({"policies": [step("y")]}), "unknown instance_name in pruners 'y'"),
        (_with({"policies": [step("x", keep_masks=True)]}), "unknown argument of a policy with a pruner 'keep_masks'; closest: keep_mask"),
        (_with({"policies": [step("x", keep_mask="yes")]}), "keep_mask: expected true or false, got 'yes'"),
        (_with({"policies": [step("x", mask_gradients=True)]}), "expected mask_on_forward_only=true with it"),
        (_with({"policies": [step("x", mini_batch_pruning_frequency=-1)]}), "a whole number >= 0, got -1"),
        (_with({"policies": [step("x", fold_batchnorm=True)]}), "fold_batchnorm is not supported"),
        (_with({"policies": [step("x", levels={"*": 0.5})]}), "levels: expected a SparsityLevelParameterPruner, got SensitivityPruner"),
        (_with({"policies": [step("x", 3, 3, 1)]}), "expected 0 <= start < end, got start=3, end=3"),
        (_with({"policies": [step("x", 0, 3, 4)]}), "frequency <= end - start = 3, got 4"),
        (_with({"policies": [step("x", 0, 3, 1.5)]}), r"expected whole numbers >= 0, got \[0, 3, 1.5\]"),
        (_with({"policies": [{"pruner": {"instance_name": "x"}, "starting_epoch": 0}]}), "ending_epoch, frequency is missing"),
        (_with({"policies": [{"pruner": {"instance_name": "x"}, "epochs": [3, 1]}]}), r"ascending list .* got \[3, 1\]"),
        (one("StructureRemover", {"thinning_func_str": "remove"}, "extensions"), "unknown thinning_func_str 'remove'"),
    ],
)  # fmt: skip
def test_every_mistake_is_answered_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_schedule(values)
    assert "\n" not in str(caught.value)


def test_mistakes_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        yaml.safe_dump(_with({"policies": [step("x", 0, 3, 4)]}), sort_keys=False),
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"s.yaml, line 8: schedule: expected 1 <= frequency"):
        load_schedule(path)


def test_unknown_sections_are_left_out_when_reading_loosely() -> None:
    notes = load_schedule(_with({"plots": {}}), strict=False).notes
    assert len(notes) == 1 and "unknown section 'plots'" in notes[0]
