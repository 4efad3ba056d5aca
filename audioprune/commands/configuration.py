"""What a composed configuration means: filled from a model file, compared with its preset.

A command with ``checkpoint=FILE`` means the corpus and the task of that file where the user names
no others (`audioprune.provenance`). A command with ``experiment=NAME`` may only be printed under
the scale of that experiment while it is that experiment. No torch is loaded here.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from audioprune import provenance
from audioprune.experiment.config_hash import plain_values, run_name
from audioprune.experiment.presets import GROUPS, differing

FROM_FILE = "AUDIOPRUNE_GROUPS_OF_FILE"
"""Variable of the environment with the groups that a model file chose, for a sweep's processes."""
_FILE = re.compile(r"\+*(checkpoint|systems\.\w+)=")


def with_groups_of_file(verb: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Choose the options of the groups ``data`` and ``task`` that the given model files need.

    Without them Hydra would refuse ``data.root=...`` where the corpus of the file is another than
    the verb's default. The values come from the file later, see `filled`. Files of a sweep that
    differ in their groups choose none.

    Returns:
        The arguments with the choices, such as ``data=vctk``, before the first file, and the
        choices alone.
    """
    places = [index for index, item in enumerate(arguments) if _FILE.match(item)]
    choices = _groups_of_file(verb, arguments)
    first = places[0] if places else 0  # overrides stand together
    return [*arguments[:first], *choices, *arguments[first:]], choices


def _groups_of_file(verb: str, arguments: Sequence[str]) -> list[str]:
    given = [item.partition("=")[2] for item in arguments if _FILE.match(item)]
    files = [file for file in ",".join(given).split(",") if file]
    facts = [provenance.read_facts(file.strip("'\" ")) for file in files]
    if verb == "listen":  # the first of its systems that names a corpus decides
        facts = [each for each in facts if each.get("data")][:1]
    groups = {"listen": ("data",), "enhance": ("task",)}.get(verb, ("data", "task"))
    open_groups = [group for group in groups if not provenance.given(arguments, group)]
    names = {
        group: _common_name(group, [each.get(group) for each in facts]) for group in open_groups
    }
    return [f"{group}={name}" for group, name in names.items() if name]


def _common_name(group: str, nodes: Sequence[Any]) -> str:
    """Return the option of a group of this package that all nodes of files are of, or nothing."""
    names = {_trusted_name(group, node) for node in nodes}
    name = names.pop() if len(names) == 1 else ""
    return name if name in options_of(group) else ""


def _trusted_name(group: str, node: Any) -> str:
    """Return the name of a node that is plain data and builds a class of this package."""
    own = isinstance(node, dict) and provenance.in_room(group, node.get("_target_"))
    return str(node.get("name")) if own and provenance.is_harmless(node) else ""


def typed(overrides: Any) -> list[str]:
    """Return the overrides that the user typed, without the groups that a model file chose.

    Args:
        overrides: Hydra's list of them; what looks like an interpolation stays as it was typed.
    """
    from omegaconf import ListConfig, OmegaConf

    given: Any = overrides
    if isinstance(overrides, ListConfig):
        given = OmegaConf.to_container(overrides)
    chosen = os.environ.get(FROM_FILE, "").split()
    return [str(item) for item in given if item not in chosen]


def filled(config: Any, overrides: Sequence[str]) -> Any:
    """Return a configuration with what a model file says in place of the verb's defaults."""
    from omegaconf import open_dict

    plain = plain_values(config)
    meant = provenance.effective(plain, overrides)
    changed = [key for key in meant if meant[key] != plain.get(key)]
    if not changed:
        return config
    found = config.copy()
    with open_dict(found):
        for key in changed:
            _fill(found, key, meant[key])
    return found


def _fill(config: Any, key: str, value: Any) -> None:
    """Put a value of a file into a configuration, within the types of its group where it can."""
    from omegaconf import DictConfig, OmegaConf

    node = None if OmegaConf.is_missing(config, key) else config[key]
    structured = isinstance(node, DictConfig) and OmegaConf.get_type(node) is not dict
    alike = isinstance(value, dict) and structured and _target(node) == _target(value)
    if not alike:
        config[key] = value
        return
    for name, item in value.items():
        _fill(node, name, item)


def _target(node: Any) -> Any:
    return node.get("_target_")


def folder_name(root: Any) -> str:
    """Return the name of the run folder; the resolver ``${run_name:}`` calls this while composing.

    Hydra's own part, which names this folder, is left out.
    """
    from omegaconf import OmegaConf

    rest = OmegaConf.masked_copy(root, [key for key in root if key != "hydra"])
    overrides = typed(root.hydra.overrides.task)
    return run_name(provenance.effective(plain_values(rest), overrides))


def published_file(name: str) -> str:
    """Return the weights of a public network, from its package.

    Raises:
        ConfigError: The package is not installed.
    """
    from audioprune.experiment.originals.published import weights

    return weights(name)


def differences(verb: str, config: Any) -> list[str]:
    """Return the keys in which a job is not the experiment that it names.

    Without an experiment no scale can be declared.
    """
    from hydra.core.hydra_config import HydraConfig

    chosen = HydraConfig.get().runtime.choices.get("experiment")
    if not chosen:
        return ["scale"] if config.scale else []
    return differing(_compared(config), _preset(verb, chosen))


@cache
def _preset(verb: str, experiment: str) -> dict[str, Any]:
    """Compose an experiment without any other override, once for all jobs of a sweep."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        return _compared(compose(verb, overrides=[f"experiment={experiment}"]))
    with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
        return _compared(compose(verb, overrides=[f"experiment={experiment}"]))


def _compared(config: Any) -> dict[str, Any]:
    groups = {group: plain_values(config[group]) for group in GROUPS}
    return {"scale": config.scale, **groups}


def options_of(group: str) -> list[str]:
    """Return the names of a group's options, such as ``p2/fdnn_demo`` of ``experiment``."""
    folder = conf_folder() / group
    return [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")]


def conf_folder() -> Path:
    """Return the folder of this package's configurations."""
    return Path(next(iter(importlib.import_module("audioprune.conf").__path__)))
