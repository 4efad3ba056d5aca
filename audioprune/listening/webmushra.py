"""The configuration of a test for webMUSHRA, a server of others: ``configuration``, ``to_yaml``.

Only its configuration file is made here. The page that needs no server is in page.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from audioprune.listening.scores import REFERENCE

RESOURCES = "configs/resources"
"""Where webMUSHRA, from its own root, looks for the exported folder."""


def configuration(
    name: str, title: str, trials: Mapping[str, Sequence[str]], lead: str
) -> dict[str, Any]:
    """Return the configuration of a test.

    Args:
        name: Name of the test and of its folder.
        title: Title in the browser.
        trials: Names of the conditions of each trial, the reference among them.
        lead: Instructions of the first page.
    """
    first = next(iter(trials))
    volume = {
        "type": "volume",
        "id": "volume",
        "name": "Volume",
        "content": "Set a comfortable volume and do not change it afterwards.",
        "stimulus": _path(name, first, REFERENCE),
        "defaultVolume": 0.5,
    }
    questions = [
        {"type": "text", "label": "Listener (a code, no name)", "name": "listener"},
        {"type": "text", "label": "Headphones or loudspeakers", "name": "playback"},
    ]
    return {
        "testname": title,
        "testId": name,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "start", "name": title, "content": lead},
            volume,
            ["random", *(_page(name, trial, conditions) for trial, conditions in trials.items())],
            {
                "type": "finish",
                "name": "Thank you",
                "content": "Please send your ratings.",
                "showResults": False,
                "writeResults": True,
                "questionnaire": questions,
            },
        ],
    }


def _page(name: str, trial: str, conditions: Sequence[str]) -> dict[str, Any]:
    """Return one MUSHRA page.

    webMUSHRA adds the hidden reference itself; the anchors are stimuli of ours.
    """
    return {
        "type": "mushra",
        "id": trial,
        "name": "Trial",
        "content": "How close is each condition to the reference?",
        "showWaveform": False,
        "enableLooping": True,
        "reference": _path(name, trial, REFERENCE),
        "createAnchor35": False,
        "createAnchor70": False,
        "randomize": True,
        "showConditionNames": False,
        "switchBack": False,
        "strict": True,
        "stimuli": {
            condition: _path(name, trial, condition)
            for condition in conditions
            if condition != REFERENCE
        },
    }


def _path(name: str, trial: str, condition: str) -> str:
    return f"{RESOURCES}/{name}/audio/{trial}/{condition}.wav"


def to_yaml(value: Any, indent: int = 0) -> str:
    """Write mappings, lists and plain values as block YAML.

    webMUSHRA reads with a small parser that knows neither folded strings nor ``- - a``: every
    string is quoted, and a list within a list starts a line of its own.
    """
    pad = " " * indent
    if isinstance(value, Mapping):
        return "".join(_entry(f"{pad}{key}:", item, indent) for key, item in value.items())
    return "".join(_element(item, indent) for item in value)


def _entry(start: str, value: Any, indent: int) -> str:
    if isinstance(value, Mapping | list):
        return f"{start}\n{to_yaml(value, indent + 4)}"
    return f"{start} {json.dumps(value)}\n"


def _element(value: Any, indent: int) -> str:
    pad = " " * indent
    if isinstance(value, Mapping):
        return f"{pad}- {to_yaml(value, indent + 2)[indent + 2 :]}"
    if isinstance(value, list):
        return f"{pad}-\n{to_yaml(value, indent + 2)}"
    return f"{pad}- {json.dumps(value)}\n"
