"""Selection: exact counts, ties, floors and no regrowth, against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import LoopMlp

from audioprune.compress.masks import Mask
from audioprune.compress.select import (
    globally,
    local,
    ranks,
    share_of,
    smallest,
    threshold,
    until_freed,
)
from audioprune.compress.units.freed_parameters import freed_parameters
from audioprune.errors import ConfigError, DivergedError

few_values = st.lists(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0, -1.0, float("inf"), float("-inf")]),
    min_size=1,
    max_size=40,
)
INT_MAX = torch.iinfo(torch.int32).max


@pytest.mark.parametrize(
    ("share", "count", "expected"),
    [
        (0.15, 10, 2),
        (0.05, 10, 1),
        (0.05, 17, 1),
        (0.2, 16, 3),
        (0.15, 20, 3),
        (0, 9, 0),
        (1, 9, 9),
        (1e-9, 9, 0),
    ],
)
def test_share_rounds_halves_up(share: float, count: int, expected: int) -> None:
    assert share_of(share, count) == expected


def test_scores_far_below_one_are_told_apart() -> None:
    scores = torch.tensor([3e-9, 1e-9, -2e-9, 1e-30, 2e-9, -1e-30])
    assert [smallest(scores, count).nonzero().flatten().tolist() for count in (1, 2, 3, 5)] == [
        [2],
        [2, 5],
        [2, 3, 5],
        [1, 2, 3, 4, 5],
    ]
    for kind in (torch.float32, torch.float64):
        assert ranks(scores.to(kind)).tolist() == [5, 3, 0, 2, 4, 1]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match="expected a fraction 0..1"):
        share_of(share, 3)


@given(few_values, st.data())
@settings(max_examples=100, deadline=None)
def test_smallest_is_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    eligible = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    )
    count = data.draw(st.integers(0, int(eligible.sum())))
    scores = torch.tensor(values)
    order = [i for i in np.argsort(values, kind="stable") if eligible[i]]
    marked = smallest(scores, count, torch.from_numpy(eligible))
    assert set(np.flatnonzero(marked)) == set(order[:count])
    ranked = ranks(scores, torch.from_numpy(eligible))
    assert torch.equal(ranked < count, marked) or count == 0
    assert [int(ranked[i]) for i in order] == list(range(len(order))) and (
        ranked[~torch.from_numpy(eligible)] == INT_MAX
    ).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_precision_ranks_alike(dtype: torch.dtype) -> None:
    scores = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = np.argsort(scores.double().numpy().ravel(), kind="stable")
    ranked = ranks(scores)
    assert ranked.shape == (50, 7) and np.array_equal(np.argsort(ranked.numpy().ravel()), expected)
    assert torch.equal(smallest(scores, 100), ranked < 100)


def test_ties_go_by_position_even_when_all_are_zero() -> None:
    assert smallest(torch.zeros(2, 3), 4).tolist() == [[True, True, True], [True, False, False]]


def test_selection_of_a_tensor_in_another_layout() -> None:
    scores = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        smallest(scores.to(memory_format=torch.channels_last), 9), smallest(scores, 9)
    )
    assert torch.equal(ranks(scores.transpose(0, 1)).argmin(), scores.transpose(0, 1).argmin())


def test_nan_counts_and_shapes_are_refused() -> None:
    scores = torch.tensor([1.0, float("nan")])
    with pytest.raises(DivergedError, match="got NaN"):
        smallest(scores, 1)
    assert smallest(scores, 1, torch.tensor([True, False])).tolist() == [True, False]
    with pytest.raises(DivergedError, match="scores of 'w': "):
        local({"w": scores}, 0.5)
    with pytest.raises(DivergedError, match="scores of 'w': "):
        globally({"w": scores}, 0.5)
    with pytest.raises(DivergedError, match="scores of 'w': "):
        threshold({"w": scores}, {"w": 0.5})
    for count in (-1, 3):
        with pytest.raises(ConfigError, match=r"expected a count of 0\.\.2"):
            smallest(torch.ones(2), count)
    with pytest.raises(
        ConfigError, match=r"^selection: expected an eligibility of shape \(2,\), got \(3,\)$"
    ):
        smallest(torch.ones(2), 1, torch.ones(3, dtype=torch.bool))


def _scores(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "a": torch.randint(0, 5, (4, 5), generator=draw).float(),
        "b": 3 * torch.rand(30, generator=draw),
    }


@given(st.integers(0, 999), st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_repeated_selection_reaches_the_target_and_never_regrows(
    seed: int, sparsities: list[float]
) -> None:
    scores = _scores(seed)
    for select in (local, globally):
        mask, reached = Mask({"a": torch.ones(4, 5, dtype=torch.bool)}), 0.0
        for sparsity in sparsities:
            keep = (
                select(_scores(seed + 1), sparsity, mask)
                if reached
                else select(scores, sparsity, mask)
            )
            after = Mask(keep)
            assert all(not (after[name] & ~mask[name]).any() for name in mask)
            reached = max(reached, sparsity)
            if select is globally:
                assert after.total() - after.kept() == share_of(reached, 50)
            else:
                assert [int((~after[name]).sum()) for name in "ab"] == [
                    share_of(reached, 20),
                    share_of(reached, 30),
                ]
            mask = after


@pytest.mark.parametrize("select", [local, globally])
def test_edges_of_sparsity(select) -> None:
    scores = _scores(0)
    assert all(keep.all() for keep in select(scores, 0.0).values())
    assert not any(keep.any() for keep in select(scores, 1.0).values())
    assert select({}, 0.5) == {}
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="fraction 0..1"):
            select(scores, bad)


def test_removed_positions_are_not_ranked_again() -> None:
    mask = {"w": torch.tensor([False, False, True, True])}
    assert local({"w": torch.tensor([9.0, float("nan"), 2.0, 1.0])}, 0.75, mask)["w"].tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert local({"w": torch.arange(4.0)}, 0.25, mask)["w"].tolist() == [
        False,
        False,
        True,
        True,
    ]  # sparser already


def test_local_takes_a_sparsity_per_name() -> None:
    keep = local(_scores(0), {"b": 0.5})
    assert list(keep) == ["b"] and int(keep["b"].sum()) == 15
    with pytest.raises(ConfigError, match="unknown scored tensor 'c'"):
        local(_scores(0), {"c": 0.5})
    with pytest.raises(ConfigError, match="mask of 'a': expected shape"):
        local(_scores(0), 0.5, {"a": torch.ones(3, dtype=torch.bool)})


def test_global_selection_follows_the_scale_of_the_scores() -> None:
    scores = {"small": torch.arange(10.0) / 1000, "large": torch.arange(10.0) + 1}
    keep = globally(scores, 0.5)
    assert not keep["small"].any() and keep["large"].all()
    tied = globally({"b": torch.ones(3), "a": torch.ones(3)}, 0.5)
    assert not tied["b"].any() and tied["a"].all()  # order of the names as given


@given(st.integers(0, 999), st.floats(0, 1), st.integers(0, 7), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_floors_hold(seed: int, sparsity: float, low: int, high: int) -> None:
    scores, floors = _scores(seed), {"a": low, "b": high}
    for select in (local, globally):
        free, held = select(scores, sparsity), select(scores, sparsity, None, floors)
        for name, keep in held.items():
            assert int(keep.sum()) >= min(floors[name], keep.numel())
            if select is local:
                assert int(keep.sum()) == max(
                    int(free[name].sum()), min(floors[name], keep.numel())
                )
        possible = sum(max(0, scores[name].numel() - floors[name]) for name in scores)
        if select is globally:
            assert sum(int((~keep).sum()) for keep in held.values()) == min(
                share_of(sparsity, 50), possible
            )


def test_threshold_is_strict_and_monotone() -> None:
    scores = {"w": torch.tensor([0.0, 0.1, 0.3, 0.5]), "other": torch.ones(1)}
    assert threshold(scores, {"w": 0.3})["w"].tolist() == [False, False, False, True]
    assert threshold(scores, {"w": 0.0})["w"].tolist() == [False, True, True, True]
    assert threshold(scores, {"w": 0.0}, {"w": torch.tensor([True, False, True, True])})[
        "w"
    ].tolist() == [False, False, True, True]
    assert list(threshold(scores, {"w": 0.3})) == ["w"]
    with pytest.raises(ConfigError, match="unknown scored tensor 'v'"):
        threshold(scores, {"v": 0.3})
    for bad in (-0.1, float("nan")):
        with pytest.raises(ConfigError, match="threshold of 'w': expected a number >= 0"):
            threshold(scores, {"w": bad})


def test_three_tenths_sigma_prunes_what_the_distribution_says() -> None:
    normal = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).abs()
    removed = 1 - threshold({"w": normal}, {"w": 0.3})["w"].double().mean()
    assert float(removed) == pytest.approx(0.2358, abs=0.002)


def _removed(kept: dict[str, torch.Tensor]) -> dict[str, int]:
    return {name: int((~keep).sum()) for name, keep in kept.items()}


@given(st.integers(0, 999), st.integers(0, 140), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_until_freed_equals_greedy_removal(seed: int, wanted: int, floor: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    sets = LoopMlp().unit_sets()
    freed = freed_parameters(LoopMlp(), sets)
    scores = {
        each.name: torch.randint(0, 4, (each.size,), generator=draw).float() for each in sets
    }
    kept = until_freed(scores, freed, wanted, {each.name: floor for each in sets})
    removed = {each.name: 0 for each in sets}
    gone = set()
    order = sorted(
        (float(score), rank, unit, name)
        for rank, name in enumerate(scores)
        for unit, score in enumerate(scores[name])
    )
    for _, _, unit, name in order:
        if freed(removed) >= wanted:
            break
        if len(scores[name]) - removed[name] > floor:
            removed[name] += 1
            gone.add((name, unit))
    found = {(name, int(unit)) for name, keep in kept.items() for unit in torch.nonzero(~keep)}
    assert found == gone
    assert freed(_removed(kept)) == freed(removed)


def test_until_freed_edges() -> None:
    sets = LoopMlp().unit_sets()
    freed = freed_parameters(LoopMlp(), sets)
    scores = {each.name: torch.zeros(each.size) for each in sets}
    assert all(keep.all() for keep in until_freed(scores, freed, 0).values())
    limited = until_freed(scores, freed, 10**9, {"first": 1, "second": 2})
    assert [int(keep.sum()) for keep in limited.values()] == [1, 2]
    assert freed(_removed(limited)) < 10**9
    with pytest.raises(ConfigError, match="parameters >= 0, got -1"):
        until_freed(scores, freed, -1)
