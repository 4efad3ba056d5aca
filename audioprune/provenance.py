"""Which corpus, task and model a command with a model file means, and what is refused.

``effective`` puts what the file says under what the user gave; ``check`` refuses a corpus that is
not at hand; ``notes`` says where a run goes other ways than the training of its file. A file is
believed only what is data: a class of this package, or the one that the user named, with plain
arguments. The file itself is read in model_header.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from audioprune.errors import CheckpointError, DataError
from audioprune.model_header import read_facts

FOLLOWS = {
    "task": (
        "sample_rate",
        "classes",
        "pitches",
        "families",
        "instruments",
        "frame_length",
        "hop_length",
    ),
    "model": ("sample_rate", "classes", "mels", "bins", "frames_per_second", "conditioning"),
}
"""Arguments of a task and of a model that follow what stands before them where they are null."""
READING = ("example", "output", "seconds")
"""Keys of a user's model that say how it is run, not what it is."""
_PLACES = ("cache_dir",)  # where a machine keeps what can be made again: never taken from a file
_ROOMS = {"task": "audioprune.tasks.", "model": "audioprune.models."}
_FOREIGN = ("audioprune.models.zoo.", "audioprune.tasks.foreign.")  # folders of these rooms
_FOLDERS = ("root",)


def portable(data: dict[str, Any]) -> dict[str, Any]:
    """Return a corpus' configuration as a file carries it: without the places of this machine.

    Roots stay as they were given.
    """
    return {key: value for key, value in data.items() if key not in _PLACES}


def is_plain(value: Any) -> bool:
    """Tell whether a value of a file holds data alone.

    That is: no ``_target_`` or other command at any depth, and no interpolation.
    """
    if isinstance(value, dict):
        named = all(isinstance(key, str) and not key.startswith("_") for key in value)
        return named and all(map(is_plain, value.values()))
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return "${" not in value
    return isinstance(value, int | float | bool | type(None))


def is_harmless(node: Any) -> bool:
    """Tell whether a node of a file names one class and otherwise holds data alone."""
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        return False
    return is_plain({key: value for key, value in node.items() if key != "_target_"})


def in_room(group: str, target: Any) -> bool:
    """Tell whether a dotted name is that of a model, task or corpus of this package.

    Models and tasks are known by their form, corpora by their names.
    """
    if group == "data":
        return target in corpora()
    if not isinstance(target, str) or not target.startswith(_ROOMS[group]):
        return False
    return target.count(".") == (4 if target.startswith(_FOREIGN) else 3)


def corpora() -> set[str]:
    """Return the dotted names of all corpora that a configuration of this package can choose."""
    from audioprune import schema

    return schema.targets("data")


def given(overrides: Sequence[str], group: str) -> bool:
    """Tell whether a command line chooses a whole group: by ``group=...`` or by an experiment."""
    return any(_key(item) in (group, "experiment") for item in overrides)


def touches(overrides: Sequence[str], group: str) -> bool:
    """Tell whether a command line chooses a group or anything in it: ``group=``, ``group.x=``."""
    return any(_key(item).split(".")[0] == group for item in overrides)


def checkpoint_of(plain: dict[str, Any]) -> str | None:
    """Return the model file of a configuration, of several the first that names its corpus."""
    systems = plain.get("systems")
    files = [str(file) for file in systems.values()] if isinstance(systems, dict) else []
    naming = (file for file in files if read_facts(file).get("data"))
    return plain.get("checkpoint") or next(naming, None)


