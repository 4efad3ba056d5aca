"""``audioprune generate``: make one note with a trained model and say how long it took."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from audioprune import provenance
from audioprune.commands.on_audio.make_note import Request, make_note
from audioprune.errors import ConfigError
from audioprune.experiment.config_hash import plain_values
from audioprune.training.devices import chosen_device


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the note as a WAV file.

    Corpus and task are the ones that the model's file names, unless the command line gives others.

    Raises:
        ConfigError: No model is given, or a device other than the CPU.
    """
    plain = plain_values(config)
    if not plain["checkpoint"]:
        raise ConfigError(
            "expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give "
            "the model that makes the note"
        )
    wish = plain["runtime"]["device"]
    if chosen_device(wish).type != "cpu" and wish != "auto":
        raise ConfigError(
            f"expected runtime.device=cpu or auto, since a note is made on the CPU, got {wish}; "
            f"leave it out"
        )
    plain = provenance.effective(plain, overrides)
    provenance.check(plain, overrides)
    torch.set_num_threads(plain["runtime"]["threads"] or len(os.sched_getaffinity(0)))
    wanted = Request(**{key.name: plain[key.name] for key in fields(Request)})
    parts = {key: plain[key] for key in ("data", "model", "task")}
    print("\n".join(make_note(plain["checkpoint"], wanted, plain["out"], **parts).lines()))
