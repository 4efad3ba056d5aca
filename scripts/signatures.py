"""Read configuration keys from the signatures and docstrings of what they configure.

`keys_of_class` answers for a callable: each argument's type, default, range, options and meaning.
`declared_class` answers for a class of audioprune/schema that adds to them. Types are texts as
`audioprune.schema.table.kind_of` reads them. Imports torch, for it imports the models.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from audioprune.ranges import NoKey, OneOf, OrNull, PassedTo, Range
from audioprune.schema.groups import TARGETS

Entry = dict[str, Any]
Keys = dict[str, Entry]
NEEDED = "???"  # what OmegaConf calls a value that the user must give
_SIMPLE = {int: "int", float: "float", bool: "bool", str: "str", Path: "str"}
_SECTION = re.compile(r"^(Args|Attributes):$")
_ITEM = re.compile(r"^    (\*{0,2}\w+(?:, \w+)*): (.*)$")
_REFERENCE = re.compile(r"^As in `*(\w+)`*\b")


class Reader:
    """Reads signatures; classes found on the way, such as that of a discriminator, are kept.

    Attributes:
        below: Keys of a group inside a group, by the name of its class.
    """

    def __init__(self) -> None:
        self.below: dict[str, Entry] = {}

    def keys_of_class(self, target: str | Callable[..., Any]) -> Keys:
        """Return the keys of a callable: its own, then those that only ``**options`` takes."""
        receiver = load(target) if isinstance(target, str) else target
        hints = _hints(receiver)
        passed: Keys = {}
        own: Keys = {}
        said = meanings(receiver)
        for name, parameter in inspect.signature(receiver).parameters.items():
            kind, marks = split(hints.get(name, Any))
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                passed |= self._passed(find(marks, PassedTo))
            elif not find(marks, NoKey):
                own[name] = self.entry(name, kind, marks, _default(receiver, parameter))
                own[name]["meaning"] = said.get(name, "")
        return own | {name: facts for name, facts in passed.items() if name not in own}

    def entry(self, name: str, kind: Any, marks: Sequence[Any], default: Any) -> Entry:
        """Return what is said of one argument, without its meaning."""
        receivers = find(marks, PassedTo)
        if receivers:
            return {"type": "@" + self._class_below(name, receivers)}
        text = type_text(kind)
        null = find(marks, OrNull)
        if null:
            default, text = null.default, text.rstrip("?") + "?"
        found: Entry = {"type": text, "default": _plain(default)}
        limits, options = find(marks, Range), find(marks, OneOf)
        if limits:
            found["range"] = {side: at for side, at in asdict(limits).items() if at is not None}
        if options:
            found["options"] = list(options.options)
        return found

    def _passed(self, receivers: PassedTo | None) -> Keys:
        found: Keys = {}
        for receiver in receivers.receivers if receivers else ():
            keys = self.keys_of_class(receiver)
            optional = {name: facts for name, facts in keys.items() if _optional(facts)}
            found |= {name: facts for name, facts in optional.items() if name not in found}
        for name in receivers.but if receivers else ():
            found.pop(name)
        return found

    def _class_below(self, name: str, receivers: PassedTo) -> str:
        keys = self._passed(receivers)
        for key, hint in receivers.more.items():
            kind, marks = split(hint)
            text = next((mark for mark in marks if isinstance(mark, str)), "")
            keys[key] = {**self.entry(key, kind, marks, None), "meaning": first_sentence(text)}
        title = f"{name.capitalize()}Config"
        self.below[title] = {"meaning": summary(receivers.receivers[0]), "keys": keys}
        return title


def summary(receiver: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(receiver) or "").partition("\n")[0]


def load(target: str) -> Any:
    """Return what a dotted name means."""
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its marks, and the marks."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return kind, tuple(marks)
    return hint, ()


def find(marks: Sequence[Any], kind: type) -> Any:
    """Return the mark of a kind, or None."""
    return next((mark for mark in marks if isinstance(mark, kind)), None)


def type_text(kind: Any) -> str:
    """Return the text of a type: what YAML can say of it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        texts = {type_text(each) for each in inner if each is not type(None)}
        text = texts.pop() if len(texts) == 1 else "any"
        return text + "?" if type(None) in inner and text != "any" else text
    if origin is typing.Literal:
        return "str"
    if origin in (dict, Mapping) or isinstance(origin, type) and issubclass(origin, Mapping):
        return f"dict[{type_text(inner[1])}]"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"list[{type_text(inner[0])}]"
    return _SIMPLE.get(kind, "any")


def meanings(receiver: Any) -> dict[str, str]:
    """Return the first sentence that the docstring says of each argument."""
    found: dict[str, str] = {}
    for each in reversed(inspect.getmro(receiver)) if isinstance(receiver, type) else [receiver]:
        found |= _items(inspect.cleandoc(each.__doc__ or ""))
    return {name: _resolved(receiver, name, said) for name, said in found.items()}


def first_sentence(text: str) -> str:
    """Return the first sentence of a text without its full stop, with YAML's word for None."""
    sentence = re.split(r"(?<=[^.])\.(?:\s|$)", text.strip(), maxsplit=1)[0]
    return re.sub(r"\bNone\b", "null", sentence)


def _items(text: str) -> dict[str, str]:
    """Return the entries of the sections Args and Attributes."""
    found: dict[str, str] = {}
    inside, names = False, []
    for line in text.splitlines():
        item = _ITEM.match(line)
        if line and not line.startswith(" "):
            inside, names = bool(_SECTION.match(line)), []
        elif inside and item:
            names = item[1].split(", ")
            found |= dict.fromkeys(names, item[2])
        elif inside and names:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _resolved(receiver: Any, name: str, said: str) -> str:
    """Return the meaning itself where a docstring refers to that of another callable."""
    reference = _REFERENCE.match(said)
    if reference is None:
        return first_sentence(said)
    other = getattr(inspect.getmodule(receiver), reference[1], None) or _configured(reference[1])
    return meanings(other).get(name, first_sentence(said)) if other else first_sentence(said)


def _configured(name: str) -> Any:
    """Return the model, task or corpus of that name, or None."""
    dotted = (target for options in TARGETS.values() for target in options.values())
    return next((load(target) for target in dotted if target.endswith(f".{name}")), None)


def _hints(receiver: Any) -> dict[str, Any]:
    plain = isinstance(receiver, type) and not is_dataclass(receiver)
    return typing.get_type_hints(receiver.__init__ if plain else receiver, include_extras=True)


def _default(receiver: Any, parameter: inspect.Parameter) -> Any:
    """Return the default of a parameter; a dataclass may make it anew each time."""
    if is_dataclass(receiver):
        item = next(each for each in fields(receiver) if each.name == parameter.name)
        if item.default_factory is not MISSING:
            return item.default_factory()
    return NEEDED if parameter.default is inspect.Parameter.empty else parameter.default


def _optional(facts: Entry) -> bool:
    return facts.get("default") != NEEDED


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
