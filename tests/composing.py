"""Configurations for tests: each file is loaded once, each command composed once."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.default_element import InputDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, _utils, base, grammar_parser

from audioprune import schema

CONF = Path(__file__).resolve().parent.parent / "conf"
_load = ConfigRepository.load_config
_embed = ConfigLoaderImpl._embed_result_config
_merge = ConfigLoaderImpl._compose_config_from_defaults_list
_load_single = ConfigLoaderImpl._load_single_config
_choices = defaults_list._create_interpolation_map
_get_mode = Hydra.get_mode
_LOADED: dict[tuple[str, tuple[str, ...]], Any] = {}
_MERGED: dict[tuple[str, ...], DictConfig] = {}
_SEEN: Counter[tuple[str, ...]] = Counter()
_WORTH = 3  # files by which a beginning must be longer than a known one to be kept
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
        patch.setattr(ConfigLoaderImpl, "_load_single_config", _load_unless_merged)
        patch.setattr(defaults_list, "_create_interpolation_map", _choices_if_named)
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
    """Merge files from where an earlier list that begins like this one left off.

    Files are merged one after the other, before any key of a command is set, so that what the
    first n of them give is the same for every list that begins with them.
    """
    places = tuple(source.full_path() for source in repo.get_sources())
    if any(place.startswith("file://") for place in places):
        return _merge(loader, defaults, repo)
    names = (*places, *map(repr, defaults))
    beginnings = [names[:end] for end in range(len(places), len(names) + 1)]
    known = max((n for n, key in enumerate(beginnings) if key in _MERGED), default=0)
    often = max((n for n, key in enumerate(beginnings) if _SEEN[key] > 1), default=0)
    _SEEN.update(beginnings)
    if often >= known + _WORTH or known < often == len(defaults):
        _MERGED[beginnings[often]] = _continued(loader, defaults[:often], repo, beginnings[known])
        known = often
    return _continued(loader, defaults, repo, beginnings[known])


def _continued(
    loader: ConfigLoaderImpl, defaults: list[Any], repo: Any, beginning: tuple[str, ...]
) -> DictConfig:
    """Merge the files of a list whose beginning is known, or of a whole list."""
    begun = copy.deepcopy(_MERGED.get(beginning))
    if begun is None:
        return _merge(loader, defaults, repo)
    done = len(beginning) - len(repo.get_sources())
    if done == len(defaults):
        return begun
    kept = ConfigResult("begun", "begun", begun, {"package": ""}, None)
    return _merge(loader, [kept, *defaults[done:]], repo)


def _load_unless_merged(loader: ConfigLoaderImpl, default: Any, repo: Any) -> ConfigResult:
    """Load a file of a list; what stands for its beginning is loaded already."""
    return default if isinstance(default, ConfigResult) else _load_single(loader, default, repo)


def _choices_if_named(overrides: Any, defaults: Sequence[InputDefault], self_added: bool) -> Any:
    """Return what files may name in the names of others, where one of these does so."""
    named = any(each.is_interpolation() for each in defaults)
    return _choices(overrides, defaults, self_added) if named else None


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
