"""What schedule files may say: small files of every kind, and every kind of mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from distiller_toys import Zoo, hook_of, one, step, train

from audioprune.distiller import load_schedule
from audioprune.errors import ConfigError

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
          fine: {class: AutomatedGradualPruner, initial_sparsity: 0.05, final_sparsity: 0.85,
                 weights: [out.weight, rnn.weight_hh_l0]}
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
              args: {mini_batch_pruning_frequency: 2, keep_mask: True,
                     discard_masks_at_minibatch_end: false, fold_batchnorm: False}
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
          filter_pruner_60: {class: L1RankedStructureParameterPruner, group_type: Filters,
                             desired_sparsity: 0.6, weights: [conv.weight]}
          channels: {class: L2RankedStructureParameterPruner, group_type: Channels,
                     desired_sparsity: 0.3, weights: [out.weight]}
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
              args: {mask_on_forward_only: True, mask_gradients: True, keep_mask: True,
                     mini_batch_pruning_frequency: 1}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
        """,
    "recurrent, levels, magnitudes, l1": """
        version: 1
        pruners:
          rnn: {class: BaiduRNNPruner, initial_sparsity: 0.05, final_sparsity: 0.5, q: 0.3,
                ramp_epoch: 1, ramp_slope_mult: 2, weights: [rnn.weight_ih_l0]}
          level: {class: SparsityLevelParameterPruner, levels: {conv.weight: 0.4}}
          structures: {class: StructureParameterPruner, reg_regims: {image.weight: [0.1, 3D]},
                       threshold_criteria: Mean_Abs}
          tiny: {class: MagnitudeParameterPruner, thresholds: {'*': 1e-6}}
        regularizers:
          l1: {class: L1Regularizer, reg_regims: {up.weight: 1e-4}, threshold_criteria: Mean_Abs}
        policies:
          - pruner: {instance_name: rnn}
            starting_epoch: 0
            ending_epoch: 3
            frequency: 1
          - pruner:
              instance_name: level
              args: {levels: {conv.weight: 0.5}, skip_first_minibatch: true}
            epochs: [0]
          - pruner:
              instance_name: structures
              args: {use_double_copies: True, mask_on_forward_only: True}
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
def test_files_of_every_kind_run(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(line[8:] for line in text.splitlines()), encoding="utf-8")
    model = Zoo()
    hook = hook_of(path, model)
    train(hook, model, 4)
    assert hook.history and hook.history[-1]["total"] > 0.01


def _with(change: dict[str, Any]) -> dict[str, Any]:
    return {**one("SensitivityPruner", {"sensitivities": {"conv.weight": 0.3}}), **change}


def _policy(**entry: Any) -> dict[str, Any]:
    return _with({"policies": [entry]})


def _acting(*arguments: Any, **options: Any) -> dict[str, Any]:
    return _with({"policies": [step(*arguments, **options)]})


X = {"instance_name": "x"}
WRONG_SECTIONS = [
    (one("SensitivityPrunr", {}), "schedule: 'x': unsupported class: unknown class in pruners"),
    (
        _with({"pruners": {"x": None}}),
        "pruners, 'x': expected a mapping with the key class, got nothing",
    ),
    (
        _with({"pruners": None, "pruner1": {"class": "SensitivityPruner"}}),
        "unknown section 'pruner1'; closest: pruners",
    ),
    (
        _with({"pruners": ["x"]}),
        "pruners: expected a mapping of names to settings, got list",
    ),
    (
        _with({"quantizers": {"q": {"class": "DorefaQuantizer"}}}),
        "quantizers are not supported.*pipeline=quantize",
    ),
    (_with({"policies": None}), "expected a list 'policies'"),
]
WRONG_POLICIES = [
    (_with({"policies": ["x"]}), "expected a mapping with one of pruner"),
    (
        _policy(**{"pruner": X, "ending epoch": 3}),
        "key of a policy .*; closest: ending_epoch",
    ),
    (
        _policy(pruner={"instance name": "x"}, epochs=[1]),
        "expected the keys instance_name .* got instance name",
    ),
    (_policy(pruner=None, epochs=[1]), "got None"),
    (_policy(epochs=[1]), "expected one of pruner, .* in a policy, got none"),
    (_policy(quantizer=X, epochs=[1]), "got quantizer"),
    (_acting("y"), "unknown instance_name in pruners 'y'"),
]
WRONG_OPTIONS = [
    (
        _acting("x", keep_masks=True),
        "unknown argument of a policy with a pruner 'keep_masks'; closest: keep_mask",
    ),
    (_acting("x", keep_mask="yes"), "keep_mask: expected true or false, got 'yes'"),
    (_acting("x", mask_gradients=True), "expected mask_on_forward_only=true with it"),
    (_acting("x", mini_batch_pruning_frequency=-1), "a whole number >= 0, got -1"),
    (_acting("x", fold_batchnorm=True), "fold_batchnorm is not supported"),
    (
        _acting("x", levels={"*": 0.5}),
        "levels: expected a SparsityLevelParameterPruner, got SensitivityPruner",
    ),
]
WRONG_EPOCHS = [
    (_acting("x", 3, 3, 1), "expected 0 <= start < end, got start=3, end=3"),
    (_acting("x", 0, 3, 4), "frequency <= end - start = 3, got 4"),
    (_acting("x", 0, 3, 1.5), r"expected whole numbers >= 0, got \[0, 3, 1.5\]"),
    (_policy(pruner=X, starting_epoch=0), "ending_epoch, frequency is missing"),
    (_policy(pruner=X, epochs=[3, 1]), r"ascending list .* got \[3, 1\]"),
]


@pytest.mark.parametrize(
    ("values", "message"),
    WRONG_SECTIONS + WRONG_POLICIES + WRONG_OPTIONS + WRONG_EPOCHS,
)
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
