"""The budget solver: what a tolerance allows, that no result violates it, and resuming."""

from math import inf, log2, nan

import numpy as np
import pytest
import torch

from audioprune.compress.search.budget import (
    Candidate,
    Measured,
    Plan,
    Setting,
    TensorCurves,
    level_curves,
    plan_at,
    solve,
    tolerances,
)
from audioprune.errors import ConfigError

BETAS = tuple(step / 10 for step in range(11))
COUNTS = (2, 4, 8, 16)


def _curves(seed: int = 0, tensors: int = 4, noise: float = 0.0) -> dict[str, TensorCurves]:
    draw = np.random.default_rng([3, seed])
    found = {}
    for index in range(tensors):
        a, b = draw.uniform(0.1, 2.0, 2)
        prune = tuple(
            (beta, a * beta**2 + (noise * draw.normal() if beta else 0.0)) for beta in BETAS
        )
        found[f"w{index}"] = TensorCurves(
            prune, tuple((count, b / count**2 + noise * draw.normal()) for count in COUNTS)
        )
    return found


class _World:
    """Drop = (coupled sum of the single degradations) + noise by name; bytes = codewords."""

    def __init__(
        self,
        curves: dict[str, TensorCurves],
        coupling: float = 1.3,
        noise: float = 0.0,
        floor: float = 0.0,
    ) -> None:
        self.curves, self.coupling, self.noise, self.floor = curves, coupling, noise, floor
        self.asked: list[str] = []

    def __call__(self, name: str, plan: Plan) -> Measured:
        self.asked.append(name)
        if not plan:
            return Measured(0.0, 16_100, 0.0)
        single = [
            dict(self.curves[n].prune)[s.beta] + dict(self.curves[n].levels).get(s.levels, 0.0)
            for n, s in plan.items()
        ]
        draw = np.random.default_rng([len(name), *name.encode()])
        bits = [
            1000 * (1 - setting.beta) * (log2(setting.levels) if setting.levels else 32)
            for setting in plan.values()
        ]
        drop = self.floor + self.coupling * sum(single) + self.noise * draw.normal()
        return Measured(
            float(drop), int(sum(bits) / 8) + 100, sum(s.beta for s in plan.values()) / len(plan)
        )


def test_a_plan_reads_the_first_violation_and_the_last_safe_k() -> None:
    curves = {
        "a": TensorCurves(
            ((0.0, 0.0), (0.1, -0.2), (0.2, 0.5), (0.3, 0.1)),
            ((2, 0.0), (4, 0.3), (8, 0.1), (16, 0.0)),
        ),
        "b": TensorCurves(((0.0, 0.0), (0.1, nan), (0.2, 0.0)), ((2, nan), (4, inf), (8, 0.7))),
    }
    assert plan_at(curves, 0.2) == {"a": Setting(0.1, 8), "b": Setting(0.0, 8)}
    assert plan_at(curves, 0.5) == {"a": Setting(0.3, 2), "b": Setting(0.0, 8)}
    assert plan_at(curves, 0.7) == {"a": Setting(0.3, 2), "b": Setting(0.0, 8)}
    assert plan_at(curves, 0.0) == {"a": Setting(0.1, 16), "b": Setting(0.0, 8)}
    assert plan_at({"c": TensorCurves(((0.0, 0.0),), ())}, 9.0) == {"c": Setting(0.0, None)}


@pytest.mark.parametrize("seed", range(5))
def test_a_larger_tolerance_never_compresses_less(seed: int) -> None:
    curves = _curves(seed, noise=0.2)
    plans = [plan_at(curves, tolerance) for tolerance in tolerances(curves, 0.1)]
    for less, more in zip(plans, plans[1:], strict=False):
        for name in curves:
            assert less[name].beta <= more[name].beta
            assert (less[name].levels or inf) >= (more[name].levels or inf)


def test_the_grid_spans_the_degradations() -> None:
    curves = {"a": TensorCurves(((0.0, 0.0), (0.5, 0.001), (1.0, nan)), ((2, 8.0), (4, -1.0)))}
    grid = tolerances(curves, 0.0, points=10)
    assert (grid[0], grid[-1], len(grid)) == (0.0, 8.0, 11)
    assert grid[1] == pytest.approx(0.001) and grid == sorted(grid)
    assert tolerances(curves, 4000.0, points=10)[1] == pytest.approx(4.0)
    assert tolerances({"a": TensorCurves(((0.0, 0.0), (1.0, -1.0)), ())}, 1.0) == [0.0]
    assert tolerances({"a": TensorCurves(((0.0, 0.0), (1.0, 2.0)), ())}, 1.0) == [0.0, 2.0]


