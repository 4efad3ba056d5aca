"""Units as candidates: what belongs to one, how they are ranked, and that they can be trimmed."""

from __future__ import annotations

import pytest
import torch

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search.candidates import unit_candidates
from audioprune.compress.search.sensitivity import keeps, search
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.weight_groups import unit_groups
from audioprune.compress.units.zero import dead_units
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN

MODELS = {
    "fdnn": lambda: FDNN(bins=9, width=12, depth=2),
    "lstm": lambda: LSTM(bins=9, width=10, depth=2),
    "tcnn": lambda: TCNN(width=0.125),
    "gcrn": lambda: GCRN(width=0.125),
}


class _Free:
    """A loss that never rises for some tensors or sets and is infinite for the others."""

    def __init__(self, free: tuple[str, ...]) -> None:
        self.free = free

    def base(self) -> float:
        return 1.0

    def with_tensor(self, name: str, limit: float) -> float:
        return 1.0 if name.startswith(self.free) else 2.0


def _tiny() -> FDNN:
    model = FDNN(bins=2, width=2, depth=1)
    with torch.no_grad():
        for weight, values in zip(
            [p for p in model.parameters() if p.dim() > 1],
            ([[1.0, 2], [3, 0]], [[1, 0.5], [0, 0.5]]),
            strict=True,
        ):
            weight.copy_(torch.tensor(values))
    return model


def test_a_group_is_all_that_writes_and_reads_a_unit() -> None:
    model = _tiny()
    groups = unit_groups(model, model.unit_sets())
    (candidates,) = unit_candidates(model, Mask.ones(model, prunable(model)), groups).values()
    assert candidates.count() == 2 and candidates.ranks().tolist() == [
        0,
        1,
    ]  # l1 norms 1 + 2 + 1 + 0 and 3 + 0 + 0.5 + 0.5 tie
    with torch.no_grad():
        model.unit_sets()  # the sets do not change with the weights
        next(model.parameters())[1, 1] = -0.5
    assert candidates.ranks().tolist() == [0, 1]
    with torch.no_grad():
        next(model.parameters())[0, 0] = 5.0
    assert candidates.ranks().tolist() == [1, 0]


@pytest.mark.parametrize("name", MODELS)
def test_pruned_units_leave_and_the_output_stays(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    sets: list[UnitSet] = unit_groups(model, model.unit_sets())
    mask = Mask.ones(model, prunable(model))
    candidates = unit_candidates(model, mask, sets)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    free = tuple(each.name for each in sets if each.name not in before)
    result = search(candidates, _Free(free), 0.5, betas=[0.0, 0.25, 0.5])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    mask = mask.updated(keeps(candidates, result))
    mask.apply_(model)
    example = model.example_input(4)
    with torch.no_grad():
        masked = model(example)
    count = sum(parameter.numel() for parameter in model.parameters())
    keep = dead_units(model, model.unit_sets(), mask=mask)
    for each in sets:
        if each.name in free:
            assert int(keep[each.name].sum()) == each.size - (each.size + 1) // 2
    trim_(model, model.unit_sets(), keep)
    assert sum(parameter.numel() for parameter in model.parameters()) < 0.9 * count
    with torch.no_grad():
        assert torch.allclose(model(example), masked, atol=1e-5)
    model.train()
    model(example).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_units_already_pruned_are_no_candidates_and_do_not_come_back() -> None:
    model = MODELS["lstm"]()
    mask = Mask.ones(model, prunable(model))
    for left in (10, 5, 2):
        candidates = unit_candidates(model, mask, unit_groups(model, model.unit_sets()))
        assert candidates["layers.0"].count() == left
        mask = mask.updated(
            keeps(candidates, search(candidates, _Free(("layers.0",)), 0.5, betas=[0.0, 0.5]))
        )
        mask.apply_(model)
