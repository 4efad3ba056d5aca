"""What a short command line about a user's own network means in full: ``own_words``.

``model=path.to:Factory`` is short for ``model=own model._target_=path.to.Factory``, and
``model.args.x=1`` gives the factory an argument; ``task=path.to:Class`` does the same for a task.
A network for which no task, no corpus and no experiment is named is worked on without a task. No
torch is loaded here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from audioprune import provenance
from audioprune.commands.configuration import conf_folder

_FACTORY = re.compile(r"^([A-Za-z_][\w.]*):([A-Za-z_]\w*)$")
_MODEL = re.compile(r"^\+*model=(.*)$")
_TASK = re.compile(r"^\+*task=(.*)$")
_TASK_KEY = re.compile(r"^\+*task\.(?=[\w.]+=)")
_KEY = re.compile(r"^\+*model\.([\w.]+)=(.*)$", re.DOTALL)
_NODE = ("name", "_target_", *provenance.READING)
"""Keys of the model itself; every other one is an argument of its class."""
_OWN_VERBS = ("train", "prune", "quantize", "eval", "info")
_ON_AUDIO = ("generate", "enhance", "apply")
_WITHOUT_TASK = ("prune", "quantize", "eval", "info")
_LEVELS = "pipeline.levels=64"
"""What ``quantize`` takes without a task, which could choose by a loss."""


def own_words(verb: str, words: Sequence[str], choices: Sequence[str] = ()) -> list[str]:
    """Return the words of a command line with all that they mean for a user's own network.

    Args:
        verb: The verb.
        words: What was typed after it.
        choices: The groups that a model file chose, such as ``task=irm``.

    Returns:
        The words in the syntax of Hydra; the same ones where there is no such network.
    """
    full = [_in_full(word, _MODEL, "model") for word in words]
    named = _with_named_model(verb, _with_task(full))
    if verb == "listen":  # its model is a mapping, no group
        named = [word for word in named if word != "model=own"]
    if "model=own" in named:
        named = _with_experiment([_argument(word) for word in named])
        named = _without_task(verb, named, choices)
    return _completed(verb, named)


def _in_full(word: str, chooses: re.Pattern[str], group: str) -> str:
    """Return ``model._target_=`` for a word that names a factory, else the word."""
    chosen = chooses.match(word)
    parts = [_FACTORY.match(part) for part in chosen.group(1).split(",")] if chosen else []
    found = [part for part in parts if part]
    if not found or len(found) < len(parts):
        return word
    return f"{group}._target_={','.join(f'{each.group(1)}.{each.group(2)}' for each in found)}"


def _with_task(words: list[str]) -> list[str]:
    """Choose ``task=own_task`` before the class of a task, and let its keys be new ones."""
    full = [_in_full(word, _TASK, "task") for word in words]
    if full == words:
        return words
    place = next(n for n, word in enumerate(full) if word != words[n])
    keyed = [_TASK_KEY.sub("++task.", word) for word in full]
    return [*keyed[:place], "task=own_task", *keyed[place:]]


def _with_named_model(verb: str, words: list[str]) -> list[str]:
    """Choose ``model=own`` before a target that is not one of this package."""
    if verb not in (*_OWN_VERBS, *_ON_AUDIO) or any(_MODEL.match(word) for word in words):
        return words
    for place, word in enumerate(words):
        key = _KEY.match(word)
        if key and key.group(1) == "_target_":
            targets = key.group(2).split(",")
            if not any(provenance.in_room("model", target) for target in targets):
                return [*words[:place], "model=own", *words[place:]]
    return words


def _argument(word: str) -> str:
    """Let a key of an own model be new: ``++model.width=64``.

    An argument whose name means something here stays below ``args``.
    """
    key = _KEY.match(word)
    if not key or word.startswith("~"):
        return word
    name, value = key.groups()
    given = name.removeprefix("args.")
    inside = given != name and given.partition(".")[0] in _NODE
    return f"++model.{'args.' if inside else ''}{given}={value}"


def _with_experiment(words: list[str]) -> list[str]:
    """Take away what an experiment says of another model, such as its width."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    keys = dict.fromkeys(key for name in chosen for key in _model_keys(name))
    gone = [f"~model.{key}" for key in keys]
    place = words.index("model=own") + 1
    return [*words[:place], *gone, *words[place:]]


def _model_keys(experiment: str) -> list[str]:
    """Return the keys that an experiment, and those it builds on, give to their model."""
    import yaml

    file = conf_folder() / "experiment" / f"{experiment}.yaml"
    if not file.is_file():
        return []
    said = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    below = [item for item in said.get("defaults") or [] if isinstance(item, str)]
    keys = [key for name in below for key in _model_keys(name)]
    node = said.get("model")
    return [*keys, *(node if isinstance(node, dict) else ())]


def _without_task(verb: str, words: list[str], choices: Sequence[str]) -> list[str]:
    """Choose ``task=none`` where nothing names a task, a corpus or an experiment."""
    chosen = [word.lstrip("+~") for word in (*words, *choices)]
    named = any(re.match(r"(task|data|experiment)[.=@/]", word) for word in chosen)
    if verb not in _WITHOUT_TASK or named:
        return words
    place = words.index("model=own") + 1
    return [*words[:place], "task=none", *words[place:]]


def _completed(verb: str, words: list[str]) -> list[str]:
    """Choose what a verb needs beside ``task=none``: no corpus, and a pipeline without a loss."""
    if "task=none" not in words or verb == "info":
        return words
    keys = {word.lstrip("+~").partition("=")[0] for word in words}
    added = [] if keys & {"data", "experiment"} else ["data=no_audio"]
    if "pipeline" not in keys and verb == "prune":
        added.append("pipeline=weights")
    if verb == "quantize" and not keys & {"pipeline", "pipeline.levels"}:
        added.append(_LEVELS)
    place = words.index("task=none") + 1
    return [*words[:place], *added, *words[place:]]
