"""Which steps from line to line an input took through the package: ``Lines``.

Python's own trace function follows the frames of the package alone; nothing is kept of what other
libraries run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

Step = tuple[int, int, int]
"""Code object, line before and line: one edge of the flow."""


class Lines:
    """The edges that were reached.

    Args:
        folders: Only code in files below one of these is followed.
    """

    def __init__(self, folders: tuple[str, ...]) -> None:
        self.folders = folders
        self.known: set[Step] = set()
        self._now: set[Step] = set()
        self._ours: dict[CodeType, bool] = {}

    def new_of(self, call: Callable[[], object]) -> int:
        """Run a call and return how many edges it was the first to take; its error is raised."""
        self._now = set()
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(None)
            found = len(self._now - self.known)
            self.known |= self._now
            self.found = found
        return found

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(self.folders)
        if not ours:
            return None
        add, place = self._now.add, id(code)
        before = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                add((place, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step
