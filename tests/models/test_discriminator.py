"""Whether the discriminator judges pairs, by the layout and the normalisations that it names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.models.discriminator import NORMS, Discriminator, VirtualBatchNorm

OPTIONS = {"channels": (4, 6), "kernel_size": 5, "frame_length": 32}


def _small(**arguments: object) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(**{**OPTIONS, **arguments})


def _pairs(count: int = 3, samples: int = 32, seed: int = 1) -> Tensor:
    return torch.randn(count, 2, samples, generator=torch.Generator().manual_seed(seed))


def test_layout() -> None:
    with torch.device("meta"):
        model = Discriminator()
    convs = [tuple(block.block.conv.weight.shape) for block in model.blocks]
    assert convs[0] == (16, 2, 31) and convs[-1] == (1024, 512, 31) and len(convs) == 11
    assert [tuple(m.weight.shape) for m in model.head if isinstance(m, nn.Linear)] == [
        (256, 8192),
        (128, 256),
        (1, 128),
    ]
    assert [m.weight.numel() for m in model.head if isinstance(m, nn.PReLU)] == [256, 128]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in model.modules()) == 11
    assert float(_small().blocks[1].block.conv.weight.detach().std()) == pytest.approx(
        0.02, rel=0.2
    )


@pytest.mark.parametrize("norm", NORMS)
def test_judges_each_pair_and_learns(norm: str) -> None:
    model = _small(norm=norm, phase_shift=0)
    model.observe(_pairs(2))
    answer = model(_pairs())
    assert answer.shape == (3, 1)
    answer.square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in model.parameters()
        if parameter.dim() > 1
    )


@pytest.mark.parametrize("shape", [(3, 1, 32), (3, 32), (3, 3, 32)])
def test_takes_two_channels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"expected pairs \(B, 2, T\)"):
        _small()(torch.zeros(shape))


def test_both_channels_count() -> None:
    model = _small(norm="none").eval()
    pairs = _pairs()
    for channel in (0, 1):
        other = pairs.clone()
        other[:, channel] += 1
        assert not torch.equal(model(other), model(pairs))


def test_rolls_act_in_training_only_and_follow_the_global_generator() -> None:
    model = _small(norm="none")
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(model(_pairs()))
    assert torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])
    model.eval()
    assert torch.equal(model(_pairs()), model(_pairs()))
    torch.manual_seed(0)
    ramp = torch.arange(32.0).expand(1, 2, 32)
    shifts = {int(model.train()._rolled(ramp)[0, 0, 0]) for _ in range(80)}
    assert shifts == {1, 2, 3, 4, 5, 27, 28, 29, 30, 31}


def test_virtual_normalisation_by_hand() -> None:
    norm, values = (
        VirtualBatchNorm(2),
        torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(3)),
    )
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 1.0]), torch.tensor([0.0, 3.0])
    out = norm(values, 3)
    reference = values[:3].transpose(0, 1).flatten(1)
    wanted = (values[:3] - reference.mean(1)[:, None]) / (
        reference.var(1, correction=0)[:, None] + 1e-5
    ).sqrt()
    torch.testing.assert_close(out[:3], wanted * norm.weight[:, None] + norm.bias[:, None])
    mean = 0.25 * values[3].mean(1) + 0.75 * reference.mean(1)
    square = 0.25 * values[3].square().mean(1) + 0.75 * reference.square().mean(1)
    wanted = (values[3] - mean[:, None]) / (square - mean.square() + 1e-5).sqrt()[:, None]
    torch.testing.assert_close(out[3], wanted * norm.weight[:, None] + norm.bias[:, None])


def test_virtual_normalisation_judges_each_pair_alone_by_the_first_batch() -> None:
    model = _small(norm="virtual", reference_items=2, phase_shift=0)
    with pytest.raises(ConfigError, match="expected a reference batch"):
        model(_pairs())
    model.observe(_pairs(3))
    model.observe(_pairs(3, seed=2))
    assert int(model.reference_count) == 2 and torch.equal(model.reference, _pairs(3)[:2])
    pairs = _pairs(4, seed=3)
    torch.testing.assert_close(model(pairs)[1:2], model(pairs[1:2]), rtol=1e-4, atol=1e-6)
    twin = _small(norm="virtual", reference_items=2, phase_shift=0)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(pairs), model(pairs))


def test_few_reference_frames_count_as_they_are() -> None:
    model = _small(norm="virtual", reference_items=8, phase_shift=0)
    model.observe(_pairs(2))
    assert int(model.reference_count) == 2 and model(_pairs(1)).shape == (1, 1)


def test_spectral_normalisation_bounds_every_weight() -> None:
    model = _small(norm="spectral").train()
    for _ in range(50):
        model(_pairs())
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            assert float(torch.linalg.matrix_norm(module.weight.flatten(1), 2)) == pytest.approx(
                1.0, rel=1e-2
            )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "batsh"}, "closest: batch"),
        ({"phase_shift": -1}, "phase_shift"),
        ({"frame_length": 34}, "multiple of 4 samples .*got 34"),
        ({"kernel_size": 63}, "kernel of 63 taps"),
        ({"norm": "virtual", "reference_items": 0}, "reference_items"),
        ({"width": 0.3}, "width"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _small(**wrong)
