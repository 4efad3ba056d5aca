"""What to type in place of a word that Hydra's grammar cannot read: ``remedy``.

A value with ``=``, ``#``, ``{``, quotes, commas or letters beyond ASCII has to stand in quotes of
Hydra, and those in quotes of the shell. What is proposed was read back by Hydra's own parser and
gave the value that was typed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from audioprune.terminal.streams import plain

_OUTPUTS = ("runtime.folder", "hydra.run.dir", "hydra.sweep.dir")
"""Keys that say where a run writes."""
_WORD = re.compile(r"^([+~]*[^\s=]+)=(.*)$", re.DOTALL)
_SWEEP = ("-m", "--multirun")
_TAKES_A_WORD = ("--cfg", "-c", "--info", "-i")
_CALL = re.compile(r"^\w+\(.*\)$", re.DOTALL)
_SIMPLE = re.compile(r"[\w.,+-]+")
_INTERPOLATION = re.compile(r"\$\{([^}]*)\}")


def remedy(words: Sequence[str], kinds: Mapping[str, str] | None = None) -> str:
    """Return the message for the first word that Hydra cannot read or would sweep over.

    Args:
        words: The command line behind the verb.
        kinds: The types of known keys, such as ``list[float]``.

    Returns:
        One line, or an empty text where all words can be read.
    """
    sweeps = bool(set(_SWEEP) & set(words))
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith(("-", "~")) or before in _TAKES_A_WORD:
            continue
        problem = _problem(word, sweeps, kinds or {})
        if problem:
            return problem
    return ""


def _problem(word: str, sweeps: bool, kinds: Mapping[str, str]) -> str:
    parts = _WORD.match(word)
    if not parts:
        return f"expected key=value, got {_shown(word)}; give it a value, or take it away"
    key, value = parts.groups()
    try:
        found = OverridesParser.create().parse_override(word)
    except HydraException:
        fixed = quoted(key, value)
        what = f"{_bare(key)}: expected a value that Hydra can read, got {_shown(value)}"
        return f"{what}; type {fixed}" if fixed else f"{what}; take its special signs away"
    if not found.is_sweep_override() or sweeps:
        return ""
    text = f"{_bare(key)}: expected one value, got several, {_shown(value)}; add -m to sweep over"
    kind = kinds.get(key.lstrip("+~"), "any")
    if kind.startswith(("list", "any")) and _SIMPLE.fullmatch(value):
        return f"{text} them, or type '{_bare(key)}=[{value}]' for a list"
    textual = kind.startswith(("str", "any", "dict")) and not _CALL.match(value)
    fixed = quoted(key, value) if textual else ""
    return f"{text} them" + (f", or type {fixed} for one text" if fixed else "")


def unresolved(words: Sequence[str], missing: str) -> str:
    """Return the message for a ``${x}`` that names nothing, or an empty text.

    Args:
        words: The command line behind the verb.
        missing: What Hydra says of it.
    """
    for word in words:
        parts = _WORD.match(word)
        named = _INTERPOLATION.search(parts[2]) if parts else None
        if parts is None or named is None:
            continue
        key, value = parts.groups()
        within = value[1:-1] if value[:1] == value[-1:] and value[:1] in ("'", '"') else value
        fixed = quoted(key, within)
        return (
            f"{_bare(key)}: expected the name of another key in ${{...}}, got {_shown(named[0])} "
            f"({missing}); name a key" + (f", or type {fixed} for these signs" if fixed else "")
        )
    return ""


def unresolvable_place(words: Sequence[str]) -> str:
    """Say in which folder Hydra cannot work; empty where it can.

    It reads the path of the output again, where ``${`` then names a key, however it was typed.
    """
    here = os.getcwd()
    if "${" in here:
        return f"expected a working folder without ${{ in its path, got {here}; begin in another"
    for each in words:
        key, _, value = each.partition("=")
        if key.lstrip("+") in _OUTPUTS and "\\${" in value:
            return f"{key}: expected a folder without ${{ in its path, got {value}; choose another"
    return ""


def word(key: str, value: object) -> str:
    """Return ``key=value`` as it is typed into a shell, quoted where that is needed."""
    plain_word = f"{key}={value}"
    try:
        found = OverridesParser.create().parse_override(plain_word)
        same = not found.is_sweep_override() and str(found.value()) == str(value)
    except HydraException:
        same = False
    return shlex.quote(plain_word) if same else quoted(key, str(value)) or plain_word


def quoted(key: str, value: str) -> str:
    """Return a word of a shell that gives a key exactly this text; empty where none does.

    Args:
        key: The key, with signs such as ``+`` before it.
        value: Any text.
    """
    escaped = re.sub(r'(\\*)(")', r"\1\1\\\2", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    escaped = re.sub(r"\\*\$\{", lambda found: "\\" * (2 * len(found[0]) - 3) + "${", escaped)
    word = f'{key}="{escaped}"'
    return shlex.quote(word) if _reads(word, value) and value.isprintable() else ""


def _reads(word: str, value: str) -> bool:
    """Tell whether Hydra reads a word as a text and OmegaConf gives the text back."""
    try:
        found = OverridesParser.create().parse_override(word).value()
        return bool(OmegaConf.create({"text": found}).text == value)
    except (HydraException, OmegaConfBaseException):
        return False


def _bare(key: str) -> str:
    return plain(key.lstrip("+~"))


def _shown(text: str) -> str:
    return plain(text) or "nothing"
