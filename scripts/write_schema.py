"""Write what help, completion and docs/configuration.md say of keys, from signatures and conf/.

The files are signatures.json and options.json of audioprune/schema.

    python scripts/write_schema.py

Run it (``make schema``) after a change of an argument that a configuration can set.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from audioprune.ranges import accepted
from audioprune.schema.groups import TARGETS, class_name, first_keys
from audioprune.schema.pipelines import PIPELINES
from audioprune.schema.roots import ROOTS, TUNES
from scripts.option_index import read_options
from scripts.signatures import Entry, Keys, Reader, load, meanings, split, summary

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "audioprune/schema/signatures.json"
OPTIONS = ROOT / "audioprune/schema/options.json"
PAGE = ROOT / "docs/configuration.md"
_HANDED = re.compile(r"\$\{pipeline\.(\w+)\}")
_SCHEMA = re.compile(r"/schema/\w+/(\w+)@(?:_here_|model)")
_SOURCES = {"takes", "reads"}


def main() -> None:
    """Write all files."""
    table = read_all()
    TABLE.write_text(table_text(table), encoding="utf-8")
    OPTIONS.write_text(options_text(read_options(table)), encoding="utf-8")
    PAGE.write_text(page_text(table), encoding="utf-8")


def read_all() -> Entry:
    """Return the whole table: options of every group, and the keys of every class."""
    reader = Reader()
    groups: Entry = {}
    classes: Entry = {}
    for group, targets in TARGETS.items():
        groups[group] = {option: class_name(option) for option in targets}
        for option, target in targets.items():
            entry = _configured(reader, option, target)
            classes.setdefault(class_name(option), entry)
    groups["pipeline"] = {option: kind.__name__ for option, kind in PIPELINES.items()}
    handed = _handed()
    for kind in PIPELINES.values():
        classes[kind.__name__] = _pipeline(reader, kind, handed)
    groups["verb"] = {option: kind.__name__ for option, kind in ROOTS.items()}
    groups["tune"] = {option: kind.__name__ for option, kind in TUNES.items()}
    for kind in (*ROOTS.values(), *TUNES.values()):
        _declare(reader, kind, classes)
    return {"groups": groups, "classes": {**reader.below, **classes}}


def _configured(reader: Reader, option: str, target: str) -> Entry:
    """Return the keys of an option of a group: its name, its class, and the arguments."""
    keys = reader.keys_of_class(target)
    first = first_keys(option)
    ordered = {key: keys[key] for key in [*first, *(key for key in keys if key not in first)]}
    named = {
        "name": {"type": "str", "default": option, "meaning": "Name in tables and run folders"},
        "_target_": {"type": "str", "default": target, "meaning": "Class that is built"},
    }
    return {"meaning": summary(load(target)), "keys": {**named, **ordered}}


def _handed() -> dict[str, dict[str, tuple[str, str]]]:
    """Return for each key of a pipeline the step and the argument that its YAML hands it to.

    By the option under which the keys are registered; pipelines built on others share theirs.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {option: {} for option in PIPELINES}
    for node in _yaml("pipeline").values():
        _collect(node.get("steps", {}), found[_schema_of("pipeline", node)])
    return found


def _collect(steps: dict[str, Any], found: dict[str, tuple[str, str]]) -> None:
    for step in steps.values():
        _collect(step.get("steps", {}), found)
        for argument, value in step.items():
            key = _HANDED.fullmatch(str(value))
            if key and "_target_" in step:  # else the step belongs to a pipeline below
                found.setdefault(key[1], (step["_target_"], argument))


def _pipeline(reader: Reader, kind: type, handed: dict[str, dict[str, tuple[str, str]]]) -> Entry:
    """Return the keys of a pipeline, read from the steps that take them."""
    read: Keys = {}
    for option, uses in handed.items():
        if issubclass(kind, PIPELINES[option]):
            for key, (step, argument) in uses.items():
                read[key] = reader.keys_of_class(step)[argument]
    return _declared(reader, kind, read, {})


def _declare(reader: Reader, kind: type, classes: Entry) -> None:
    """Add a class of roots.py and the classes of its groups."""
    source = getattr(kind, "takes", getattr(kind, "reads", None))
    read = reader.keys_of_class(source) if source else {}
    classes[kind.__name__] = _declared(reader, kind, read, classes)


def _declared(reader: Reader, kind: type, read: Keys, classes: Entry) -> Entry:
    """Return the keys of a class of audioprune/schema: what it says itself, else what was read."""
    keys: Keys = dict(read) if hasattr(kind, "takes") else {}
    hints, said = _hints(kind), meanings(kind)
    for name, default in _attributes(kind).items():
        if isinstance(default, type):
            if default.__name__ not in classes:
                _declare(reader, default, classes)
            keys[name] = {"type": f"@{default.__name__}"}
        elif name not in hints:
            keys[name] = dict(read[name])
            if default is not ... and not keys[name]["type"].startswith("@"):
                keys[name]["default"] = default
        else:
            meaning = said.get(name) or read.get(name, {}).get("meaning", "")
            keys[name] = {**reader.entry(name, *split(hints[name]), default), "meaning": meaning}
    return {"meaning": summary(kind), "keys": keys}


