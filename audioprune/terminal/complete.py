"""What may stand at the end of a command line: ``candidates``.

The shells' own scripts are in shells.py; they ask with ``audioprune --complete LINE``. Neither
Hydra nor torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from audioprune.terminal.index import Index, Key, read_index
from audioprune.terminal.shells import SHELLS
from audioprune.terminal.streams import FORMS

FILES, WORDS = "files", "words"
_FLAGS = ("--help", "--cfg", "--info", "--multirun", "-m", "-q", "-v")
_AFTER = {"--cfg": ("job", "all", "hydra"), "-c": ("job", "all", "hydra")}
_PATHS = {
    *("root", "checkpoint", "out", "cache", "cache_dir", "folder", "input", "in", "names"),
    *("audio", "results", "runs", "ratings", "teacher", "reference", "schedule", "page"),
    *("reported", "conditions"),
}
_PATH_ENDINGS = ("_root", "_folder", "_dir", "_file")


class Answer(NamedTuple):
    """What may stand in place of the last word.

    Attributes:
        kind: ``"files"`` where the shell completes a path behind ``key=``, else ``"words"``.
        words: Whole words; the path's directories and files where ``kind`` is ``"files"``.
    """

    kind: str
    words: list[str]


def candidates(line: str, verbs: Mapping[str, str]) -> Answer:
    """Return what may stand in place of the last word of a line, which may be empty.

    Args:
        line: The command line up to the cursor, the name of the program first.
        verbs: All verbs.
    """
    words = line.split(" ")
    before = [word for word in words[1:-1] if word]
    now = words[-1] if len(words) > 1 else ""
    if not before:
        return Answer(WORDS, _begin(now, [*verbs, "completion", "--help", "--version"]))
    verb = before[0]
    if verb == "completion":
        return Answer(WORDS, _begin(now, SHELLS))
    if verb not in verbs:
        return Answer(WORDS, [])
    return _of_verb(read_index(), verb, before[1:], now)


def _of_verb(index: Index, verb: str, before: Sequence[str], now: str) -> Answer:
    if before and before[-1] in _AFTER:
        return Answer(WORDS, _begin(now, _AFTER[before[-1]]))
    if now.startswith("-"):
        return Answer(WORDS, _begin(now, _FLAGS))
    sign = now[: len(now) - len(now.lstrip("+~"))]
    word, keys = now[len(sign) :], index.keys(verb, before)
    groups = index.all_groups(verb)
    if "--help" in before or "-h" in before:
        names = dict.fromkeys([*groups, *(key.rpartition(".")[0] or key for key in keys), *keys])
        return Answer(WORDS, _begin(now, list(names)))
    if "=" in word:
        found = _values(index, keys, groups, word)
    else:
        found = Answer(WORDS, _begin(word, _names(keys, groups, word)))
    return Answer(found.kind, [f"{sign}{each}" for each in found.words])


def _names(keys: Mapping[str, Key], groups: Sequence[str], word: str) -> list[str]:
    """Return groups and keys as they are typed; keys below a group once its name is."""
    names = [f"{group}=" for group in groups]
    for key in keys:
        group = key.partition(".")[0]
        deep = "." not in key or word.startswith(f"{group}.")
        names.append(f"{key}=" if deep else f"{group}.")
    if "format" not in keys:
        names.append("format=")
    if "input" in keys:
        names.append("in=")
    return list(dict.fromkeys(names))


def _values(index: Index, keys: Mapping[str, Key], groups: Sequence[str], word: str) -> Answer:
    name, _, value = word.partition("=")
    if name in groups:
        done, comma, last = value.rpartition(",")
        options = _begin(last, list(index.options(name)))
        return Answer(WORDS, [f"{name}={done}{comma}{option}" for option in options])
    last_name = name.rpartition(".")[2]
    if last_name in _PATHS or last_name.endswith(_PATH_ENDINGS) or name.startswith("systems."):
        return Answer(FILES, [f"{name}={path}" for path in _paths(value)])
    if name == "format" and name not in keys:
        return Answer(WORDS, [f"format={form}" for form in _begin(value, FORMS)])
    key = keys.get(name)
    return Answer(WORDS, [f"{name}={each}" for each in _begin(value, _known(key))] if key else [])


def _known(key: Key) -> list[str]:
    """Return values that a key may have: its options, or its default and what its type has."""
    kind = str(key.facts["type"])
    listed = kind.startswith("list")
    values = [f"[{each}]" if listed else each for each in key.facts.get("options", ())]
    if kind.startswith("bool"):
        values += ["true", "false"]
    if kind.endswith("?"):
        values.append("null")
    default = key.default_text
    own = default and not default.startswith("<") and default != '""'
    return list(dict.fromkeys([*values, *([default] if own else [])]))


def _begin(start: str, words: Sequence[str]) -> list[str]:
    return [word for word in words if word.startswith(start)]


def _paths(start: str) -> list[str]:
    """Return the files and folders that a path may become; folders end with a stroke."""
    folder, stroke, name = start.rpartition("/")
    place = Path(os.path.expanduser(f"{folder}{stroke}") or ".")
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError:
        return []
    shown = [each for each in entries if name.startswith(".") or not each.name.startswith(".")]
    return [
        f"{folder}{stroke}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in shown
        if entry.name.startswith(name) and entry.name.isprintable()
    ]
