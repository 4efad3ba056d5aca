"""All papers: every folder here whose module ``paper`` holds a `Paper` called ``PAPER``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from audioprune.report.paper import Paper


def papers() -> dict[str, Paper[Any]]:
    """Return every paper by its name, in the order of the folders."""
    folders = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{folder}.paper") for folder in folders]
    found = [getattr(module, "PAPER", None) for module in modules]
    return {paper.name: paper for paper in found if isinstance(paper, Paper)}
