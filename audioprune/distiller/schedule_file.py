"""How a schedule file becomes a ``Schedule``: ``load_schedule``.

The text is read in reading.py; the classes that a file may name are in known_classes.py. Every
error names the file and, where it can, the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from audioprune.compress.schedule import epochs as scheduled_epochs
from audioprune.distiller.known_classes import SECTIONS, build_instance
from audioprune.distiller.pruners import SparsityLevelParameterPruner
from audioprune.distiller.reading import Document, read
from audioprune.distiller.schedule import Options, Policy, Schedule
from audioprune.errors import ConfigError, unknown_name

_EPOCH_KEYS = ("starting_epoch", "ending_epoch", "frequency")
_Place = tuple[str | int, ...]
"""Keys and positions that lead to a value of the file."""


def load_schedule(source: str | Path | Mapping[str, Any], strict: bool = True) -> Schedule:
    """Read a schedule file and build what it names.

    Args:
        source: A file, the name of a shipped schedule, or the values themselves.
        strict: Refuse unknown sections; otherwise they are left out, with a note.

    Raises:
        ConfigError: The file is no schedule, names an unsupported class or a wrong argument, or a
            number is out of range. The message names the file and, where it can, the line.
    """
    document = read(source)
    notes = _unknown_sections(document, strict)
    actors = {kind: _instances(document, section) for kind, section in SECTIONS.items()}
    entries = document.values.get("policies")
    if not isinstance(entries, list) or not entries:
        raise document.error(
            "expected a list 'policies' that says who acts when, got none; add it"
        )
    policies = [
        _policy(document, ("policies", index), entry, actors)
        for index, entry in enumerate(entries)
    ]
    return Schedule(document.title, tuple(policies), tuple(notes))


def _unknown_sections(document: Document, strict: bool) -> list[str]:
    """Refuse sections that are not known, or return a note for each that is left out."""
    known = ("version", "quantizers", "policies", *SECTIONS.values())
    notes = []
    for section, content in document.values.items():
        if section == "quantizers" and content:
            problem = (
                "quantizers are not supported; quantise with the step Quantize of a pipeline, "
                "or pipeline=quantize"
            )
            raise document.error(problem, section)
        if section in known:
            continue
        error = document.error(unknown_name("section", section, known), section)
        if strict:
            raise error
        notes.append(f"{error}; left out")
    return notes


def _instances(document: Document, section: str) -> dict[str, Any]:
    """Build everything that a section holds, by name."""
    content = document.values.get(section) or {}
    if not isinstance(content, dict):
        raise document.error(
            f"{section}: expected a mapping of names to settings, got {type(content).__name__}; "
            f"indent below it",
            section,
        )
    return {name: _instance(document, section, name, entry) for name, entry in content.items()}


def _instance(document: Document, section: str, name: str, entry: Any) -> Any:
    if not isinstance(entry, dict) or "class" not in entry:
        raise document.error(
            f"{section}, '{name}': expected a mapping with the key class, got "
            f"{_described(entry)}; indent it below",
            section,
            name,
        )
    kind = str(entry["class"])
    given = {key: value for key, value in entry.items() if key != "class"}
    try:
        return build_instance(section, kind, given)
    except ConfigError as error:
        raise document.error(f"'{name}': {error}", section, name) from error


def _described(entry: Any) -> str:
    if isinstance(entry, dict):
        return f"the keys {', '.join(entry)}"
    return "nothing" if entry is None else type(entry).__name__


def _policy(
    document: Document, place: _Place, entry: Any, actors: Mapping[str, Mapping[str, Any]]
) -> Policy:
    """Build one entry of ``policies``; ``actors`` are the instances by kind and name."""
    if not isinstance(entry, dict):
        raise document.error(
            f"expected a mapping with one of {', '.join(SECTIONS)}, got {entry!r}; correct the "
            f"policy",
            *place,
        )
    allowed = (*SECTIONS, "quantizer", "epochs", *_EPOCH_KEYS)
    for key in entry:
        if key not in allowed:
            raise document.error(unknown_name("key of a policy", key, allowed), *place, key)
    kinds = [kind for kind in (*SECTIONS, "quantizer") if kind in entry]
    if len(kinds) != 1 or kinds[0] == "quantizer":
        raise document.error(
            f"expected one of {', '.join(SECTIONS)} in a policy, got "
            f"{', '.join(kinds) or 'none'}; correct it",
            *place,
        )
    kind = kinds[0]
    actor, options, name = _actor(document, place, kind, entry[kind], actors[kind])
    epochs, frequency, end = _epochs(document, place, entry)
    return Policy(kind, name, actor, epochs, frequency, options, end)


def _actor(
    document: Document, place: _Place, kind: str, entry: Any, known: Mapping[str, Any]
) -> tuple[Any, Options, str]:
    """Return the instance that a policy names, the policy's options, and the instance's name."""
    keys = set(entry) if isinstance(entry, dict) else set()
    if "instance_name" not in keys or keys - {"instance_name", "args"}:
        got = ", ".join(entry) if isinstance(entry, dict) else repr(entry)
        raise document.error(
            f"{kind}: expected the keys instance_name and perhaps args, got {got}; correct it",
            *place,
            kind,
        )
    name = str(entry["instance_name"])
    if name not in known:
        problem = unknown_name(f"instance_name in {SECTIONS[kind]}", name, known)
        raise document.error(problem, *place, kind, "instance_name")
    try:
        options = _options(kind, entry.get("args") or {})
        return _with_levels(known[name], options), options, name
    except ConfigError as error:
        raise document.error(str(error), *place, kind, "args") from error


def _options(kind: str, given: Any) -> Options:
    accepted = _accepted_options(kind)
    if not isinstance(given, dict):
        raise ConfigError(
            f"args: expected a mapping, got {type(given).__name__}; write 'keep_mask: true' lines"
        )
    if given.get("fold_batchnorm"):
        raise ConfigError("fold_batchnorm is not supported; weights are ranked as they are")
    for name in given:
        if name not in accepted and name != "fold_batchnorm":
            raise ConfigError(unknown_name(f"argument of a policy with a {kind}", name, accepted))
    return Options(**{name: value for name, value in given.items() if name != "fold_batchnorm"})


def _accepted_options(kind: str) -> list[str]:
    if kind == "pruner":
        return [each.name for each in fields(Options)]
    return ["keep_mask"] if kind == "regularizer" else []


def _with_levels(actor: Any, options: Options) -> Any:
    """Return the instance with the levels that the policy gives instead of its own."""
    if options.levels is None:
        return actor
    if not isinstance(actor, SparsityLevelParameterPruner):
        raise ConfigError(
            f"levels: expected a SparsityLevelParameterPruner, got {type(actor).__name__}; "
            f"leave them out"
        )
    return replace(actor, levels=options.levels)


def _epochs(
    document: Document, place: _Place, entry: Mapping[str, Any]
) -> tuple[tuple[int, ...], int | None, int]:
    """Return the epochs of a policy, their distance if it states one, and the epoch after them."""
    if "epochs" in entry:
        return _listed_epochs(document, place, entry["epochs"])
    missing = [key for key in _EPOCH_KEYS if key not in entry]
    if missing:
        raise document.error(
            f"expected {', '.join(_EPOCH_KEYS)} or epochs in a policy, {', '.join(missing)} is "
            f"missing; add it",
            *place,
        )
    numbers = [entry[key] for key in _EPOCH_KEYS]
    if not _whole(numbers):
        raise document.error(
            f"{', '.join(_EPOCH_KEYS)}: expected whole numbers >= 0, got {numbers}; correct them",
            *place,
        )
    start, end, frequency = numbers
    try:
        return tuple(scheduled_epochs(start, end, frequency)), frequency, end
    except ConfigError as error:
        raise document.error(str(error), *place) from error


def _listed_epochs(
    document: Document, place: _Place, listed: Any
) -> tuple[tuple[int, ...], None, int]:
    whole = isinstance(listed, list) and bool(listed) and _whole(listed)
    if not whole or listed != sorted(set(listed)):
        raise document.error(
            f"epochs: expected an ascending list of whole numbers >= 0, got {listed!r}; "
            f"correct it",
            *place,
            "epochs",
        )
    return tuple(listed), None, listed[-1] + 1


def _whole(values: Iterable[Any]) -> bool:
    """Tell whether all values are whole numbers of at least 0."""
    return all(type(value) is int and value >= 0 for value in values)
