"""audioprune: train, prune, quantize and evaluate audio neural networks.

As a library: ``audioprune.load("model.apz")`` gives a ``torch.nn.Module``; other functions
make any module smaller, measure it, run it on audio and store it. They are imported when they are
first used, so that ``import audioprune`` takes milliseconds and loads no torch. docs/library.md
shows each of them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audioprune.export.writing import export
    from audioprune.library.cards import cost, units
    from audioprune.library.compressing import mask, prune, quantize, trim
    from audioprune.library.hub import save_hub
    from audioprune.library.imitating import imitate
    from audioprune.library.loading import load
    from audioprune.library.running import enhance
    from audioprune.library.saving import save

__version__ = "0.1.0"
__all__ = [
    "cost",
    "enhance",
    "export",
    "imitate",
    "load",
    "mask",
    "prune",
    "quantize",
    "save",
    "save_hub",
    "trim",
    "units",
]
_PUBLIC = {
    "cost": "library.cards",
    "enhance": "library.running",
    "export": "export.writing",
    "imitate": "library.imitating",
    "load": "library.loading",
    "mask": "library.compressing",
    "prune": "library.compressing",
    "quantize": "library.compressing",
    "save": "library.saving",
    "save_hub": "library.hub",
    "trim": "library.compressing",
    "units": "library.cards",
}
"""Public functions, and the module below audioprune that each is defined in."""


class _Library(ModuleType):
    """The package: a room that has the name of a public function does not hide it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _PUBLIC or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'audioprune' has no attribute '{name}'")
    found = getattr(import_module(f"audioprune.{_PUBLIC[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


sys.modules[__name__].__class__ = _Library
