"""What happens to one composed job: it runs, it fails in one line, a sweep counts it.

No torch is loaded here before a verb's own module is imported.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from audioprune import schema
from audioprune.commands.configuration import differences, filled, typed
from audioprune.commands.messages import explain, first_line, note, say
from audioprune.commands.sweeps import SWEEP_LOG, SWEPT, TUNE_FOLDER
from audioprune.errors import CheckpointError, ConfigError, DataError
from audioprune.experiment.config_hash import plain_values
from audioprune.files import read_lines
from audioprune.progress import among_jobs
from audioprune.terminal.live import seconds_text
from audioprune.terminal.streams import is_quiet

EXPERIMENTS = ("train", "prune", "quantize", "eval")
"""Verbs that run an experiment in a folder of its own."""
ON_AUDIO = ("generate", "enhance", "apply")
"""Verbs whose modules are in a folder of their own."""
_REFUSALS = tuple(kind.exit_code for kind in (ConfigError, DataError, CheckpointError))
"""Codes of what is refused; of a sweep the folder stays, for its list."""
_STATES = ("finished", "cached", "failed")


def job(config: Any) -> float | list[float] | None:
    """Run one composed job; called by Hydra, in a sweep possibly in another process.

    Returns:
        The value of ``objective``, for a sweeper that asks for one; None where there is none and
        where the job failed.

    Raises:
        SystemExit: A single job failed, or the user stopped a job of a sweep; Hydra would go on
            after any other exception.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    _show_notes()
    hydra = HydraConfig.get()
    folder, verb = hydra.runtime.output_dir, str(hydra.job.config_name)
    overrides = typed(hydra.overrides.task)
    swept = hydra.mode == RunMode.MULTIRUN
    record: dict[str, Any] = {"folder": folder, "verb": verb, "overrides": overrides}
    code, value, began = 0, None, time.monotonic()
    try:
        with among_jobs(_side_by_side(hydra)) if swept else nullcontext():
            record["status"] = _work(verb, config, Path(folder), overrides, swept)
        if verb in EXPERIMENTS and _asks(config):
            from audioprune.commands.sweeps import watch

            value = watch.answer(config, Path(folder), record)
    except Exception as error:
        code = explain(error)
        record["status"] = "interrupted" if code == 130 else "failed"
        record["reason"] = first_line(error)
    if swept:
        note(_job_line(hydra.job.num, record, time.monotonic() - began))
        _record(config, hydra, {**record, "code": code})
    if verb in EXPERIMENTS and code in _REFUSALS and not swept:
        from audioprune.experiment.run_folder import drop_refused

        drop_refused(Path(folder))
    if code == 130 or code and not swept:
        raise SystemExit(code)
    return value


def _show_notes() -> None:
    """Print what the package logs as plain lines, whatever Hydra does to the root logger."""
    logger = logging.getLogger("audioprune")
    if not logger.handlers:
        logger.addHandler(_Notes())
    logger.setLevel(logging.WARNING if is_quiet() else logging.INFO)
    logger.propagate = False


class _Notes(logging.Handler):
    """Prints what is logged on the error stream as it is then, such as above a live display."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        say(self.format(record))


def _side_by_side(hydra: Any) -> bool:
    """Tell whether a launcher may run several jobs at once."""
    return "BasicLauncher" not in str(hydra.launcher.get("_target_"))


def _job_line(number: Any, record: Mapping[str, Any], seconds: float) -> str:
    """Say in one line how a job of a sweep ended, by what the sweep varies."""
    varied = os.environ.get(SWEPT, "").split()
    own = [word for word in record["overrides"] if word.lstrip("+").partition("=")[0] in varied]
    words = " ".join(own or record["overrides"])
    took = f"{record['status']} in {seconds_text(seconds)}"
    reason = f": {record['reason']}" if "reason" in record else ""
    return f"job {number}: {took}, {words} ({Path(record['folder']).name}){reason}"


def _work(verb: str, config: Any, folder: Path, overrides: Sequence[str], swept: bool) -> str:
    """Run the module of a verb and return how the job ended."""
    config = filled(config, overrides)
    if verb in EXPERIMENTS and config.runtime.rehearse:
        from audioprune.commands import rehearse

        return rehearse.run(config, list(overrides))
    schema.check(config)
    if verb in EXPERIMENTS:
        if _asks(config):
            from audioprune.commands.sweeps import watch

            watch.check_objective(config)
        from audioprune.commands import experiments

        differs = differences(verb, config)
        return experiments.run(config, folder, list(overrides), differs, swept)
    place = f"on_audio.{verb}" if verb in ON_AUDIO else verb
    importlib.import_module(f"audioprune.commands.{place}").run(config, overrides)
    return "finished"


def _show_jobs(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the short table of all jobs that finished, and the command that joins them."""
    folders = list(dict.fromkeys(Path(record["folder"]) for record in records))
    folders = [folder for folder in folders if (folder / "run.json").is_file()]
    if not folders:
        return
    from audioprune.commands.quoting import word
    from audioprune.report.shown.printing import show_runs

    show_runs(folders)
    runs = Path(os.path.relpath(folders[0].parent))
    note(f"\nnext    audioprune report {word('runs', runs)}")


def _asks(config: Any) -> bool:
    """Tell whether a job is to return a value."""
    return config.get("objective") is not None or bool(config.get("tune"))


def _record(config: Any, hydra: Any, record: dict[str, Any]) -> None:
    """Record how a job of a sweep ended, for this call and, where it tunes, for later ones."""
    with open(os.environ[SWEEP_LOG], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
    if config.get("tune"):
        from audioprune.commands.sweeps import tuning

        tune = plain_values(config)["tune"]
        asked = {key: tune[key] for key in ("metric", "size", "max_drop")}
        tuning.note(Path(hydra.sweep.dir), {**record, "tune": asked})


def tell_sweep(log: Path, code: int) -> int:
    """Say how the jobs of a sweep ended and return its exit code.

    That is 0 where all jobs finished; of a sweep that tunes, where a trial keeps the bound.

    Args:
        log: What the jobs recorded; it is removed.
        code: Not 0 where the sweep itself was stopped.
    """
    records = read_lines(log)
    log.unlink(missing_ok=True)
    states = [record["status"] for record in records]
    finished, cached, failed = (states.count(each) for each in _STATES)
    text = (
        f"sweep: {len(records)} jobs, {finished} finished now, {cached} already finished, "
        f"{failed} failed"
    )
    say(text + ("; stopped before the rest, the same command goes on" if code else ""))
    if os.environ.get(TUNE_FOLDER):
        from audioprune.commands.sweeps import tuning

        found = tuning.finish(log.parent)
        return code or (0 if found else 1)
    _show_jobs([record for record in records if record["status"] in ("finished", "cached")])
    for record in records:
        if record["status"] == "failed":
            overrides = " ".join(record["overrides"])
            say(f"  FAILED {overrides}: {record['reason']} ({record['folder']})")
    return code or (1 if failed else 0)
