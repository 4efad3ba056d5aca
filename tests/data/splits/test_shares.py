"""Shares of names: exact, by the seed, and never empty."""

from __future__ import annotations

from collections import Counter

import pytest

from audioprune.data.splits.shares import check_fractions, draw_share, share_out
from audioprune.errors import ConfigError, DataError

NAMES = [f"n{number}" for number in range(20)]


def test_every_name_gets_one_split_and_the_counts_are_exact() -> None:
    chosen = share_out(NAMES, (0.7, 0.1, 0.2), 0, "names")
    assert Counter(chosen.values()) == {"train": 14, "valid": 2, "test": 4}
    assert sorted(chosen) == sorted(NAMES) and chosen == share_out(NAMES, (0.7, 0.1, 0.2), 0, "")
    assert chosen != share_out(NAMES, (0.7, 0.1, 0.2), 1, "names")
    for fractions in ((0.98, 0.01, 0.01), (0.01, 0.98, 0.01), (0.01, 0.01, 0.98)):
        assert set(share_out(NAMES[:3], fractions, 0, "").values()) == {"train", "valid", "test"}


def test_a_drawn_share_is_neither_empty_nor_everything() -> None:
    assert [len(draw_share(NAMES, share, 0)) for share in (0.0, 0.1, 0.5, 1.0)] == [1, 2, 10, 19]
    assert draw_share(NAMES, 0.5, 3) == draw_share(NAMES, 0.5, 3) != draw_share(NAMES, 0.5, 4)


def test_wrong_shares_and_too_few_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"add up to 1, got \[0.5, 0.5\]; use"):
        check_fractions([0.5, 0.5])
    with pytest.raises(DataError, match=r"expected at least 3 pieces .*, found 2 \(n0, n1\)"):
        share_out(NAMES[:2], (0.8, 0.1, 0.1), 0, "pieces")
