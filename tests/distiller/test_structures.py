"""Which structures pruners keep, on weights of two, three and four axes and transposed ones."""

from __future__ import annotations

import pytest
import torch
from distiller_toys import Zoo

from audioprune.distiller.context import FirstStatistics, PruningContext, TrainingPosition
from audioprune.distiller.structures import (
    GradualStructurePruner,
    RankedStructurePruner,
    StructureParameterPruner,
    structures,
    threshold_keep,
)
from audioprune.errors import ConfigError


def _keep(pruner, model: Zoo, name: str, epoch: int = 0):
    context = PruningContext(model, TrainingPosition(epoch, 0, 3, 1), {}, FirstStatistics())
    return pruner.keep(name, dict(model.named_parameters())[name], context)


@pytest.mark.parametrize(
    ("name", "group_type", "dim", "count"),
    [
        ("conv.weight", "Filters", 0, 4),
        ("conv.weight", "Channels", 1, 2),
        ("conv.weight", "Rows", 1, 2),
        ("up.weight", "Filters", 1, 3),
        ("up.weight", "3D", 1, 3),
        ("up.weight", "Channels", 0, 4),
        ("image.weight", "Filters", 0, 2),
        ("out.weight", "Filters", 0, 1),
        ("out.weight", "Rows", 1, 2),
        ("out.weight", "Channels", 1, 2),
        ("rnn.weight_ih_l0", "Rows", 1, 12),
    ],
)
def test_half_of_the_structures_on_their_axis_go(
    name: str, group_type: str, dim: int, count: int
) -> None:
    model = Zoo()
    keep = _keep(RankedStructurePruner(group_type, 0.5, [name]), model, name)
    weight = dict(model.named_parameters())[name].detach()
    rest = [axis for axis in range(weight.dim()) if axis != dim]
    kept = keep.movedim(dim, 0).flatten(1)
    assert torch.equal(kept.all(1), kept.any(1)) and int((~kept.any(1)).sum()) == count
    means = weight.abs().mean(rest)
    assert means[kept.all(1)].min() > means[~kept.all(1)].max()


def test_the_norm_matters_and_never_all_structures_go() -> None:
    model = Zoo()
    with torch.no_grad():
        model.out.weight.copy_(torch.tensor([[3.0, 0, 0, 0, 0], [1, 1, 1, 0.5, 0]]))
    rows = {
        p: _keep(RankedStructurePruner("Filters", 0.5, ["out.weight"], p=p), model, "out.weight")[
            :, 0
        ].tolist()
        for p in (1, 2)
    }
    assert rows == {1: [False, True], 2: [True, False]}
    assert (
        int(
            _keep(RankedStructurePruner("Filters", 0.99, ["conv.weight"]), model, "conv.weight")[
                :, 0, 0
            ].sum()
        )
        == 1
    )
    assert not _keep(
        RankedStructurePruner("Filters", 1.0, ["conv.weight"]), model, "conv.weight"
    ).any()
    assert (
        _keep(RankedStructurePruner("Filters", 0.12, ["conv.weight"]), model, "conv.weight")
        is None
    )
    assert (
        _keep(RankedStructurePruner("Filters", 0, ["conv.weight"]), model, "conv.weight") is None
    )
    assert (
        _keep(RankedStructurePruner("Filters", 0.5, ["conv.weight"]), model, "up.weight") is None
    )


def test_a_leader_decides_for_all() -> None:
    model = Zoo()
    names = ["conv.weight", "up.weight"]  # 8 filters, and 8 channels that read them
    leader = RankedStructurePruner("Filters", 0.5, names, "Leader")
    with pytest.raises(
        ConfigError, match="'up.weight': expected 8 Filters as its leader 'conv.weight' has, got 6"
    ):
        _keep(leader, model, "up.weight")
    twins = torch.nn.Sequential(torch.nn.Conv1d(2, 6, 3), torch.nn.Conv1d(6, 6, 3))
    pruner = RankedStructurePruner("Filters", 0.5, ["0.weight", "1.weight"], "Leader")
    context = PruningContext(twins, TrainingPosition(0, 0, 1, 1), {}, FirstStatistics())
    masks = [
        pruner.keep(name, dict(twins.named_parameters())[name], context) for name in pruner.weights
    ]
    assert torch.equal(masks[0][:, 0, 0], masks[1][:, 0, 0])


def test_structures_go_gradually() -> None:
    model, pruner = Zoo(), GradualStructurePruner(0.1, 0.5, "Filters", ["conv.weight"], p=2)
    gone = [_keep(pruner, model, "conv.weight", epoch) for epoch in range(3)]
    assert gone[0] is None and [int((~keep[:, 0, 0]).sum()) for keep in gone[1:]] == [
        3,
        4,
    ]  # 0.45 and 0.5 of 8


def test_thresholds_on_means_and_largest_magnitudes() -> None:
    model = Zoo()
    with torch.no_grad():
        model.conv.weight.fill_(0.1)
        model.conv.weight[0, 0, 0] = 2.0
        model.conv.weight[1] = 0.5

    def kept(group_type: str, criterion: str, threshold: float) -> list[bool]:
        keep = threshold_keep(
            model, "conv.weight", model.conv.weight, group_type, threshold, criterion
        )
        return keep[:, 0, 0].tolist()

    assert kept("Filters", "Max", 0.5) == [True] + 7 * [False]
    assert kept("Filters", "Mean_Abs", 0.3) == [False, True] + 6 * [False]
    assert kept("2D", "Mean_Abs", 0.4) == [True, True] + 6 * [False]
    assert kept("4D", "Max", 1.9) == 8 * [True] and kept("4D", "Mean_Abs", 0.3) == 8 * [False]
    assert kept("Filters+Channels", "Max", 0.05) == 8 * [True]
    pruner = StructureParameterPruner({"conv.weight": [0.5, "Filters"]}, "Max")
    assert _keep(pruner, model, "conv.weight")[:, 0, 0].tolist() == [True] + 7 * [False]
    assert _keep(pruner, model, "up.weight") is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RankedStructurePruner("Blocks", 0.5, ["w"]), "unknown group_type 'Blocks'"),
        (
            lambda: RankedStructurePruner("Filters", 1.2, ["w"]),
            "desired_sparsity: expected a number from 0 to 1",
        ),
        (lambda: RankedStructurePruner("Filters", 0.5, "w"), "list of parameter names"),
        (
            lambda: RankedStructurePruner("Filters", 0.5, ["w"], "Boss"),
            "unknown group_dependency 'Boss'",
        ),
        (lambda: GradualStructurePruner(0.5, 0.1, "Filters", ["w"]), "final_sparsity above"),
        (
            lambda: StructureParameterPruner({"w": 0.5}, "Max"),
            r"expected \[number, structure\], got 0.5",
        ),
        (
            lambda: StructureParameterPruner({"w": [0.5, "5D"]}, "Max"),
            "unknown structure of 'w' '5D'",
        ),
        (
            lambda: StructureParameterPruner({"w": [0.5, "3D"]}, "Most"),
            "unknown threshold_criteria 'Most'.*Max",
        ),
        (lambda: StructureParameterPruner({}, "Max"), "expected a mapping of parameter names"),
        (lambda: structures(Zoo(), "conv.bias", "Filters"), "at least 2 axes for Filters"),
        (lambda: structures(Zoo(), "out.weight", "2D"), "at least 3 axes for 2D"),
    ],
)
def test_wrong_structures_are_refused(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
