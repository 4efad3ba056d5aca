"""What happens between a command line and a verb: dispatch, completion, exit codes, the summary of a sweep.

Nothing heavy is imported here; help, completion and ``--cfg`` answer without torch.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
import tempfile
import traceback
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
    "doctor": "say whether this machine is ready",
}
_RUN_VERBS = ("train", "prune", "quantize", "eval")
_SWEEP_LOG = "AUDIOPRUNE_SWEEP_LOG"
_HELP = ("-h", "--help")


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
        "  audioprune eval checkpoint=model.apz data=noisy_mixtures data.speech_root=... data.noise_root=...",
        "  audioprune report runs=runs",
        "",
        "audioprune VERB --help lists the groups and keys of a verb; --cfg job prints the composed configuration.",
        'Tab completion: eval "$(audioprune -sc install=bash)"',
    ]
    return "\n".join(lines)


def run_verb(verb: str, arguments: list[str]) -> int:
    """Compose the configuration of a verb, run it, and return the exit code.

    Codes: 0 ok, 1 job failed, 2 bad configuration or usage, 3 bad or missing data, 4 bad checkpoint or model file, 5 output not
    writable, full or in use, 6 diverged, 130 interrupted.
    """
    wants_trace = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"audioprune {verb}", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_SWEEP_LOG] = str(Path(folder) / "jobs.jsonl")
        try:
            _compose_and_run(verb)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 2
        except KeyboardInterrupt:
            _say("interrupted")
            return 130
        except Exception as error:
            return _explain(error, wants_trace)
        return _sweep_summary(Path(os.environ[_SWEEP_LOG]))


def job(config: Any) -> None:
    """Run one composed job; called by Hydra, in a sweep possibly in another process."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    verb = hydra.job.config_name
    if hydra.mode != RunMode.MULTIRUN:
        _work(verb, config, Path(hydra.runtime.output_dir), list(hydra.overrides.task))
        return
    record = {"folder": hydra.runtime.output_dir, "overrides": list(hydra.overrides.task)}
    try:
        status = _work(verb, config, Path(hydra.runtime.output_dir), list(hydra.overrides.task))
        record |= {"status": status, "code": 0}
    except Exception as error:
        code = _explain(error, bool(os.environ.get("AUDIOPRUNE_TRACE")))
        record |= {"status": "failed", "code": code, "reason": _first_line(error)}
        if code == 130:
            _append_record(record)
            raise
    _append_record(record)


def _work(verb: str, config: Any, folder: Path, overrides: list[str]) -> str:
    from audioprune import schema

    schema.check(config)
    if verb in _RUN_VERBS:
        from audioprune import verbs

        return verbs.experiment(config, folder, overrides)
    from audioprune import tools

    getattr(tools, verb)(config)
    return "finished"


def _append_record(record: dict[str, Any]) -> None:
    with open(os.environ[_SWEEP_LOG], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def _compose_and_run(verb: str) -> None:
    import hydra
    from omegaconf import OmegaConf

    from audioprune import schema
    from audioprune.identity import run_name

    schema.register()
    sys.path.insert(0, os.getcwd())
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: run_name(_plain_root(_root_)), replace=True)
    hydra.main(version_base="1.3", config_path="pkg://audioprune.conf", config_name=verb)(job)()


def _plain_root(root: Any) -> dict[str, Any]:
    """Resolve everything of a configuration but Hydra's own part, which names this folder."""
    from omegaconf import OmegaConf

    copy = OmegaConf.masked_copy(root, [key for key in root if key != "hydra"])
    return OmegaConf.to_container(copy, resolve=True)


def _sweep_summary(log: Path) -> int:
    """Say how the jobs of a sweep ended; a single job leaves no records."""
    if not log.exists():
        return 0
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    failed = [record for record in records if record["status"] == "failed"]
    cached = sum(record["status"] == "cached" for record in records)
    _say(f"sweep: {len(records)} jobs, {len(records) - len(failed) - cached} finished now, {cached} already finished, {len(failed)} failed")
    for record in failed:
        _say(f"  FAILED {' '.join(record['overrides'])}: {record['reason']} ({record['folder']})")
    return 1 if failed else 0


def _explain(error: Exception, wants_trace: bool) -> int:
    """Print one line for an error and return its exit code."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from audioprune.errors import AudiopruneError

    if wants_trace:
        traceback.print_exception(error)
    if isinstance(error, AudiopruneError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, HydraException | OmegaConfBaseException):
        _say(f"error: {_config_message(error)}")
        return 2
    if not wants_trace:
        traceback.print_exception(error)
    _say(f"error: {type(error).__name__}: {_first_line(error)} (this is a defect; the trace above shows where)")
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
        if not line.startswith(("object_type=", "Set the env", "reference_type=", "See https", "Config search path", "provider="))
    ]
    unique = list(dict.fromkeys(lines))
    return " ".join(unique[:6]) + _closest_hint(" ".join(unique))


def _closest_hint(text: str) -> str:
    missing = re.search(r"Could not find '([\w/]+)/([\w.]+)'", text)
    if missing:
        group, given = missing.groups()
        known = [path.relative_to(_conf() / group).with_suffix("").as_posix() for path in (_conf() / group).rglob("*.yaml")]
        close = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
        return f" -> closest: {', '.join(close)}" if close else ""
    key = re.search(r"Key '([\w.]+)' (?:is )?not in '?(\w+)'?", text)
    if key:
        from audioprune import schema

        known = schema.keys_of(key.group(2))
        close = difflib.get_close_matches(key.group(1).rpartition(".")[2], known, n=3, cutoff=0.4)
        return f" -> closest: {', '.join(close)}" if close else ""
    return ""


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
