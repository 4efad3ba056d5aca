"""derive_units: what it finds in unknown models, and the reasons for what it leaves out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.errors import ConfigError


class Free(nn.Module):
    """A module with the given layers and forward function."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


class Scaled(nn.Module):
    """A leaf with its own parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _conv_rnn(m: Free, x: Tensor) -> Tensor:
    x = F.relu(m.norm(m.a(F.pad(x, (2, 0)))))
    x = m.b(x)[:, :, :-1].transpose(1, 2)
    x, _ = m.lstm(torch.tanh(x))
    return m.out(m.gru(x)[0][:, -1])


def _conv2d(m: Free, x: Tensor) -> Tensor:
    x = F.elu(m.a(x.unsqueeze(1)))  # (B, C, N, F)
    x = x.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)
    return m.out(F.gelu(m.b(x)))


FOUND: dict[str, tuple[Free, tuple[int, ...], list[str]]] = {
    "functional activations and dropout": (
        Free(
            lambda m, x: m.c(F.dropout(m.b(m.a(x).relu()).tanh(), 0.2, m.training)),
            a=nn.Linear(3, 6),
            b=nn.Linear(6, 5),
            c=nn.Linear(5, 2),
        ),
        (4, 3),
        ["a", "b"],
    ),
    "causal convolutions, transposition, recurrent layers, last step": (
        Free(
            _conv_rnn,
            a=nn.Conv1d(2, 6, 3),
            norm=nn.BatchNorm1d(6),
            b=nn.Conv1d(6, 5, 2),
            lstm=nn.LSTM(5, 4, batch_first=True),
            gru=nn.GRU(4, 3, batch_first=True, bidirectional=True),
            out=nn.Linear(6, 2),
        ),
        (2, 2, 12),
        ["a", "b", "lstm", "gru"],
    ),
    "channels and bins flattened by a view": (
        Free(_conv2d, a=nn.Conv2d(1, 4, (1, 3)), b=nn.Linear(4 * 7, 6), out=nn.Linear(6, 2)),
        (2, 5, 9),
        ["a", "b"],
    ),
    "flattened, pooled and sequential": (
        Free(
            lambda m, x: m.head(m.body(x).flatten(1)),
            body=nn.Sequential(nn.Conv1d(2, 4, 3), nn.PReLU(4), nn.MaxPool1d(2)),
            head=nn.Sequential(nn.Linear(4 * 5, 6), nn.ReLU(), nn.Linear(6, 3)),
        ),
        (2, 2, 12),
        ["body.0", "head.0"],
    ),
    "mean over time": (
        Free(lambda m, x: m.b(m.a(x).relu().mean(-1)), a=nn.Conv1d(2, 5, 3), b=nn.Linear(5, 2)),
        (2, 2, 9),
        ["a"],
    ),
    "functional pooling": (
        Free(
            lambda m, x: m.b(F.avg_pool1d(F.max_pool1d(m.a(x), 2), 2)),
            a=nn.Conv1d(2, 5, 3),
            b=nn.Conv1d(5, 2, 1),
        ),
        (2, 2, 12),
        ["a"],
    ),
    "functional gate": (
        Free(lambda m, x: m.b(F.glu(m.a(x), 1)), a=nn.Conv1d(2, 8, 3), b=nn.Conv1d(4, 2, 1)),
        (2, 2, 9),
        ["a"],
    ),
    "depthwise and module flatten": (
        Free(
            lambda m, x: m.out(m.flat(m.depth(m.a(x)))),
            a=nn.Conv1d(2, 4, 1),
            depth=nn.Conv1d(4, 4, 3, groups=4),
            flat=nn.Flatten(),
            out=nn.Linear(4 * 6, 3),
        ),
        (2, 2, 8),
        ["a"],
    ),
    "inplace activation": (
        Free(
            lambda m, x: m.b(m.act(m.a(x))),
            a=nn.Linear(3, 6),
            act=nn.ReLU(inplace=True),
            b=nn.Linear(6, 2),
        ),
        (2, 3),
        ["a"],
    ),
    "crossed by a normalisation": (
        Free(
            lambda m, x: m.b(m.norm(m.a(x))),
            a=nn.Linear(3, 6),
            norm=nn.LayerNorm(6),
            b=nn.Linear(6, 2),
        ),
        (2, 3),
        ["a"],
    ),
    "residual": (
        Free(
            lambda m, x: m.c((y := m.a(x)) + m.b(y)),
            a=nn.Linear(4, 4),
            b=nn.Linear(4, 4),
            c=nn.Linear(4, 2),
        ),
        (3, 4),
        ["a"],
    ),
    "joined with an input": (
        Free(lambda m, x: m.b(torch.cat((m.a(x), x), -1)), a=nn.Linear(4, 4), b=nn.Linear(8, 2)),
        (3, 4),
        ["a"],
    ),
    "scaled by its own parameter": (
        Free(lambda m, x: m.b(m.s(m.a(x))), a=nn.Linear(4, 4), s=Scaled(), b=nn.Linear(4, 2)),
        (3, 4),
        ["a"],
    ),
    "last state": (
        Free(lambda m, x: m.b(m.a(x)[1][0][0]), a=nn.LSTM(4, 4), b=nn.Linear(4, 2)),
        (3, 2, 4),
        ["a"],
    ),
    "groups": (
        Free(
            lambda m, x: m.b(m.a(x[:, :, None])),
            a=nn.Conv1d(4, 4, 1, groups=2),
            b=nn.Conv1d(4, 2, 1),
        ),
        (3, 4),
        ["a"],
    ),
    "divided by their norm": (
        Free(lambda m, x: m.b(F.normalize(m.a(x), dim=-1)), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        (3, 4),
        ["a"],
    ),
    "a gate from a mean over time": (
        Free(
            lambda m, x: m.c((y := m.a(x)) * torch.sigmoid(m.b(y.mean(-1, True)))),
            a=nn.Conv1d(2, 5, 3),
            b=nn.Conv1d(5, 5, 1),
            c=nn.Conv1d(5, 2, 1),
        ),
        (2, 2, 9),
        ["a"],
    ),
    "functions of parameters": (
        Free(
            lambda m, x: F.linear(F.conv1d(x, m.a.weight, m.a.bias).relu().mean(-1), m.b.weight),
            a=nn.Conv1d(2, 5, 3),
            b=nn.Linear(5, 2),
        ),
        (2, 2, 9),
        ["a"],
    ),
}


@pytest.mark.parametrize("kind", FOUND)
def test_found_units_are_proved(kind: str) -> None:
    model, shape, names = FOUND[kind]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = str(model)
    sets, reasons = derive_units(model.train(), inputs)
    assert [each.name for each in sets] == names
    assert len(reasons) == 1 and reasons[0].endswith("its output leaves the model")
    assert (
        model.training
        and str(model) == before
        and not any(module._forward_hooks for module in model.modules())
    )
    assert verify_units(model, sets, inputs) <= 1e-5


def test_derived_sets_of_a_trimmed_model_are_found_again() -> None:
    model = Free(lambda m, x: m.b(m.a(x).relu()), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    inputs = torch.ones(1, 3)
    sets, _ = derive_units(model, inputs)
    trim_(model, sets, {"a": torch.arange(6) < 4})
    again, _ = derive_units(model, inputs)
    assert [each.size for each in again] == [4]


def _tied() -> Free:
    model = Free(
        lambda m, x: m.c(m.b(m.a(x))), a=nn.Linear(4, 4), b=nn.Linear(4, 4), c=nn.Linear(4, 2)
    )
    model.b.weight = model.a.weight
    return model


LEFT_OUT: dict[str, tuple[Free, str]] = {
    "called twice": (
        Free(lambda m, x: m.b(m.a(m.a(x))), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        "'a': 'addmm' in 'a' joins it with what has no units",
    ),
    "shared": (_tied(), "'a': 'addmm' in 'a' joins it with what has no units"),
    "works along units": (
        Free(lambda m, x: m.b(m.a(x).cumsum(-1)), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        "'a': 'cumsum' works along its units",
    ),
    "unknown function": (
        Free(lambda m, x: m.b(m.a(x).renorm(2, 0, 1.0)), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        "'a': 'renorm' reads it, whose effect on units is unknown",
    ),
    "output": (
        Free(lambda m, x: (y := m.a(x), m.b(y)), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        "'a': its output leaves the model",
    ),
    "pooled over units": (
        Free(
            lambda m, x: m.b(m.p(m.a(x[None]))),
            a=nn.Linear(4, 4),
            p=nn.MaxPool1d(2),
            b=nn.Linear(2, 2),
        ),
        "'a': 'max_pool2d_with_indices' in 'p' runs along the axis of its units",
    ),
    "half of the units": (
        Free(lambda m, x: m.b(m.a(x)[:, ::2]), a=nn.Linear(4, 4), b=nn.Linear(2, 2)),
        "'a': 'slice' takes every 2. position",
    ),
    "compared": (
        Free(
            lambda m, x: m.b(m.a(x).amax(-1, keepdim=True)), a=nn.Linear(4, 4), b=nn.Linear(1, 2)
        ),
        "'a': 'amax' compares its units",
    ),
    "padded units": (
        Free(lambda m, x: m.b(F.pad(m.a(x), (1, 0))), a=nn.Linear(4, 4), b=nn.Linear(5, 2)),
        "'a': 'constant_pad_nd' lengthens",
    ),
    "a number in the code": (
        Free(
            lambda m, x: m.b(m.a(x).reshape(-1, 2, 2).flatten(1)),
            a=nn.Linear(4, 4),
            b=nn.Linear(4, 2),
        ),
        "'a': the masked and the trimmed model do not agree",
    ),
    "not called": (
        Free(lambda m, x: m.b(x), a=nn.Linear(4, 4), b=nn.Linear(4, 2)),
        "'a': the forward pass does not call it",
    ),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_cannot_be_proved_is_left_out_with_a_reason(kind: str) -> None:
    model, reason = LEFT_OUT[kind]
    sets, reasons = derive_units(
        model, torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    )
    assert "a" not in [each.name for each in sets]
    assert any(given.startswith(reason) for given in reasons), reasons
    assert not any("\n" in given for given in reasons)


def test_hooks_go_when_the_model_fails() -> None:
    model = Free(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 4), b=nn.Linear(5, 2))
    with pytest.raises(RuntimeError):
        derive_units(model, torch.ones(1, 4))
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in model.modules()
    )


CROSSED: dict[str, Callable[[Tensor], Tensor]] = {
    "padding with a constant": lambda x: F.pad(x, (1, 1), value=1.0),
    "sigmoid": torch.sigmoid,
    "a sum with a number": lambda x: x + 1,
    "mean over units": lambda x: x - x.mean(1, keepdim=True),
    "softmax over units": lambda x: x.softmax(1),
}


@pytest.mark.parametrize("kind", CROSSED)
def test_what_makes_something_of_zero_units_makes_a_set_inexact(kind: str) -> None:
    run = CROSSED[kind]
    model = Free(lambda m, x: m.b(run(m.a(x))), a=nn.Conv1d(2, 4, 3), b=nn.Conv1d(4, 2, 3))
    inputs = torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(0))
    sets, _ = derive_units(model, inputs)
    assert [(each.name, each.exact) for each in sets] == [("a", False)]
    verify_units(model, sets, inputs)


PADS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "zeros around time": (lambda x: F.pad(x, (1, 2)), True),
    "zeros around time, none around channels": (lambda x: F.pad(x, (1, 2, 0, 0)), True),
    "a given zero": (lambda x: F.pad(x, (1, 1), "constant", 0.0), True),
    "mirrored": (lambda x: F.pad(x, (1, 1), mode="reflect"), True),
    "a constant by position": (lambda x: F.pad(x, (1, 1), "constant", 2.0), False),
    "a constant by name": (lambda x: F.pad(x, (1, 1), mode="constant", value=2.0), False),
}


@pytest.mark.parametrize("kind", PADS)
def test_padding_of_another_axis_keeps_units_and_only_constants_cost_exactness(kind: str) -> None:
    pad, exact = PADS[kind]
    model = Free(lambda m, x: m.b(pad(m.a(x))), a=nn.Conv1d(2, 4, 3), b=nn.Conv1d(4, 2, 3))
    sets, _ = derive_units(model, torch.ones(1, 2, 8))
    assert [(each.name, each.size, each.exact) for each in sets] == [("a", 4, exact)]


@pytest.mark.parametrize("pad", [(0, 0, 1, 0), (1, 1, 0, 2)])
def test_padding_of_the_units_axis_of_a_convolution_is_refused(pad: tuple[int, ...]) -> None:
    model = Free(
        lambda m, x: m.b(F.pad(m.a(x), pad)),
        a=nn.Conv1d(2, 4, 3),
        b=nn.Conv1d(4 + sum(pad[2:]), 2, 3),
    )
    sets, reasons = derive_units(model, torch.ones(1, 2, 8))
    assert sets == [] and reasons[0] == "'a': 'constant_pad_nd' lengthens the axis of its units"


def test_a_gate_on_the_last_axis_follows_channels_that_moved_there() -> None:
    layers = {"a": nn.Conv1d(2, 8, 3), "gate": nn.GLU(), "b": nn.Linear(4, 2)}
    model = Free(lambda m, x: m.b(m.gate(m.a(x).transpose(1, 2))), **layers)
    inputs = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(0))
    sets, _ = derive_units(model, inputs)
    assert [(each.name, each.size) for each in sets] == [("a", 4)]
    assert sets[0].slices[0].index.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert verify_units(model, sets, inputs) <= 1e-5


def test_two_inputs_are_passed_on() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, gain: Tensor) -> Tensor:
            return self.b(self.a(x)) * gain

    sets, _ = derive_units(Two(), (torch.ones(1, 3), torch.ones(1)))
    assert [each.name for each in sets] == ["a"]
    with pytest.raises((TypeError, ConfigError)):
        derive_units(Two(), torch.ones(1, 3))


def test_no_unit_is_offered_where_a_value_decides_the_way() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        hidden = torch.relu(net.first(x))
        return net.loud(hidden) if hidden.amax() > 1e9 else net.soft(hidden)

    layers = {name: nn.Linear(6, 6) for name in ("first", "loud", "soft")}
    sets, reasons = derive_units(Free(run, **layers), torch.randn(2, 6))
    assert sets == []
    assert reasons[0] == (
        "'first': forward takes its way by a value of 'gt', so that one pass does not show all; "
        "use torch.where instead"
    )


def test_reading_a_value_of_a_weight_ties_nothing() -> None:
    def run(net: nn.Module, x: Tensor) -> Tensor:
        hidden = net.first(x)
        return net.last(hidden if net.first.bias.sum() > 1e9 else torch.relu(hidden))

    sets, _ = derive_units(
        Free(run, first=nn.Linear(6, 5), last=nn.Linear(5, 2)), torch.ones(2, 6)
    )
    assert [each.name for each in sets] == ["first"]
