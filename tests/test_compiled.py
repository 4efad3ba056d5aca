"""How kernels are compiled: with a cache on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audioprune import compiled


@pytest.mark.parametrize("writable", [True, False])
def test_kernels_are_compiled_without_a_cache_where_no_folder_can_be_written(
    monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    asked: list[dict[str, object]] = []

    def njit(**options: object) -> Callable[[Callable], Callable]:
        asked.append(options)
        if "cache" in options and not writable:
            raise RuntimeError("cannot cache function")
        return lambda function: (function, "compiled")

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(fastmath=True)(abs) == (abs, "compiled")
    assert asked[0] == {"cache": True, "nogil": True, "fastmath": True}
    assert asked[1:] == ([] if writable else [{"nogil": True, "fastmath": True}])
