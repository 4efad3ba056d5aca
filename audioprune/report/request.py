"""What a report is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioprune.report.page import CLIPS
from audioprune.report.runs.job import Job


@dataclass(frozen=True)
class Request:
    """What a report is asked for.

    Attributes:
        jobs: The runs.
        out: Folder to write to.
        reported: Published numbers of the papers, see ``read_reported``.
        ratings: Statistics of a listening test, a file or its folder.
        only: Parts of a paper's report to write; all of them and the page where none is named.
        claims: Papers whose claims a summary judges.
        clips: Recordings of each corpus that the page plays.
        live: Whether an open page loads itself again when it is written anew.
    """

    jobs: tuple[Job, ...]
    out: Path
    reported: Mapping[str, Any] | str | Path | None = None
    ratings: str | Path | None = None
    only: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    clips: int = CLIPS
    live: bool = False
