"""From the words of a command line to the verb and its composed configuration: ``main``.

Nothing heavy is imported here: help, completion and ``--cfg`` answer without torch. What a verb
does is in audioprune.commands.
"""

from __future__ import annotations

import difflib
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    "apply": "tell what a classifier or any network says of files, as a table",
    "export": "write a model for another runtime",
    "doctor": "say whether this machine is ready",
}
_ON_FILES = ("enhance", "apply")  # they say in=FILE; a key of a configuration cannot be named so
_WITH_FILE = ("train", "prune", "quantize", "eval", "listen", "generate", "export", *_ON_FILES)
_HELP = ("-h", "--help")
REHEARSE = "runtime.rehearse=true"
SHOWN = "AUDIOPRUNE_SHOWN"
"""Variable of the environment that says how a rehearsal is printed."""
_NO_FOLDER = ("hydra.run.dir=.", "hydra.output_subdir=null")  # a rehearsal leaves no run folder
_COMPLETION = ("-sc", "--shell-completion")


def main() -> None:
    """Run the command line of this process and exit with its code."""
    arguments = sys.argv[1:]
    if set(_COMPLETION) & set(arguments):
        sys.exit(_complete(arguments))
    if not arguments or arguments[0] in (*_HELP, "help"):
        print(overview())
        sys.exit(0)
    if arguments[0] in ("-V", "--version", "version"):
        from audioprune import __version__

        print(f"audioprune {__version__}")
        sys.exit(0)
    if arguments[0] not in VERBS:
        close = difflib.get_close_matches(arguments[0], VERBS, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        text = f"unknown verb '{arguments[0]}'{hint} (verbs: {', '.join(VERBS)})"
        print(text, file=sys.stderr, flush=True)
        sys.exit(2)
    from audioprune.commands.several import as_one

    sys.exit(as_one(arguments[0], arguments[1:], run_verb))


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
        "  audioprune eval checkpoint=model.apz data=noisy_mixtures data.speech_root=... "
        "data.noise_root=...",
        "  audioprune report runs=runs",
        "",
        "audioprune VERB --help lists the groups and keys of a verb; --cfg job prints the "
        "composed configuration.",
        'Tab completion: eval "$(audioprune -sc install=bash)"',
    ]
    return "\n".join(lines)


def run_verb(verb: str, arguments: list[str]) -> int:
    """Compose the configuration of a verb, run it, and return the exit code.

    ``HYDRA_FULL_ERROR=1`` in the environment shows traces. The codes are listed in
    audioprune.commands.messages; 0 is success.
    """
    from audioprune.commands.configuration import FROM_FILE, with_groups_of_file
    from audioprune.commands.jobs import tell_sweep
    from audioprune.commands.messages import TRACE
    from audioprune.commands.own_model import own_words
    from audioprune.commands.sweeps import SWEEP_LOG, TUNE_FOLDER

    shown = ""
    if verb == "doctor" and any("experiment=" in item for item in arguments):
        verb, arguments, shown = _rehearsal_of(arguments)
    if REHEARSE in arguments:
        arguments = [*arguments, *_NO_FOLDER]
    if verb in _ON_FILES:
        arguments = [f"input{item[2:]}" if item.startswith("in=") else item for item in arguments]
    words, choices = arguments, list[str]()
    if verb in _WITH_FILE and not set(_COMPLETION) & set(arguments):
        words, choices = with_groups_of_file(verb, arguments)
    words = own_words(verb, words, choices)
    sys.argv = [f"audioprune {verb}", *words]
    trace = "1" if os.environ.get("HYDRA_FULL_ERROR") else ""
    # A sweep says itself where its processes record their jobs, and which folder it tunes in.
    variables = {TRACE: trace, SWEEP_LOG: "", TUNE_FOLDER: "", FROM_FILE: " ".join(choices)}
    variables["AUDIOPRUNE_STARTED"] = str(time.time())
    variables[SHOWN] = shown
    with _environment(HYDRA_FULL_ERROR="1", **variables):
        try:
            code = _code_of(verb)
            log = os.environ[SWEEP_LOG]
            return tell_sweep(Path(log), code) if log else code
        finally:
            if os.environ[TUNE_FOLDER]:
                from audioprune.commands.sweeps.watch import release

                release()


def _rehearsal_of(arguments: list[str]) -> tuple[str, list[str], str]:
    """Return the verb, words and format by which doctor rehearses an experiment."""
    formats = [item for item in arguments if item.startswith("format=")]
    words = [item for item in arguments if item not in (*formats, REHEARSE)]
    shown = formats[-1].partition("=")[2] if formats else ""
    return "prune", [*words, REHEARSE], shown


def _code_of(verb: str) -> int:
    """Run a verb and return its exit code, having told the user of any failure."""
    from audioprune.commands.messages import as_output_error, explain, say

    try:
        _refuse_odd_bytes(sys.argv)
        _print_any_name()
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


def _complete(arguments: list[str]) -> int:
    """Answer bash: verbs for the first word, Hydra's groups and keys behind it."""
    verb = "train"
    if any("query" in item for item in arguments):
        words = os.environ.get("COMP_LINE", "").split(" ")
        if len(words) <= 2:
            prefix = words[1] if len(words) == 2 else ""
            print("\n".join(verb for verb in VERBS if verb.startswith(prefix)))
            return 0
        verb = words[1]
        if verb not in VERBS:
            return 0
        # Hydra knows no verbs: it sees the line without this word.
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", "0")) - len(verb) - 1)
    sys.argv = [sys.argv[0], *arguments]
    try:
        _compose_and_run(verb)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _refuse_odd_bytes(arguments: list[str]) -> None:
    """Refuse an argument that no configuration can hold.

    Python keeps bytes that are not UTF-8 as lone surrogates.
    """
    from audioprune.errors import ConfigError

    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            remedy = "rename the file or folder, or link to it by another name"
            raise ConfigError(f"expected a command line in UTF-8, got {ascii(argument)}; {remedy}")


def _print_any_name() -> None:
    """Let names that are not UTF-8 be printed with their odd bytes spelled out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":  # torchrun -m audioprune.cli
    main()
