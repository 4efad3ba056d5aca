"""Which failures a user can meet, and which exit code each one has.

Every error that reaches the command line is one of these classes and carries one line: what was
expected, what was given, what to do. Anything else that escapes is a defect of the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AudiopruneError(Exception):
    """Base of all errors that a user can cause or cure."""

    exit_code = 1


class ConfigError(AudiopruneError):
    """A configuration value or name is wrong."""

    exit_code = 2


class DataError(AudiopruneError):
    """A corpus or an audio file is missing or bad."""

    exit_code = 3


class CheckpointError(AudiopruneError):
    """A checkpoint or model file is damaged, hostile or of another model."""

    exit_code = 4


class OutputError(AudiopruneError):
    """The output cannot be written, is full or is in use."""

    exit_code = 5


class DivergedError(AudiopruneError):
    """Training produced a non-finite loss."""

    exit_code = 6


class ProcessError(AudiopruneError):
    """Another process of the run ended, or disagrees."""


class InterruptedRun(AudiopruneError):
    """The user stopped the run; its state is saved."""

    exit_code = 130


class ClosedOutput(AudiopruneError):
    """Whoever read the output went away, as ``head`` does; nothing is said of it."""

    exit_code = 141  # what a shell gives to a program that SIGPIPE ended


def unknown_name(what: str, given: str, known: Iterable[str]) -> str:
    """Say in one line that a name is unknown and which known names are closest.

    Args:
        what: The kind of name, such as ``"criterion"``.
        given: The name as the user wrote it.
        known: All names that would have been accepted.

    Returns:
        A message such as ``unknown criterion 'magnitud'; closest: magnitude (known: ...)``.
    """
    names = sorted(map(str, known))
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    hint = f"; closest: {', '.join(close)}" if close else ""
    listed = ", ".join(names[:20]) + (f", ... {len(names)} in all" if len(names) > 20 else "")
    return f"unknown {what} '{given}'{hint} (known: {listed})"
