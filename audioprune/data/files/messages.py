"""What the user is told about files: bad ones, converted ones, and what a folder holds.

``stop_or_skip`` decides what happens to bad files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from audioprune.data.files.checks import FileFacts, Finding, use_findings
from audioprune.errors import ConfigError, DataError, unknown_name

ON_BAD_FILE = ("stop", "skip")
_NAMED = 20


def check_on_bad_file(on_bad_file: str) -> None:
    """Raise a ConfigError for an unknown choice of what to do with bad files."""
    if on_bad_file not in ON_BAD_FILE:
        raise ConfigError(unknown_name("on_bad_file", on_bad_file, ON_BAD_FILE))


def stop_or_skip(root: Path, facts: Sequence[FileFacts], on_bad_file: str) -> list[Finding]:
    """Return the errors of bad files, or raise a DataError that lists them.

    Raises:
        DataError: There are bad files and ``on_bad_file`` is ``"stop"``.
    """
    bad = [finding for fact in facts for finding in fact.errors]
    if bad and on_bad_file == "stop":
        raise DataError(
            f"{root}: {name_bad_files(bad)}; replace them, or leave them out with data.on_bad_file=skip"
        )
    return bad


def name_bad_files(bad: Sequence[Finding]) -> str:
    """Return bad files with their reasons in one line."""
    listed = "; ".join(f"{finding.path} ({finding.reason})" for finding in bad[:_NAMED])
    rest = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"expected readable audio, found {len(bad)} bad files: {listed}{rest}"


def left_out_notes(skipped: Sequence[Finding]) -> list[str]:
    """Return a note on the bad files that are left out, if there are any."""
    if not skipped:
        return []
    listed = "; ".join(finding.line() for finding in skipped[:5])
    return [f"{len(skipped)} bad files are left out: {listed}"]


def refuse_doubled(found: Sequence[Finding]) -> None:
    """Raise a DataError that names all audio which is in two splits."""
    leaks = [
        f"{finding.path}, {finding.reason}" for finding in found if finding.severity == "error"
    ]
    if leaks:
        rest = f"; and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
        raise DataError(
            f"expected different audio in training and test, got {'; '.join(leaks[:_NAMED])}{rest}"
        )


def conversion_notes(facts: Sequence[FileFacts], sample_rate: int) -> list[str]:
    """Return one note on rates, one on channels and one on each other kind of warning of a corpus."""
    notes = []
    rates = Counter(fact.sample_rate for fact in facts if use_findings(fact, sample_rate, 0))
    if rates:
        listed = ", ".join(f"{count} from {rate} Hz" for rate, count in sorted(rates.items()))
        notes.append(
            f"{sum(rates.values())} of {len(facts)} files are resampled to {sample_rate} Hz "
            f"({listed})"
        )
    several = sum(fact.channels > 1 for fact in facts)
    if several:
        notes.append(f"{several} files with several channels are averaged to mono")
    warnings = [
        finding for fact in facts for finding in fact.findings if finding.severity == "warning"
    ]
    for code in sorted({finding.code for finding in warnings}):
        same = [finding for finding in warnings if finding.code == code]
        notes.append(f"{len(same)} files with a warning, such as {same[0].path}: {same[0].reason}")
    return notes


def first_names(paths: Iterable[Path], most: int = 5) -> str:
    """Return the first of some paths for a message."""
    listed = list(map(str, paths))
    return ", ".join(listed[:most]) + (f", ... {len(listed)} in all" if len(listed) > most else "")


def listing(root: Path, most: int = 6) -> str:
    """Return the first names in a folder, for a message; folders end with a slash."""
    names = sorted(
        entry.name + ("/" if entry.is_dir() else "")
        for entry in root.iterdir()
        if not entry.name.startswith(".")
    )
    return (
        ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "")
        if names
        else "an empty folder"
    )
