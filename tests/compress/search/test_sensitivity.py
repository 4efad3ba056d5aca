"""The sensitivity search: worked numbers, and equality with the naive loop."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search.candidates import Candidates, group_candidates, weight_candidates
from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.compress.search.sensitivity import (
    BETAS,
    SensitivityResult,
    TensorSensitivity,
    curves,
    keeps,
    search,
)
from audioprune.compress.units.declare import Slice, UnitSet, rows
from audioprune.compress.units.weight_groups import GroupKinds, weight_groups
from audioprune.errors import ConfigError, DivergedError
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM


def _betas(result: SensitivityResult) -> dict[str, float]:
    return {name: found.beta for name, found in result.tensors.items()}


class _Removed:
    """Loss = sum of the squares of what has been removed from one tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.start, self.passes = tensor, tensor.detach().clone(), 0

    def base(self) -> float:
        return self._now()

    def with_tensor(self, name: str, limit: float) -> float:
        self.passes += 1
        return self._now()

    def _now(self) -> float:
        return float(
            self.start.double().square().sum() - self.tensor.detach().double().square().sum()
        )


class _Scripted:
    """Loss by the number of zeros in one tensor, from a table."""

    def __init__(self, tensor: Tensor, table: Callable[[int], float]) -> None:
        self.tensor, self.table = tensor, table

    def base(self) -> float:
        return self.table(0)

    def with_tensor(self, name: str, limit: float) -> float:
        return self.table(int((self.tensor == 0).sum()))


def _twenty() -> nn.ParameterDict:
    return nn.ParameterDict(
        {
            "w": torch.arange(1, 21)[
                torch.randperm(20, generator=torch.Generator().manual_seed(0))
            ].view(4, 5)
            / 10
        }
    )


@pytest.mark.parametrize("method", ["first_violation", "bisection", "checked_bisection"])
@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.005, 0.0), (0.1, 0.1), (0.2, 0.15), (1.0, 0.3), (100.0, 1.0)]
)
def test_worked_example_of_algorithm_1(alpha: float, beta: float, method: str) -> None:
    model = _twenty()
    loss = _Removed(model["w"])
    found = search(
        weight_candidates(model, Mask.ones(model, ["w"])), loss, alpha, method=method
    ).tensors["w"]
    assert found.beta == beta and found.removed == round(20 * beta) and found.candidates == 20
    assert torch.equal(model["w"], loss.start) and found.passes == loss.passes <= 20
    increases = {point.beta: point.increase for point in found.curve}
    for point, expected in zip(BETAS, (0, 0.01, 0.05, 0.14, 0.30, 0.55, 0.91, 1.40), strict=False):
        if point in increases:
            assert increases[point] == pytest.approx(expected, abs=1e-6)


def test_iterated_pruning_of_the_worked_example() -> None:
    model = _twenty()
    mask, removed = Mask.ones(model, ["w"]), []
    for _ in range(4):
        candidates = weight_candidates(model, mask)
        result = search(candidates, _Removed(model["w"]), 0.2)
        mask = mask.updated(keeps(candidates, result))
        mask.apply_(model)
        removed.append(result.tensors["w"].removed)
    assert removed == [3, 1, 0, 0] and mask.kept() == 16 and int((model["w"] != 0).sum()) == 16


def test_first_violation_is_not_a_search_for_the_largest_fraction() -> None:
    table = {0: 1.0, 1: 1.0, 2: 0.9, 3: 1.5, 4: 1.1}
    model = _twenty()
    loss = _Scripted(model["w"], lambda zeros: table.get(zeros, 1.1))
    found = search(weight_candidates(model, Mask.ones(model, ["w"])), loss, 0.2).tensors["w"]
    assert found.beta == 0.1 and [round(point.increase, 9) for point in found.curve] == [
        0,
        0,
        -0.1,
        0.5,
    ]  # signed


def test_exceeding_is_strict_and_nan_exceeds() -> None:
    model = _twenty()
    candidates = weight_candidates(model, Mask.ones(model, ["w"]))
    assert _betas(search(candidates, _Scripted(model["w"], lambda zeros: float(zeros)), 5.0)) == {
        "w": 0.25
    }
    assert _betas(
        search(
            candidates,
            _Scripted(model["w"], lambda zeros: float("nan") if zeros > 4 else 1.0),
            1e9,
        )
    ) == {"w": 0.2}
    with pytest.raises(DivergedError, match="finite base loss"):
        search(candidates, _Scripted(model["w"], lambda zeros: float("nan")), 1.0)


