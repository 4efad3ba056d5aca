"""Modules as people have them: completed where that is possible, refused by name where not."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.experiment import cost
from audioprune.experiment.foreign.trial import example_outputs, require_runs
from audioprune.experiment.model_io import build_model

EXAMPLE = {"example": [1, 6]}


class Net(nn.Module):
    """Two layers; returns a tuple."""

    def __init__(self, width: int = 3, output: int = 2) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, width), nn.Linear(width, output)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.a(x))
        return self.b(hidden), hidden


class Lazy(Net):
    def __init__(self, called: bool = True) -> None:
        super().__init__()
        self.a, self.called = nn.LazyLinear(3), called
        self.c = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Any:
        return self.c(x) if self.called and super().forward(x) else super().forward(x)


class Late(Net):
    def forward(self, x: Tensor) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Linear(6, 1)
        return self.late(x)


class Empty(Net):
    def __init__(self) -> None:
        super().__init__(width=0)


class Double(Net):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.b = self.b.to(getattr(torch, kind))


class Silent(Net):
    def forward(self, x: Tensor) -> Any:
        return {"text": "no tensor"}


class Buffers(nn.Module):
    """A front end without any parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.window


def scripted() -> nn.Module:
    return torch.jit.script(nn.Linear(6, 2))


class HoldsScript(Net):
    def __init__(self) -> None:
        super().__init__()
        self.b = torch.jit.script(self.b)


def compiled() -> Any:
    return torch.compile(Net())


def nothing() -> int:
    return 3


def built(name: str, **config: Any) -> nn.Module:
    return build_model({"name": "own", "_target_": f"{__name__}.{name}", **config}, trusted=True)


def test_a_network_of_nothing_but_a_forward_pass_is_counted_and_run() -> None:
    model = built("Net", example=[1, 6], output=0, seconds=0.5, width=4)
    card = cost.cost(model, model.example_input(), cost.example_seconds(model))
    assert card.macs_per_second == 2 * (6 * 4 + 4 * 2)
    twin = copy.deepcopy(model)
    assert [each.shape for each in example_outputs(twin, torch.device("cpu"))] == [(1, 2)]
    require_runs(twin)


def test_an_argument_may_have_the_name_of_a_key() -> None:
    model = built("Net", args={"output": 5}, **EXAMPLE)
    assert model.b.out_features == 5 and isinstance(model(torch.zeros(1, 6)), tuple)


def test_lazy_layers_are_initialised_by_the_example_always_alike() -> None:
    torch.manual_seed(1)
    one = built("Lazy", **EXAMPLE)
    assert one.a.in_features == 6 and one.c.in_features == 6
    assert torch.equal(one.a.weight, built("Lazy", **EXAMPLE).a.weight)


@pytest.mark.slow
def test_a_compiled_network_is_the_one_within() -> None:
    assert type(built("compiled", **EXAMPLE)) is Net


class Counts(Net):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Any:
        self.calls = self.calls + 1
        return super().forward(x)


def test_a_trial_leaves_no_trace() -> None:
    model = built("Counts", **EXAMPLE)
    state = torch.random.get_rng_state()
    require_runs(model)
    assert model.calls == 0 and model.training and torch.equal(state, torch.random.get_rng_state())


def test_a_network_of_buffers_runs() -> None:
    require_runs(built("Buffers", **EXAMPLE))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("nothing", {}, "or a function that returns one, got int from"),
        ("scripted", EXAMPLE, "give the class that it was made from, and its weights"),
        ("HoldsScript", EXAMPLE, "got the TorchScript program b"),
        ("Lazy", {}, "expected an example to initialise the lazy layers (a.weight"),
        ("Lazy", {**EXAMPLE, "called": False}, "c.weight, c.bias is not called"),
        ("Empty", EXAMPLE, "a.weight: expected a parameter that holds numbers, got the shape (0"),
        ("Double", {"kind": "float64"}, "b.weight: expected a parameter of float32, got float64"),
        ("Double", {"kind": "float16"}, "build the layer b in float32"),
        ("Missing", {}, "unknown class of"),
    ],
)
def test_what_cannot_be_handled_is_named(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        built(name, **config)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("Net", {}, "give model.example=[1,16000], the shape of an input"),
        (
            "Net",
            {"example": [1, 5]},
            "Net: expected it to run on the example (1, 5), got RuntimeError in a (Linear): mat1",
        ),
        ("Net", {"example": [[1, 6], [1]]}, "got TypeError in its own forward"),
        ("Late", EXAMPLE, "got late.weight from the first forward pass"),
        ("Silent", EXAMPLE, "expected a tensor, or several, got {text: str}"),
        ("Net", {**EXAMPLE, "output": "mask"}, "model.output: expected one of the 2 outputs"),
    ],
)
def test_what_does_not_run_is_named(name: str, config: dict[str, Any], message: str) -> None:
    model = built(name, **config)
    with pytest.raises(ConfigError, match=re.escape(message)):
        require_runs(model)
