"""How ``import torchaudio`` works beside a torch that its compiled part does not fit.

The wheels of torchaudio want CUDA libraries, so beside a torch for CPUs the import ends in an
OSError, although the package works in Python alone. ``make_importable`` mends this for the whole
process, ``describe_torchaudio`` says which of the two one gets. Nothing is imported before
somebody imports torchaudio, and no file is changed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_EXTENSION = "torchaudio._extension"
# What the import of a compiled part that does not fit raises: a library that is not there, a
# second library that is not there, another version of CUDA.
_MISFITS = (OSError, ImportError, RuntimeError)


def make_importable() -> None:
    """Let ``import torchaudio`` fall back to pure Python from now on.

    Call it before a module of a user is imported. Calling it again changes nothing, and where the
    compiled part fits the import is as it was.
    """
    if not any(isinstance(finder, _ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ExtensionFinder())


def describe_torchaudio() -> str:
    """Import torchaudio and say how: ``compiled``, ``pure Python``, or why it cannot be imported.

    An answer that begins with ``not importable`` is a failure.
    """
    make_importable()
    try:
        package = importlib.import_module("torchaudio")
    except _MISFITS as error:
        first = (str(error).splitlines() or [""])[0]
        return f"not importable: {type(error).__name__}: {first}"
    compiled = getattr(package._extension, "_IS_TORCHAUDIO_EXT_AVAILABLE", False)
    return "compiled" if compiled else "pure Python"


class _ExtensionFinder(MetaPathFinder):
    """Finds the one module of torchaudio that loads compiled libraries, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return torchaudio's own module, to be loaded by ``_ExtensionLoader``."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _EXTENSION else None
        if spec is not None and spec.loader is not None:
            spec.loader = _ExtensionLoader(spec.loader)
        return spec


class _ExtensionLoader(Loader):
    """Runs torchaudio's module, and once more without compiled libraries where they do not fit."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation of the module to its own loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code; a library that cannot be loaded counts as not installed."""
        try:
            self._loader.exec_module(module)
        except _MISFITS:
            # The module asks this function for each library. It answers "not found" as if the
            # libraries had been left out of the installation, which torchaudio allows for.
            utilities = sys.modules.get(f"{_EXTENSION}.utils")
            if utilities is None:
                raise
            utilities.__dict__["_load_lib"] = _no_library
            self._loader.exec_module(module)


def _no_library(lib: str) -> bool:
    return False
