"""How a failure reaches the user: one line on the error stream, and an exit code.

Codes: 1 job failed or defect, 2 bad configuration or usage, 3 bad or missing data, 4 bad
checkpoint or model file, 5 output not writable, full or in use, 6 diverged, 130 interrupted.
No torch is loaded here.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from audioprune import schema
from audioprune.commands.configuration import options_of
from audioprune.errors import AudiopruneError, ConfigError, OutputError

TRACE = "AUDIOPRUNE_TRACE"
"""Variable of the environment that says whether the user wants traces."""
_NOISE = (
    "object_type=",
    "Set the env",
    "reference_type=",
    "See https",
    "Config search path",
    "provider=",
)
_MOST_LINES = 6
_EXTRAS = {"optuna": "sweep", "tpe": "sweep", "submitit": "slurm"}
"""Beginnings of the names of options -> the extra of this package that brings their plugin."""


def say(text: str) -> None:
    """Print a line on the error stream."""
    print(text, file=sys.stderr, flush=True)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def explain(error: Exception) -> int:
    """Print one line for an error and return its exit code."""
    wants_trace = bool(os.environ.get(TRACE))
    if wants_trace:
        traceback.print_exception(error)
    error = _own_cause(error)
    if isinstance(error, AudiopruneError):
        say(str(error) if error.exit_code == 130 else f"error: {error}")
        return error.exit_code
    if isinstance(error, HydraException | OmegaConfBaseException):
        say(f"error: {_config_message(error)}")
        return ConfigError.exit_code
    if not wants_trace:
        traceback.print_exception(error)
    say(
        f"error: {type(error).__name__}: {first_line(error)} (this is a defect; the trace "
        f"above shows where)"
    )
    return 1


def _own_cause(error: Exception) -> Exception:
    """Return the error of this package that composing a configuration wrapped, else the error."""
    cause: BaseException | None = error
    while cause is not None and isinstance(error, HydraException | OmegaConfBaseException):
        if isinstance(cause, AudiopruneError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


def as_output_error(error: Exception) -> Exception:
    """Name what failed when Hydra makes or writes a run folder; jobs answer for themselves."""
    if not isinstance(error, OSError) or isinstance(error, HydraException):
        return error
    place = error.filename or "the run folder"
    return OutputError(
        f"cannot write {place}: {error.strerror or error}; choose runtime.folder=... that can "
        f"be written"
    )


def _config_message(error: BaseException) -> str:
    """Turn a message of Hydra or OmegaConf and its causes into one line with the closest names."""
    texts = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    stripped = [line.strip() for text in texts for line in text.splitlines()]
    lines = dict.fromkeys(line for line in stripped if line and not line.startswith(_NOISE))
    whole = " ".join(lines)
    return _old_report(whole) or " ".join(list(lines)[:_MOST_LINES]) + _hint(whole)


def _old_report(text: str) -> str:
    """Say the new form of a report that was one part of a paper's, such as ``p2_table1``."""
    missing = re.search(r"Could not find 'report/([^\W_]+)_(\w+)'", text)
    if not missing or missing.group(1) not in options_of("report"):
        return ""
    paper, part = missing.groups()
    return f"report={paper}_{part} is now report={paper} report.only=[{part}]"


def _hint(text: str) -> str:
    """Return what may have been meant by a name that a message of Hydra refuses, or nothing."""
    option = re.search(r"Could not find '([\w/]+)/([\w.]+)'", text)
    if option:
        group, given = option.groups()
        return _extra(group, given) or _closest(given, options_of(group))
    key = re.search(r"Key '([\w.]+)' (?:is )?not in '?(\w+)'?", text)
    if not key:
        return ""
    swept = _swept_group(text)
    if swept:
        return (
            f" -> before a sweep keys are checked without {swept}, with the default of its "
            f"group; make one sweep per option"
        )
    return _closest(key.group(1).rpartition(".")[2], schema.keys_of(key.group(2)))


def _extra(group: str, given: str) -> str:
    """Say what to install where an option is that of a plugin which is missing."""
    name = next((extra for part, extra in _EXTRAS.items() if given.startswith(part)), "")
    plugin = group.startswith(("hydra/sweeper", "hydra/launcher")) and name
    return f" -> run: pip install 'audioprune[{name}]'" if plugin else ""


def _closest(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
    return f" -> closest: {', '.join(close)}" if close else ""


def _swept_group(text: str) -> str:
    """Return the override that sweeps over what decides a refused key, or nothing.

    Such as ``pipeline=a,b`` where the message refuses ``pipeline.x``: before a sweep Hydra checks
    keys against the default option of the group.
    """
    refused = re.search(r"override '(\w+)\.", text)
    if not refused or not {"-m", "--multirun"} & set(sys.argv):
        return ""
    deciding = (f"{refused.group(1)}=", "experiment=")
    return next((item for item in sys.argv if item.startswith(deciding) and "," in item), "")
