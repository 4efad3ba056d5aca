"""Which packages an export needs beside torch, and what to say where one is absent.

``need(name, what)`` imports a package of the extra ``export``; nothing is imported before.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from audioprune.errors import ConfigError


def need(name: str, what: str) -> ModuleType:
    """Import a package.

    Args:
        name: Its name.
        what: What needs it, such as ``format=onnx``.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"{what}: expected the package {name.partition('.')[0]}, got none; install the extra "
            f"audioprune[export]"
        ) from None


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Let the loggers of other packages say nothing within a block; failures are told once."""
    kept = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for logger, _ in kept:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in kept:
            logger.setLevel(level)