def test_the_mask_counts_not_the_value() -> None:
    model = nn.ParameterDict(
        {"w": torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])}
    )
    mask = Mask({"w": torch.tensor([False] * 3 + [True] * 7)})
    (candidates,) = weight_candidates(model, mask).values()
    assert candidates.count() == 7
    ranked = candidates.ranks()
    assert candidates.removed(ranked, 2).tolist() == [False] * 3 + [True] * 2 + [False] * 5


def test_ties_and_all_zero_tensors_terminate() -> None:
    model = nn.ParameterDict({"w": torch.zeros(3, 4)})
    result = search(weight_candidates(model, Mask.ones(model, ["w"])), _Removed(model["w"]), 0.0)
    assert _betas(result) == {"w": 1.0}
    empty = Mask({"w": torch.zeros(3, 4, dtype=torch.bool)})
    found = search(weight_candidates(model, empty), _Removed(model["w"]), 0.0).tensors["w"]
    assert (found.beta, found.removed, found.candidates, found.passes) == (1.0, 0, 0, 0)


def test_groups_are_ranked_by_their_l1_norm() -> None:
    model = nn.Linear(4, 3)
    model.weight.data.copy_(torch.tensor([[1, -2, 0, 0.1], [0.5, 0, 0, 0.1], [-1, 2, 3, 0.1]]))
    (candidates,) = group_candidates(
        model, Mask.ones(model, ["weight"]), weight_groups(model)
    ).values()
    assert candidates.count() == 4 and candidates.ranks().argsort().tolist() == [
        3,
        0,
        2,
        1,
    ]  # an l2 ranking gives 3, 0, 1, 2
    assert candidates.removed(candidates.ranks(), 2).all(0).tolist() == [True, False, False, True]


def test_groups_without_a_kept_weight_are_no_candidates() -> None:
    model = nn.Linear(4, 3)
    keep = torch.ones(3, 4, dtype=torch.bool)
    keep[:, 1] = False
    keep[0, 2] = False
    (candidates,) = group_candidates(model, Mask({"weight": keep}), weight_groups(model)).values()
    assert (
        candidates.count() == 3
        and int((candidates.ranks() < 3).sum()) == 3
        and candidates.ranks()[1] > 3
    )
    result = search({"weight": candidates}, _Removed(model.weight), float("inf"))
    assert not keeps({"weight": candidates}, result)["weight"].any()


class _Fdnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in ((6, 16), (16, 16), (16, 6)))

    def forward(self, x: Tensor) -> Tensor:
        for _, run in self.stages():
            x = run(x)
        return x

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        activations = (torch.relu, torch.relu, torch.sigmoid)
        return [
            (f"layers.{n}", lambda x, n=n: activations[n](self.layers[n](x))) for n in range(3)
        ]


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnns = nn.ModuleList(nn.LSTM(i, 5, batch_first=True) for i in (4, 5))
        self.fc, self.drop = nn.Linear(5, 4), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        for rnn in self.rnns:
            x = self.drop(rnn(x)[0])
        return torch.relu(self.fc(x))

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        layers = [
            (f"rnns.{n}", lambda x, rnn=rnn: self.drop(rnn(x)[0]))
            for n, rnn in enumerate(self.rnns)
        ]
        return [*layers, ("fc", lambda x: torch.relu(self.fc(x)))]


