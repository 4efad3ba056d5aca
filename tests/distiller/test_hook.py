"""What a schedule does to a model in training: masks, removals, learning rates, exact resume."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from distiller_toys import Zoo, hook_of, one, share, step, train
from torch import nn

from audioprune.compress.masks import Mask
from audioprune.errors import ConfigError
from audioprune.models.vgg import VGG

SENSITIVITIES = {"conv.weight": 0.6, "up.weight": 0.6, "out.weight": 0, "image.weight": 0}


def _sensitivity(**policy: Any) -> dict[str, Any]:
    return one("SensitivityPruner", {"sensitivities": SENSITIVITIES}, **policy)


def test_zeros_stay_zero_and_masks_never_regrow() -> None:
    model, seen = Zoo(), []
    hook = hook_of(_sensitivity(start=1, end=5, frequency=2), model)

    def look(epoch: int, count: int) -> None:
        seen.append((epoch, dict(hook.masks)))
        for name, keep in hook.masks.items():
            assert (dict(model.named_parameters())[name][~keep] == 0).all()

    optimizer = torch.optim.RMSprop(model.parameters(), 3e-3, momentum=0.9, weight_decay=0.5)
    train(hook, model, 8, optimizer=optimizer, each=look)
    assert not seen[0][1] and [row["epoch"] for row in hook.history] == [1, 3]
    for (_, before), (_, after) in zip(seen[2:], seen[3:], strict=False):
        assert all(not (after[name] & ~before[name]).any() for name in before)
    shares = [share(masks["up.weight"]) for epoch, masks in seen if masks]
    assert shares[0] > shares[-1] > 0  # weight decay carries more weights into the dead zone
    assert seen[-1][0] == 7 and share(seen[-1][1]["up.weight"]) == share(hook.masks["up.weight"])


def test_only_named_tensors_are_touched() -> None:
    model = Zoo()
    hook = hook_of(_sensitivity(), model)
    train(hook, model, 3)
    assert set(hook.masks) == set(SENSITIVITIES)
    assert hook.masks["out.weight"].all() and hook.masks["image.weight"].all()
    assert set(hook.mask()) == set(SENSITIVITIES) and all(
        (value != 0).all() for value in (model.conv.bias, model.prelu.weight)
    )


def test_the_history_counts_zeros_over_all_weights() -> None:
    model = Zoo()
    hook = hook_of(_sensitivity(end=1), model)
    hook.on_epoch_begin(0, model)
    gone = sum(int((~keep).sum()) for keep in hook.masks.values())
    weights = [weight for name, weight in model.named_parameters() if weight.dim() > 1]
    assert hook.history[0]["total"] == pytest.approx(
        gone / sum(weight.numel() for weight in weights)
    )
    assert hook.history[0]["tensors"]["conv.weight"] == pytest.approx(
        1 - share(hook.masks["conv.weight"])
    )
    assert hook.history[0]["tensors"]["rnn.weight_hh_l0"] == 0


def test_the_default_reaches_every_parameter() -> None:
    model = Zoo()
    hook = hook_of(
        one("SparsityLevelParameterPruner", {"levels": {"*": 0.5, "out.weight": 0}}), model
    )
    train(hook, model, 1)
    assert set(hook.masks) == {name for name, _ in model.named_parameters()} - {"out.weight"}
    assert int(hook.masks["prelu.weight"].sum()) == 0  # all slopes are equal, and ties go together


def test_masks_on_the_forward_pass_only() -> None:
    model = Zoo()
    values = _sensitivity(end=2, mask_on_forward_only=True)
    hook, zeros = hook_of(values, model), []
    train(hook, model, 3, each=lambda *_: zeros.append(int((model.conv.weight == 0).sum())))
    assert (
        zeros == [0] * 6 and hook.mask() is None
    )  # the momentum of the optimiser revives them, and nothing masks them again


def test_the_last_masks_can_be_kept() -> None:
    model = Zoo()
    hook = hook_of(
        _sensitivity(end=2, mask_on_forward_only=True, keep_mask=True, mask_gradients=True), model
    )
    train(hook, model, 3)
    assert set(hook.mask()) == set(SENSITIVITIES) and torch.equal(
        model.conv.weight == 0, ~hook.masks["conv.weight"]
    )


def test_gradients_of_masked_weights_are_zero() -> None:
    model, seen = Zoo(), []
    hook = hook_of(_sensitivity(end=2, mask_on_forward_only=True, mask_gradients=True), model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    train(
        hook,
        model,
        3,
        optimizer=optimizer,
        each=lambda epoch, _: seen.append((epoch, model.conv.weight.grad.clone())),
    )
    gone = ~hook.masks["conv.weight"]
    assert (
        all((grad[gone] == 0).all() for epoch, grad in seen if epoch < 2)
        and (seen[-1][1][gone] != 0).any()
    )


def test_double_copies_update_the_weights_that_were_masked() -> None:
    model = Zoo()
    start = model.conv.weight.detach().clone()
    hook = hook_of(_sensitivity(end=1, mask_on_forward_only=True, use_double_copies=True), model)
    train(hook, model, 1, steps=1, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    gone = ~hook.masks["conv.weight"]
    moved = model.conv.weight.detach() - start
    assert (
        torch.allclose(moved, -0.1 * model.conv.weight.grad, atol=1e-6)
        and (model.conv.weight[gone] != 0).all()
    )


def test_masks_can_be_discarded_after_every_minibatch() -> None:
    model = Zoo()
    values = one(
        "SparsityLevelParameterPruner",
        {"levels": {"conv.weight": 0.5}},
        end=2,
        discard_masks_at_minibatch_end=True,
    )
    hook = hook_of(values, model)
    train(hook, model, 2)
    assert not hook.masks and hook.mask() is None


def test_pruning_within_an_epoch() -> None:
    model, shares = Zoo(), []
    values = one(
        "SensitivityPruner",
        {"sensitivities": {"up.weight": 0.6}},
        end=1,
        mini_batch_pruning_frequency=3,
    )
    hook = hook_of(values, model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, weight_decay=20.0)
    train(
        hook,
        model,
        1,
        steps=8,
        optimizer=optimizer,
        each=lambda *_: shares.append(share(hook.masks["up.weight"])),
    )
    changes = [index for index in range(1, 8) if shares[index] != shares[index - 1]]
    assert (
        changes == [3, 6]
        and len(hook.history) == 1
        and hook.history[0]["tensors"]["up.weight"] == pytest.approx(1 - shares[-1])
    )


def test_the_first_minibatch_can_be_skipped() -> None:
    model, seen = Zoo(), []
    hook = hook_of(_sensitivity(start=1, end=3, skip_first_minibatch=True), model)
    train(hook, model, 3, each=lambda epoch, count: seen.append(bool(hook.masks)))
    assert seen == [False, False, False, True, True, True]


def test_regularizers_shrink_and_thresholds_can_stay() -> None:
    def values(**change: Any) -> dict[str, Any]:
        return one(
            "L1Regularizer",
            {"reg_regims": {"conv.weight": 0.02}, **change},
            "regularizers",
            end=2,
            keep_mask=bool(change),
        )

    free, pulled = Zoo(), Zoo()
    train(hook_of(values(), free), free, 0)
    hook = hook_of(values(), pulled)
    optimizer = torch.optim.SGD(pulled.parameters(), 0.1)
    train(hook, pulled, 2, steps=10, optimizer=optimizer)
    assert pulled.conv.weight.abs().sum() < free.conv.weight.abs().sum() and hook.mask() is None
    hard = Zoo()
    hook = hook_of(values(threshold_criteria="Mean_Abs"), hard)
    train(hook, hard, 4)
    assert not hook.history and torch.equal(hard.conv.weight == 0, ~hook.mask()["conv.weight"])
    assert (
        hard.conv.weight[hard.conv.weight != 0].abs().min() > 0 and (hard.conv.weight == 0).any()
    )


def test_learning_rates_follow_the_file() -> None:
    values = _sensitivity()
    values["lr_schedulers"] = {"decay": {"class": "ExponentialLR", "gamma": "5e-1"}}
    values["policies"] += [step("decay", 1, 3, 1, kind="lr_scheduler")]
    model = Zoo()
    hook = hook_of(values, model)
    assert hook.sets_learning_rate() and not hook_of(_sensitivity(), model).sets_learning_rate()
    optimizer = torch.optim.SGD(model.parameters(), 0.8)
    assert train(hook, model, 5, optimizer=optimizer) == pytest.approx([0.8, 0.8, 0.2, 0.1, 0.1])


def test_removed_units_are_silent_with_all_they_own() -> None:
    torch.manual_seed(0)
    model = VGG(classes=3, width=4)
    name = next(name for name, weight in model.named_parameters() if weight.dim() == 4)
    values = one(
        "L1RankedStructureParameterPruner",
        {"group_type": "Filters", "desired_sparsity": 0.5, "weights": [name]},
        end=1,
    )
    values["extensions"] = {"thin": {"class": "FilterRemover", "arch": "vgg", "dataset": "x"}}
    values["policies"] += [{"extension": {"instance_name": "thin"}, "epochs": [0]}]
    hook = hook_of(values, model)
    hook.on_epoch_begin(0, model)
    first = model.unit_sets()[0]
    kept = hook.masks[name].flatten(1).any(1)
    assert int(kept.sum()) == len(kept) // 2
    scales = [
        part.tensor
        for part in first.slices
        if part.role == "norm" and part.tensor.endswith("weight")
    ]
    assert scales and all(
        torch.equal(dict(model.named_parameters())[scale] != 0, kept) for scale in scales
    )
    assert (
        sum(part.tensor in hook.masks for part in first.slices) > 2
        and Mask(hook.masks) == hook.mask()
    )


def test_removers_need_units() -> None:
    values = _sensitivity()
    values["extensions"] = {"thin": {"class": "ChannelRemover"}}
    values["policies"] += [{"extension": {"instance_name": "thin"}, "epochs": [0]}]
    with pytest.raises(
        ConfigError, match=r"Zoo: expected a method unit_sets\(\) for remove_channels"
    ):
        hook_of(values, Zoo()).on_epoch_begin(0, Zoo())


def test_removers_find_the_units_of_a_model_that_declares_none() -> None:
    class Convs(nn.Sequential):
        def example_input(self) -> torch.Tensor:
            return torch.zeros(1, 2, 9)

    model = Convs(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 1))
    values = one(
        "L1RankedStructureParameterPruner",
        {"group_type": "Filters", "desired_sparsity": 0.5, "weights": ["0.weight"]},
        end=1,
    )
    values["extensions"] = {"thin": {"class": "FilterRemover", "arch": "own", "dataset": "x"}}
    values["policies"] += [{"extension": {"instance_name": "thin"}, "epochs": [0]}]
    hook = hook_of(values, model)
    hook.on_epoch_begin(0, model)
    kept = hook.masks["0.weight"].flatten(1).any(1)
    assert int(kept.sum()) == 2
    assert torch.equal(hook.masks["0.bias"], kept)
    assert torch.equal(hook.masks["2.weight"][0, :, 0], kept)


def test_pruning_once_without_training() -> None:
    model = Zoo()
    values = one(
        "AutomatedGradualPruner",
        {"initial_sparsity": 0.1, "final_sparsity": 0.75, "weights": ["up.weight"]},
    )
    assert int(hook_of(values, model).prune_once(model)["up.weight"].sum()) == 24


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_stored_state_goes_on_in_the_same_bits(stop: int) -> None:
    values = _sensitivity(end=5, frequency=2, mini_batch_pruning_frequency=3)
    values["lr_schedulers"] = {
        "decay": {"class": "MultiStepLR", "milestones": [2, 4], "gamma": 0.5}
    }
    values["policies"] += [step("decay", 0, 9, 1, kind="lr_scheduler")]

    def fresh() -> tuple[nn.Module, Any, Any]:
        model = Zoo()
        return (
            model,
            hook_of(values, model),
            torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.3),
        )

    def run(model: nn.Module, hook: Any, optimizer: Any, epochs: range) -> None:
        x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
        for epoch in epochs:
            hook.on_epoch_begin(epoch, model)
            for _ in range(4):
                hook.on_step_begin(model)
                optimizer.zero_grad()
                model(x).square().mean().backward()
                hook.before_update(model)
                optimizer.step()
                hook.on_step_end(model)
            hook.after_steps(epoch, model)
            hook.on_epoch_end(epoch, model, {"model": optimizer}, {"valid_loss": 1.0})

    model, hook, optimizer = fresh()
    hook.on_training_begin(model, {"model": optimizer})
    run(model, hook, optimizer, range(stop))
    facts = json.loads(json.dumps(hook.state_dict()["facts"]))
    stored = {
        "facts": facts,
        "tensors": {name: keep.clone() for name, keep in hook.state_dict()["tensors"].items()},
    }
    weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    run(model, hook, optimizer, range(stop, 6))
    twin, other, second = fresh()
    other.on_training_begin(twin, {"model": second})
    twin.load_state_dict(weights)
    second.load_state_dict(moments)
    other.load_state_dict(stored)
    run(twin, other, second, range(stop, 6))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    )
    assert (
        hook.mask() == other.mask()
        and hook.history == other.history
        and hook.statistics == other.statistics
    )
    assert optimizer.param_groups[0]["lr"] == second.param_groups[0]["lr"]
