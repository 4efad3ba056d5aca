"""What a loaded schedule answers: its epochs, its names on a model, and the published file."""

from __future__ import annotations

import pytest
from distiller_toys import Zoo, one
from torch import nn

from audioprune.compress.masks import prunable
from audioprune.distiller import ScheduleHook, load_schedule
from audioprune.errors import ConfigError
from audioprune.models.dcae import DCAE


def test_the_published_schedule() -> None:
    schedule = load_schedule("dcae_sensitivity")
    (policy,) = schedule.policies
    sensitivities = policy.actor.sensitivities
    assert len(sensitivities) == 22 and sum(value > 0 for value in sensitivities.values()) == 8
    encoder = {f"G.enc_blocks.{index}.conv.weight" for index in (7, 8, 9)}
    decoder = {f"G.dec_blocks.{index}.deconv.weight" for index in range(5)}
    assert {name for name, value in sensitivities.items() if value} == encoder | decoder
    assert schedule.pruning_epochs() == list(range(0, 129, 2))
    assert len(schedule.pruning_epochs()) == 65
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
        schedule.pruning_epochs() == [0, 3, 6, 9]
        and schedule.policies[0].position(3).frequency == 3
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
