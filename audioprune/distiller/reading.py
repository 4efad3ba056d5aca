"""How the text of a schedule file becomes plain values, and in which line each of them is.

``read`` returns a ``Document``, whose errors name the line. What the values mean is decided in
schedule_file.py; nothing here knows a pruner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from audioprune.errors import ConfigError, unknown_name
from audioprune.plain import yaml_text

_EXPONENT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)[eE][+-]?\d+")
_TITLE = "schedule"


@dataclass(frozen=True)
class Document:
    """The values of a schedule file.

    Attributes:
        values: The mapping that the file holds; texts such as ``1e-5``, which YAML 1.1 takes for
            words, are numbers.
        title: What error messages call the file.
        lines: Path of keys and positions within ``values`` -> line in the file, counted from 1.
    """

    values: dict[str, Any]
    title: str
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def error(self, problem: str, *place: str | int) -> ConfigError:
        """Build an error that names the file and the line of a place, or of what is around it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return ConfigError(f"{self.title}, line {self.lines[place[:length]]}: {problem}")
        return ConfigError(f"{self.title}: {problem}")


def read(source: str | Path | Mapping[str, Any]) -> Document:
    """Read a schedule.

    Args:
        source: A file, the name of a schedule that this package ships, or the values themselves.

    Raises:
        ConfigError: The file is missing, no YAML, no mapping or holds a key twice; the message
            names the line.
    """
    if isinstance(source, Mapping):
        return Document(_numbers(dict(source)), _TITLE)
    title, text = _text(source)
    return _parse(title, text)


def shipped() -> dict[str, Any]:
    """Return the schedules that this package ships: name -> file."""
    folder = resources.files("audioprune.distiller") / "schedules"
    return {
        Path(entry.name).stem: entry for entry in folder.iterdir() if entry.name.endswith(".yaml")
    }


def _text(source: str | Path) -> tuple[str, str]:
    known = shipped()
    if str(source) in known and not Path(source).exists():
        return f"schedule '{source}'", known[str(source)].read_text(encoding="utf-8")
    try:
        return str(source), Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"{unknown_name('schedule', str(source), known)}; a file of that name cannot be "
            f"read: {reason}"
        ) from error


def _parse(title: str, text: str) -> Document:
    try:
        node = yaml_text.compose(text)
        values = yaml_text.parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"{error.problem or error.context}; check the indentation and the colons there"
        raise ConfigError(f"{title}, line {mark.line + 1 if mark else '?'}: {problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"{title}: not readable as YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{title}: expected a mapping with the keys pruners and policies, got "
            f"{type(values).__name__}; check the file"
        )
    lines: dict[tuple[str | int, ...], int] = {}
    if node is not None:
        _locate(title, node, (), lines)
    return Document(_numbers(values), title, lines)


def _locate(
    title: str,
    node: yaml.Node,
    place: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
) -> None:
    """Write down the line of every key and item; refuse a key that is there twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                raise ConfigError(
                    f"{title}, line {line}: '{key.value}' stands in line {lines[inner]} "
                    f"already; rename or remove one"
                )
            lines[inner] = line
            _locate(title, value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*place, index)] = value.start_mark.line + 1
            _locate(title, value, (*place, index), lines)


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
