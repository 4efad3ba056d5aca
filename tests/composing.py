"""Configurations for tests: each file is loaded once, each command composed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, _utils, base, grammar_parser

from audioprune import schema

CONF = Path(__file__).resolve().parent.parent / "conf"
_load = ConfigRepository.load_config
_embed = ConfigLoaderImpl._embed_result_config
_merge = ConfigLoaderImpl._compose_config_from_defaults_list
_get_mode = Hydra.get_mode
_LOADED: dict[tuple[str, tuple[str, ...]], Any] = {}
_MERGED: dict[tuple[str, tuple[str, ...]], DictConfig | None] = {}
_parsed = lru_cache(maxsize=4096)(grammar_parser.parse)  # the same few hundred texts come again


def options_of(group: str) -> list[str]:
    """Return the options of a group, such as ``p2/fdnn_desk`` of ``experiment``."""
    below = CONF / group
    return sorted(
        path.relative_to(below).with_suffix("").as_posix() for path in below.rglob("*.yaml")
    )


@contextmanager
def loaded_once() -> Iterator[None]:
    """Let all compositions of a test session, those of command lines too, share what they load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", _load_once)
        patch.setattr(ConfigLoaderImpl, "_embed_result_config", staticmethod(_embed_copy))
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", _merge_once)
        patch.setattr(Hydra, "get_mode", _mode_if_given)
        for user in (base, _utils):
            patch.setattr(user, "parse", _parsed)
        yield


@contextmanager
def hydra_started() -> Iterator[None]:
    """Let `composed` work."""
    schema.register()
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: "name", replace=True)
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
        yield
    GlobalHydra.instance().clear()


def _load_once(repository: ConfigRepository, config_path: str) -> Any:
    """Load a file or schema of a package, which do not change, once."""
    places = tuple(source.full_path() for source in repository.get_sources())
    if any(place.startswith("file://") for place in places):  # a folder of the user's own
        return _load(repository, config_path)
    key = (config_path, places)
    if key not in _LOADED:
        _LOADED[key] = _load(repository, config_path)
    return copy.copy(_LOADED[key])


def _merge_once(loader: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> DictConfig:
    """Merge the files of a list that comes again once, before any key of a command is set."""
    places = tuple(source.full_path() for source in repo.get_sources())
    if any(place.startswith("file://") for place in places):
        return _merge(loader, defaults, repo)
    key = (repr(defaults), places)
    if key not in _MERGED:  # most lists come once, and need no copy
        _MERGED[key] = None
        return _merge(loader, defaults, repo)
    kept = _MERGED[key] or _merge(loader, defaults, repo)
    _MERGED[key] = kept
    return copy.deepcopy(kept)


def _mode_if_given(hydra: Any, config_name: str | None, overrides: list[str]) -> Any:
    """Say what ``hydra.mode`` is, for which Hydra composes all once more; no file here sets it."""
    given = any(word.startswith(("hydra.mode", "--config", "+hydra.mode")) for word in overrides)
    return _get_mode(hydra, config_name, overrides) if given else None


def _embed_copy(result: Any, package: str | None) -> Any:
    """Give a composition a copy of what it will change; for a package Hydra makes one itself."""
    if not (result.header["package"] if package is None else package):
        result = copy.copy(result)
        result.config = copy.deepcopy(result.config)
    return _embed(result, package)


@cache
def composed(verb: str, *overrides: str) -> DictConfig:
    """Return the configuration of a command, which tests share and leave as it is."""
    config = compose(verb, overrides=list(overrides))
    if "verb" in config:
        config.verb = verb
    return config
