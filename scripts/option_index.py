"""Read what every YAML file of conf/ says, for help and completion that load no Hydra.

`read_options` returns one mapping: which groups a verb has, and of each option of a group its
class of keys, its first comment, the options of other groups that it chooses and the values that
deviate from the signatures. `write_schema.py` stores it in audioprune/schema/options.json.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from audioprune.report import write_report
from scripts.signatures import Entry, Reader, meanings

CONF = Path(__file__).resolve().parent.parent / "conf"
GROUPS = ("experiment", "data", "model", "task", "pipeline", "report", "tune")
_SCHEMA = re.compile(r"/schema/(\w+)(?:/(\w+))?@(?:_here_|model|tune)")
_OVERRIDE = re.compile(r"override /?(\w+)(?:@_global_\.\w+)?")
_NOT_VALUES = ("defaults", "steps", "hydra", "_target_")
_REPORT = "ReportKeys"


def read_options(table: Entry) -> Entry:
    """Return verbs, groups and the class of a report's keys.

    Args:
        table: What was read from the signatures, see write_schema.py.
    """
    classes = {**table["classes"], _REPORT: _report_keys()}
    groups = {
        group: {name: _option(table["groups"], classes, group, name) for name in _names(group)}
        for group in GROUPS
    }
    verbs = {path.stem: _verb(table, path) for path in sorted(CONF.glob("*.yaml"))}
    del verbs["base"]
    return {"verbs": verbs, "groups": groups, "classes": {_REPORT: classes[_REPORT]}}


def _report_keys() -> Entry:
    """Return the keys of a report, which are arguments of the function that writes it."""
    keys = Reader().keys_of_class(write_report)
    said = meanings(write_report)
    more = {"reported": "any", "ratings": "str?", "only": "list[str]", "claims": "list[str]"}
    for key, kind in more.items():
        keys[key] = {"type": kind, "default": keys[key]["default"], "meaning": said[key]}
        keys[key]["default"] = [] if kind.startswith("list") else None
    del keys["runs"], keys["out"]
    return {"meaning": "What a report shows.", "keys": keys}


def _verb(table: Entry, path: Path) -> Entry:
    node = _read(path)
    below = _read(CONF / "base.yaml")["defaults"] if "base" in node["defaults"] else []
    items = [*below, *node["defaults"]]
    classes = [_SCHEMA.fullmatch(item) for item in items if isinstance(item, str)]
    schema = next(match[1] for match in classes if match)
    chosen = {
        key: value for item in items if isinstance(item, dict) for key, value in item.items()
    }
    return {
        "class": table["groups"]["verb"][schema],
        "groups": {key: value for key, value in chosen.items() if key in GROUPS},
        "keeps": [key[9:] for key in chosen if key[:9] == "override " and key[9:] in GROUPS],
    }


@cache
def _names(group: str) -> list[str]:
    paths = sorted((CONF / group).rglob("*.yaml"))
    return [path.relative_to(CONF / group).with_suffix("").as_posix() for path in paths]


def _option(schemas: Entry, classes: Entry, group: str, name: str) -> Entry:
    """Return one option with all that the options below it say."""
    schema, chooses, values = _followed(group, name)
    kind = _REPORT if group == "report" else schemas.get(group, {}).get(schema, "")
    flat = dict(_flat(values.get(group, {}) if group == "tune" else values, kind, classes))
    return {"class": kind, "says": _says(group, name), "chooses": chooses, "values": flat}


def _followed(group: str, name: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Follow the chain of defaults, and return the schema, chosen options and plain values."""
    node = _read(CONF / group / f"{name}.yaml")
    schema, chooses, values = "", dict[str, str](), dict[str, Any]()
    for item in node.get("defaults", []):
        if isinstance(item, dict):
            for key, option in item.items():
                place = _OVERRIDE.fullmatch(key)
                if place and place[1] in GROUPS:
                    chooses[place[1]] = option
        elif found := _SCHEMA.fullmatch(item):
            schema = found[2] or found[1]
        elif item != "_self_":
            schema, below, under = _followed(group, item.removeprefix(f"/{group}/"))
            chooses, values = {**below, **chooses}, _merged(values, under)
    own = {key: value for key, value in node.items() if key not in _NOT_VALUES}
    return schema, chooses, _merged(values, own)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found


def _flat(values: dict[str, Any], kind: str, classes: Entry) -> list[tuple[str, Any]]:
    """Return values by dotted keys; a mapping that is itself a value stays whole."""
    keys = classes[kind]["keys"] if kind else {}
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        facts = keys.get(key, {"type": "@"} if isinstance(value, dict) and not kind else {})
        if isinstance(value, dict) and facts.get("type", "").startswith("@"):
            below = facts["type"][1:]
            found += [(f"{key}.{name}", each) for name, each in _flat(value, below, classes)]
        else:
            found.append((key, value))
    return found


def _says(group: str, name: str) -> str:
    """Return the first sentence of an option's comments that is no command."""
    lines = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line[2:].strip() for line in lines if line.startswith("# ")]
    text = next((line for line in comments if not line.startswith("@package")), "")
    return re.split(r": audioprune \w+ ", text)[0] if group == "experiment" else text


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
