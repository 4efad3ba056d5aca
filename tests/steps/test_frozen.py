"""Fixed filter banks: stored and counted in bytes, but never pruned, clustered or penalised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import MyNet, config, open_run
from torch import Tensor, nn

from audioprune.compress.penalties import L1Penalty
from audioprune.compress.weight_summary import weight_summary
from audioprune.distiller import load_schedule
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import save_model, size_row
from audioprune.models.vgg import VGG
from audioprune.optim import HSPG, kept_units
from audioprune.steps import Prune, Quantize
from audioprune.steps.baseline import remaining_parameters
from audioprune.steps.sparse.groups import entries_of, zero_filters


class BankedNet(MyNet):
    """A user's model behind a fixed filter bank of which nearly all is zero."""

    def __init__(self, width: int = 6) -> None:
        super().__init__(width)
        self.bank = nn.Linear(17, 17, bias=False).requires_grad_(False)
        self.bank.weight.copy_(torch.eye(17) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(3 * self.bank(x))


MODEL = {"name": "banked", "_target_": f"{__name__}.BankedNet"}
TRAINED = 2 * 17 * 6


@pytest.fixture
def run(tmp_path: Path):
    return open_run(tmp_path / "r", config({}, tmp_path / "c", model=MODEL))


def _row(run, name: str) -> dict:
    save_model(run, run.folder / name)
    return size_row(run, "e", "x", load_model_file(run.folder / name, MODEL), run.folder / name)


@pytest.mark.parametrize("name", ["m.safetensors", "m.apz"])
def test_constants_are_no_sparsity_and_stay(run, name: str) -> None:
    before = _row(run, name)
    params = sum(parameter.numel() for parameter in run.model.parameters())
    assert (
        before["sparsity"] == 0.0
        and before["params"] == params
        and before["bytes_fp32"] == 4 * params
    )
    assert before["bytes_paper"] == 4 * params
    Prune(0.5).run(run, "prune")
    assert list(run.mask) == ["inner.weight", "outer.weight"] and run.mask.kept() == TRAINED // 2
    assert remaining_parameters(run) == params - TRAINED // 2
    Quantize(levels=2).run(run, "quantize")
    assert set(run.codebooks) == set(run.mask)
    assert torch.equal(run.model.bank.weight, torch.eye(17) / 3)
    assert _row(run, name)["sparsity"] == 0.5


def test_constants_are_neither_penalised_nor_summarised() -> None:
    model = BankedNet()
    assert L1Penalty(model, 1.0).n_weights == TRAINED
    assert [row["Name"] for row in weight_summary(model)][:-1] == ["inner.weight", "outer.weight"]


def test_a_schedule_may_not_name_a_constant() -> None:
    pruner = {
        "class": "SensitivityPruner",
        "sensitivities": {"bank.weight": 0.5, "inner.weight": 0.5},
    }
    policy = {
        "pruner": {"instance_name": "p"},
        "starting_epoch": 0,
        "ending_epoch": 2,
        "frequency": 1,
    }
    schedule = load_schedule({"version": 1, "pruners": {"p": pruner}, "policies": [policy]})
    with pytest.raises(ConfigError, match="unknown parameter 'bank.weight'"):
        schedule.bound(BankedNet())
    loose = schedule.bound(BankedNet(), strict=False)
    assert list(loose.policies[0].actor.sensitivities) == ["inner.weight"]


def test_optimisers_leave_constants_of_a_unit() -> None:
    model = VGG(classes=2, width=2, mels=48, pool_dropout=0.0, head_dropout=0.0)
    sets = model.unit_sets()
    part = next(
        part for part in sets[0].slices if part.role == "out" and part.tensor.endswith("weight")
    )
    weights = dict(model.named_parameters())
    frozen = weights[part.tensor].requires_grad_(False)
    expected = frozen.clone()
    assert part.tensor not in zero_filters(model, sets)
    assert (
        len(entries_of(model, sets))
        == sum(each.role != "in" and each.tensor in weights for s in sets for each in s.slices) - 1
    )
    optimizer = HSPG(model.named_parameters(), lr=1.0, lmbda=1e3, units=sets, prox_steps=1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(
            weight.square().sum() for weight in weights.values() if weight.requires_grad
        ).backward()
        optimizer.step()
    assert torch.equal(frozen, expected)
    assert not kept_units(model.named_parameters(), sets)[sets[0].name].any()
