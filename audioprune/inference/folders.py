"""How a folder of audio is worked through into a folder of the same tree: ``work_through``.

Files are done one by one or by several processes; the others go on past a bad one. A log in
the output folder says what was done, so that the same command again does what is left. What is
done to a file is up to the caller.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioprune.data.files.audio import find_audio
from audioprune.errors import AudiopruneError, ConfigError, DataError, InterruptedRun, OutputError
from audioprune.files import append_line, drop_leftovers, lock, read_lines
from audioprune.interrupts import check_stop

Work = Callable[[Path, Path], Mapping[str, Any]]
"""Makes an output of an input, and returns what the log says of it."""
Begin = Callable[[Any], Work]
"""Makes the work in a process of its own, from a request that can be sent there."""


@dataclass
class Outcome:
    """What became of the files of a folder.

    Attributes:
        done: Records of the files that were done now.
        skipped: Number of files that were done before.
        failed: Lines about the files that could not be done.
    """

    done: list[Mapping[str, Any]] = field(default_factory=list)
    skipped: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """Which files of a folder become which.

    Attributes:
        source: Folder of audio.
        target: Folder of outputs.
        ending: Returns the name of an output for that of an input.
        log: Name of the log in the output folder.
        made_by: What decides the outputs, such as hashes of model and settings; outputs of
            something else are made again.
        overwrite: Whether files that the log does not know are replaced.
    """

    source: Path
    target: Path
    ending: Callable[[str], str]
    log: str
    made_by: str
    overwrite: bool = False

    def pairs(self) -> list[tuple[Path, Path]]:
        """Return inputs and outputs by name.

        Raises:
            DataError: There is no audio.
            OutputError: The output folder is the input folder or lies in it.
            ConfigError: Two inputs would have one output.
        """
        if not self.source.is_dir():
            raise DataError(f"{self.source}: expected a folder of audio, got no such folder")
        source, target = self.source.resolve(), self.target.resolve()
        if source == target or source in target.parents:
            raise OutputError(
                f"{self.target}: expected a folder outside the input {self.source}; choose another"
            )
        if self.target.exists() and not self.target.is_dir():
            raise OutputError(f"{self.target}: expected a folder, got a file; choose another name")
        found: dict[Path, Path] = {}
        for path in find_audio(self.source):
            place = path.relative_to(self.source)
            out = self.target / place.with_name(self.ending(place.name))
            if out in found:
                raise ConfigError(
                    f"{path} and {found[out]} would both become {out}; rename one of them"
                )
            found[out] = path
        if not found:
            raise DataError(f"{self.source}: expected audio files, got none; see docs/data.md")
        return [(path, out) for out, path in found.items()]


def work_through(
    plan: Plan,
    begin: Begin,
    request: Any,
    *,
    jobs: int = 1,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Make every output that is not there yet.

    Args:
        plan: Which files become which.
        begin: Called once in every process; for more than one a function of a module.
        request: Its argument.
        jobs: Number of processes.
        tell: Called with a line about every file.

    Raises:
        OutputError: The output folder cannot be written or is in use.
        InterruptedRun: The user stopped; what is done stays.
    """
    pairs = plan.pairs()
    outcome = Outcome()
    targets = {str(source): (source, target) for source, target in pairs}
    try:
        plan.target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {plan.target}: {reason}; choose another") from error
    with lock(plan.target):
        drop_leftovers(plan.target)
        left = list(_left(plan, pairs, outcome))
        for name, record, failure in _results(begin, request, left, jobs):
            if failure:
                outcome.failed.append(failure)
                tell(f"failed: {failure}")
                continue
            source, target = targets[name]
            stored = {**record, "made_by": plan.made_by, "input": _stamp(source)}
            stored |= {"file": str(source.relative_to(plan.source)), "bytes": _size(target)}
            append_line(plan.target / plan.log, stored)
            outcome.done.append(stored)
            tell(str(record.get("line", target)))
    return outcome


def _left(
    plan: Plan, pairs: Sequence[tuple[Path, Path]], outcome: Outcome
) -> Iterator[tuple[Path, Path]]:
    """Yield what is not done yet; note what is, and what would replace a file of someone else."""
    known = {str(row.get("file")): row for row in read_lines(plan.target / plan.log)}
    for source, target in pairs:
        row = known.get(str(source.relative_to(plan.source)))
        if not target.exists():
            yield source, target
        elif row is None and not plan.overwrite:
            outcome.failed.append(
                f"{target}: exists already and was not made here; give overwrite=true or another "
                f"folder"
            )
        elif row is not None and _is_same(plan, row, source, target):
            outcome.skipped += 1
        else:
            yield source, target


def _is_same(plan: Plan, row: Mapping[str, Any], source: Path, target: Path) -> bool:
    same_input = row.get("input") == _stamp(source) and row.get("made_by") == plan.made_by
    return same_input and row.get("bytes") == _size(target)


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _size(path: Path) -> int:
    return path.stat().st_size


Result = tuple[str, Mapping[str, Any], str]
"""Name of the input, record of the output, and why there is none."""
_WORK: list[Work] = []  # of a worker process


def _results(
    begin: Begin, request: Any, left: Sequence[tuple[Path, Path]], jobs: int
) -> Iterator[Result]:
    """Yield what became of each file, in the order in which they are done."""
    if not left:
        return
    if jobs == 1 or len(left) == 1:
        work = begin(request)
        for pair in left:
            check_stop()
            yield _done(work, pair)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(left)), context, initializer=_begin, initargs=(begin, request)
    ) as pool:
        waiting = [pool.submit(_in_worker, pair) for pair in left]
        try:
            for each in as_completed(waiting):
                check_stop()
                yield each.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin(begin: Begin, request: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    _WORK[:] = [begin(request)]


def _in_worker(pair: tuple[Path, Path]) -> Result:
    return _done(_WORK[0], pair)


def _done(work: Work, pair: tuple[Path, Path]) -> Result:
    source, target = pair
    try:
        return str(source), dict(work(source, target)), ""
    except InterruptedRun:
        raise
    except OutputError as error:
        if isinstance(error.__cause__, OSError):  # a disk that takes no more ends the work
            raise
        return str(source), {}, str(error)
    except AudiopruneError as error:
        return str(source), {}, str(error)


def summary(outcome: Outcome, what: str) -> str:
    """Say in one line what became of a folder."""
    done, failed = len(outcome.done), len(outcome.failed)
    return f"{done} {what}, {outcome.skipped} done before, {failed} failed"