def effective(plain: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that a command means: what the user left out is the file's.

    Corpus, task, model and metrics are the file's; single keys of the user, such as
    ``data.minutes=2``, are applied on top. A group that the user names as a whole, or an
    experiment, is taken as it is. Doing this twice changes nothing.

    Args:
        plain: The composed configuration.
        overrides: The command line's changes of it.
    """
    checkpoint = checkpoint_of(plain)
    facts = read_facts(checkpoint) if checkpoint else {}
    if not facts.get("model"):
        return plain
    changed = dict(plain)
    for group in ("data", "task"):
        if group not in plain or given(overrides, group):
            continue
        if _believed(group, facts.get(group), plain[group]):
            changed[group] = _with_keys(group, facts[group], plain[group], overrides)
    if "model" in plain:
        changed["model"] = _model(facts["model"], plain["model"], overrides)
    if "scoring" in plain:
        changed |= _measured_alike(facts, plain, overrides)
    return changed


def _believed(group: str, node: Any, composed: Any) -> bool:
    """Tell whether a node of a file may be built.

    It names a class of the package, or the one that the configuration names.
    """
    if not is_harmless(node):
        return False
    named = composed.get("_target_") if isinstance(composed, dict) else None
    return in_room(group, node["_target_"]) or node["_target_"] == named


def _with_keys(
    group: str, node: dict[str, Any], composed: Any, overrides: Sequence[str]
) -> dict[str, Any]:
    """Put the user's single keys, and the places of this machine, on top of a node of a file."""
    merged = portable(deepcopy(node))
    composed = composed if isinstance(composed, dict) else {}
    merged |= {key: composed[key] for key in _PLACES if key in composed}
    for item in overrides:
        first, _, rest = _key(item).partition(".")
        if first == group and rest:
            _copy_key(merged, composed, rest.split("."))
    return merged


def _copy_key(target: dict[str, Any], source: dict[str, Any], parts: list[str]) -> None:
    """Give one nested key of a target the value that a source has, which may be none."""
    name, *deeper = parts
    if name not in source:  # the user took the key away
        target.pop(name, None)
    elif deeper and isinstance(source[name], dict) and isinstance(target.get(name), dict):
        _copy_key(target[name], source[name], deeper)
    else:
        target[name] = source[name]


def _model(node: Any, composed: Any, overrides: Sequence[str]) -> Any:
    """Return the file's model unless the user asks for another one.

    Another one is refused where the model is built.
    """
    if not _believed("model", node, composed):
        return composed
    wish = model_wish(composed, overrides)
    return composed if wish and differing(wish, node) else read_as(node, composed)


def read_as(node: dict[str, Any], composed: Any) -> dict[str, Any]:
    """Return a user's model of a file with the example and the output that a command line names.

    Args:
        node: The model as the file has it.
        composed: The composed model.
    """
    if in_room("model", node.get("_target_")) or not isinstance(composed, dict):
        return node
    named = {key: composed[key] for key in READING if composed.get(key) is not None}
    return {**node, **named}


def model_wish(composed: Any, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys of a model that a command line asks for; empty where it asks for none.

    Args:
        composed: The composed model.
        overrides: The command line's changes.
    """
    if not isinstance(composed, dict):
        return {}
    keys = [_key(item) for item in overrides]
    if "model" in keys:
        return {key: value for key, value in composed.items() if key != "name"}
    named = [key.split(".")[1] for key in keys if key.startswith("model.")]
    named += ["_target_"] if "experiment" in keys else []
    return {key: composed[key] for key in named if key in composed and key != "name"}


def differing(wish: dict[str, Any], node: dict[str, Any]) -> list[str]:
    """Return the keys of a wish that a file's model has otherwise or not at all.

    A null that follows something else asks for nothing; how a user's model is run may differ.
    """
    free = () if in_room("model", node.get("_target_")) else READING
    found = []
    for key, value in wish.items():
        follows = value is None and key in FOLLOWS["model"]
        if not follows and key not in free and (key not in node or node[key] != value):
            found.append(key)
    return found


def _measured_alike(
    facts: dict[str, Any], plain: dict[str, Any], overrides: Sequence[str]
) -> dict[str, Any]:
    """Return the metrics, and for ``eval`` the seed, under which the file's own run scored it."""
    keys = {_key(item) for item in overrides}
    changed: dict[str, Any] = {}
    metrics, seed = facts.get("metrics"), facts.get("seed")
    named = isinstance(metrics, list) and all(isinstance(name, str) for name in metrics)
    if named and not keys & {"scoring.metrics", "experiment"}:
        changed["scoring"] = {**plain["scoring"], "metrics": metrics}
    if plain.get("verb") == "eval" and type(seed) is int and not keys & {"seed", "experiment"}:
        changed["seed"] = seed
    return changed


def corpus_of(checkpoint: str | Path) -> dict[str, Any] | None:
    """Return the configuration of the corpus that a model was trained on.

    None where its file names no corpus of this package.

    Args:
        checkpoint: A model file or a run folder.
    """
    node: Any = read_facts(checkpoint).get("data")
    return portable(node) if _believed("data", node, None) else None


def check(plain: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a file whose corpus is not at hand.

    Args:
        plain: The composed configuration, or the one that it means.
        overrides: The command line's changes.

    Raises:
        CheckpointError: The file names a corpus outside the package that the user did not name, or
            arguments that are no data.
        DataError: A folder of the corpus does not exist; the message names it and the key that
            says where it is now.
    """
    checkpoint = checkpoint_of(plain)
    if not checkpoint or given(overrides, "data"):
        return
    node = read_facts(checkpoint).get("data")
    if not node:
        return
    if not is_harmless(node):
        raise CheckpointError(
            f"{checkpoint}: expected a corpus whose arguments are plain data, got other things; "
            f"give one with data=..."
        )
    if not _believed("data", node, plain["data"]):
        target = node["_target_"]
        raise CheckpointError(
            f"{checkpoint}: the file names the corpus '{target}', which is not one of this "
            f"package; give it yourself with data._target_={target}, or another corpus with "
            f"data=..."
        )
    _require_folders(checkpoint, effective(plain, overrides)["data"], node)


def _require_folders(checkpoint: str, data: dict[str, Any], node: dict[str, Any]) -> None:
    """Refuse a file whose folders are not on this machine; those of the user are not looked at."""
    for key, value in data.items():
        if not (key.endswith(_FOLDERS) and isinstance(value, str) and value):
            continue
        if value == node.get(key) and not Path(value).expanduser().exists():
            raise DataError(
                f"{value}: expected the folder of the corpus {data.get('name')} that "
                f"{checkpoint} names, got no such folder; give data.{key}=... or another corpus "
                f"with data=..."
            )


def _key(item: str) -> str:
    """Return the key of an override such as ``+data.root=x`` or ``~data.root``."""
    return item.lstrip("+~").partition("=")[0].partition("@")[0].strip().replace("/", ".")


def notes(plain: dict[str, Any], overrides: Sequence[str], fingerprint: str) -> list[str]:
    """Say in a line each where a run goes other ways than the training of its model file.

    Args:
        plain: The configuration as it is meant, see `effective`.
        overrides: The command line's changes.
        fingerprint: Of the corpus that the run works on.
    """
    checkpoint, data = checkpoint_of(plain), plain["data"]
    if not checkpoint:
        return []
    facts, name = read_facts(checkpoint), data.get("name")
    return [
        *_corpus_notes(checkpoint, facts, name, fingerprint, given(overrides, "data")),
        *_task_notes(checkpoint, facts.get("task"), plain.get("task")),
    ]


def _corpus_notes(
    checkpoint: str, facts: dict[str, Any], name: Any, fingerprint: str, chosen: bool
) -> list[str]:
    found = []
    if not facts.get("data") and not chosen:
        found.append(f"{checkpoint} names no corpus; {name} is used, another one with data=...")
    elif facts.get("of_run") and not chosen:
        found.append(f"{checkpoint} names no corpus; that of its run is used: {name}")
    known = facts.get("corpus_fingerprint")
    if known and known != fingerprint:
        was, now = f"{facts.get('corpus')} ({str(known)[:8]})", f"{name} ({fingerprint[:8]})"
        found.append(
            f"{checkpoint} was trained on the corpus {was}, this run works on another one: {now}"
        )
    return found


def _task_notes(checkpoint: str, was: Any, now: Any) -> list[str]:
    if not isinstance(was, dict) or not isinstance(now, dict):
        return []
    changes = ", ".join(_changes(was, now))
    if not changes:
        return []
    return [f"{checkpoint} was trained with another task, the one given is used: {changes}"]


def _changes(was: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Name every value that differs, by its dotted key.

    A null that follows the corpus differs from nothing.
    """
    found: list[str] = []
    for key, value in now.items():
        before = was.get(key, value)
        if isinstance(value, dict) and isinstance(before, dict):
            found += _changes(before, value, f"{prefix}{key}.")
            continue
        follows = value is None and key in FOLLOWS["task"]
        if key != "name" and before != value and not follows:
            found.append(f"{prefix}{key} {before} -> {value}")
    return found
