"""Where files are: the cache folder, and the model of a run in its run folder.

The cache folder holds what can be made again.
"""

from __future__ import annotations

import os
from pathlib import Path

MODEL_FILES = ("model.apz", "model.safetensors", "state.safetensors")
"""What may hold the model of a run folder; the first that exists is meant."""


def cache_folder(chosen: str = "") -> Path:
    """Return the cache folder: the chosen one, else ``$AUDIOPRUNE_CACHE``, else the user's.

    Args:
        chosen: A path given in the configuration; empty for the default.
    """
    if chosen:
        return Path(chosen)
    if os.environ.get("AUDIOPRUNE_CACHE"):
        return Path(os.environ["AUDIOPRUNE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioprune"


def model_file(checkpoint: str | Path) -> Path:
    """Return the file that a checkpoint means: itself, or the model within a run folder.

    Args:
        checkpoint: A file or a run folder; a folder without a model is returned as it is.
    """
    path = Path(checkpoint)
    if not path.is_dir():
        return path
    found = [path / name for name in MODEL_FILES if (path / name).is_file()]
    return found[0] if found else path
