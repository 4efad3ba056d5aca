"""Trials of pipelines and of verbs: ``pipeline_trial`` and ``verb_trial``."""

from __future__ import annotations

from pathlib import Path

from composing import hydra_started
from faults.crashes import Trial
from faults.verbs import COMMANDS, Given
from tiny_pipelines import tiny_pipeline
from tiny_runs import start

VERBS = tuple(COMMANDS)
_CODES = {"tune": (0, 1)}
"""So small a model may keep no bound."""


def pipeline_trial(name: str, place: Path) -> Trial:
    """Return trials of a shipped pipeline on a tiny experiment, with a checkpoint a step.

    Args:
        name: Of the pipeline.
        place: Folder of the trials.
    """
    with hydra_started():
        plain = tiny_pipeline(name, place)
    plain["runtime"]["save_every_s"] = 1e-9

    def command() -> int:
        start(Path("run").absolute(), plain)
        return 0

    return Trial(command, place)


def verb_trial(given: Given, name: str, place: Path) -> Trial:
    """Return trials of a command of `COMMANDS`."""
    codes = _CODES.get(name, (0,))
    return Trial(given.command(name), place, given.prepare(name), codes)
