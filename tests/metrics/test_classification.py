"""Accuracies against worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.errors import DataError
from audioprune.metrics.classification import (
    accuracy,
    accuracy_macro,
    class_accuracies,
    confusion_matrix,
)

LABELS = [0, 0, 0, 0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 0, 0, 0, 1, 2, 1, 0, 1]


def test_rows_are_true_classes_and_columns_predictions() -> None:
    found = confusion_matrix(LABELS, PREDICTIONS, 3)
    assert found.tolist() == [[4, 1, 1], [1, 1, 0], [0, 1, 0]]
    assert found.sum() == 9 and found.dtype == np.int64


def test_accuracies_of_a_worked_example() -> None:
    counts = confusion_matrix(LABELS, PREDICTIONS, 3)
    assert accuracy(counts) == 5 / 9
    assert class_accuracies(counts) == [4 / 6, 1 / 2, 0.0]
    assert accuracy_macro(counts) == pytest.approx((4 / 6 + 1 / 2) / 3)


def test_a_class_without_items_is_left_out_of_the_mean() -> None:
    counts = confusion_matrix([0, 1], [0, 2], 4)
    assert class_accuracies(counts) == [1.0, 0.0, None, None]
    assert accuracy_macro(counts) == 0.5


def test_no_items_have_no_accuracy() -> None:
    counts = confusion_matrix([], [], 3)
    assert (
        accuracy(counts) is None
        and accuracy_macro(counts) is None
        and class_accuracies(counts) == [None] * 3
    )


def test_confusion_agrees_with_counting() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 15, 500), rng.integers(0, 15, 500)
    expected = np.zeros((15, 15), int)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[label, prediction] += 1
    found = confusion_matrix(labels, predictions, 15)
    assert np.array_equal(found, expected)
    assert accuracy(found) == float((labels == predictions).mean())


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (
            [0, 1],
            [0],
            "expected one prediction for each label, got shapes (1,) and (2,); score all items",
        ),
        (
            [[0]],
            [[0]],
            "expected one prediction for each label, got shapes (1, 1) and (1, 1); score all "
            "items",
        ),
        ([0, 3], [0, 0], "expected labels from 0 to 2, got 0 to 3; set the number of classes"),
        (
            [1, 2],
            [2, 3],
            "expected predictions from 0 to 2, got 2 to 3; set the number of classes",
        ),
        ([0], [-1], "expected predictions from 0 to 2, got -1 to -1; set the number of classes"),
    ],
)
def test_wrong_inputs_are_refused(labels: list[int], predictions: list[int], message: str) -> None:
    with pytest.raises(DataError) as caught:
        confusion_matrix(labels, predictions, 3)
    assert str(caught.value) == message
