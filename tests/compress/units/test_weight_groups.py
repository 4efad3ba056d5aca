"""Weight groups: their positions for every layer, the papers' group counts, and norms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audioprune.compress.masks import prunable
from audioprune.compress.units.declare import Slice, rows
from audioprune.compress.units.weight_groups import (
    GroupKinds,
    any_kept,
    expand,
    group_count,
    group_norms,
    group_sizes,
    unit_groups,
    weight_groups,
)
from audioprune.errors import ConfigError
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN

W = torch.tensor([[1, -2, 0, 0.1], [0.5, 0, 0, 0.1], [-1, 2, 3, 0.1]])
ALL_ROWS = GroupKinds("row", "row", "row", "row", "row")
ALL_COLUMNS = GroupKinds("column", "column", "column", "column", "column")
ALL_KERNELS = GroupKinds("column", "column", "kernel", "kernel", "kernel")

torch.manual_seed(0)
LAYERS = {
    "linear": nn.Linear(5, 3),
    "lstm": nn.LSTM(5, 3, bidirectional=True),
    "gru": nn.GRU(5, 3),
    "conv1d": nn.Conv1d(4, 6, 3),
    "conv1d grouped": nn.Conv1d(4, 6, 3, groups=2),
    "conv1d depthwise": nn.Conv1d(4, 8, 3, groups=4),
    "pointwise": nn.Conv1d(4, 6, 1),
    "conv2d": nn.Conv2d(4, 6, (2, 5)),
    "transposed": nn.ConvTranspose1d(4, 6, 3),
    "transposed grouped": nn.ConvTranspose2d(4, 6, (2, 3), groups=2),
}


def _fdnn() -> nn.Module:
    widths = (161, 2048, 2048, 2048, 161)
    return nn.Sequential(
        *(nn.Linear(i, o, device="meta") for i, o in zip(widths, widths[1:], strict=False))
    )


def _lstm() -> nn.Module:
    return nn.ModuleList(
        [
            *(nn.LSTM(i, 1024, device="meta") for i in (161, 1024, 1024, 1024)),
            nn.Linear(1024, 161, device="meta"),
        ]
    )


@pytest.mark.parametrize(
    ("model", "columns", "all_rows"), [(_fdnn(), 6_305, 6_305), (_lstm(), 8_353, 32_929)]
)
def test_group_counts_of_the_papers_models(model: nn.Module, columns: int, all_rows: int) -> None:
    assert group_count(weight_groups(model)) == columns  # columns are the default of these layers
    assert group_count(weight_groups(model, ALL_ROWS)) == all_rows


@pytest.mark.parametrize(
    ("build", "columns", "all_rows", "kernels"),
    [
        (TCNN, 14_499 + 18 * 511, 23_457, 4_752_432),
        (GCRN, 8_870, 18_662, 439_810),
    ],  # each of 512 depthwise inputs is a channel of its own
)
def test_group_counts_of_the_convolutional_models(
    build: type[nn.Module], columns: int, all_rows: int, kernels: int
) -> None:
    with torch.device("meta"):
        model = build()
    single = GroupKinds(
        "column", "column", "kernel", "kernel", "kernel"
    )  # a kernel of a 1 x 1 convolution is one weight
    for kinds, count in ((ALL_COLUMNS, columns), (ALL_ROWS, all_rows), (single, kernels)):
        assert group_count(weight_groups(model, kinds)) == count


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kinds", [ALL_ROWS, ALL_COLUMNS, ALL_KERNELS])
def test_groups_cover_each_tensor_once(layer: str, kinds: GroupKinds) -> None:
    model = LAYERS[layer]
    sets = weight_groups(model, kinds)
    assert [each.name for each in sets] == prunable(model) and not any(
        each.removable for each in sets
    )
    for each in sets:
        shape = model.get_parameter(each.name).shape
        owners = torch.zeros(shape, dtype=torch.int64)
        for unit in range(each.size):
            keep = torch.ones(each.size, dtype=torch.bool)
            keep[unit] = False
            owned = ~expand(each.slices[0], keep, shape)
            assert int(owned.count_nonzero()) == group_sizes(each.slices[0], shape)
            owners += owned
        assert (owners == 1).all()


@pytest.mark.parametrize("layer", [name for name in LAYERS if name not in ("lstm", "gru")])
def test_a_zero_filter_silences_an_output_and_a_zero_channel_an_input(layer: str) -> None:
    model = LAYERS[layer]
    convolution = not isinstance(model, nn.Linear)
    spatial = 0 if not convolution else len(model.kernel_size)
    outputs, inputs = (model.out_channels, model.in_channels) if convolution else (3, 5)
    rows_of, columns_of = weight_groups(model, ALL_ROWS)[0], weight_groups(model, ALL_COLUMNS)[0]
    assert (rows_of.size, columns_of.size) == (outputs, inputs)
    data = torch.randn(2, inputs, *[7] * spatial, generator=torch.Generator().manual_seed(0))
    original = model.weight.detach().clone()
    with torch.no_grad():
        silent = model(torch.zeros_like(data))
        plain = model(data)
        for unit in range(outputs):
            keep = torch.arange(outputs) != unit
            model.weight.copy_(original * expand(rows_of.slices[0], keep, original.shape))
            changed = model(data)
            assert torch.allclose(changed[:, unit], silent[:, unit]) and torch.allclose(
                changed[:, keep], plain[:, keep], atol=1e-6
            )
        for unit in range(inputs):
            keep = torch.arange(inputs) != unit
            model.weight.copy_(original * expand(columns_of.slices[0], keep, original.shape))
            without = data.clone()
            without[:, unit] = 0
            expected = model(data)
            model.weight.copy_(original)
            assert torch.allclose(model(without), expected, atol=1e-6)
        model.weight.copy_(original)


def test_default_kinds_and_counts_per_layer() -> None:
    counts = {name: group_count(weight_groups(layer)) for name, layer in LAYERS.items()}
    assert counts == {
        "linear": 5, "lstm": 16, "gru": 8, "conv1d": 24, "conv1d grouped": 12,
        "conv1d depthwise": 8, "pointwise": 4, "conv2d": 24, "transposed": 24,
        "transposed grouped": 12,
    }  # fmt: skip
    assert group_count(weight_groups(LAYERS["pointwise"], ALL_KERNELS)) == 24


def test_layers_behind_weight_normalisation_keep_their_layout() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(4, 6, 3)))
    (filters,) = weight_groups(model, GroupKinds(conv1d="filter"))
    assert filters.name == "0.parametrizations.weight.original1" and filters.size == 6


def test_weights_of_unknown_modules_are_read_as_output_input_kernel() -> None:
    model = nn.ParameterDict({"matrix": torch.ones(3, 5), "bank": torch.ones(2, 3, 4)})
    assert {each.name: each.size for each in weight_groups(model, ALL_ROWS)} == {
        "matrix": 3,
        "bank": 2,
    }


def test_worked_example_norms() -> None:
    columns, all_rows = Slice("w", 1, rows(0, 4)), Slice("w", 0, rows(0, 3))
    assert group_norms(W, columns, 1).tolist() == pytest.approx([2.5, 4, 3, 0.3])
    assert group_norms(W, columns, 2).tolist() == pytest.approx([1.5, 8**0.5, 3, 0.03**0.5])
    assert group_norms(W, all_rows, 1).tolist() == pytest.approx([3.1, 0.6, 6.1])
    assert group_norms(W, all_rows, float("inf")).tolist() == W.abs().amax(1).tolist()
    with pytest.raises(ConfigError, match="expected p = 1, 2 or infinity, got 3"):
        group_norms(W, columns, 3)


KINDS = st.sampled_from([ALL_ROWS, ALL_COLUMNS, ALL_KERNELS])


@given(st.integers(0, 2**16), st.sampled_from(sorted(LAYERS)), KINDS, st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_norms_equal_a_loop_over_groups(seed: int, layer: str, kinds: GroupKinds, p: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for each in weight_groups(LAYERS[layer], kinds):
        shape = LAYERS[layer].get_parameter(each.name).shape
        tensor, part = torch.randn(shape, generator=draw), each.slices[0]
        norms = group_norms(tensor, part, p)
        assert norms.shape == (each.size,)
        for unit in range(each.size):
            members = tensor[~expand(part, torch.arange(each.size) != unit, shape)]
            assert float(norms[unit]) == pytest.approx(float(members.norm(p)), rel=1e-5)


def test_gate_rows_as_one_unit() -> None:
    weight = torch.arange(24.0).reshape(8, 3)
    part = Slice("w", 0, rows(0, 2, repeat=4, stride=2))
    assert group_norms(weight, part, 1).tolist() == [
        float(weight[0::2].sum()),
        float(weight[1::2].sum()),
    ]


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(
    "part",
    [
        Slice("w", 1, rows(0, 3)),
        Slice("w", 0, rows(0, 2, repeat=2, stride=2)),
        Slice("w", 0, rows(0, 12), leading=2),
    ],
)
def test_gradient_of_a_zero_group_is_zero(p: int, part: Slice) -> None:
    weight = torch.zeros(4, 3, 2)
    weight[3, 2] = 2.0
    weight.requires_grad_()
    group_norms(weight, part, p).sum().backward()
    assert (
        weight.grad.isfinite().all()
        and (weight.grad[weight == 0] == 0).all()
        and (weight.grad[3, 2] != 0).all()
    )


def test_expand_keeps_positions_of_no_group() -> None:
    keep = expand(Slice("w", 0, rows(1, 2)), torch.tensor([False, True]), (4, 2))
    assert keep.all(1).tolist() == [True, False, True, True]


@pytest.mark.parametrize("layer", LAYERS)
def test_any_kept_inverts_expand(layer: str) -> None:
    for kinds in (ALL_ROWS, ALL_COLUMNS, ALL_KERNELS):
        for each in weight_groups(LAYERS[layer], kinds):
            keep = torch.rand(each.size, generator=torch.Generator().manual_seed(3)) > 0.5
            positions = expand(each.slices[0], keep, LAYERS[layer].get_parameter(each.name).shape)
            assert torch.equal(any_kept(each.slices[0], positions), keep)


def test_bad_kinds_and_names() -> None:
    with pytest.raises(ConfigError, match="unknown group kind of linear layers 'kernel'"):
        GroupKinds(linear="kernel")
    with pytest.raises(
        ConfigError, match="unknown group kind of conv2d layers 'filtre'; closest: filter"
    ):
        GroupKinds(conv2d="filtre")
    with pytest.raises(ConfigError, match="unknown parameter 'weigth'"):
        weight_groups(nn.Linear(2, 2), names=["weigth"])


@pytest.mark.parametrize(
    "model",
    [
        FDNN(bins=9, width=12, depth=2),
        LSTM(bins=9, width=10, depth=2),
        TCNN(width=0.125),
        GCRN(width=0.125),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_weight_is_in_a_group_of_a_unit_or_of_its_tensor(model: nn.Module) -> None:
    touched = {
        part.tensor for each in unit_groups(model, model.unit_sets()) for part in each.slices
    }
    assert touched == set(prunable(model))


def test_a_model_without_units_keeps_its_weight_groups() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    assert [(each.name, each.size) for each in unit_groups(model, [])] == [("0.weight", 3)]