@pytest.mark.parametrize("max_drop", [0.0, 0.05, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_bisection_finds_the_best_of_the_whole_grid_where_the_drop_rises(
    seed: int, max_drop: float
) -> None:
    curves = _curves(seed)
    found = solve(curves, _World(curves), max_drop)
    world = _World(curves)
    every = [world("x", plan_at(curves, tolerance)) for tolerance in tolerances(curves, max_drop)]
    best = min([each.file_bytes for each in every if each.drop <= max_drop], default=16_100)
    assert found.chosen.measured.file_bytes <= best and found.chosen.measured.drop <= max_drop


@pytest.mark.parametrize("seed", range(20))
def test_no_returned_candidate_violates_the_drop(seed: int) -> None:
    curves = _curves(seed, noise=0.1)
    found = solve(curves, _World(curves, noise=0.2), 0.1, most=6)
    assert found.chosen.fits and found.chosen.measured.drop <= 0.1
    fitting = [each.measured.file_bytes for each in found.candidates if each.measured.drop <= 0.1]
    assert found.chosen.measured.file_bytes == min(fitting)


def test_the_number_of_candidates_is_kept_and_none_is_built_twice() -> None:
    curves = _curves()
    world = _World(curves)
    found = solve(curves, world, 0.3, most=3)
    assert (
        world.asked[:2] == ["dense", "quantised"]
        and len(world.asked) == len(set(world.asked)) == 5
    )
    assert [each.name for each in found.candidates] == world.asked
    assert len(solve(curves, _World(curves), 0.3, most=100).candidates) <= 9
    assert solve(curves, _World(curves), 0.3, most=1).candidates


@pytest.mark.parametrize(("floor", "name"), [(0.2, "quantised"), (9.0, "dense")])
def test_without_a_fitting_pruned_model_the_unpruned_one_is_returned(
    floor: float, name: str
) -> None:
    curves = _curves()

    class World(_World):
        def __call__(self, asked: str, plan: Plan) -> Measured:
            measured = super().__call__(asked, plan)
            return (
                Measured(floor - 0.15, measured.file_bytes, 0.0)
                if asked == "quantised"
                else measured
            )

    found = solve(curves, World(curves, floor=floor), 0.1)
    assert (
        not found.pruned_fits
        and found.chosen.name == name
        and found.candidates[1].name == "quantised"
    )
    assert found.candidates[1].plan == {tensor: Setting(0.0, 16) for tensor in curves}


def test_a_drop_that_is_no_number_never_fits() -> None:
    curves = _curves()
    found = solve(
        curves, lambda name, plan: Measured(nan if plan else 0.0, 1 if plan else 2, 0.0), 5.0
    )
    assert found.chosen.name == "dense" and not found.pruned_fits


def test_an_interrupted_search_goes_on_behind_its_last_candidate() -> None:
    curves = _curves()
    stored: dict[str, Measured] = {}

    def store(candidate: Candidate) -> None:
        stored[candidate.name] = Measured.from_dict(candidate.measured.as_dict())

    whole = solve(curves, _World(curves), 0.3, on_candidate=store)
    for done in range(len(stored) + 1):
        world, again = _World(curves), []
        finished = dict(list(stored.items())[:done])

        def remember(each: Candidate, again: list[str] = again) -> None:
            again.append(each.name)

        assert solve(curves, world, 0.3, finished=finished, on_candidate=remember) == whole
        assert world.asked == again == list(stored)[done:]


def test_measurements_survive_json() -> None:
    assert Measured.from_dict(Measured(0.5, 7, 0.25).as_dict()) == Measured(0.5, 7, 0.25)
    assert (
        Measured(inf, 7, 0.25).as_dict()["drop"] is None
        and Measured.from_dict(Measured(nan, 7, 0.2).as_dict()).drop == inf
    )


@pytest.mark.parametrize(
    ("max_drop", "most", "curves"),
    [(-0.1, 5, True), (nan, 5, True), (inf, 5, True), (0.1, 0, True), (0.1, 5, False)],
)
def test_wrong_numbers_are_refused(max_drop: float, most: int, curves: bool) -> None:
    with pytest.raises(ConfigError, match="budget: expected curves"):
        solve(
            _curves() if curves else {},
            lambda name, plan: Measured(0.0, 1, 0.0),
            max_drop,
            most=most,
        )


def test_level_curves_change_one_tensor_and_restore_it() -> None:
    tensors = {"a": torch.linspace(-1, 1, 7), "b": torch.tensor([1.0, -1.0, 0.0])}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    asked: list[str] = []

    def quantise(name: str, count: int) -> torch.Tensor:
        return (
            before[name].clone()
            if count >= 4 and name == "b"
            else (before[name] * count).round() / count
        )

    def worse(name: str) -> float:
        asked.append(name)
        other = "b" if name == "a" else "a"
        assert torch.equal(tensors[other], before[other])
        return float((tensors[name] - before[name]).square().sum())

    found = level_curves(tensors, quantise, worse, levels=(2, 4), finished={})
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)
    assert found["a"][0] == (
        2,
        pytest.approx(float((quantise("a", 2) - before["a"]).square().sum())),
    ) and found["b"][1] == (4, 0.0)
    assert asked == ["a", "a"]  # what is unchanged needs no evaluation
    stored: dict[str, object] = {}
    rest = {"finished": {"a": found["a"]}, "on_tensor": stored.__setitem__}
    assert level_curves(tensors, quantise, worse, levels=(2, 4), **rest) == found
    assert list(stored) == ["b"]


@pytest.mark.parametrize("levels", [(), (0, 2), (4, 2), (2, 2)])
def test_wrong_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="levels: expected ascending"):
        level_curves({}, lambda name, count: torch.zeros(1), lambda name: 0.0, levels=levels)
