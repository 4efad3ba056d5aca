"""Which names get which share: speakers, recordings or notes, by a seed.

``share_out`` gives every name one of train, valid and test. What the names stand for is decided by
the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audioprune.errors import ConfigError, DataError


def check_fractions(fractions: Sequence[float]) -> None:
    """Check the shares of train, valid and test.

    Raises:
        ConfigError: They are not three positive numbers with a sum of 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"expected fractions of train, valid and test that add up to 1, got "
            f"{list(fractions)}; use [0.8, 0.1, 0.1]"
        )


def share_out(
    names: Sequence[str], fractions: Sequence[float], seed: int, what: str
) -> dict[str, str]:
    """Give each name a split by shares; valid and test get at least one name each.

    Args:
        names: The names, each once.
        fractions: Shares of train, valid and test.
        seed: Chooses the names of each share.
        what: What the names are, for the message, such as ``"speakers below /data"``.

    Raises:
        DataError: There are fewer than three names.
        ConfigError: The shares are not three positive numbers with a sum of 1.
    """
    check_fractions(fractions)
    if len(names) < 3:
        found = ", ".join(names) or "none"
        raise DataError(
            f"expected at least 3 {what} to split them, found {len(names)} ({found}); point to "
            f"the folder above, make folders train, valid and test, name speakers with "
            f"data.speaker, or use data.speaker_from=file to split single files"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    valid, test = (max(1, round(share * len(names))) for share in fractions[1:])
    # Training keeps at least one name.
    valid = min(valid, len(names) - 2)
    test = min(test, len(names) - 1 - valid)
    splits = ["test"] * test + ["valid"] * valid + ["train"] * (len(names) - test - valid)
    return {names[index]: split for index, split in zip(order, splits, strict=True)}


def draw_share(names: Sequence[str], share: float, seed: int) -> set[str]:
    """Return a share of the names, at least one and never all."""
    count = min(len(names) - 1, max(1, round(share * len(names))))
    order = np.random.default_rng([seed, 3]).permutation(len(names))
    return {names[place] for place in order[:count]}
