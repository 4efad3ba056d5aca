"""How a failure reaches the user: one line on the error stream, and an exit code.

Codes: 1 job failed or defect, 2 bad configuration or usage, 3 bad or missing data, 4 bad
checkpoint or model file, 5 output not writable, full or in use, 6 diverged, 130 interrupted.
A reader of the output that went away is not told, and gives 141. No torch is loaded here.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from audioprune import schema
from audioprune.commands import quoting
from audioprune.commands.configuration import options_of
from audioprune.errors import AudiopruneError, ClosedOutput, ConfigError, OutputError
from audioprune.files import FULL
from audioprune.terminal.help import closest_text
from audioprune.terminal.index import read_index
from audioprune.terminal.streams import is_quiet, is_verbose, plain

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
_MOST_LINES = _MOST_OPTIONS = 6
_UNREADABLE = re.compile(
    "mismatched input|extraneous input|missing EQUAL|no viable alternative|LexerNoViableAlt"
    "|token recognition|Ambiguous value"
)
_NO_MEMORY = re.compile(
    "DefaultCPUAllocator: (?:can't allocate|not enough) memory|Unable to allocate"
)
"""How torch and numpy say it."""
_UNRESOLVED = re.compile("nterpolation")
_EXTRAS = {"optuna": "sweep", "tpe": "sweep", "submitit": "slurm"}
"""Beginnings of the names of options -> the extra of this package that brings their plugin."""


def say(text: str) -> None:
    """Print a line on the error stream."""
    print(plain(text, "\n"), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Print how it went on the error stream, unless only results and errors are wanted."""
    if not is_quiet():
        say(text)


def written(files: Sequence[Path]) -> None:
    """Say where what was written is: the page or first file, the tables, the folder.

    With -v every file is named.
    """
    if is_verbose():
        say("\n".join(f"wrote {file}" for file in files))
        return
    pages = [file for file in files if file.suffix == ".html"]
    tables = [file for file in files if file.suffix == ".csv" and file.parent.name != "figures"]
    found = {"page": pages[:1], "tables": tables[:1]}
    found["all"] = [min((file.parent for file in files), key=lambda each: len(each.parts))]
    lines = [f"{name:8}{places[0]}" for name, places in found.items() if places]
    note("\n" + "\n".join(lines) + f"  ({len(files)} files; -v names them)")


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
    if isinstance(error, BrokenPipeError):
        return ClosedOutput.exit_code
    if isinstance(error, ClosedOutput):
        return error.exit_code
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        say(f"error: {plain(_memory_message(error))}")
        return AudiopruneError.exit_code
    if isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS):
        error = as_output_error(error)  # whoever wrote had no words for it
    if isinstance(error, AudiopruneError):
        say(plain(error) if error.exit_code == 130 else f"error: {plain(error)}")
        return error.exit_code
    if isinstance(error, HydraException | OmegaConfBaseException):
        say(f"error: {plain(_config_message(error))}")
        return ConfigError.exit_code
    if not wants_trace:
        traceback.print_exception(error)
    say(
        f"error: {type(error).__name__}: {plain(first_line(error))} (this is a defect; the trace "
        f"above shows where)"
    )
    return 1


def _memory_message(error: Exception) -> str:
    """Say that memory ran out, and how much was asked for where that is known."""
    wanted = re.search(r"(\d+) bytes", str(error))
    much = f" ({int(wanted[1]) / 1e6:.0f} MB more were asked for)" if wanted else ""
    return (
        f"out of memory{much}; close other programs, or lower training.batch_size or the length "
        f"of items, then run the same command to resume"
    )


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
    if not isinstance(error, OSError) or isinstance(error, HydraException | BrokenPipeError):
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
    told = _old_report(whole) or _type_report(whole) or _word_report(whole, next(iter(lines), ""))
    told = told or _option_report(whole) or _key_report(whole)
    return told or " ".join(list(lines)[:_MOST_LINES]) + _hint(whole)


