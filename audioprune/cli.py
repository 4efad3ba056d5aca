"""What happens between a command line and a verb: dispatch, completion, exit codes, the summary of a sweep.

Nothing heavy is imported here; help, completion and ``--cfg`` answer without torch.
"""

from __future__ import annotations

import difflib
import io
import json
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
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
    "doctor": "say whether this machine is ready",
}
_RUN_VERBS = ("train", "prune", "quantize", "eval")
_WITH_FILE = (*_RUN_VERBS, "listen", "generate")
_SWEEP_LOG = "AUDIOPRUNE_SWEEP_LOG"
_TRACE = "AUDIOPRUNE_TRACE"
_FROM_FILE = "AUDIOPRUNE_GROUPS_OF_FILE"
_HELP = ("-h", "--help")
_FILE = re.compile(r"\+*(checkpoint|systems\.\w+)=")


def main() -> None:
    """Run the command line of this process and exit with its code."""
    arguments = sys.argv[1:]
    if "-sc" in arguments or "--shell-completion" in arguments:
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
        _say(f"unknown verb '{arguments[0]}'{hint} (verbs: {', '.join(VERBS)})")
        sys.exit(2)
    sys.exit(run_verb(arguments[0], arguments[1:]))


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

    Codes: 0 ok, 1 job failed, 2 bad configuration or usage, 3 bad or missing data, 4 bad
    checkpoint or model file, 5 output not writable, full or in use, 6 diverged, 130 interrupted.
    ``HYDRA_FULL_ERROR=1`` in the environment shows traces.
    """
    groups = _groups_of_file(verb, arguments)
    place = next(
        (index for index, item in enumerate(arguments) if _FILE.match(item)), 0
    )  # overrides stand together
    sys.argv = [f"audioprune {verb}", *arguments[:place], *groups, *arguments[place:]]
    trace = "1" if os.environ.get("HYDRA_FULL_ERROR") else ""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "jobs.jsonl"
        with _environment(
            HYDRA_FULL_ERROR="1",
            **{_TRACE: trace, _SWEEP_LOG: str(log), _FROM_FILE: " ".join(groups)},
        ):
            code = _code_of(verb)
        return _sweep_summary(log, code) if log.exists() else code


def _groups_of_file(verb: str, arguments: list[str]) -> list[str]:
    """Return the choices, such as ``data=vctk``, that give the corpus and the task of a model file their keys.

    Without them Hydra would refuse ``data.root=...`` where the corpus of the file is another than
    the verb's default. The values come from the file later, see `audioprune.provenance.effective`.
    Files of a sweep that differ in their groups choose none.
    """
    from audioprune import provenance

    if verb not in _WITH_FILE or {"-sc", "--shell-completion"} & set(arguments):
        return []
    files = ",".join(item.partition("=")[2] for item in arguments if _FILE.match(item)).split(",")
    facts = [provenance.read_facts(file.strip("'\" ")) for file in files if file]
    if verb == "listen":  # the first of its systems that names a corpus decides
        facts = [each for each in facts if each.get("data")][:1]
    groups = ("data",) if verb == "listen" else ("data", "task")
    names = {
        group: _common_name(group, [each.get(group) for each in facts])
        for group in groups
        if not provenance.given(arguments, group)
    }
    return [f"{group}={name}" for group, name in names.items() if name]


def _common_name(group: str, nodes: list[Any]) -> str:
    """Return the option of a group of this package that all nodes of files are of, or nothing."""
    from audioprune import provenance

    names = {
        str(node.get("name")) if isinstance(node, dict) and provenance.is_harmless(node) else ""
        for node in nodes
    }
    own = all(
        isinstance(node, dict) and provenance.in_room(group, node.get("_target_"))
        for node in nodes
    )
    name = names.pop() if own and len(names) == 1 else ""
    return (
        name if re.fullmatch(r"\w+", name) and (_conf() / group / f"{name}.yaml").is_file() else ""
    )


def _code_of(verb: str) -> int:
    try:
        _refuse_odd_bytes(sys.argv)
        _print_any_name()
        _compose_and_run(verb)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2 if stop.code else 0
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except Exception as error:
        return _explain(_as_output_error(error))
    return 0


def _as_output_error(error: Exception) -> Exception:
    """Name what failed when Hydra makes or writes a run folder; jobs answer for themselves."""
    from hydra.errors import HydraException

    from audioprune.errors import OutputError

    if not isinstance(error, OSError) or isinstance(error, HydraException):
        return error
    place = error.filename or "the run folder"
    return OutputError(
        f"cannot write {place}: {error.strerror or error}; choose runtime.folder=... that can "
        f"be written"
    )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables, which a sweep's processes inherit, for the length of a with-block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def job(config: Any) -> None:
    """Run one composed job; called by Hydra, in a sweep possibly in another process.

    Raises:
        SystemExit: A single job failed, or the user stopped a job of a sweep; Hydra would go on
            after any other exception.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    _show_notes()
    hydra = HydraConfig.get()
    overrides = _typed(hydra.overrides.task)
    record = {"folder": hydra.runtime.output_dir, "overrides": overrides}
    code = 0
    try:
        record["status"] = _work(
            hydra.job.config_name, config, Path(hydra.runtime.output_dir), overrides
        )
    except Exception as error:
        code = _explain(error)
        record |= {
            "status": "interrupted" if code == 130 else "failed",
            "reason": _first_line(error),
        }
    if hydra.mode == RunMode.MULTIRUN:
        _append_record({**record, "code": code})
    if code == 130 or code and hydra.mode != RunMode.MULTIRUN:
        raise SystemExit(code)


