"""``audioprune report``: join runs into tables, figures and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.commands.messages import say, written
from audioprune.errors import DataError
from audioprune.experiment.config_hash import plain_values
from audioprune.report import compression_line, write_report
from audioprune.report.shown.printing import show_written
from audioprune.report.watch import watch
from audioprune.terminal.streams import shown_form


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the report of the chosen runs, print its tables and what compression cost."""
    plain = plain_values(config)
    named = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    runs = [Path(each) for each in named]
    if plain["watch"]:
        _follow(runs, plain)
        return
    files = _write(runs, plain, live=False)
    show_written(files)
    summary = plain["report"]["kind"] == "summary" and shown_form() == "table"
    if summary and (line := compression_line(runs)):
        print(line, flush=True)
    written(files)


def _write(runs: list[Path], plain: Mapping[str, Any], live: bool) -> list[Path]:
    more = {"clips": plain["clips"], "live": live}
    return write_report(runs, Path(plain["out"]), **plain["report"], **more)


def _follow(runs: list[Path], plain: Mapping[str, Any]) -> None:
    """Write the report again while its runs go on, and say so on a line each."""

    def build(live: bool) -> None:
        try:
            _write(runs, plain, live)
        except DataError as error:  # runs that have begun may hold nothing to show yet
            tell(str(error))

    def tell(text: str) -> None:
        say(f"{Path(plain['out']) / 'report.html'}: {text}")

    watch(runs, build, tell, quiet_s=plain["quiet_s"])
