"""derive_units where one pass in evaluation mode on one example could mislead it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.derive import derive_units, derived
from audioprune.compress.units.find import unit_sets_of
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units

X = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))


class Free(nn.Module):
    """Two convolutions, more layers, and the given forward function."""

    def __init__(self, run: Callable[..., Any], inputs: int = 6, **layers: nn.Module) -> None:
        super().__init__()
        self.run, self.memory = run, None
        self.a, self.b = nn.Conv1d(2, 6, 1), nn.Conv1d(inputs, 2, 1)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def _fewest(model: nn.Module) -> nn.Module:
    """Return the model with as few units of every set as may stay."""
    smallest = copy.deepcopy(model)
    sets, _ = derive_units(model, X)
    keep = {each.name: torch.arange(each.size) < each.min_units for each in sets}
    trim_(smallest, sets, keep)
    return smallest


def _aux_head(m: Any, x: Tensor) -> Tensor:
    hidden = m.a(x)
    return m.b(hidden) + m.more(hidden) if m.training else m.b(hidden)


def _aux_branch(m: Any, x: Tensor) -> Tensor:
    return m.b(m.a(x) + m.more(x) if m.training else m.a(x))


@pytest.mark.parametrize(
    ("run", "layer", "roles"),
    [(_aux_head, nn.Conv1d(6, 2, 1), {"in"}), (_aux_branch, nn.Conv1d(2, 6, 1), {"out"})],
)
def test_layers_of_training_alone_are_part_of_the_units(
    run: Callable[..., Any], layer: nn.Module, roles: set[str]
) -> None:
    model = Free(run, more=layer)
    (hidden,), _ = derive_units(model, X)
    assert {part.role for part in hidden.slices if part.tensor.startswith("more")} == roles
    assert _fewest(model).train()(X).shape == (3, 2, 8)


def test_an_output_of_training_alone_keeps_its_units() -> None:
    model = Free(lambda m, x: (m.b(m.a(x)), m.a(x)) if m.training else m.b(m.a(x)))
    sets, reasons = derive_units(model, X)
    assert sets == []
    assert reasons[0] == "'a': its output leaves the model in training mode"


def test_a_dropout_in_training_ties_nothing() -> None:
    model = Free(lambda m, x: m.b(m.drop(m.a(x))), drop=nn.Dropout(0.5)).train()
    (hidden,), _ = derive_units(model, X)
    assert (hidden.size, hidden.exact) == (6, True)


def test_two_units_stay_where_one_would_be_taken_for_no_axis() -> None:
    model = Free(lambda m, x: m.last(m.a(x).mean(-1, True).squeeze()), last=nn.Linear(6, 2))
    (hidden,), _ = derive_units(model, X)
    assert hidden.min_units == 2
    assert _fewest(model)(X).shape == (3, 2)
    plain = Free(lambda m, x: m.b(m.a(x)))
    assert derive_units(plain, X)[0][0].min_units == 1


def test_random_numbers_in_evaluation_make_a_set_inexact() -> None:
    model = Free(lambda m, x: m.b(F.dropout(m.a(x), 0.5, training=True)))
    found = derived(model, X)
    assert [each.exact for each in found.sets] == [False]
    assert found.crossed == {"a": "'bernoulli' draws random numbers for its units"}


@dataclass
class Answer:
    """What a model returns that is no tuple."""

    result: Tensor
    hidden: Tensor


def test_tensors_in_objects_leave_the_model_too() -> None:
    model = Free(lambda m, x: Answer(m.b(m.a(x)), m.a(x)))
    sets, reasons = derive_units(model, X)
    assert sets == []
    assert reasons == [f"'{name}': its output leaves the model" for name in "ab"]
    alone = Free(lambda m, x: Answer(m.b(m.a(x)), x))
    assert [each.name for each in derive_units(alone, X)[0]] == ["a"]


def _remembering(m: Any, x: Tensor) -> Tensor:
    hidden = m.a(x) if m.memory is None else m.a(x) + m.memory
    m.memory = hidden
    return m.b(hidden)


def test_what_a_model_remembers_of_a_pass_is_not_in_the_next_one() -> None:
    model = Free(_remembering)
    sets, _ = derive_units(model, X)
    assert [each.name for each in sets] == ["a"]
    assert verify_units(model, sets, X) <= 1e-5
    assert model.memory is None


VALUES: dict[str, tuple[Callable[..., Any], str]] = {
    "numpy": (
        lambda m, x: m.b(torch.from_numpy(m.a(x).numpy().max(1, keepdims=True))),
        "'a': forward takes values out of torch by 'numpy'",
    ),
    "a list": (
        lambda m, x: m.b(torch.tensor(m.a(x).tolist()).amax(1, True)),
        "'a': forward takes values out of torch by 'tolist'",
    ),
    "chosen by the input": (
        lambda m, x: m.b(m.a(x)[:, x[0, 0, :1].argsort()]),
        "'a': 'index' chooses among its units by a value of the input",
    ),
    "the least": (
        lambda m, x: m.b(m.a(x).norm(float("-inf"), 1, True)),
        "'a': 'linalg_vector_norm' compares its units",
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_one_pass_does_not_show_keep_the_units(kind: str) -> None:
    run, reason = VALUES[kind]
    sets, reasons = derive_units(Free(run, inputs=1), X)
    assert sets == [] and reasons[0].startswith(reason)


@pytest.mark.parametrize("limit", [3.0, 1e5])
def test_a_threshold_that_the_example_does_not_reach_is_no_zero(limit: float) -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        return m.b(F.softshrink(m.a(x) + x.mean(1, True), limit))

    (hidden,), _ = derive_units(Free(run), X)
    assert not hidden.exact


def test_what_is_averaged_for_nothing_costs_no_exactness() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x.mT)
            return self.b(self.attention(hidden, hidden, hidden)[0])  # its weights are not taken

    sets, _ = derive_units(Attending(), X)
    assert {each.name: each.exact for each in sets} == {
        "a": True,
        "attention": True,
        "attention.out_proj": True,
    }


def test_an_operation_in_a_form_without_a_rule_keeps_units(monkeypatch: Any) -> None:
    from audioprune.compress.units.trace import record

    def broken(*_: Any) -> None:
        raise IndexError

    monkeypatch.setitem(record._RULES, "roll", broken)
    sets, reasons = derive_units(Free(lambda m, x: m.b(m.a(x).roll(1, 2))), X)
    assert sets == []
    assert reasons[0] == "'a': 'roll' reads it, whose effect on units is unknown"


def test_a_constant_example_is_varied() -> None:
    """Of equal frames a wrong order would change nothing."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x)

    seen: list[Tensor] = []
    model = Plain()
    model.a.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    unit_sets_of(model, torch.ones(2, 4))
    assert seen and all(len(each.unique()) == each.numel() for each in seen)
    assert all(bool((each <= 1).all()) for each in seen)


