"""From models and a corpus to a listening test on disk: ``export``.

It calls the other modules in order and writes stimuli, the page, the configuration for webMUSHRA
and a manifest.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from audioprune.dsp.encoding import encoded
from audioprune.errors import ConfigError, OutputError
from audioprune.experiment.results import clean
from audioprune.files import check_writable, drop_leftovers, write_atomic, write_json
from audioprune.interrupts import check_stop
from audioprune.listening.items import Item, choose_items
from audioprune.listening.loudness import SAMPLE_RATE
from audioprune.listening.page import build_page
from audioprune.listening.scores import CONTROLS, MID_ANCHOR
from audioprune.listening.stimuli import (
    ANCHOR_HZ,
    Stimulus,
    Trial,
    anchors_for,
    as_pcm16,
    check_name,
    common_gain,
    render_trial,
)
from audioprune.listening.systems import System, check_systems, load_system
from audioprune.listening.webmushra import RESOURCES, configuration, to_yaml
from audioprune.progress import progress
from audioprune.protocols import Corpus
from audioprune.ranges import OneOf, Range

_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"
"""Is there while a test is written, so that the same command goes on after it was killed."""
_LATE = round(0.001 * SAMPLE_RATE)
"""Samples; a condition that is later or earlier than this is mentioned."""
_LEAD = (
    "In each trial you hear a reference and several conditions of the same recording. Say how "
    "close each condition comes to the reference, from 0 (bad) to 100 (excellent). One of the "
    "conditions is the reference itself."
)


@dataclass(frozen=True)
class Plan:
    """What a listening test is to hold.

    Attributes:
        test: Key of ``systems.TESTS``, or ``custom``.
        systems: Run folder or model file of each system, by name.
        items: Number of recordings.
        seed: Decides the recordings and all orders.
        duration_s: Shortest and longest recording in seconds.
        conditions: Patterns of the corpus' test conditions.
        loudness_lufs: Loudness of every stimulus.
        title: Title of the page; empty for one made of the test's name.
        page: Whether the page is written.
        webmushra: Whether WAV files and the configuration for webMUSHRA are written.
        model: ``_target_`` of the user's own class, where a system is one of it.
    """

    test: Annotated[str, OneOf("pre_pruning", "pruned", "smaller", "custom")]
    systems: Mapping[str, str]
    items: Annotated[int, Range(1, 100)] = 8
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    duration_s: Annotated[Sequence[float], Range(above=0, most=12)] = (3.0, 10.0)
    conditions: Sequence[str] = ("*",)
    loudness_lufs: Annotated[float, Range(-60, 0)] = -23.0
    title: str = ""
    page: bool = True
    webmushra: bool = True
    model: Mapping[str, Any] = field(default_factory=dict)


def export(plan: Plan, corpus: Corpus, out: Path) -> list[Path]:
    """Write a listening test into a folder.

    Args:
        plan: What the test holds.
        corpus: Corpus with test sets of noisy (or coded) and clean signals.
        out: Folder of the test; its last part names the test.

    Returns:
        The page, the configuration and the manifest, as far as they are written.

    Raises:
        ConfigError: A name or number is wrong, or a model does not fit the corpus.
        CheckpointError: A model file cannot be read.
        DataError: Too few recordings, or a signal that cannot be presented.
        OutputError: The folder holds something else or cannot be written.
    """
    check_systems(plan.test, plan.systems)
    if not (plan.page or plan.webmushra):
        raise ConfigError(
            "expected page=true or webmushra=true, got neither; choose what is to be written"
        )
    _check_folder(out)
    systems = [
        load_system(name, path, corpus.sample_rate, plan.seed, plan.model)
        for name, path in plan.systems.items()
    ]
    corpus.prepare()
    facts = corpus.describe()
    unprocessed = "coded" if "codec" in facts else "noisy"
    for name in plan.systems:
        check_name(name, unprocessed)
    chosen = choose_items(corpus, plan.items, plan.seed, plan.duration_s, plan.conditions)
    trials = _render(chosen, systems, unprocessed, corpus.sample_rate, plan.loudness_lufs)
    notes = _notes(corpus.sample_rate, trials)
    for note in notes:
        _LOG.warning(note)
    gain = common_gain(trials)
    written = _write_test(plan, trials, gain, out)
    manifest = {
        "name": out.name,
        "test": plan.test,
        "seed": plan.seed,
        "unprocessed": unprocessed,
        "sample_rate": SAMPLE_RATE,
        "corpus": facts,
        "systems": [system.facts() for system in systems],
        "loudness_lufs": plan.loudness_lufs,
        "common_gain_db": 20 * math.log10(gain),
        "anchors_hz": anchors_for(corpus.sample_rate),
        "trials": [_trial_facts(trial, gain) for trial in trials],
        "notes": notes,
    }
    written.append(write_json(out / _MANIFEST, clean(manifest)))
    (out / _UNFINISHED).unlink()
    return written


def _check_folder(out: Path) -> None:
    if not re.fullmatch(r"[\w.-]+", out.name, re.ASCII) or out.name in (".", ".."):
        raise ConfigError(
            f"expected a folder name of letters, digits, '_', '-' and '.', got {out.name!r}; it "
            f"names the test: rename out="
        )
    names = [entry.name for entry in out.iterdir()] if out.exists() else []
    others = [name for name in names if name != ".writable" and ".tmp." not in name]
    if others and not {_MANIFEST, _UNFINISHED} & set(names):
        raise OutputError(
            f"{out}: expected a new folder or an earlier export, got other files; choose "
            f"another out="
        )
    check_writable(out)
    write_atomic(out / _UNFINISHED, "")
    drop_leftovers(out)


def _render(
    items: Sequence[Item],
    systems: Sequence[System],
    unprocessed: str,
    sample_rate: int,
    target_lufs: float,
) -> list[Trial]:
    trials = []
    with progress("stimuli", len(items)) as display:
        for item in items:
            check_stop()
            processed = {system.name: system.enhance(item) for system in systems}
            trials.append(render_trial(item, processed, unprocessed, sample_rate, target_lufs))
            display.advance()
    return trials


def _notes(sample_rate: int, trials: Sequence[Trial]) -> list[str]:
    """Say what the experimenter must know before anybody listens."""
    left_out = [name for name in ANCHOR_HZ if name not in anchors_for(sample_rate)]
    notes = [
        f"the audio of {sample_rate} Hz holds nothing above {ANCHOR_HZ[name]:g} Hz: {name} is "
        f"left out"
        for name in left_out
    ]
    if MID_ANCHOR not in left_out and sample_rate / 2 < 2 * ANCHOR_HZ[MID_ANCHOR]:
        notes.append(
            f"the audio ends at {sample_rate / 2:g} Hz: the 7 kHz anchor is close to the reference"
        )
    late: dict[str, int] = {}
    for trial in trials:
        for name, stimulus in trial.stimuli.items():
            if abs(stimulus.lag) > _LATE:
                late[name] = stimulus.lag
    notes += [
        f"{name} is {1000 * lag / SAMPLE_RATE:+.1f} ms late against the reference: switching "
        f"will jump"
        for name, lag in late.items()
    ]
    return notes


def _write_test(plan: Plan, trials: Sequence[Trial], gain: float, out: Path) -> list[Path]:
    """Write the page and the files for webMUSHRA, as far as they are wanted."""
    title = plan.title or f"Listening test: {out.name}"
    samples = {trial.item.name: _as_pcm16(trial, gain) for trial in trials}
    written = []
    if plan.page:
        page = build_page(out.name, title, samples, plan.seed)
        written.append(write_atomic(out / f"{out.name}.html", page))
    if plan.webmushra:
        written.append(_write_webmushra(out, title, samples))
    return written


def _as_pcm16(trial: Trial, gain: float) -> dict[str, np.ndarray]:
    return {name: as_pcm16(stimulus.samples, gain) for name, stimulus in trial.stimuli.items()}


def _write_webmushra(
    out: Path, title: str, samples: Mapping[str, Mapping[str, np.ndarray]]
) -> Path:
    """Write a WAV file for each stimulus, and the configuration; return the configuration."""
    files = set()
    for trial, signals in samples.items():
        for name, own in signals.items():
            files.add(_write_wav(out / "audio" / trial / f"{name}.wav", own))
    _remove_others(out / "audio", files)
    conditions = {trial: list(signals) for trial, signals in samples.items()}
    config = configuration(out.name, title, conditions, _LEAD)
    usage = (
        f"# Copy this folder to {RESOURCES}/{out.name} of webMUSHRA and open "
        f"?config=resources/{out.name}/{out.name}.yaml\n"
    )
    return write_atomic(out / f"{out.name}.yaml", usage + to_yaml(config))


def _write_wav(path: Path, samples: np.ndarray) -> Path:
    return write_atomic(path, encoded(samples, SAMPLE_RATE, "WAV"))


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove the stimuli of an earlier export that this one does not have."""
    for path in folder.glob("*/*.wav"):
        if path not in kept:
            path.unlink()
    for place in folder.iterdir():
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _trial_facts(trial: Trial, gain: float) -> dict[str, Any]:
    """Return what the manifest says of a trial."""
    item = trial.item
    return {
        "id": item.name,
        "condition": item.condition,
        "speaker": item.speaker,
        "gender": item.gender,
        "duration_s": trial.duration_s,
        "stimuli": {
            name: _stimulus_facts(name, stimulus, gain) for name, stimulus in trial.stimuli.items()
        },
    }


def _stimulus_facts(name: str, stimulus: Stimulus, gain: float) -> dict[str, Any]:
    return {
        "loudness_lufs": round(stimulus.loudness_lufs, 3),
        "gain_db": round(stimulus.gain_db, 3),
        "lag_samples": stimulus.lag,
        "peak": round(float(np.abs(stimulus.samples).max()) * gain, 5),
        "control": name in CONTROLS,
    }
