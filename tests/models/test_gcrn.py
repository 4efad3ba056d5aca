"""Whether GCRN has the published sizes, interleaves groups and takes the authors' weights."""

from __future__ import annotations

import pytest
import torch

from audioprune.errors import CheckpointError, ConfigError
from audioprune.models.gcrn import GCRN
from audioprune.models.gcrn_reference import from_reference_state_dict
from audioprune.models.parts.gcrn_layers import GroupedLSTM


@pytest.mark.parametrize(
    ("groups", "size", "tensors"),
    [(1, 18_159_948, 36), (2, 9_771_340, 40), (4, 5_577_036, 48), (8, 3_479_884, 64)],
)
def test_published_sizes(groups, size, tensors):
    with torch.device("meta"):
        params = list(GCRN(groups=groups).parameters())
    assert sum(p.numel() for p in params) == size
    assert sum(p.dim() > 1 for p in params) == tensors


def test_size_on_disk():
    with torch.device("meta"):
        model = GCRN()
    assert round(sum(p.numel() for p in model.parameters()) * 4 / 2**20, 2) == 37.27
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == 9_746_626
    assert sum(p.numel() for p in model.recurrent.parameters()) == 8_409_088


def test_published_layer_shapes():
    with torch.device("meta"):
        model = GCRN()
    shapes = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update(
                {name: getattr(output, "shape", None)}
            )
        )
    assert model(model.example_input(3)).shape == (1, 2, 3, 161)
    widths = list(zip((16, 32, 64, 128, 256), (80, 39, 19, 9, 4), strict=True))
    assert [shapes[f"encoder.{i}"] for i in range(5)] == [(1, c, 3, f) for c, f in widths]
    assert shapes["recurrent.0.norm"] == shapes["recurrent.1.norm"] == (1, 3, 1024)
    widths = list(zip((128, 64, 32, 16, 1), (9, 19, 39, 80, 161), strict=True))
    assert [shapes[f"{part}.layers.{i}"] for part in ("real", "imag") for i in range(5)] == [
        (1, c, 3, f) for c, f in widths
    ] * 2
    assert [layer.value.weight.shape[0] for layer in model.imag.layers] == [512, 256, 128, 64, 32]


@pytest.mark.parametrize(("groups", "width"), [(2, 1 / 16), (8, 0.5), (1, 1.0)])
def test_width_for_inverts_the_size(groups, width):
    with torch.device("meta"):
        params = sum(p.numel() for p in GCRN(groups=groups, width=width).parameters())
    assert GCRN.width_for(params, groups=groups) == width


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_interleaving_equals_stack_and_flatten(groups):
    layer = GroupedLSTM(32, groups, interleave=True)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    outputs = [
        group(part)[0] for group, part in zip(layer.groups, x.chunk(groups, -1), strict=True)
    ]
    torch.testing.assert_close(layer(x)[0], layer.norm(torch.stack(outputs, -1).flatten(-2)))


def test_without_interleaving_groups_are_concatenated():
    layer = GroupedLSTM(32, 2, interleave=False)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    outputs = [group(part)[0] for group, part in zip(layer.groups, x.chunk(2, -1), strict=True)]
    torch.testing.assert_close(layer(x)[0], layer.norm(torch.cat(outputs, -1)))
    assert "order" not in layer.state_dict()


def test_only_later_frames_hear_a_change():
    model = GCRN(width=1 / 16).eval()
    x = model.example_input(12)
    other = x.clone()
    other[:, :, 7:] = 0
    difference = (model(x) - model(other)).abs().amax((0, 1, 3))
    assert difference[:7].max() == 0 and difference[7] > 0


