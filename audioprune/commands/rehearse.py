"""``audioprune doctor experiment=...`` and ``runtime.rehearse=true``: what a run will take.

The corpus is the user's where it is at hand, else made signals with the counts of the published
one. Nothing is written but in a temporary folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from audioprune import schema
from audioprune.commands.doctor import missing_packages
from audioprune.commands.messages import note
from audioprune.data.made import PUBLISHED, made_corpus
from audioprune.errors import ConfigError, DataError
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.model_io import instantiate
from audioprune.experiment.rehearsal import Forecast, StepForecast, rehearse
from audioprune.interrupts import graceful
from audioprune.protocols import Corpus
from audioprune.terminal.records import csv_text
from audioprune.terminal.streams import shown_form
from audioprune.training.devices import chosen_device

_NOT_THERE = "not-there"
_NEED_A_MODEL = ("quantize", "eval")
_COLUMNS = ("step", "passes", "unit", "s per unit", "units", "total", "host GB", "device GB", "MB")


def run(config: DictConfig, overrides: list[str]) -> str:
    """Rehearse a composed experiment and print what each of its steps will take.

    Returns:
        ``"finished"``.

    Raises:
        ConfigError: A part cannot be built, or a step would fail; the message counts and the table
            names what stops the run.
    """
    data, lack = corpus_of(config)
    plain = plain_values(config)
    if config.verb in _NEED_A_MODEL and not config.checkpoint:
        raise ConfigError(
            f"expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give "
            f"the model to {config.verb}"
        )
    chosen_device(plain["runtime"]["device"])
    torch.set_num_threads(plain["runtime"]["threads"] or len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="audioprune-rehearsal-") as folder, graceful():
        found = rehearse(
            plain,
            overrides,
            data,
            Path(folder),
            place=Path(plain["runtime"]["folder"]),
            tell=_tell,
        )
    problems = [*(f"{name} is missing or too old" for name in missing_packages()), *lack]
    problems += found.problems
    forecast = Forecast(found.steps, tuple(problems), found.facts)
    if shown_form() == "json":
        print(json.dumps(forecast.as_dict()))
    elif shown_form() == "csv":
        rows = [row for step in forecast.steps for row in _rows_of(step)]
        records = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        print(csv_text(records, _COLUMNS), end="")
    else:
        print("\n".join(lines_of(forecast)))
    if problems:
        raise ConfigError(
            f"rehearsal: expected a run without obstacles, got {len(problems)}: {problems[0]}"
        )
    return "finished"


def _tell(path: str) -> None:
    note(f"rehearsing {path}")


def _fill_missing(config: DictConfig) -> list[str]:
    """Give the paths of the corpus that are missing a name; return their keys."""
    data = config.data
    keys = [str(key) for key in data if OmegaConf.is_missing(data, key)]
    if keys and data.get("name") in PUBLISHED:
        with open_dict(config):
            for key in keys:
                data[key] = f"{_NOT_THERE}/{key}"
        return keys
    return []


def corpus_of(config: DictConfig) -> tuple[Corpus, list[str]]:
    """Return the prepared corpus of a configuration, or made signals in its place.

    Paths of a published corpus that are not given get a name, so that the configuration is whole.

    Returns:
        The corpus, and what is wrong with the one that was given.

    Raises:
        ConfigError: A value of the configuration is missing or wrong.
        DataError: The files of such a corpus cannot be trusted.
    """
    without_roots = _fill_missing(config)
    schema.check(config)
    data = plain_values(config)["data"]
    corpus, name = instantiate(data), str(data.get("name"))
    if without_roots:
        return made_corpus(name, corpus), []
    try:
        corpus.prepare()
    except DataError as error:
        if name not in PUBLISHED:
            raise
        return made_corpus(name, corpus), [f"data: {error}"]
    return corpus, []


def lines_of(forecast: Forecast) -> list[str]:
    """Return a forecast as lines of a terminal."""
    facts = forecast.facts
    batch, whole = facts["batch"]
    head = [
        f"{facts['model']}, {facts['params'] / 1e6:.2f} M parameters, {facts['pipeline']}, "
        f"on {facts['device']} with {facts['threads']} threads",
        f"corpus: {facts['corpus']}; items: {facts['items'][0]} train, {facts['items'][1]} valid, "
        f"{facts['items'][2]} test in {facts['conditions']} conditions",
    ]
    if batch < whole:
        head.append(f"batch: {batch} of {whole} items rehearsed, time and memory scaled")
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for step in forecast.steps:
        rows += _rows_of(step)
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    table = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    foot = [
        f"total: at most {duration(forecast.total_s)}, {forecast.disk_bytes / 1e6:.0f} MB on disk"
    ]
    longest = forecast.dominating()
    if longest:
        foot.append(f"dominates: {longest[0]}, {longest[1]} ({longest[2]:.0%} of the time)")
    foot += [f"FAILS {problem}" for problem in forecast.problems]
    return [*head, *table, *foot]


def _rows_of(step: StepForecast) -> list[tuple[str, ...]]:
    state = "FAILS" if step.failure else "" if step.measured else "not run"
    rows: list[tuple[str, ...]] = []
    for place, each in enumerate(step.units):
        first = place == 0
        total = duration(step.passes * each.total_s)
        rows.append(
            (
                step.path if first else "",
                str(step.passes) if first else "",
                each.unit,
                state or f"{each.seconds:.3g}",
                f"{each.count:.6g}",
                total,
                f"{step.host_bytes / 1e9:.2f}" if first else "",
                f"{step.device_bytes / 1e9:.2f}" if first else "",
                f"{step.passes * step.disk_bytes / 1e6:.1f}" if first else "",
            )
        )
    return rows


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    words = (0, 2)  # columns of words; all others are numbers
    return [
        cell.ljust(width) if place in words else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
