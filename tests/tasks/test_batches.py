"""Which items of a set are evaluated and joined, and how all of a test set pass a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.tasks.batches import (
    Batches,
    first_batches,
    rows_by_length,
    samples_at_once,
    spread_batches,
    weighted_mean,
)
from audioprune.training import memory

CPU = torch.device("cpu")


class Numbers:
    """Ten items that know their place."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"place": index}


def _joined(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"places": [item["place"] for item in items]}


def _places(batches) -> list[list[int]]:
    return [batch["places"] for batch in batches]


@pytest.mark.parametrize(
    ("items", "wanted"), [(3, [[0, 1], [2]]), (None, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])]
)
def test_first_items(items, wanted) -> None:
    assert _places(first_batches(Numbers(), _joined, items, 2, CPU)) == wanted


def test_more_items_than_there_are_is_all_of_them() -> None:
    assert _places(first_batches(Numbers(), _joined, 99, 10, CPU)) == [list(range(10))]
    assert _places(spread_batches(Numbers(), _joined, 99, 10, CPU)) == [list(range(10))]


def test_spread_items() -> None:
    assert _places(spread_batches(Numbers(), _joined, 4, 3, CPU)) == [[0, 2, 5], [7]]


class Made:
    """Doubles lengths, remembers the batches, and has no memory for more than ``most`` samples."""

    def __init__(self, most: int = 10**6) -> None:
        self.most, self.seen = most, []

    def __call__(self, items: list[Mapping[str, Any]]) -> list[int]:
        lengths = [item["length"] for item in items]
        if len(lengths) * max(lengths) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(lengths)
        return [2 * length for length in lengths]


def _passed(lengths: Sequence[int], most: int, made: Made, **options: Any) -> list[list[int]]:
    items = [{"length": length} for length in lengths]
    found = list(Batches(made, lambda item: item["length"], most, **options).results(items))
    assert sorted(place for place, _, _ in found) == list(range(len(lengths)))
    assert all(items[place] is item and 2 * item["length"] == got for place, item, got in found)
    return made.seen


def test_equal_lengths_fill_batches_as_they_come() -> None:
    assert _passed([5] * 7, 16, Made()) == [[5, 5, 5], [5, 5, 5], [5]]
    assert _passed([50, 50], 16, Made()) == [[50], [50]]
    made = Made()
    items = iter([{"length": 8}] * 9)
    stream = Batches(made, lambda item: item["length"], 16).results(items)
    next(stream)
    assert len(list(items)) == 7  # nothing waits for what is to come


def test_different_lengths_share_a_batch_only_where_they_may() -> None:
    lengths = [3, 9, 4, 8, 3, 9]
    assert _passed(lengths, 18, Made()) == [[9, 9], [8], [4], [3, 3]]
    asked = []

    def may_mix(shorter: Mapping[str, Any], longer: Mapping[str, Any]) -> bool:
        asked.append((shorter["length"], longer["length"]))
        return True

    assert _passed([3, 9, 4, 8, 3], 18, Made(), may_mix=may_mix) == [[9, 8], [4, 3, 3]]
    assert asked == [(3, 9)]
    assert _passed([3, 9], 18, Made(), may_mix=lambda *_: False) == [[9], [3]]


def test_few_items_wait_for_others_of_their_length() -> None:
    made, taken = Made(), []

    def items():
        for length in range(20, 60):
            taken.append(length)
            yield {"length": length}

    stream = Batches(made, lambda item: item["length"], 64, lambda *_: True).results(items())
    next(stream)
    assert sum(taken) <= 8 * 64 + max(taken) and max(made.seen[0]) == max(taken)
    held = [len(taken) - done for done, _ in enumerate(stream, 2)]
    assert max(held) < 26 and sorted(sum(made.seen, [])) == list(range(20, 60))


def test_a_batch_without_memory_is_halved_and_that_is_told_once(capsys) -> None:
    memory._said.clear()
    assert _passed([5] * 12, 40, Made(most=10)) == [[5, 5]] * 6
    assert capsys.readouterr().err == (
        "scoring: too little memory on the device (CUDA out of memory); going on with half as "
        "much at once, see runtime.score_batch\n"
    )
    with pytest.raises(ConfigError) as caught:
        _passed([7], 40, Made(most=5))
    assert str(caught.value) == (
        "expected memory on the device for one item of 7 samples, got CUDA out of memory; use "
        "shorter items, or runtime.device=cpu"
    )


def test_how_much_audio_passes_at_once() -> None:
    assert samples_at_once(nn.Linear(1, 1), None, 16000) == 1
    assert samples_at_once(nn.Linear(1, 1, device="meta"), None, 10) == 1280
    assert samples_at_once(nn.Linear(1, 1), 0.5, 16000) == 8000
    assert samples_at_once(nn.Linear(1, 1), 1e-9, 16000) == 1


def test_neighbouring_rows_of_one_length_stay_together() -> None:
    signals = torch.zeros(4, 9)
    assert rows_by_length(signals, None) == [(slice(0, 4), 9)]
    assert rows_by_length(signals, torch.tensor([9, 9, 5, 9])) == [
        (slice(0, 2), 9),
        (slice(2, 3), 5),
        (slice(3, 4), 9),
    ]


def test_a_weighted_mean_of_scalars() -> None:
    values, weights = torch.tensor([1.0, 4.0]).unbind(), torch.tensor([3, 1]).unbind()
    assert weighted_mean(values, weights) == 1.75


def test_tensors_lie_on_the_wanted_device_and_lengths_on_the_cpu() -> None:
    def joined(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        places = torch.tensor([item["place"] for item in items])
        return {"places": places, "lengths": places, "id": ["a"]}

    (batch,) = first_batches(Numbers(), joined, 2, 2, torch.device("meta"))
    assert batch["places"].is_meta and batch["lengths"].tolist() == [0, 1]