class Lengths(nn.Module):
    """Silences what lies behind the end of each sequence, of which it reads the longest."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 6, 1), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        steps = torch.arange(int(lengths.max()))
        return self.b(self.a(x) * (steps < lengths.reshape(-1, 1))[:, None])


def test_lengths_are_sizes_and_numbers_of_more_axes_are_values() -> None:
    sets, _ = derive_units(Lengths(), (X, torch.tensor([8, 5, 2])))
    assert [(each.name, each.exact) for each in sets] == [("a", True)]
    sets, reasons = derive_units(Lengths(), (X, torch.tensor([[8], [5], [2]])))
    assert sets == [] and reasons[0].startswith("'a': forward takes its way by a value of 'max'")


def test_an_empty_part_of_the_units_ties_nothing() -> None:
    model = Free(lambda m, x: m.b(torch.cat((m.a(x), m.a(x)[:, :0]), 1)))
    assert [each.size for each in derive_units(model, X)[0]] == [6]


def test_small_outputs_are_compared_in_their_own_scale() -> None:
    """A loud output beside it does not hide what a quiet one loses."""

    def run(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = m.a(x)
        return 1e8 * m.b(hidden), hidden.shape[1] * m.more(hidden)  # it counts its units

    sets, reasons = derive_units(Free(run, more=nn.Conv1d(6, 2, 1)), X)
    assert sets == []
    assert reasons[-1].endswith("as where the code counts its units or knows their number")


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_single_step_shows_the_units_of_a_recurrent_layer(kind: Any) -> None:
    model = Free(lambda m, x: m.b(m.rnn(x[:, :, :1].mT)[0].mT), rnn=kind(2, 6, batch_first=True))
    assert [(each.name, each.size) for each in derive_units(model, X)[0]] == [("rnn", 6)]