def _word_report(text: str, first: str) -> str:
    """Say which word of the command line cannot be read, and what to type in its place."""
    verb, words = _command_line()
    index = read_index()
    keys = index.keys(verb, words) if index.knows(verb) else {}
    kinds = {name: str(key.facts["type"]) for name, key in keys.items()}
    if _UNREADABLE.search(text) and (told := quoting.remedy(words, kinds)):
        return told
    return quoting.unresolved(words, first) if _UNRESOLVED.search(text) else ""


def _type_report(text: str) -> str:
    """Say which key cannot take its value, and what it takes."""
    found = re.search(
        r"Value '(.*?)' of type '[\w.]+' could not be converted to (\w+).*full_key: ([\w.]+)", text
    )
    if not found:
        return ""
    value, kind, key = found.groups()
    verb, words = _command_line()
    index = read_index()
    keys = index.keys(verb, words) if index.knows(verb) else {}
    wanted = keys[key].accepts if key in keys else kind.lower()
    return f"{key}: expected {wanted}, got {value}; correct the value"


def _old_report(text: str) -> str:
    """Say the new form of a report that was one part of a paper's, such as ``p2_table1``."""
    missing = re.search(r"Could not find 'report/([^\W_]+)_(\w+)'", text)
    if not missing or missing.group(1) not in options_of("report"):
        return ""
    paper, part = missing.groups()
    return f"report={paper}_{part} is now report={paper} report.only=[{part}]"


def _option_report(text: str) -> str:
    """Say that a group such as ``model`` has no such option, and which are closest."""
    missing = re.search(r"Could not find '(\w+)/([\w./]+)'", text)
    if not missing or not (known := options_of(missing[1])):
        return ""
    group, given = missing.groups()
    folder = given.rpartition("/")[0]
    beside = [name for name in known if folder and name.startswith(f"{folder}/")]
    # another folder's options are close by their last part alone
    by_end = {name.rpartition("/")[2]: name for name in sorted(known, reverse=True)}
    close = difflib.get_close_matches(given, known, n=3, cutoff=0.5)
    close += [by_end[end] for end in difflib.get_close_matches(given, by_end, n=3, cutoff=0.5)]
    names = list(dict.fromkeys([*close, *sorted(beside)]))[:_MOST_OPTIONS] or sorted(known)
    own = "; a network of your own is model=module:Class" if group == "model" else ""
    return f"no option {group}={given} -> closest: {', '.join(names)}{own}"


def _hint(text: str) -> str:
    """Return what may have been meant by a name that a message of Hydra refuses, or nothing."""
    option = re.search(r"Could not find '([\w/]+)/([\w.]+)'", text)
    if option:
        return _extra(*option.groups())
    key = re.search(r"Key '([\w.]+)' (?:is )?not in '?(\w+)'?", text)
    if not key:
        return ""
    swept = _swept_group(text)
    if swept:
        return (
            f" -> before a sweep keys are checked without {swept}, with the default of its "
            f"group; make one sweep per option"
        )
    known = schema.keys_of(key.group(2))
    close = difflib.get_close_matches(key.group(1).rpartition(".")[2], known, n=3, cutoff=0.4)
    return f" -> closest: {', '.join(close)}" if close else ""


def _command_line() -> tuple[str, list[str]]:
    """Return the verb and the words of this process."""
    return sys.argv[0].rpartition(" ")[2], sys.argv[1:]


def _key_report(text: str) -> str:
    """Say that there is no such key and which are closest, with what they mean."""
    verb, words = _command_line()
    given = re.search(r"Could not override '\+*([\w.]+)'", text)
    index = read_index()
    if not given or not index.knows(verb) or _swept_group(text):
        return ""
    close = closest_text(index, verb, given.group(1), words)
    return f"no key '{given.group(1)}'{close}" if close else ""


def _extra(group: str, given: str) -> str:
    """Say what to install where an option is that of a plugin which is missing."""
    name = next((extra for part, extra in _EXTRAS.items() if given.startswith(part)), "")
    plugin = group.startswith(("hydra/sweeper", "hydra/launcher")) and name
    return f" -> run: pip install 'audioprune[{name}]'" if plugin else ""


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
