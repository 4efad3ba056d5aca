"""From the words of a command line to the verb and its composed configuration: ``main``.

Nothing heavy is imported here: help, completion and ``--cfg`` answer without torch. What a verb
does is in audioprune.commands.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audioprune.errors import ClosedOutput, ConfigError, unknown_name
from audioprune.terminal import streams

VERBS = {
    "train": "train a model",
    "prune": "train, prune, quantize and score: the whole pipeline",
    "quantize": "quantize and pack a trained model",
    "eval": "score a model file",
    "report": "join runs into tables, figures and a page",
    "info": "parameters, sizes and costs of a model, without training",
    "data": "check, prepare or list a corpus",
    "listen": "make a listening test, or evaluate its ratings",
    "generate": "make a note with a trained model",
    "enhance": "run a trained enhancer on files, folders or a pipe",
    "apply": "tell what a classifier or any network says of files",
    "export": "write a model for another runtime",
    "doctor": "say whether this machine is ready",
}
_ON_FILES = ("enhance", "apply")  # they say in=FILE; a key of a configuration cannot be named so
_WITH_FILE = ("train", "prune", "quantize", "eval", "listen", "generate", "export", *_ON_FILES)
_HELP = ("-h", "--help")
REHEARSE = "runtime.rehearse=true"
_NO_FOLDER = ("hydra.run.dir=.", "hydra.output_subdir=null")  # a rehearsal leaves no run folder
_COMPLETION = ("-sc", "--shell-completion")
_LEVELS = {"-q": "-1", "--quiet": "-1", "-v": "1", "--verbose": "1"}
_OWN_FORMAT = ("info", "apply", "export", "doctor")
"""Verbs whose configuration has a key ``format``."""


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        with streams.guarded(_ask_to_stop):
            code = _answer(sys.argv[1:])
    except ClosedOutput as closed:
        code = closed.exit_code
    sys.exit(code)


def _ask_to_stop() -> None:
    """Let a run save its state and end."""
    from audioprune.interrupts import ask_to_stop

    ask_to_stop()


def _answer(arguments: list[str]) -> int:
    """Answer what needs no verb, or run one; return the exit code."""
    first = arguments[0] if arguments else "help"
    if first == "--complete" or set(_COMPLETION) & set(arguments):
        return _complete(arguments)
    if first in (*_HELP, "help"):
        print(overview())
    elif first in ("-V", "--version", "version"):
        from audioprune import __version__

        print(f"audioprune {__version__}")
    elif first == "completion":
        return _completion_script(arguments[1:])
    elif first not in VERBS:
        close = difflib.get_close_matches(first, VERBS, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        text = f"unknown verb '{streams.plain(first)}'{hint} (verbs: {', '.join(VERBS)})"
        print(text, file=sys.stderr, flush=True)
        return 2
    elif _asks_for_help(arguments[1:]):
        return _help(first, arguments[1:])
    else:
        from audioprune.commands.several import as_one

        return as_one(first, arguments[1:], run_verb)
    return 0


def overview() -> str:
    """Return the text of ``audioprune --help``."""
    lines = [
        "audioprune: make audio neural networks small.",
        "",
        "Usage: audioprune VERB [key=value ...] [group=option ...] [-m]",
        "",
        "Verbs:",
    ]
    lines += [f"  {name:9} {text}" for name, text in VERBS.items()]
    lines += [
        "",
        "Examples:",
        "  audioprune prune experiment=p2/fdnn_demo",
        "  audioprune prune -m experiment=p2/fdnn_desk pipeline.lambda_1=0,1 seed=0,1",
        "  audioprune eval checkpoint=model.apz data=noisy_mixtures data.speech_root=... \\",
        "      data.noise_root=...",
        "  audioprune report runs=runs",
        "",
        "audioprune VERB --help says what a verb does and names its main keys;",
        "audioprune VERB --help GROUP and audioprune VERB key=? say the rest.",
        "-q says less, -v more; format=json or format=csv prints results for a program.",
        'Tab completion: eval "$(audioprune completion bash)", or zsh, or fish',
    ]
    return "\n".join(lines)


def _asks_for_help(words: list[str]) -> bool:
    """Tell whether the words behind a verb ask for help: ``--help`` or ``key=?``."""
    return bool(set(_HELP) & set(words)) or any(word.endswith("=?") for word in words)


def _help(verb: str, words: list[str]) -> int:
    """Print the page that is asked for."""
    from audioprune.terminal.help import help_text

    try:
        print(help_text(verb, words, streams.width(), VERBS[verb]))
    except ConfigError as error:
        return _refused(error)
    return 0


def _refused(error: ConfigError) -> int:
    """Say in one line what is wrong with a command line, and return the exit code."""
    print(f"error: {streams.plain(error)}", file=sys.stderr, flush=True)
    return error.exit_code


def _completion_script(arguments: list[str]) -> int:
    """Print the script of a shell."""
    from audioprune.terminal.shells import SHELLS, script

    shell = arguments[0] if arguments else ""
    if shell not in SHELLS:
        got = f"'{shell}'" if shell else "none"
        expected = f"expected {', '.join(SHELLS)}, got {got}"
        return _refused(ConfigError(f"completion: {expected}; name your shell"))
    print(script(shell), end="")
    return 0


def _complete(arguments: list[str]) -> int:
    """Answer a shell: the kind of the answer, then one candidate a line."""
    from audioprune.terminal.complete import candidates

    asked = [item for item in arguments if "query" in item or "install" in item]
    if asked and "install" in asked[0]:  # as Hydra calls it
        return _completion_script([asked[0].partition("=")[2]])
    if asked:
        print("\n".join(candidates(os.environ.get("COMP_LINE", ""), VERBS).words))
        return 0
    answer = candidates(arguments[1] if len(arguments) > 1 else "", VERBS)
    print("\n".join([answer.kind, *answer.words]))
    return 0


def run_verb(verb: str, arguments: list[str]) -> int:
    """Compose the configuration of a verb, run it, and return the exit code.

    ``HYDRA_FULL_ERROR=1`` in the environment shows traces. The codes are listed in
    audioprune.commands.messages; 0 is success.
    """
    from audioprune.commands.configuration import FROM_FILE, with_groups_of_file
    from audioprune.commands.jobs import tell_sweep
    from audioprune.commands.messages import TRACE
    from audioprune.commands.own_model import own_words
    from audioprune.commands.quoting import unresolvable_place
    from audioprune.commands.sweeps import SWEEP_LOG, SWEPT, TUNE_FOLDER

    level, arguments = _level_of(arguments)
    shown, arguments = _form_of(verb, arguments)
    if shown not in ("", *streams.FORMS):
        return _refused(ConfigError(f"format: {unknown_name('value', shown, streams.FORMS)}"))
    if _rehearses(verb, arguments):
        verb, arguments = "prune", [*(a for a in arguments if a != REHEARSE), REHEARSE]
    if REHEARSE in arguments:
        arguments = [*arguments, *_NO_FOLDER]
    if verb in _ON_FILES:
        arguments = [f"input{item[2:]}" if item.startswith("in=") else item for item in arguments]
    words, choices = arguments, list[str]()
    if verb in _WITH_FILE:
        words, choices = with_groups_of_file(verb, arguments)
    words = own_words(verb, words, choices)
    place = unresolvable_place(words)
    if place:
        return _refused(ConfigError(place))
    sys.argv = [f"audioprune {verb}", *words]
    trace = "1" if os.environ.get("HYDRA_FULL_ERROR") else ""
    # A sweep says itself where its processes record their jobs, what it varies, and which folder
    # it tunes in.
    variables = {SWEEP_LOG: "", SWEPT: "", TUNE_FOLDER: ""}
    variables |= {TRACE: trace, FROM_FILE: " ".join(choices)}
    variables["AUDIOPRUNE_STARTED"] = str(time.time())
    variables |= {streams.SHOWN: shown, streams.LEVEL: level}
    with _environment(HYDRA_FULL_ERROR="1", **variables):
        try:
            code = _code_of(verb)
            log = os.environ[SWEEP_LOG]
            return tell_sweep(Path(log), code) if log else code
        finally:
            if os.environ[TUNE_FOLDER]:
                from audioprune.commands.sweeps.watch import release

                release()


def _rehearses(verb: str, arguments: list[str]) -> bool:
    """Tell whether doctor is asked what an experiment would take."""
    return verb == "doctor" and any("experiment=" in item for item in arguments)


def _level_of(arguments: list[str]) -> tuple[str, list[str]]:
    """Return how much is to be said, and the words without it."""
    levels = [_LEVELS[item] for item in arguments if item in _LEVELS]
    inherited = os.environ.get(streams.LEVEL, "")
    rest = [item for item in arguments if item not in _LEVELS]
    return levels[-1] if levels else inherited, rest


def _form_of(verb: str, arguments: list[str]) -> tuple[str, list[str]]:
    """Return the form that results are printed in, and the words without it.

    Some verbs have a key of this name, which stays.
    """
    if verb in _OWN_FORMAT and not _rehearses(verb, arguments):
        return "", arguments
    forms = [item.partition("=")[2] for item in arguments if item.startswith("format=")]
    rest = [item for item in arguments if not item.startswith("format=")]
    return forms[-1] if forms else "", rest


def _code_of(verb: str) -> int:
    """Run a verb and return its exit code, having told the user of any failure."""
    from audioprune.commands.messages import as_output_error, explain, say

    try:
        _refuse_odd_bytes(sys.argv)
        _compose_and_run(verb)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2 if stop.code else 0
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except Exception as error:
        from audioprune.commands.sweeps.watch import as_sweep_error

        return explain(as_sweep_error(as_output_error(error)))
    return 0


def _compose_and_run(verb: str) -> None:
    import hydra
    from omegaconf import OmegaConf

    from audioprune import schema
    from audioprune.commands.configuration import folder_name
    from audioprune.commands.jobs import job

    schema.register()
    OmegaConf.register_new_resolver(
        "tune_name", lambda *, _root_: _tune_name(_root_), replace=True
    )
    OmegaConf.register_new_resolver("published", _published, replace=True)
    sys.path.insert(0, os.getcwd())  # so that a user's own model is found
    OmegaConf.register_new_resolver(
        "run_name", lambda *, _root_: folder_name(_root_), replace=True
    )
    hydra.main(version_base="1.3", config_path="pkg://audioprune.conf", config_name=verb)(job)()


def _published(name: str) -> str:
    """Return the file of a public network; the resolver ``${published:silero_vad}`` calls this."""
    from audioprune.commands.configuration import published_file

    return published_file(name)


def _tune_name(root: Any) -> str:
    """Return the name of a tuning sweep's folder; the resolver ``${tune_name:}`` calls this."""
    from audioprune.commands.sweeps.tuning import sweep_name

    return sweep_name(root)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables of the environment, which a sweep's processes inherit, within a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _refuse_odd_bytes(arguments: list[str]) -> None:
    """Refuse an argument that no configuration can hold.

    Python keeps bytes that are not UTF-8 as lone surrogates.
    """
    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            remedy = "rename the file or folder, or link to it by another name"
            raise ConfigError(f"expected a command line in UTF-8, got {ascii(argument)}; {remedy}")


if __name__ == "__main__":  # torchrun -m audioprune.cli
    main()
