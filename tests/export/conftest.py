"""Few timed runs: what a file takes is printed by these tests' rows, never compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audioprune.export import timing


@pytest.fixture(scope="module", autouse=True)
def few_timed_runs() -> Iterator[None]:
    """Time five runs of each file instead of two hundred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WARM", 1)
        patch.setattr(timing, "FRAMES", 5)
        yield
