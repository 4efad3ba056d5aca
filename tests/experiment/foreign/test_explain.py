"""What is known of a network layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet
from audioprune.experiment.foreign.explain import explained
from audioprune.experiment.foreign.flow import layer_flow
from audioprune.experiment.model_io import build_model


class Skips(nn.Module):
    """Two layers write the units that the last one reads; an attention gate stands beside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))
        self.deep, self.gate = nn.Linear(4, 4), nn.Linear(5, 3)
        self.last = nn.Linear(4, 3)
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        mixed = torch.empty_like(hidden)
        mixed[:] = hidden + torch.tanh(self.deep(hidden))
        return self.last(mixed) * torch.sigmoid(self.gate(x))


def _model() -> nn.Module:
    wish = {"_target_": f"{__name__}.Skips", "example": [1, 7, 5], "seconds": 0.5}
    return build_model(wish, trusted=True)


def test_layers_are_joined_through_what_stands_between() -> None:
    flow = layer_flow(_model(), ["first", "deep", "last", "gate", "idle"])
    assert flow.order == ["first", "deep", "last", "gate"]
    assert flow.before == {
        "first": [""],
        "deep": ["first"],
        "last": ["first", "deep"],
        "gate": [""],
    }
    assert flow.last == ["last", "gate"]


def test_everything_is_said_of_every_layer() -> None:
    model = _model()
    known: dict[str, Any] = explained(model, "Skips")
    assert [layer["name"] for layer in known["layers"]] == [
        *("first", "deep", "last", "gate"),
        "idle",
    ]
    first, deep, last, gate, idle = known["layers"]
    assert first["removable"] and first["tied_to"] == ["deep"] and first["units"] == 4
    assert first["groups"] == deep["groups"] == [1] and last["reads"] == [1]
    assert not last["removable"] and "leaves the model" in last["reason"] and gate["reason"]
    assert "not call" in idle["reason"]
    # 7 frames stand for half a second
    assert deep["macs_per_second"] == 2 * 7 * 16 and deep["bytes"] == 4 * 20
    (group,) = known["groups"]
    assert group["written_by"] == ["first", "deep"] and "last" in group["read_by"]
    assert known["least_params"] == (5 + 1) + (1 + 1) + (5 * 3 + 3) + (3 + 3) + 6
    assert "parametrizations" in dict(model.named_modules()).get("first").__dict__["_modules"]


class Declares(nn.Module):
    """A chain that declares the units of its first layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))

    def unit_sets(self) -> list[UnitSet]:
        return chain_units([("first", self.first), ("second", self.second)])


def test_what_a_model_does_not_declare_has_a_reason_all_the_same() -> None:
    wish = {"_target_": f"{__name__}.Declares", "example": [1, 7, 5], "seconds": 0.5}
    known = explained(build_model(wish, trusted=True), "Declares")
    assert known["source"] == "declared"
    assert [layer["reason"] for layer in known["layers"]] == [
        "",
        "the model declares no units of it",
        "it has a single output, which stays",
    ]
