"""Costs against hand counts, torch's operator counter and the published tables."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from audioprune.errors import ConfigError
from audioprune.experiment.cost import (
    Cost,
    cost,
    example_seconds,
    generation_step,
    latency,
    require_example,
)


def _oracle(model: nn.Module, *inputs: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.backends.mkldnn.flags(enabled=False), torch.no_grad(), counter:
        model(*inputs)
    return counter.get_total_flops() // 2


LAYERS = {
    "linear": (nn.Linear(12, 7), (3, 5, 12)),
    "conv1d": (nn.Conv1d(6, 10, 5), (2, 6, 40)),
    "conv1d strided, dilated, padded": (
        nn.Conv1d(6, 10, 5, stride=2, padding=3, dilation=2),
        (2, 6, 40),
    ),
    "conv1d groups": (nn.Conv1d(6, 12, 3, groups=3), (1, 6, 40)),
    "depthwise": (nn.Conv1d(6, 12, 3, groups=6), (1, 6, 40)),
    "conv2d": (nn.Conv2d(3, 8, (2, 5), stride=(1, 2)), (2, 3, 9, 20)),
    "transposed": (nn.ConvTranspose1d(16, 32, 4, stride=2), (1, 16, 100)),
    "transposed groups, dilated": (
        nn.ConvTranspose1d(8, 12, 3, stride=2, groups=4, dilation=2, output_padding=1),
        (1, 8, 11),
    ),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, (1, 3), stride=(1, 2)), (2, 4, 5, 8)),
    "lstm": (nn.LSTM(16, 64, batch_first=True), (1, 50, 16)),
    "bidirectional, two layers": (nn.LSTM(16, 32, 2, bidirectional=True), (20, 3, 16)),
    "projected": (nn.LSTM(16, 32, proj_size=8), (20, 1, 16)),
    "gru": (nn.GRU(16, 64), (50, 1, 16)),
    "unbatched gru": (nn.GRU(8, 16), (10, 8)),
    "lstm cell": (nn.LSTMCell(8, 16), (4, 8)),
    "gru cell": (nn.GRUCell(8, 16), (4, 8)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_macs_equal_the_operator_counter(kind: str) -> None:
    module, shape = LAYERS[kind]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert cost(module, inputs, 1.0).macs_per_second == _oracle(module, inputs)


MODELS = {
    "wavenet": (
        "WaveNet",
        {
            "layers": 6,
            "cycles": 2,
            "residual": 8,
            "gate": 8,
            "skip": 16,
            "end": 16,
            "classes": 64,
            "conditioning": 5,
        },
    ),
    "sing": (
        "SING",
        {"channels": 16, "stride": 64, "kernel_size": 256, "dimension": 8, "context": 5},
    ),
    "vgg": ("VGG", {"width": 4}),
    "resnet": ("ResNet", {"width": 4, "depths": (1, 1, 1, 1)}),
    "densenet": ("DenseNet", {"width": 8, "growth": 4, "depths": (1, 1, 1, 1)}),
    "cp_resnet": ("CPResNet", {"width": 4}),
    "dcae": ("DCAE", {"width": 0.125}),
    "fdnn": ("FDNN", {"width": 16}),
    "lstm": ("LSTM", {"width": 16, "depth": 2}),
    "gcrn": ("GCRN", {"width": 0.25}),
}


@pytest.mark.parametrize("name", MODELS)
def test_macs_of_shipped_models_equal_the_operator_counter(name: str) -> None:
    kind, arguments = MODELS[name]
    model = getattr(import_module(f"audioprune.models.{name}"), kind)(**arguments).eval()
    example = model.example_input()
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    assert cost(model, example, 1.0).macs_per_second == _oracle(model, *inputs)


def test_a_lookup_multiplies_nothing() -> None:
    class Lookup(nn.Linear):
        def forward(self, tokens: Tensor) -> Tensor:
            return F.embedding(tokens, self.weight.T)

    found = cost(
        nn.Sequential(Lookup(5, 3), nn.Linear(3, 2)), torch.zeros(1, 7, dtype=torch.long), 1.0
    )
    assert [layer.macs_per_second for layer in found.layers] == [
        0,
        7 * 6,
    ] and found.uncounted == ()


def test_hand_counts() -> None:
    def macs(module: nn.Module, *shape: int) -> float:
        return cost(module, torch.zeros(shape), 1.0).macs_per_second

    assert macs(nn.ConvTranspose1d(16, 32, 4, stride=2), 1, 16, 100) == 204_800
    assert macs(nn.LSTM(16, 64), 50, 1, 16) == 1_024_000
    assert macs(nn.GRU(16, 64), 50, 1, 16) == 768_000
    assert (
        cost(nn.GRU(8, 16), torch.zeros(10, 1, 8), 1.0).flops_per_second
        == 2 * 10 * 48 * 24
        == 23_040
    )


def test_fdnn_of_tan_and_wang() -> None:
    widths = (161, 2048, 2048, 2048, 161)
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)))
    found = cost(model, torch.zeros(1, 100, 161), 1.0)
    assert found.macs_per_second == 904_806_400
    assert found.params == 9_054_369
    assert found.disk_bytes == 4 * 9_054_369
    assert found.flops_per_second == 2 * 904_806_400
    assert cost(model, torch.zeros(1, 50, 161), 0.5).macs_per_second == 904_806_400


def test_packed_sequences_count_their_own_steps() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(nn.utils.rnn.pack_padded_sequence(x, [5, 3]))[0].data

    assert cost(Packed(), torch.zeros(5, 2, 4), 1.0).macs_per_second == (5 + 3) * 24 * 12


class Twice(nn.Module):
    """A layer that is called twice, an own parameter with a function, and an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.kernel = nn.Parameter(torch.ones(4, 4))
        self.unused = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.layer(self.norm(self.layer(x))), self.kernel)


