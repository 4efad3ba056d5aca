"""The page on which people take a listening test: ``build_page``.

It is one HTML file with the audio inside, which needs no server and no network. What the page does
is written in templates/session.js, how clips play in step in templates/in_step.js; which stimuli
it holds is decided in export.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.dsp.encoding import encoded
from audioprune.files import sha256
from audioprune.listening.loudness import SAMPLE_RATE
from audioprune.listening.scores import REFERENCE

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("in_step.js", "session.js")
QUESTIONS = ("listener", "playback")
"""What a listener is asked at the start; columns of the results."""


@dataclass(frozen=True)
class _Clips:
    """The audio of a page.

    Attributes:
        data: FLAC of every stimulus as base64, in an order that tells nothing.
        places: Trial and condition -> place in ``data``.
    """

    data: list[str]
    places: dict[tuple[str, str], int]


def build_page(
    name: str, title: str, trials: Mapping[str, Mapping[str, np.ndarray]], seed: int
) -> str:
    """Return the page of a test as HTML.

    Names of conditions are in the page only in a scrambled form, in data that no element shows;
    the audio is in an order drawn by seed. The page draws the order of trials and conditions from
    the listener's code.

    Args:
        name: Name of the test, the first column of its results.
        title: Title of the page.
        trials: int16 samples at 48 kHz of every condition of every trial, the reference among
            them.
        seed: Decides the order of the audio and takes part in the orders that listeners get.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    clips = _clips(trials, seed)
    plan: dict[str, Any] = {
        "test": name,
        "seed": seed,
        "sampleRate": SAMPLE_RATE,
        "trials": [_trial(trial, signals, clips) for trial, signals in trials.items()],
    }
    # A listener's saved answers belong to one version of the page alone.
    content = [plan, [sha256(clip.encode()) for clip in clips.data]]
    plan["version"] = sha256(json.dumps(content).encode())[:16]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("session.html.j2").render(
        title=title,
        style=(_TEMPLATES / "session.css").read_text(encoding="utf-8"),
        script="".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        plan=_safe_json(plan),
        clips=clips.data,
        trials=len(trials),
    )


def _clips(trials: Mapping[str, Mapping[str, np.ndarray]], seed: int) -> _Clips:
    names = [(trial, condition) for trial, signals in trials.items() for condition in signals]
    order = [names[place] for place in np.random.default_rng([seed, 1]).permutation(len(names))]
    data = [_as_flac(trials[trial][condition]) for trial, condition in order]
    return _Clips(data, {stimulus: place for place, stimulus in enumerate(order)})


def _trial(trial: str, conditions: Iterable[str], clips: _Clips) -> dict[str, Any]:
    """Return what the page must know of a trial."""
    stimuli = [
        {"key": _scrambled(condition), "clip": clips.places[trial, condition]}
        for condition in conditions
    ]
    return {"id": trial, "reference": clips.places[trial, REFERENCE], "stimuli": stimuli}


def _as_flac(samples: np.ndarray) -> str:
    return base64.b64encode(encoded(samples, SAMPLE_RATE)).decode()


def _scrambled(condition: str) -> str:
    """Hide a name from a listener who looks at the page's source; session.js turns it back."""
    return base64.b64encode(bytes(byte ^ 0x5A for byte in condition.encode())[::-1]).decode()


def _safe_json(value: Any) -> str:
    """Return JSON that can stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")
