"""Where files that can be made again are kept outside run folders."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(chosen: str = "") -> Path:
    """Return the cache folder: the chosen one, else ``$AUDIOPRUNE_CACHE``, else the user's cache folder.

    Args:
        chosen: A path given in the configuration; empty for the default.
    """
    if chosen:
        return Path(chosen)
    if os.environ.get("AUDIOPRUNE_CACHE"):
        return Path(os.environ["AUDIOPRUNE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioprune"
