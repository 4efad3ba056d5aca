"""How a program reads a network from whatever file holds it: ``load``.

Nothing in a file is executed. The reading itself is that of the verbs (experiment/model_io.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioprune.compress.ties import join_views_
from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.model_io import (
    LoadedModel,
    is_package_model,
    load_into,
    load_model_file,
)
from audioprune.experiment.state_dicts import PICKLED
from audioprune.library.facts import Facts, note_
from audioprune.model_header import read_facts
from audioprune.paths import model_file

_HUB_FILES = ("pytorch_model.bin",)  # what other programs leave in a hub's folder


def load(
    path: str | Path,
    model: nn.Module | None = None,
    *,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Read a network from a file and return it in evaluation mode.

    Args:
        path: ``model.apz``, ``.safetensors``, a state dict (``.pt``, ``.pth``, ``.bin``), a
            run folder, or a folder in the layout of the Hugging Face hub.
        model: A network of your own class with any weights, which is given those of the file, in
            place, and the widths that trimming left. Models of this package need none.
        device: Where the weights go.

    Returns:
        The network; ``model`` itself where it was given.

    Raises:
        CheckpointError: The file is missing, damaged or hostile, holds another network, or names a
            class outside this package and ``model`` is missing.
        ConfigError: ``model`` is no module.
    """
    file = _found(Path(path))
    if model is None:
        loaded = _of_package(file)
    else:
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"expected model as a torch.nn.Module, got {type(model).__name__}; give an "
                f"instance such as MyNet()"
            )
        join_views_(model)
        loaded = load_into(file, model)
    facts = {} if file.suffix in PICKLED else read_facts(file)
    known = Facts(_model_config(loaded, facts), loaded.task_config, _more(facts), str(file))
    return note_(loaded.model.to(device).eval(), known)


def _found(path: Path) -> Path:
    """Return the file that is meant, also within a folder that another program wrote."""
    file = model_file(path)
    if not file.is_dir():
        return file
    other = [file / name for name in _HUB_FILES if (file / name).is_file()]
    return other[0] if other else file


def _of_package(file: Path) -> LoadedModel:
    """Read a network whose class this package defines."""
    named = read_facts(file).get("model") if file.suffix not in PICKLED else None
    target = str(named.get("_target_", "")) if isinstance(named, dict) else ""
    if target and not is_package_model(target):
        raise CheckpointError(
            f"{file}: holds weights of '{target}', which is not one of this package; give the "
            f"network: load(..., model={target.rpartition('.')[2]}(...))"
        )
    try:
        return load_model_file(file)
    except CheckpointError as error:
        remedy = str(error).replace("give model=...", "give load(..., model=MyNet())")
        raise CheckpointError(remedy) from error


def _model_config(loaded: LoadedModel, facts: dict[str, Any]) -> dict[str, Any]:
    return loaded.model_config or facts.get("model") or {}


def _more(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what a file says beside model and task."""
    left = ("model", "model_config", "task", "version", "findings", "states", "completed")
    return {key: value for key, value in facts.items() if key not in left}