def test_repeated_calls_count_and_uncounted_parameters_are_named() -> None:
    model = Twice().train()
    found = cost(model, torch.zeros(3, 4), 1.0)
    layer = {entry.name: entry for entry in found.layers}["layer"]
    assert (layer.calls, layer.macs_per_second, layer.params, layer.output_shape) == (
        2,
        2 * 3 * 16,
        20,
        (3, 4),
    )
    assert found.uncounted == ("kernel", "unused.weight", "unused.bias")
    assert [entry.name for entry in found.layers] == ["layer", "norm"]
    assert model.training and not model.layer._forward_hooks


def test_effective_macs_follow_the_zeros() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 1, 1))
    with torch.no_grad():
        model[0].weight[:2] = 0
        model[0].bias.zero_()
    found = cost(model, torch.zeros(1, 2, 12), 2.0)
    assert found.macs_per_second == (4 * 2 * 3 * 10 + 4 * 10) / 2
    assert found.effective_macs_per_second == (2 * 2 * 3 * 10 + 4 * 10) / 2
    assert found.params == 24 + 4 + 4 + 1
    assert found.nonzero == found.params - 12 - 4
    assert found.layers[0].as_dict()["output_shape"] == [1, 4, 10]


def test_memory_traffic_is_inputs_and_parameters_read_and_outputs_written() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    found = cost(model, torch.zeros(1, 5), 1.0)
    assert found.read_bytes == 4 * ((5 + 18) + 3 + (3 + 8))
    assert found.written_bytes == 4 * (3 + 3 + 2)
    assert found.read_write_bytes == found.read_bytes + found.written_bytes


def test_a_step_function_can_stand_for_the_model() -> None:
    class Streaming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(3, 4)

        def step(self, frame: Tensor, state: Tensor) -> Tensor:
            return self.cell(frame, state)

    model = Streaming()
    found = cost(model, (torch.zeros(1, 3), torch.zeros(1, 4)), 0.01, forward=model.step)
    assert found.macs_per_second == pytest.approx(12 * 7 * 100)
    assert found.read_bytes == 4 * (3 + 4 + 12 * 7 + 24)
    assert (
        latency(model, (torch.zeros(1, 3), torch.zeros(1, 4)), 0.01, repeats=1, forward=model.step)
        > 0
    )


