"""What the user is told about files: bad, doubled and converted ones, and what a folder holds.

``stop_or_skip`` decides what happens to bad files. The rest returns text. A function whose name
ends in ``notes`` returns one line for each thing to tell, and an empty list for none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.errors import ConfigError, DataError, unknown_name

ON_BAD_FILE = ("stop", "skip")
_MOST_FILES = 20
_MOST_NAMES = 5


def check_on_bad_file(on_bad_file: str) -> None:
    """Check the choice of what to do with bad files.

    Raises:
        ConfigError: It is unknown.
    """
    if on_bad_file not in ON_BAD_FILE:
        raise ConfigError(unknown_name("on_bad_file", on_bad_file, ON_BAD_FILE))


def stop_or_skip(root: Path, facts: Sequence[FileFacts], on_bad_file: str) -> list[Finding]:
    """Return the errors of bad files, which are then left out.

    Raises:
        DataError: There are bad files and ``on_bad_file`` is ``"stop"``.
    """
    bad = [finding for fact in facts for finding in fact.errors]
    if bad and on_bad_file == "stop":
        raise DataError(
            f"{root}: {name_bad_files(bad)}; replace them, or leave them out with "
            f"data.on_bad_file=skip"
        )
    return bad


def name_bad_files(bad: Sequence[Finding]) -> str:
    """Return bad files with their reasons in one line."""
    listed = _first([f"{finding.path} ({finding.reason})" for finding in bad])
    return f"expected readable audio, found {len(bad)} bad files: {listed}"


def left_out_notes(skipped: Sequence[Finding]) -> list[str]:
    """Return a note on the bad files that are left out."""
    if not skipped:
        return []
    listed = "; ".join(finding.line() for finding in skipped[:_MOST_NAMES])
    return [f"{len(skipped)} bad files are left out: {listed}"]


def refuse_doubled(found: Sequence[Finding]) -> None:
    """Refuse the same audio in two splits.

    Args:
        found: Findings of ``checks.doubled``.

    Raises:
        DataError: One of them is an error; the message names all that are.
    """
    leaks = [
        f"{finding.path}, {finding.reason}" for finding in found if finding.severity == "error"
    ]
    if leaks:
        raise DataError(f"expected different audio in training and test, got {_first(leaks)}")


def doubled_notes(found: Sequence[Finding]) -> list[str]:
    """Return a note on files that hold the same audio as another of their split."""
    if not found:
        return []
    listed = first_names(finding.path for finding in found)
    return [f"{len(found)} files hold the same audio as another: {listed}"]


def conversion_notes(facts: Sequence[FileFacts], sample_rate: int) -> list[str]:
    """Return notes on the rates, the channels and the warnings of good files."""
    notes = rate_notes(facts, sample_rate)
    several = sum(fact.channels > 1 for fact in facts)
    if several:
        notes.append(f"{several} files with several channels are averaged to mono")
    return notes + warning_notes(facts)


def rate_notes(facts: Sequence[FileFacts], sample_rate: int) -> list[str]:
    """Return a note on the files of another rate than ``sample_rate`` in Hz."""
    rates = Counter(fact.sample_rate for fact in facts if fact.sample_rate != sample_rate)
    if not rates:
        return []
    listed = ", ".join(f"{count} from {rate} Hz" for rate, count in sorted(rates.items()))
    return [
        f"{sum(rates.values())} of {len(facts)} files are resampled to {sample_rate} Hz ({listed})"
    ]


def warning_notes(facts: Sequence[FileFacts]) -> list[str]:
    """Return a note on each kind of warning, with its first file as the example."""
    kinds: dict[str, list[Finding]] = {}
    for fact in facts:
        for finding in fact.findings:
            if finding.severity == "warning":
                kinds.setdefault(finding.code, []).append(finding)
    return [
        f"{len(same)} files with a warning, such as {same[0].path}: {same[0].reason}"
        for _, same in sorted(kinds.items())
    ]


def first_names(paths: Iterable[Path | str], most: int = _MOST_NAMES) -> str:
    """Return the first of some paths or names, and how many there are if not all are shown."""
    listed = list(map(str, paths))
    rest = f", ... {len(listed)} in all" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


def listing(root: Path, most: int = 6) -> str:
    """Return the first names in a folder; names of folders end with a slash."""
    entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    return first_names(names, most) if names else "an empty folder"


def _first(texts: Sequence[str]) -> str:
    rest = f"; and {len(texts) - _MOST_FILES} more" if len(texts) > _MOST_FILES else ""
    return "; ".join(texts[:_MOST_FILES]) + rest
