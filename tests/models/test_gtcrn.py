"""Whether GTCRN has the published size, hears only the past and computes as the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from audioprune.errors import ConfigError
from audioprune.experiment.cost import cost
from audioprune.models.gtcrn import GTCRN
from audioprune.models.parts.gtcrn_layers import TemporalBlock
from audioprune.models.parts.streaming import stream

BLOCK = {
    "point_conv1": "expand",
    "point_bn1": "expand_norm",
    "point_act": "expand_activation",
    "depth_conv": "depthwise",
    "depth_bn": "depthwise_norm",
    "depth_act": "depthwise_activation",
    "point_conv2": "project",
    "point_bn2": "project_norm",
    "tra.att_gru": "attention.gru",
    "tra.att_fc": "attention.linear",
    "conv": "conv",
    "bn": "norm",
    "act": "activation",
}
PATH = {
    "intra_rnn.rnn1": "over_bands.groups.0",
    "intra_rnn.rnn2": "over_bands.groups.1",
    "inter_rnn.rnn1": "over_frames.groups.0",
    "inter_rnn.rnn2": "over_frames.groups.1",
    "intra_fc": "band_linear",
    "inter_fc": "frame_linear",
    "intra_ln": "band_norm",
    "inter_ln": "frame_norm",
}


def _ours(name: str) -> str:
    """Return our name of a tensor of the published weights."""
    part, _, rest = name.partition(".")
    if part.startswith("dpgrnn"):
        layer, known = f"dual.{int(part[-1]) - 1}", PATH
    else:
        _, place, rest = rest.split(".", 2)
        names = {0: "down.0", 1: "down.1", 2: "encoder.0", 3: "encoder.1", 4: "encoder.2"}
        if part == "decoder":
            names = {0: "decoder.0", 1: "decoder.1", 2: "decoder.2", 3: "up.0", 4: "up.1"}
        layer, known = names[int(place)], BLOCK
    module, _, kind = rest.rpartition(".")
    return f"{layer}.{known[module]}.{kind}"


def _published(path: Path) -> dict[str, Tensor]:
    """Return published weights under our names; transposed 3x3 and 1x1 kernels become plain."""
    found: dict[str, Tensor] = {}
    for name, value in load_file(path).items():
        if name.startswith("erb."):
            continue
        if name.startswith("decoder") and ".point_conv" in name and name.endswith("weight"):
            value = value.transpose(0, 1)
        if name.startswith("decoder") and name.endswith("depth_conv.weight"):
            value = value.flip(2, 3)
        found[_ours(name)] = value
    return found


@pytest.fixture(scope="module")
def model() -> GTCRN:
    torch.manual_seed(0)
    return GTCRN().eval()


def test_published_size(model: GTCRN):
    params = sum(p.numel() for p in model.parameters())
    assert params == 23_669
    bank = model.bands.triangles.numel()
    assert params + 2 * bank == 48_245  # the authors store both filter banks
    assert "bands.triangles" not in model.state_dict()


def test_multiplications_of_a_frame_counted_by_hand(model: GTCRN):
    down = 65 * 16 * 9 * 5 + 33 * 16 * 8 * 5
    block = 33 * (16 * 24 + 16 * 9 + 8 * 16) + 3 * (16 * 8 + 16 * 16) + 8 * 16
    bands = 33 * 4 * 3 * (4 * 8 + 4 * 4) + 33 * 16 * 16
    frames = 33 * 2 * 3 * (8 * 8 + 8 * 8) + 33 * 16 * 16
    up = 33 * 16 * 8 * 5 + 65 * 16 * 2 * 5
    found = cost(model, model.example_input(), 62 / 62.5).macs_per_second
    assert found == pytest.approx(62.5 * (down + 6 * block + 2 * (bands + frames) + up))


@pytest.mark.parametrize("weights", ["dns3", "vctk"])
def test_published_weights_give_the_published_output(weights: str, shared_data: Path):
    folder = shared_data.parent / "pretrained" / "gtcrn"
    if not folder.is_dir():
        pytest.skip(f"no published weights in {folder}")
    published = _published(folder / f"{weights}.safetensors")
    known = GTCRN().eval()
    known.load_state_dict(published)
    signals = np.load(folder / "parity.npz")
    window = torch.hann_window(512).sqrt()
    mixture = torch.from_numpy(signals["mix"])
    noisy = torch.stft(mixture, 512, 256, window=window, return_complex=True)
    parts = torch.view_as_real(noisy.T)[None].permute(0, 3, 1, 2)  # (1, 2, N, F)
    with torch.no_grad():
        mask = known(parts)[0]
    made = torch.complex(mask[0], mask[1]).T * noisy
    audio = torch.istft(made, 512, 256, window=window)
    wanted = torch.from_numpy(signals[weights])[: len(audio)]
    assert (audio - wanted).abs().max() < 1e-4


@torch.no_grad()
def test_frame_by_frame_equals_batch(model: GTCRN):
    frames = torch.cat([model.example_input(25), model.example_input(25) * 0.5])
    masks = model(frames)
    assert masks.shape == frames.shape and masks.abs().max() <= 1
    torch.testing.assert_close(stream(model, frames), masks, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_frame_reads_a_later_one(model: GTCRN):
    x = model.example_input(20)
    other = x.clone()
    other[:, :, 12:] = 0
    difference = (model(x) - model(other)).abs().amax((0, 1, 3))
    assert difference[:12].max() < 1e-6 < difference[12]


@torch.no_grad()
def test_the_second_half_of_the_channels_passes_a_block_untouched():
    block = TemporalBlock(8, 2).eval()
    values = torch.randn(1, 8, 3, 5)
    mixed, (frames, state) = block(values, block.memory(1, 5))
    assert torch.equal(mixed[:, 1::2], values[:, 4:])
    assert frames.shape == (1, 8, 4, 5) and state.shape == (1, 1, 8)


def test_it_learns(model: GTCRN):
    small = GTCRN(channels=4)
    small(small.example_input(4)).square().mean().backward()
    gradients = [p.grad for p in small.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("wrong", [{"channels": 6}, {"channels": 0}, {"frames_per_second": 0}])
def test_wrong_arguments_are_refused(wrong: dict[str, int]):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))}"):
        GTCRN(**wrong)
