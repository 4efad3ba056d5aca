"""Which items of a set are evaluated, first ones or spread ones, and how they are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from audioprune.tasks.batches import first_batches, spread_batches

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


def test_tensors_lie_on_the_wanted_device_and_lengths_on_the_cpu() -> None:
    def joined(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        places = torch.tensor([item["place"] for item in items])
        return {"places": places, "lengths": places, "id": ["a"]}

    (batch,) = first_batches(Numbers(), joined, 2, 2, torch.device("meta"))
    assert batch["places"].is_meta and batch["lengths"].tolist() == [0, 1]
