"""Means of many scores that hide no failure."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.errors import DataError
from audioprune.metrics.summary import Failure, ItemScores, summarise


def test_summary_by_hand():
    results = [
        ItemScores(str(i), {"a": v, "b": None}, {"b": "why"})
        for i, v in enumerate([1.0, 2.0, 6.0])
    ]
    summary = summarise(results)
    assert summary.mean == {"a": 3.0, "b": None} and summary.n_valid == {"a": 3, "b": 0}
    assert (
        summary.std["a"] == pytest.approx(np.std([1, 2, 6], ddof=1)) and summary.std["b"] is None
    )
    assert summary.failures[0] == Failure("0", "b", "why")
    with pytest.raises(DataError, match="at least one scored recording"):
        summarise([])
