"""How predicted classes are counted against true ones: confusion matrix and accuracies.

Which class a model predicts is decided by the task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audioprune.errors import DataError

Counts = NDArray[np.int64]


def confusion_matrix(
    labels: Sequence[int] | np.ndarray, predictions: Sequence[int] | np.ndarray, classes: int
) -> Counts:
    """Count how often each true class (row) was predicted as each class (column).

    Args:
        labels: True classes, 0 to classes - 1, shape (n,).
        predictions: Predicted classes, the same range and shape.
        classes: Number of classes K.

    Returns:
        Counts, shape (K, K); they add up to n.

    Raises:
        DataError: The lengths differ, or a class is out of its range.
    """
    true, predicted = np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise DataError(
            f"expected one prediction for each label, got shapes {predicted.shape} and "
            f"{true.shape}; score all items"
        )
    for what, values in (("labels", true), ("predictions", predicted)):
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            raise DataError(
                f"expected {what} from 0 to {classes - 1}, got {values.min()} to "
                f"{values.max()}; set the number of classes"
            )
    # Each pair of classes is one number, row by row of the matrix.
    counts = np.bincount(true * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def accuracy(confusion: Counts) -> float | None:
    """Return the share of items that are right, 0..1; None without items."""
    total = int(confusion.sum())
    return int(np.trace(confusion)) / total if total else None


def class_accuracies(confusion: Counts) -> list[float | None]:
    """Return the share of items that are right, 0..1, for each true class; None without items."""
    totals = confusion.sum(axis=1)
    return [
        int(right) / int(total) if total else None
        for right, total in zip(np.diagonal(confusion), totals, strict=True)
    ]


def accuracy_macro(confusion: Counts) -> float | None:
    """Return the mean accuracy of the classes that have items, 0..1; None without items."""
    found = [value for value in class_accuracies(confusion) if value is not None]
    return sum(found) / len(found) if found else None