class _Conv(nn.Module):
    """No stages: every evaluation is a whole pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(3, 6, 3),
            nn.BatchNorm1d(6),
            nn.PReLU(),
            nn.Conv1d(6, 4, 1),
            nn.ConvTranspose1d(4, 3, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.transpose(1, 2)).transpose(1, 2)


def _setup(kind: type, seed: int) -> tuple[nn.Module, list]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind()
        width = {_Fdnn: 6, _Lstm: 4, _Conv: 3}[kind]
        inputs = [torch.randn(2, 9, width) for _ in range(3)]
        model.eval()
        targets = [(model(x) + 0.05 * torch.randn(2, 9, width)).detach() for x in inputs]
    model.train()
    return model, [
        (x, lambda y, t=t: F.mse_loss(y, t), 1.0 + n)
        for n, (x, t) in enumerate(zip(inputs, targets, strict=True))
    ]


def _positions(weight: Tensor, part: Slice | None) -> Tensor:
    """Return the flat positions of every unit of a tensor; without groups every weight is one."""
    flat = torch.arange(weight.numel())
    if part is None:
        return flat.view(-1, 1)
    view = flat.view(-1, *weight.shape[part.leading :]).movedim(part.dim, 0)
    return torch.stack([view[index].flatten() for index in part.index])


def _naive_search(
    model: nn.Module, batches: list, mask: Mask, groups: list[UnitSet] | None, alpha: float
):
    """Algorithms 1 and 2 as printed: a full validation pass and a fresh sort per fraction."""

    def loss() -> float:
        with torch.no_grad():
            return sum(weight * float(loss_of(model(x))) for x, loss_of, weight in batches) / sum(
                weight for _, _, weight in batches
            )

    model.eval()
    base, passes, found = loss(), 1, {}
    slices = (
        {each.slices[0].tensor: each.slices[0] for each in groups} if groups is not None else None
    )
    for name in mask if slices is None else slices:
        weight, curve, beta_l = model.get_parameter(name), [], None
        for beta in BETAS:
            before = weight.detach().clone()
            positions = _positions(weight, slices[name] if slices is not None else None)
            units = before.flatten()[positions].norm(1, dim=1)
            kept = mask[name].flatten()[positions].any(1)
            order = torch.from_numpy(np.argsort(units.numpy(), kind="stable"))
            order = order[kept[order]]
            count = int(Fraction(str(beta)) * len(order) + Fraction(1, 2))
            weight.data.view(-1)[positions[order[:count]].flatten()] = 0
            increase = loss() - base
            passes += 1
            weight.data.copy_(before)
            curve.append((beta, count, increase))
            if increase > alpha:
                beta_l = curve[-2][0]
                break
        found[name] = (1.0 if beta_l is None else beta_l, curve)
    model.train()
    return base, found, passes


@given(
    st.sampled_from([_Fdnn, _Lstm, _Conv]),
    st.integers(0, 10_000),
    st.sampled_from([1e-5, 1e-4, 1e-3, 1e-2, 0.1]),
    st.booleans(),
    st.floats(0, 0.9),
)
@settings(max_examples=12, deadline=None)
def test_search_equals_the_naive_loop(
    kind: type, seed: int, alpha: float, grouped: bool, sparsity: float
) -> None:
    model, batches = _setup(kind, seed)
    draw = torch.Generator().manual_seed(seed)
    mask = Mask(
        {
            name: torch.rand(model.get_parameter(name).shape, generator=draw) >= sparsity
            for name in prunable(model)
        }
    )
    mask.apply_(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    groups = weight_groups(model, GroupKinds(conv1d="filter")) if grouped else None
    base, naive, naive_passes = _naive_search(model, batches, mask, groups, alpha)
    candidates = (
        weight_candidates(model, mask) if groups is None else group_candidates(model, mask, groups)
    )
    result = search(candidates, BatchLoss(model, batches), alpha)
    assert result.base == base and model.training
    for name, (beta, curve) in naive.items():
        found = result.tensors[name]
        assert found.beta == beta
        assert [(point.beta, point.removed) for point in found.curve] == [
            (b, count) for b, count, _ in curve
        ]
        for point, (_, _, increase) in zip(found.curve, curve, strict=True):
            assert (
                point.increase == increase
                if increase <= alpha
                else alpha < point.increase <= increase
            )
    assert 1 + sum(found.passes for found in result.tensors.values()) < naive_passes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [_Fdnn, _Lstm])
def test_less_work_than_the_naive_loop(kind: type) -> None:
    model, batches = _setup(kind, 0)
    mask, calls = Mask.ones(model, prunable(model)), [0]
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.LSTM):
            layer.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    _naive_search(model, batches, mask, None, 3e-3)
    naive, calls[0] = calls[0], 0
    exact = search(weight_candidates(model, mask), BatchLoss(model, batches), 3e-3)
    ours, calls[0] = calls[0], 0
    halved = search(
        weight_candidates(model, mask), BatchLoss(model, batches), 3e-3, method="bisection"
    )
    assert ours < 0.75 * naive and calls[0] < 0.6 * ours
    assert all(len(found.curve) <= 7 for found in halved.tensors.values()) and len(
        exact.rows()
    ) > len(halved.rows())


@pytest.mark.parametrize(
    "bump",
    [
        {8: 0.6},  # right below a bisection's answer, where the loss is near the tolerance
        {3: 0.51},  # far below it, beside a measured fall
    ],
)
def test_a_checked_bisection_finds_the_first_violation_of_a_rough_loss(
    bump: dict[int, float],
) -> None:
    rises = {zeros: 0.04 * zeros for zeros in range(12)}
    falls = {11: 0.1} if 3 in bump else {}
    table = {**rises, **falls, **bump}
    model = _twenty()
    candidates = weight_candidates(model, Mask.ones(model, ["w"]))

    def found(method: str) -> TensorSensitivity:
        loss = _Scripted(model["w"], lambda zeros: table.get(zeros, 1.0))
        return search(candidates, loss, 0.5, method=method).tensors["w"]

    walked, halved, checked = (
        found(method) for method in ("first_violation", "bisection", "checked_bisection")
    )
    assert walked.removed == min(bump) - 1 and halved.removed > walked.removed
    assert checked.beta == walked.beta and checked.curve == walked.curve


def test_a_checked_bisection_of_a_smooth_loss_needs_few_passes() -> None:
    model = _twenty()
    candidates = weight_candidates(model, Mask.ones(model, ["w"]))
    for alpha in (0.0, 0.05, 0.2, 1.0, 2.5, 9.0):
        loss = _Scripted(model["w"], lambda zeros: (zeros / 20) ** 3 * 10)
        walked = search(candidates, loss, alpha).tensors["w"]
        checked = search(candidates, loss, alpha, method="checked_bisection").tensors["w"]
        assert checked.beta == walked.beta and checked.passes <= 8
        assert set(checked.curve) <= {*walked.curve, *checked.curve[-4:]}


@pytest.mark.parametrize(
    ("make", "every", "tolerance"),
    [(lambda: LSTM(bins=12, width=10, depth=2), 1, 3e-3), (lambda: GCRN(width=0.0625), 13, 1e-4)],
    ids=["lstm", "gcrn"],
)
def test_a_checked_bisection_equals_the_naive_loop_on_recurrent_networks(
    make: Callable[[], nn.Module], every: int, tolerance: float
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make().eval()
        inputs = [model.example_input(frames) for frames in (5, 6)]
        with torch.no_grad():
            targets = [model(x) + 0.05 * torch.randn(model(x).shape) for x in inputs]
    batches = [
        (x, lambda y, t=t: F.mse_loss(y, t), 1.0) for x, t in zip(inputs, targets, strict=True)
    ]
    names = prunable(model)[::every]
    mask = Mask.ones(model, names)
    alpha = tolerance * BatchLoss(model, batches).base()
    _, naive, passes = _naive_search(model, batches, mask, None, alpha)
    model.eval()
    result = search(
        weight_candidates(model, mask),
        BatchLoss(model, batches),
        alpha,
        method="checked_bisection",
    )
    assert _betas(result) == {name: beta for name, (beta, _) in naive.items()}
    assert len(set(_betas(result).values())) > 2
    assert sum(found.passes for found in result.tensors.values()) < 0.7 * passes


def test_bisection_equals_the_first_violation_where_the_loss_rises() -> None:
    for alpha in (0.0, 0.005, 0.03, 0.7, 5.0, 100.0):
        model = _twenty()
        candidates = weight_candidates(model, Mask.ones(model, ["w"]))
        loss = _Removed(model["w"])
        assert _betas(search(candidates, loss, alpha, method="bisection")) == _betas(
            search(candidates, loss, alpha)
        )
        assert torch.equal(model["w"], loss.start)


def test_interrupted_search_resumes_to_the_same_result() -> None:
    model, batches = _setup(_Lstm, 3)
    candidates = weight_candidates(model, Mask.ones(model, prunable(model)))
    stored: dict[str, dict] = {}
    whole = search(
        candidates,
        BatchLoss(model, batches),
        1e-3,
        on_tensor=lambda name, found: stored.update({name: found.as_dict()}),
    )
    assert list(stored) == list(candidates)

    class Stop(Exception):
        pass

    def stop(name: str, found: TensorSensitivity) -> None:
        if name == list(candidates)[2]:
            raise Stop

    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(Stop):
        search(candidates, BatchLoss(model, batches), 1e-3, on_tensor=stop)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    finished = {name: TensorSensitivity.from_dict(stored[name]) for name in list(candidates)[:3]}
    redone = []
    resumed = search(
        candidates,
        BatchLoss(model, batches),
        1e-3,
        finished=finished,
        on_tensor=lambda name, _: redone.append(name),
    )
    assert resumed == whole and redone == list(candidates)[3:]


def test_an_error_in_the_loss_leaves_the_weights() -> None:
    model = _twenty()
    before = model["w"].detach().clone()

    def fail(zeros: int) -> float:
        if zeros > 2:
            raise RuntimeError("out of memory")
        return 0.0

    with pytest.raises(RuntimeError, match="out of memory"):
        search(weight_candidates(model, Mask.ones(model, ["w"])), _Scripted(model["w"], fail), 1.0)
    assert torch.equal(model["w"], before)


def test_search_of_another_memory_layout() -> None:
    model = nn.Conv2d(4, 6, (2, 3)).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(4, 6, (2, 3))
    plain.load_state_dict(model.state_dict())
    plain.weight.data = plain.weight.data.contiguous()
    for groups in (None, weight_groups(model)):
        results = []
        for each in (model, plain):
            mask = Mask.ones(each, ["weight"])
            candidates = (
                weight_candidates(each, mask)
                if groups is None
                else group_candidates(each, mask, groups)
            )
            result = search(candidates, _Removed(each.weight), 0.5)
            results.append((_betas(result), keeps(candidates, result)))
        assert results[0][0] == results[1][0] and torch.equal(
            results[0][1]["weight"], results[1][1]["weight"]
        )


def test_curves_cover_every_fraction_and_know_what_is_worse() -> None:
    model = _twenty()
    start = model["w"].detach().clone()
    asked = []

    def evaluate(name: str | None) -> dict[str, float]:
        asked.append(name)
        return {
            "loss": (start - model["w"]).square().sum().item(),
            "score": float((model["w"] != 0).double().mean()),
        }

    tensors = {"w": Candidates(model["w"], torch.ones(4, 5, dtype=torch.bool))}
    stored = {}
    (points,) = curves(
        tensors,
        evaluate,
        larger_is_better=["score"],
        on_tensor=lambda name, found: stored.update({name: found}),
    ).values()
    assert torch.equal(model["w"], start) and asked == [None] + ["w"] * 20
    assert [point.beta for point in points] == list(BETAS) and [
        point.removed for point in points
    ] == list(range(21))
    assert points[0].degradation == {"loss": 0.0, "score": 0.0}
    assert points[-1].degradation["score"] == 1.0 and points[-1].degradation[
        "loss"
    ] == pytest.approx(28.7, abs=1e-4)
    assert curves(tensors, evaluate, finished=stored)["w"] == points and len(asked) == 22
    with pytest.raises(ConfigError, match="unknown metric 'scores'; closest: score"):
        curves(tensors, evaluate, larger_is_better=["scores"])


def test_rows_and_json() -> None:
    model = _twenty()
    result = search(weight_candidates(model, Mask.ones(model, ["w"])), _Removed(model["w"]), 0.1)
    table = result.rows()
    assert [row["chosen"] for row in table] == [False, False, True, False]
    assert set(table[0]) == {"tensor", "beta", "removed", "increase", "chosen"}
    found = result.tensors["w"]
    assert TensorSensitivity.from_dict(found.as_dict()) == found


def test_bad_arguments() -> None:
    model = _twenty()
    tensors, loss = weight_candidates(model, Mask.ones(model, ["w"])), _Removed(model["w"])
    for alpha in (-0.1, float("nan")):
        with pytest.raises(ConfigError, match="tolerance alpha"):
            search(tensors, loss, alpha)
    for betas in ((), (0.1, 0.2), (0.0, 0.2, 0.1), (0.0, 0.5, 0.5), (0.0, 1.5)):
        with pytest.raises(ConfigError, match="betas: expected ascending fractions"):
            search(tensors, loss, 0.1, betas=betas)
    with pytest.raises(
        ConfigError, match="unknown method of the sensitivity search 'bisect'; closest: bisection"
    ):
        search(tensors, loss, 0.1, method="bisect")
    with pytest.raises(ConfigError, match="unknown parameter 'v'"):
        weight_candidates(model, Mask({"v": torch.ones(2, dtype=torch.bool)}))
    several = UnitSet("x", (Slice("w", 0, rows(0, 4)), Slice("w", 1, rows(0, 5))))
    with pytest.raises(ConfigError, match="groups of one tensor, got 2 slices"):
        group_candidates(model, Mask.ones(model, ["w"]), [several])
    with pytest.raises(ConfigError, match="unknown masked parameter 'w'"):
        group_candidates(model, Mask({}), [UnitSet("x", (Slice("w", 0, rows(0, 4)),))])