def _typed(overrides: Any) -> list[str]:
    """Return the overrides that the user typed, without the groups that a model file chose."""
    return [item for item in overrides if item not in os.environ.get(_FROM_FILE, "").split()]


def _show_notes() -> None:
    """Print what the package logs as plain lines, whatever Hydra does to the root logger."""
    logger = logging.getLogger("audioprune")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)
    logger.propagate = False


def _work(verb: str, config: Any, folder: Path, overrides: list[str]) -> str:
    from audioprune import schema

    config = _with_file(config, overrides)
    schema.check(config)
    if verb in _RUN_VERBS:
        from audioprune.commands import experiments as verbs

        return verbs.experiment(config, folder, overrides, _differences(verb, config))
    from audioprune.commands import tools

    if verb in _WITH_FILE:
        getattr(tools, verb)(config, overrides)
    else:
        getattr(tools, verb)(config)
    return "finished"


def _differences(verb: str, config: Any) -> list[str]:
    """Return the keys in which a job is not the experiment that it names; without one no scale can be declared."""
    from hydra.core.hydra_config import HydraConfig

    from audioprune.experiment.presets import differing

    chosen = HydraConfig.get().runtime.choices.get("experiment")
    if not chosen:
        return ["scale"] if config.scale else []
    return differing(_compared(config), _preset(verb, chosen))


@cache
def _preset(verb: str, experiment: str) -> dict[str, Any]:
    """Compose an experiment without any other override, once for all jobs of a sweep."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    known = GlobalHydra.instance().is_initialized()
    with (
        nullcontext()
        if known
        else initialize_config_module(version_base="1.3", config_module="audioprune.conf")
    ):
        return _compared(compose(verb, overrides=[f"experiment={experiment}"]))


def _compared(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    from audioprune.experiment.presets import GROUPS

    return {"scale": config.scale} | {
        group: OmegaConf.to_container(config[group], resolve=True) for group in GROUPS
    }


def _with_file(config: Any, overrides: list[str]) -> Any:
    """Return the configuration with what a model file says in place of the verb's defaults."""
    from omegaconf import OmegaConf, open_dict

    from audioprune import provenance

    plain = OmegaConf.to_container(config, resolve=True)
    meant = provenance.effective(plain, overrides)
    changed = [key for key in meant if meant[key] != plain.get(key)]
    if not changed:
        return config
    filled = config.copy()
    with open_dict(filled):
        for key in changed:
            _fill(filled, key, meant[key])
    return filled


def _fill(config: Any, key: str, value: Any) -> None:
    """Put a value of a file into a configuration, within the types of its group where the group is the value's."""
    from omegaconf import DictConfig, OmegaConf

    node = None if OmegaConf.is_missing(config, key) else config[key]
    typed = (
        isinstance(value, dict)
        and isinstance(node, DictConfig)
        and OmegaConf.get_type(node) is not dict
    )
    if typed and node.get("_target_") == value.get("_target_"):
        for name, item in value.items():
            _fill(node, name, item)
    else:
        config[key] = value