@pytest.mark.parametrize(
    "wrong", [{"groups": 3}, {"groups": True}, {"groups": 16}, {"width": 0.1}, {"width": 0}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        GCRN(**wrong)


def _reference_shapes(base: int, groups: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' network, written down from its layer table.

    ``base`` is 16 in the published one.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def normalised(name: str, channels: int) -> None:
        shapes.update(
            {
                f"{name}.{kind}": (channels,)
                for kind in ("weight", "bias", "running_mean", "running_var")
            }
        )
        shapes[f"{name}.num_batches_tracked"] = ()

    down = [2, base, 2 * base, 4 * base, 8 * base, 16 * base]
    up = {
        5: (32 * base, 8 * base),
        4: (16 * base, 4 * base),
        3: (8 * base, 2 * base),
        2: (4 * base, base),
        1: (2 * base, 1),
    }
    for layer in range(1, 6):
        for conv in ("conv1", "conv2"):
            shapes[f"conv{layer}.{conv}.weight"] = (down[layer], down[layer - 1], 1, 3)
            shapes[f"conv{layer}.{conv}.bias"] = (down[layer],)
            for part in (1, 2):
                shapes[f"conv{layer}_t_{part}.{conv}.weight"] = (*up[layer], 1, 3)
                shapes[f"conv{layer}_t_{part}.{conv}.bias"] = (up[layer][1],)
        normalised(f"bn{layer}", down[layer])
        for part in (1, 2):
            normalised(f"bn{layer}_t_{part}", up[layer][1])
    size = 64 * base // groups
    for layer in (1, 2):
        shapes.update({f"glstm.ln{layer}.{kind}": (64 * base,) for kind in ("weight", "bias")})
        shapes.update({f"fc{layer}.weight": (161, 161), f"fc{layer}.bias": (161,)})
        for group in range(groups):
            name = f"glstm.lstm_list{layer}.{group}"
            shapes.update({f"{name}.weight_{kind}_l0": (4 * size, size) for kind in ("ih", "hh")})
            shapes.update({f"{name}.bias_{kind}_l0": (4 * size,) for kind in ("ih", "hh")})
    return shapes


def _reference_state(base: int = 2, groups: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.rand(shape, generator=generator)
        for name, shape in _reference_shapes(base, groups).items()
    }


@pytest.mark.parametrize(("base", "groups"), [(1, 1), (2, 2), (2, 4)])
def test_the_authors_weights_load_into_ours(base, groups):
    state = _reference_state(base, groups)
    model = GCRN(groups=groups, width=base / 16)
    model.load_state_dict(from_reference_state_dict(state))
    torch.testing.assert_close(
        model.encoder[4].gate.weight, state["conv5.conv2.weight"], check_device=False
    )
    torch.testing.assert_close(
        model.recurrent[1].groups[groups - 1].bias_hh_l0.data,
        state[f"glstm.lstm_list2.{groups - 1}.bias_hh_l0"],
    )
    torch.testing.assert_close(
        model.real.layers[0].value.weight.data, state["conv5_t_1.conv1.weight"]
    )
    torch.testing.assert_close(model.imag.layers[3].norm.running_var, state["bn2_t_2.running_var"])
    torch.testing.assert_close(model.imag.output.bias.data, state["fc2.bias"])
    torch.testing.assert_close(
        model.recurrent[0].order, GroupedLSTM(64 * base, groups, interleave=True).order
    )


def test_every_tensor_of_the_authors_is_used_once():
    state = _reference_state()
    ours = from_reference_state_dict(state)
    assert len(ours) == len(state) + 1
    assert {id(tensor) for tensor in state.values()} <= {id(tensor) for tensor in ours.values()}


def test_a_missing_tensor_is_named():
    state = _reference_state()
    del state["bn3_t_1.running_mean"]
    with pytest.raises(
        CheckpointError, match=r"real\.layers\.2\.norm\.running_mean.* are missing"
    ):
        from_reference_state_dict(state)


@pytest.mark.parametrize(
    "name", ["conv6.conv1.weight", "module.conv1.conv1.weight", "bn1_t_3.weight", "optimizer"]
)
def test_an_unknown_tensor_is_named(name):
    with pytest.raises(CheckpointError, match=f"unknown tensor of a GCRN state dict '{name}'"):
        from_reference_state_dict({**_reference_state(), name: torch.zeros(1)})


def test_a_known_name_too_many_is_named():
    with pytest.raises(CheckpointError, match=r"recurrent\.1\.groups\.2\.weight_ih_l0.*too many"):
        from_reference_state_dict(
            {**_reference_state(), "glstm.lstm_list2.2.weight_ih_l0": torch.zeros(1)}
        )


def test_a_wrong_shape_is_named():
    state = {**_reference_state(), "fc1.weight": torch.zeros(161, 160)}
    with pytest.raises(
        CheckpointError, match=r"real\.output\.weight of shape \(161, 161\), got \(161, 160\)"
    ):
        from_reference_state_dict(state)


@pytest.mark.parametrize(
    "state", [{}, {"conv1.conv1.weight": torch.zeros(())}, {"fc1.weight": torch.zeros(161, 161)}]
)
def test_a_state_dict_without_the_network_is_refused(state):
    with pytest.raises(CheckpointError, match="expected tensors of the authors' GCRN"):
        from_reference_state_dict(state)
