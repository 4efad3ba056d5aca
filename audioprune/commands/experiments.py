"""``audioprune train``, ``prune``, ``eval``, ``quantize``: run an experiment, show its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError
from audioprune.experiment.build import run_job
from audioprune.launch import is_muted
from audioprune.report import closing_line, summary_table

_NEED_A_MODEL = ("quantize", "eval")


def run(config: Any, folder: Path, overrides: list[str], differs: list[str]) -> str:
    """Run a composed experiment and print its table.

    The last line names the models that are no better than what needs no model.

    Args:
        config: The composed configuration.
        folder: The run folder.
        overrides: The command line.
        differs: Keys in which the configuration is not the preset that it names, see
            `audioprune.experiment.presets.differing`.

    Returns:
        ``"finished"`` or ``"cached"``.

    Raises:
        ConfigError: The verb works on a trained model and none is given.
    """
    if config.verb in _NEED_A_MODEL and not config.checkpoint:
        raise ConfigError(
            f"expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give "
            f"the model to {config.verb}"
        )
    status = run_job(config, folder, overrides, differs)
    if is_muted():
        return status
    note = "already finished, nothing done again" if status == "cached" else "finished"
    print(f"{folder}: {note}", flush=True)
    if config.get("tune"):
        return status  # the table of all trials says it
    print(summary_table(folder))
    closing = closing_line(folder)
    if closing:
        print(closing)
    return status
