"""How a loop over numbers becomes machine code: ``compiled``, the decorator of every kernel.

A loop is compiled at its first call, and the result is kept on disk where a folder can be written.
Importing this file imports numba: only files of kernels do, and those are imported when needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Loop], Loop]:
    """Compile a function without Python's lock, with or without a cache on disk.

    Args:
        options: More options of ``numba.njit``, such as ``fastmath``.
    """

    def wrap(loop: Loop) -> Loop:
        try:
            made = njit(cache=True, nogil=True, **options)(loop)
        except RuntimeError:  # no folder can be written
            made = njit(nogil=True, **options)(loop)
        return cast(Loop, made)

    return wrap
