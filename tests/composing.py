"""Configurations for tests: each YAML file is parsed once, each command composed once."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.importlib_resources_config_source import (
    ImportlibResourcesConfigSource,
)
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from audioprune import schema

CONF = Path(__file__).resolve().parent.parent / "conf"
_read_config = ImportlibResourcesConfigSource._read_config
_RESULTS: dict[str, Any] = {}


def options_of(group: str) -> list[str]:
    """Return the options of a group, such as ``p2/fdnn_desk`` of ``experiment``."""
    below = CONF / group
    return sorted(
        path.relative_to(below).with_suffix("").as_posix() for path in below.rglob("*.yaml")
    )


@contextmanager
def hydra_started() -> Iterator[None]:
    """Let `composed` work."""
    schema.register()
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: "name", replace=True)
    GlobalHydra.instance().clear()
    gc.freeze()  # composing makes many small objects; what was there before needs no visit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImportlibResourcesConfigSource, "_read_config", _read_once)
        with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
            yield
    GlobalHydra.instance().clear()
    gc.unfreeze()


def _read_once(source: Any, file: Any) -> Any:
    """Read a YAML file as Hydra does; each composition gets a copy, which it changes."""
    if str(file) not in _RESULTS:
        _RESULTS[str(file)] = _read_config(source, file)
    result = copy.copy(_RESULTS[str(file)])
    result.config, result.header = copy.deepcopy(result.config), dict(result.header)
    return result


@cache
def composed(verb: str, *overrides: str) -> DictConfig:
    """Return the configuration of a command, which tests share and leave as it is."""
    config = compose(verb, overrides=list(overrides))
    if "verb" in config:
        config.verb = verb
    return config
