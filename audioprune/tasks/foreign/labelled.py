"""Which tasks with labels can be mixed into an imitation, by name: ``labelled_task``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from audioprune.errors import ConfigError, unknown_name
from audioprune.protocols import Task

LABELLED = {
    "enhancement": "audioprune.tasks.enhancement.Enhancement",
    "scenes": "audioprune.tasks.scenes.SceneClassification",
    "reconstruction": "audioprune.tasks.generation.Reconstruction",
    "next_sample": "audioprune.tasks.generation.NextSample",
    "waveform_model": "audioprune.tasks.foreign.waveform_model.WaveformModel",
}


def labelled_task(name: str | None, options: Mapping[str, Any], sample_rate: int) -> Task | None:
    """Return a task with labels, None where none is named.

    Args:
        name: One of `LABELLED`.
        options: Its arguments besides the sample rate.
        sample_rate: In Hz.

    Raises:
        ConfigError: The name or an argument is unknown.
    """
    if name is None:
        if options:
            raise ConfigError(
                "task.labelled_options: expected none without task.labelled, got "
                f"{', '.join(map(str, options))}; name the task"
            )
        return None
    if name not in LABELLED:
        raise ConfigError(unknown_name("task.labelled", name, LABELLED))
    module, _, kind = LABELLED[name].rpartition(".")
    try:
        made = getattr(importlib.import_module(module), kind)
        task: Task = made(**{"sample_rate": sample_rate, **options})
    except TypeError as error:
        raise ConfigError(f"task.labelled_options: {error}; correct the arguments") from error
    return task