def test_weight_normalised_and_tied_layers() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 4, 3))
    found = cost(nn.Sequential(normed), torch.zeros(1, 2, 8), 1.0)
    assert (found.macs_per_second, found.uncounted) == (4 * 2 * 3 * 6, ())
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    tied = cost(nn.Sequential(first, second), torch.zeros(1, 4), 1.0)
    assert (tied.params, tied.macs_per_second) == (16, 32)


def test_hooks_go_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        cost(model, torch.zeros(1, 5), 1.0)
    assert not model[0]._forward_hooks


def test_a_cached_tensor_can_be_trained_through() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.window: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.window = torch.ones(2) * 2 if self.window is None else self.window
            return self.linear(x) * self.window

    model = Caching()
    cost(model, torch.zeros(1, 2), 1.0)
    model(torch.ones(1, 2)).sum().backward()


def test_latency_is_positive_and_restores_threads_and_mode() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout()).train()
    before = torch.get_num_threads()
    assert 0 < latency(model, torch.zeros(1, 8), 1.0, threads=before + 1, repeats=3) < 1000
    assert torch.get_num_threads() == before and model.training
    with pytest.raises(RuntimeError):
        latency(model, torch.zeros(1, 9), 1.0, threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf, "1"])
def test_seconds_must_be_positive(seconds: float) -> None:
    for measure in (cost, latency):
        with pytest.raises(ConfigError, match="expected the seconds of audio as a number above 0"):
            measure(nn.Linear(1, 1), torch.zeros(1, 1), seconds)


@pytest.mark.parametrize("argument", [{"threads": 0}, {"repeats": 0}, {"repeats": 1.5}])
def test_latency_checks_its_numbers(argument: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match=f"expected {next(iter(argument))} as a whole number above 0"
    ):
        latency(nn.Linear(1, 1), torch.zeros(1, 1), 1.0, **argument)


class _Whole(nn.Module):
    """A model of whole examples."""

    frames_per_second, time_dim = 10.0, 1

    def __init__(self, length: int) -> None:
        super().__init__()
        self.layer, self.length = nn.Linear(3, 2), length

    def example_input(self) -> Tensor:
        return torch.zeros(1, 5, 3)


class _Stepping(_Whole):
    """A frame-wise model; ``length`` frames make one step."""

    def step_input(self) -> tuple[Tensor, None]:
        return torch.zeros(1, self.length, 3), None

    def step(self, frames: Tensor, state: None) -> Tensor:
        return self.layer(frames)


def test_generation_step_is_a_frame_or_the_whole_example() -> None:
    frame, note = generation_step(_Stepping(1)), generation_step(_Stepping(5))
    assert frame.seconds == 0.1 and note.seconds == 0.5 == example_seconds(_Stepping(1))
    model = _Stepping(1)
    card = cost(model, model.step_input(), 0.1, model.step)
    assert (
        card.macs_per_second == 6 * 10
        and card.read_bytes == 4 * (3 + 8)
        and card.written_bytes == 8
    )
    assert card.peak_bytes == 4 * 8 + 4 * 3 + 4 * 2
    whole = _Whole(1)
    assert generation_step(whole).forward is whole and generation_step(whole).seconds == 0.5


def test_models_say_what_costs_are_counted_on() -> None:
    model = _Stepping(1)
    assert require_example(model) is model
    with pytest.raises(
        ConfigError, match="Linear: .*example_input, frames_per_second, time_dim missing"
    ):
        require_example(nn.Linear(1, 1))


def test_cost_is_a_value() -> None:
    found = cost(nn.Linear(2, 2), torch.zeros(1, 2), 1.0)
    assert isinstance(found, Cost)
    with pytest.raises(AttributeError):
        found.params = 3
