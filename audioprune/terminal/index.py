"""Which groups, options and keys a command line may have, without Hydra: ``read_index``.

The answers come from two files of audioprune/schema that `make schema` writes: signatures.json
(keys, types, ranges, meanings) and options.json (what the YAML files say). A test compares them
with what Hydra composes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import audioprune
from audioprune.ranges import accepted

_FOLDER = Path(audioprune.__file__).parent / "schema"
NEEDED = "???"
HYDRA_GROUPS: dict[str, dict[str, str]] = {
    "hydra/launcher": {
        "basic": "One job of a sweep after the other.",
        "joblib": "Jobs of a sweep side by side; hydra.launcher.n_jobs says how many.",
        "submitit_slurm": "Jobs of a sweep on Slurm; needs the extra slurm.",
    },
    "hydra/sweeper": {
        "basic": "Every combination of the values that are given.",
        "optuna": "Values that Optuna chooses; needs the extra sweep and objective=...",
    },
}
"""Groups of Hydra itself that a sweep uses, and what their options do."""
_MADE_BY_EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Key:
    """One key of a command line.

    Attributes:
        name: With its groups, such as ``training.epochs``.
        default: Its value where it is not given; ``"???"`` where one is needed.
        facts: What signatures.json says: type, range, options, meaning.
    """

    name: str
    default: Any
    facts: Mapping[str, Any]

    @property
    def accepts(self) -> str:
        """Type, range and options, such as ``float >= 0 or null``."""
        return accepted(self.facts)

    @property
    def meaning(self) -> str:
        """One line."""
        return str(self.facts.get("meaning", "")).replace("``", "")

    @property
    def default_text(self) -> str:
        """The default as it is typed; a value that follows another key names it."""
        if self.default == NEEDED:
            return ""
        text = _typed_text(self.default)
        if text.startswith("${") and text.endswith("}"):
            return f"<{text[2:-1]}>"
        return text or '""'


@dataclass(frozen=True)
class Choice:
    """What the words of a command line choose.

    Attributes:
        groups: The option of every group; None where none is chosen.
        given: Values by their dotted keys, of the options and of the command line.
    """

    groups: Mapping[str, str | None]
    given: Mapping[str, Any] = field(default_factory=dict)


class Index:
    """All that can be said on a command line, by verb.

    Args:
        signatures: What signatures.json holds.
        options: What options.json holds.
    """

    def __init__(self, signatures: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._classes = {**signatures["classes"], **options["classes"]}
        self._groups = options["groups"]
        self._verbs = options["verbs"]

    def knows(self, verb: str) -> bool:
        """Tell whether there is such a verb."""
        return verb in self._verbs

    def groups(self, verb: str) -> dict[str, str | None]:
        """Return the groups of a verb and the option that is chosen without any word."""
        return dict(self._verbs[verb]["groups"])

    def all_groups(self, verb: str) -> list[str]:
        """Return the groups of a verb, and those that only sweeps use where it can sweep."""
        of_sweeps = ["tune", *HYDRA_GROUPS] if self.runs_experiments(verb) else []
        return [*self.groups(verb), *of_sweeps]

    def runs_experiments(self, verb: str) -> bool:
        """Tell whether a verb runs experiments, and can sweep over them."""
        return _MADE_BY_EXPERIMENT in self._verbs[verb]["groups"]

    def options(self, group: str) -> dict[str, str]:
        """Return the options of a group and what each one is."""
        if group in HYDRA_GROUPS:
            return HYDRA_GROUPS[group]
        return {name: entry["says"] for name, entry in self._groups.get(group, {}).items()}

    def choice(self, verb: str, words: Sequence[str] = ()) -> Choice:
        """Return what the words of a command line choose, options by options.

        Args:
            verb: The verb.
            words: What follows it; single values are left out.
        """
        chosen = self.groups(verb)
        typed = dict(_typed(words, [*chosen, *(["tune"] if self.runs_experiments(verb) else [])]))
        of_experiment = self._entry("experiment", typed.get("experiment"))
        kept = {group: chosen[group] for group in self._verbs[verb]["keeps"]}
        own = {**of_experiment["chooses"], **kept, **typed}
        model = self._entry("model", own.get("model", chosen.get("model")))
        groups = {**chosen, **model["chooses"], **own}
        groups = {group: name for group, name in groups.items() if group in (*chosen, *typed)}
        given: dict[str, Any] = {}
        for group, name in groups.items():
            values = self._entry(group, name)["values"]
            given |= {f"{group}.{key}": value for key, value in values.items()}
        return Choice(groups, {**given, **of_experiment["values"]})

    def keys(self, verb: str, words: Sequence[str] = ()) -> dict[str, Key]:
        """Return all keys of a verb by name, with the defaults of the options that are chosen."""
        choice = self.choice(verb, words)
        found: dict[str, Key] = {}
        for name, facts in self._below(self._verbs[verb]["class"], ""):
            group = choice.groups.get(name)
            kind = self._entry(name, group)["class"] if group else ""
            if kind:
                self._add_group(found, name, kind, choice)
            elif name not in choice.groups and name != "verb":
                self._add(found, name, facts, choice)
        return found

    def _add_group(self, found: dict[str, Key], group: str, kind: str, choice: Choice) -> None:
        for name, facts in self._below(kind, f"{group}."):
            # a report has the keys that its YAML names, and no others
            if group != "report" or name in choice.given:
                self._add(found, name, facts, choice)

    def _add(
        self, found: dict[str, Key], name: str, facts: Mapping[str, Any], choice: Choice
    ) -> None:
        if not name.endswith("_target_"):
            found[name] = Key(name, choice.given.get(name, facts["default"]), facts)

    def _below(self, kind: str, prefix: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the keys of a class by dotted names, those of groups inside it too."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for key, facts in self._classes[kind]["keys"].items():
            if facts["type"].startswith("@"):
                found += self._below(facts["type"][1:], f"{prefix}{key}.")
            else:
                found.append((f"{prefix}{key}", facts))
        return found

    def _entry(self, group: str, name: str | None) -> dict[str, Any]:
        blank: dict[str, Any] = {"class": "", "says": "", "chooses": {}, "values": {}}
        return self._groups.get(group, {}).get(name or "", blank)

    def places(self, verb: str, key: str) -> list[str]:
        """Return the options whose keys have a name, such as ``pipeline=magnitude``."""
        group, _, name = key.partition(".")
        entries = self._groups.get(group, {}) if group in self._verbs[verb]["groups"] else {}
        return [
            f"{group}={option}"
            for option, entry in entries.items()
            if entry["class"] and name in self._names_of(group, entry)
        ]

    def _names_of(self, group: str, entry: Mapping[str, Any]) -> set[str]:
        """Return the keys of an option; a report has those alone that its YAML names."""
        names = {name for name, _ in self._below(entry["class"], "")}
        return names & set(entry["values"]) if group == "report" else names

    def elsewhere(self, verb: str) -> dict[str, Key]:
        """Return the keys of all options of a verb's groups, whatever is chosen."""
        found: dict[str, Key] = {}
        for group in self._verbs[verb]["groups"]:
            kinds = {entry["class"] for entry in self._groups[group].values() if entry["class"]}
            for kind in sorted(kinds):
                for name, facts in self._below(kind, f"{group}."):
                    if not name.endswith("_target_"):
                        found.setdefault(name, Key(name, facts["default"], facts))
        return found


def _typed_text(value: Any) -> str:
    """Return a value as it is typed on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value).replace(", ", ",")


def _typed(words: Sequence[str], groups: Sequence[str]) -> list[tuple[str, str]]:
    """Return the groups that words choose with their options, of a sweep the first."""
    found = []
    for word in words:
        key, given, value = word.lstrip("+").partition("=")
        if given and key in groups and value:
            found.append((key, value.split(",")[0].strip("'\"")))
    return found


@cache
def read_index() -> Index:
    """Return the index of this installation."""
    signatures, options = (
        json.loads((_FOLDER / name).read_text(encoding="utf-8"))
        for name in ("signatures.json", "options.json")
    )
    return Index(signatures, options)
