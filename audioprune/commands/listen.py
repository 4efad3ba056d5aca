"""``audioprune listen``: make a listening test, or evaluate the ratings that it collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from audioprune import provenance
from audioprune.commands.messages import say, written
from audioprune.errors import ConfigError
from audioprune.experiment.config_hash import plain_values
from audioprune.listening.ratings import read_ratings
from audioprune.listening.statistics import statistics
from audioprune.report.figures.listening import write_listening
from audioprune.report.shown.printing import show_written


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Write the audio and the page of a test, or the tables and figures of its ratings.

    The corpus is the one that the systems' files name, unless the command line gives another.

    Raises:
        ConfigError: Ratings are to be evaluated and none are given.
    """
    plain = plain_values(config)
    if plain["action"] == "stats":
        _evaluate(plain)
    else:
        _export(plain, overrides)


def _export(plain: dict[str, Any], overrides: Sequence[str]) -> None:
    import torch  # not at the top: the ratings are evaluated without it

    from audioprune.experiment.model_io import existing_file, instantiate
    from audioprune.listening.export import Plan, export

    plain = provenance.effective(plain, overrides)
    provenance.check(plain, overrides)
    torch.set_num_threads(plain["threads"])
    plan = Plan(**{item.name: plain[item.name] for item in fields(Plan)})
    for system in plan.systems.values():
        existing_file(system)  # before any corpus is made
    corpus = instantiate(plain["data"])
    files = export(plan, corpus, Path(plain["out"] or f"listening/{plan.test}"))
    fingerprint = str(corpus.fingerprint())
    for system in plan.systems.values():
        for note in provenance.notes({**plain, "checkpoint": system}, overrides, fingerprint):
            say(note)
    written(files)


def _evaluate(plain: dict[str, Any]) -> None:
    given = plain["results"]
    if not given:
        raise ConfigError(
            "expected results=FILE or results=[FILE,FILE], got none; give mushra.csv or files "
            "that the page saved"
        )
    sheet = read_ratings(given if isinstance(given, list) else [given])
    for line in sheet.damaged:
        say(f"left out {line}")
    files = write_listening(statistics(sheet), Path(plain["out"] or "reports/listening"))
    show_written(files, but=("listening_items",))
    written(files)