def _attributes(kind: type) -> dict[str, Any]:
    """Return the public attributes of a class in the order of its lines, those of bases first."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__[:-1]):
        own = [name for name in vars(each) if not name.startswith("_") and name not in _SOURCES]
        found |= {name: vars(each)[name] for name in own}
    return found


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def table_text(table: Entry) -> str:
    """Return the table as JSON with one key a line, so that a change shows as a line."""
    lines = ["{", ' "groups": {']
    lines += _lines(table["groups"], "  ")
    lines += [" },", ' "classes": {']
    for number, (name, entry) in enumerate(table["classes"].items(), 1):
        lines += [f"  {json.dumps(name)}: {{", f'   "meaning": {json.dumps(entry["meaning"])},']
        lines += ['   "keys": {', *_lines(entry["keys"], "    "), "   }"]
        lines.append("  }" + "," * (number < len(table["classes"])))
    return "\n".join([*lines, " }", "}"]) + "\n"


def options_text(options: Entry) -> str:
    """Return the options as JSON with one option a line."""
    lines = ["{", ' "verbs": {', *_lines(options["verbs"], "  "), " },", ' "groups": {']
    for number, (group, found) in enumerate(options["groups"].items(), 1):
        comma = "," * (number < len(options["groups"]))
        lines += [f"  {json.dumps(group)}: {{", *_lines(found, "   "), "  }" + comma]
    lines += [" },", ' "classes": {', *_lines(options["classes"], "  "), " }", "}"]
    return "\n".join(lines) + "\n"


def _lines(mapping: Entry, indent: str) -> list[str]:
    texts = [f"{indent}{json.dumps(key)}: {json.dumps(facts)}" for key, facts in mapping.items()]
    return [text + "," for text in texts[:-1]] + texts[-1:]


def page_text(table: Entry) -> str:
    """Return docs/configuration.md: a table of keys for every verb and every class of a group."""
    lines = [
        "# Configuration",
        "",
        "Every key of every verb and group: `key=value` on the command line sets it,",
        "`group=option` chooses an option of a group. This page is written by `make schema` from",
        "the signatures and docstrings of what the keys configure.",
    ]
    for group, title in _TITLES.items():
        lines += ["", f"## {title}"]
        for name in dict.fromkeys(table["groups"][group].values()):
            names = [option for option, kind in table["groups"][group].items() if kind == name]
            lines += ["", f"### {_heading(group, names)}", "", table["classes"][name]["meaning"]]
            lines += ["", "| key | default | accepts | meaning |", "|---|---|---|---|"]
            prefix = "" if group == "verb" else f"{group}."
            lines += [
                "| " + " | ".join(row) + " |" for row in _rows(table["classes"], name, prefix)
            ]
    return "\n".join(lines) + "\n"


_TITLES = {
    "verb": "Verbs",
    "model": "Models",
    "task": "Tasks",
    "data": "Corpora",
    "pipeline": "Pipelines",
    "tune": "Tuning",
}


def _heading(group: str, names: list[str]) -> str:
    """Return the verb, or the options of a group that have the keys, such as `model=fdnn`."""
    if group == "verb":
        shown = ["train", "prune", "quantize", "eval"] if names == ["root"] else names
        return ", ".join(f"`{verb}`" for verb in shown)
    options = [option for name in names for option in _options(group)[name]]
    return ", ".join(f"`{group}={option}`" for option in options)


@cache
def _options(group: str) -> dict[str, list[str]]:
    """Return the YAML files of a group by the schema option that their defaults lead to."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, node in _yaml(group).items():
        found[_schema_of(group, node)].append(name)
    return found


@cache
def _yaml(group: str) -> dict[str, Any]:
    """Return what every YAML file of a group says."""
    folder = ROOT / "conf" / group
    paths = sorted(folder.rglob("*.yaml"))
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    nodes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    return dict(zip(names, nodes, strict=True))


def _schema_of(group: str, node: dict[str, Any]) -> str:
    """Return the schema option at the end of the chain of defaults; empty where there is none."""
    first = node.get("defaults", [""])[0]
    if first in _yaml(group):
        return _schema_of(group, _yaml(group)[first])
    schema = _SCHEMA.fullmatch(first)
    return schema[1] if schema else ""


def _rows(classes: Entry, name: str, prefix: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for key, facts in classes[name]["keys"].items():
        if facts["type"].startswith("@"):
            rows += _rows(classes, facts["type"][1:], f"{prefix}{key}.")
        elif key != "_target_":
            meaning = facts.get("meaning", "").replace("|", "\\|").replace("``", "`")
            accepts = accepted(facts).replace(" | ", ", ")
            rows.append((f"`{prefix}{key}`", _default_text(facts), accepts, meaning))
    return rows


def _default_text(facts: Entry) -> str:
    if facts["default"] == "???":
        return "needed"
    return f"`{json.dumps(facts['default'])}`" if facts["default"] != "" else ""


if __name__ == "__main__":
    main()