def _append_record(record: dict[str, Any]) -> None:
    with open(os.environ[_SWEEP_LOG], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def _compose_and_run(verb: str) -> None:
    import hydra
    from omegaconf import OmegaConf

    from audioprune import schema
    from audioprune.experiment.config_hash import run_name

    schema.register()
    sys.path.insert(0, os.getcwd())
    OmegaConf.register_new_resolver(
        "run_name", lambda *, _root_: run_name(_meant(_root_)), replace=True
    )
    hydra.main(version_base="1.3", config_path="pkg://audioprune.conf", config_name=verb)(job)()


def _meant(root: Any) -> dict[str, Any]:
    """Resolve everything of a configuration but Hydra's own part, which names this folder, and add what a model file says."""
    from omegaconf import OmegaConf

    from audioprune import provenance

    copy = OmegaConf.masked_copy(root, [key for key in root if key != "hydra"])
    return provenance.effective(
        OmegaConf.to_container(copy, resolve=True), _typed(root.hydra.overrides.task)
    )


def _sweep_summary(log: Path, code: int) -> int:
    """Say how the jobs of a sweep ended and return its exit code; ``code`` is not 0 where the sweep itself was ended."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    counts = {
        status: sum(record["status"] == status for record in records)
        for status in ("finished", "cached", "failed")
    }
    text = (
        f"sweep: {len(records)} jobs, {counts['finished']} finished now, {counts['cached']} "
        f"already finished, {counts['failed']} failed"
    )
    _say(text + ("; stopped before the rest, the same command goes on" if code else ""))
    for record in records:
        if record["status"] == "failed":
            _say(
                f"  FAILED {' '.join(record['overrides'])}: {record['reason']} "
                f"({record['folder']})"
            )
    return code or (1 if counts["failed"] else 0)


def _explain(error: Exception) -> int:
    """Print one line for an error and return its exit code."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from audioprune.errors import AudiopruneError

    wants_trace = bool(os.environ.get(_TRACE))
    if wants_trace:
        traceback.print_exception(error)
    if isinstance(error, AudiopruneError):
        _say(str(error) if error.exit_code == 130 else f"error: {error}")
        return error.exit_code
    if isinstance(error, HydraException | OmegaConfBaseException):
        _say(f"error: {_config_message(error)}")
        return 2
    if not wants_trace:
        traceback.print_exception(error)
    _say(
        f"error: {type(error).__name__}: {_first_line(error)} (this is a defect; the trace "
        f"above shows where)"
    )
    return 1


def _config_message(error: BaseException) -> str:
    """Turn Hydra's or OmegaConf's message into one line with the closest names."""
    texts = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    lines = [
        line
        for line in lines
        if not line.startswith(
            (
                "object_type=",
                "Set the env",
                "reference_type=",
                "See https",
                "Config search path",
                "provider=",
            )
        )
    ]
    unique = list(dict.fromkeys(lines))
    whole = " ".join(unique)
    return _old_report(whole) or " ".join(unique[:6]) + _closest_hint(whole)


def _closest_hint(text: str) -> str:
    missing = re.search(r"Could not find '([\w/]+)/([\w.]+)'", text)
    if missing:
        group, given = missing.groups()
        known = [
            path.relative_to(_conf() / group).with_suffix("").as_posix()
            for path in (_conf() / group).rglob("*.yaml")
        ]
        close = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
        return f" -> closest: {', '.join(close)}" if close else ""
    key = re.search(r"Key '([\w.]+)' (?:is )?not in '?(\w+)'?", text)
    if key:
        if swept := _swept_group(text):
            return (
                f" -> before a sweep keys are checked without {swept}, with the default of its "
                f"group; make one sweep per option"
            )
        from audioprune import schema

        known = schema.keys_of(key.group(2))
        close = difflib.get_close_matches(key.group(1).rpartition(".")[2], known, n=3, cutoff=0.4)
        return f" -> closest: {', '.join(close)}" if close else ""
    return ""


def _old_report(text: str) -> str:
    """Say the new form of a report that was one part of a paper's, such as ``p2_table1``."""
    missing = re.search(r"Could not find 'report/([^\W_]+)_(\w+)'", text)
    if not missing or not (_conf() / "reported" / f"{missing.group(1)}.yaml").is_file():
        return ""
    paper, part = missing.groups()
    return f"report={paper}_{part} is now report={paper} report.only=[{part}]"


def _swept_group(text: str) -> str:
    """Return the override, such as ``pipeline=a,b``, that sweeps over what decides the key that a message of Hydra refuses, or nothing."""
    refused = re.search(r"override '(\w+)\.", text)
    if not refused or not {"-m", "--multirun"} & set(sys.argv):
        return ""
    deciding = (f"{refused.group(1)}=", "experiment=")
    return next((item for item in sys.argv if item.startswith(deciding) and "," in item), "")


def _conf() -> Path:
    import audioprune.conf

    return Path(next(iter(audioprune.conf.__path__)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _complete(arguments: list[str]) -> int:
    """Answer bash: verbs for the first word, Hydra's completion of groups and keys behind it."""
    if any("query" in item for item in arguments):
        words = os.environ.get("COMP_LINE", "").split(" ")
        if len(words) <= 2:
            prefix = words[1] if len(words) == 2 else ""
            print("\n".join(verb for verb in VERBS if verb.startswith(prefix)))
            return 0
        verb = words[1]
        if verb not in VERBS:
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
        os.environ["COMP_POINT"] = str(int(os.environ.get("COMP_POINT", "0")) - len(verb) - 1)
    else:
        verb = "train"
    sys.argv = [sys.argv[0], *arguments]
    try:
        _compose_and_run(verb)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _refuse_odd_bytes(arguments: list[str]) -> None:
    """Refuse an argument that cannot be written into a configuration; Python keeps bytes that are no text as lone surrogates."""
    from audioprune.errors import ConfigError

    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            remedy = "rename the file or folder, or link to it by another name"
            raise ConfigError(f"expected a command line in UTF-8, got {ascii(argument)}; {remedy}")


def _print_any_name() -> None:
    """Let file names be printed that are not UTF-8, with the odd bytes spelled out, as Python does on the error stream."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
