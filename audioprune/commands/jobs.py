"""What happens to one composed job: it runs, it fails in one line, a sweep counts it.

No torch is loaded here before a verb's own module is imported.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune import schema
from audioprune.commands.configuration import differences, filled, typed
from audioprune.commands.messages import explain, first_line, say

EXPERIMENTS = ("train", "prune", "quantize", "eval")
"""Verbs that run an experiment in a folder of its own."""
SWEEP_LOG = "AUDIOPRUNE_SWEEP_LOG"
"""Variable of the environment with the file in which a sweep's processes record their jobs."""
_STATES = ("finished", "cached", "failed")


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
    folder, verb = hydra.runtime.output_dir, str(hydra.job.config_name)
    overrides = typed(hydra.overrides.task)
    record: dict[str, Any] = {"folder": folder, "overrides": overrides}
    code = 0
    try:
        record["status"] = _work(verb, config, Path(folder), overrides)
    except Exception as error:
        code = explain(error)
        record["status"] = "interrupted" if code == 130 else "failed"
        record["reason"] = first_line(error)
    swept = hydra.mode == RunMode.MULTIRUN
    if swept:
        _append({**record, "code": code})
    if code == 130 or code and not swept:
        raise SystemExit(code)


def _show_notes() -> None:
    """Print what the package logs as plain lines, whatever Hydra does to the root logger."""
    logger = logging.getLogger("audioprune")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)
    logger.propagate = False


def _work(verb: str, config: Any, folder: Path, overrides: Sequence[str]) -> str:
    """Run the module of a verb and return how the job ended."""
    config = filled(config, overrides)
    if verb in EXPERIMENTS and config.runtime.rehearse:
        from audioprune.commands import rehearse

        return rehearse.run(config, list(overrides))
    schema.check(config)
    if verb in EXPERIMENTS:
        from audioprune.commands import experiments

        return experiments.run(config, folder, list(overrides), differences(verb, config))
    importlib.import_module(f"audioprune.commands.{verb}").run(config, overrides)
    return "finished"


def _append(record: dict[str, Any]) -> None:
    with open(os.environ[SWEEP_LOG], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def tell_sweep(log: Path, code: int) -> int:
    """Say how the jobs of a sweep ended and return its exit code.

    Args:
        log: What the jobs recorded.
        code: Not 0 where the sweep itself was stopped.
    """
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    states = [record["status"] for record in records]
    finished, cached, failed = (states.count(each) for each in _STATES)
    text = (
        f"sweep: {len(records)} jobs, {finished} finished now, {cached} already finished, "
        f"{failed} failed"
    )
    say(text + ("; stopped before the rest, the same command goes on" if code else ""))
    for record in records:
        if record["status"] == "failed":
            overrides = " ".join(record["overrides"])
            say(f"  FAILED {overrides}: {record['reason']} ({record['folder']})")
    return code or (1 if failed else 0)
