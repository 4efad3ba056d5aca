"""What help and completion know without Hydra is what Hydra composes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from composing import composed, hydra_started, options_of
from omegaconf import OmegaConf

from audioprune.terminal.index import read_index

INDEX = read_index()
VERBS = (
    *("train", "prune", "quantize", "eval", "report", "info", "data", "listen", "generate"),
    *("export", "enhance", "apply", "doctor"),
)


@pytest.fixture(autouse=True, scope="module")
def hydra() -> Iterator[None]:
    with hydra_started():
        yield


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a composed configuration by dotted keys, as its values are written."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if name == "pipeline.steps":  # values of keys beside them
            found[name] = {}
        elif isinstance(value, dict) and value and name not in ("tune", "hydra"):
            found |= _flat(value, f"{name}.")
        elif key not in ("_target_", "verb") and name != "hydra":
            found[name] = value
    return found


def _composed(verb: str, words: tuple[str, ...]) -> dict[str, Any]:
    return _flat(OmegaConf.to_container(composed(verb, *words)))


@pytest.mark.parametrize(
    "words",
    [
        *((verb,) for verb in VERBS),
        ("prune", "model=gcrn"),
        ("prune", "experiment=p2/fdnn_demo"),
        ("prune", "experiment=p2/gcrn_tiny"),
        ("train", "experiment=p1/dcae_desk"),
        ("prune", "experiment=p3/ddsp_small", "pipeline=p3_mask"),
        ("prune", "experiment=p4/vgg_2018_desk", "data=class_folder"),
        ("eval", "task=adversarial", "data=coded_synthetic"),
        ("report", "report=p1"),
    ],
)
def test_defaults_are_those_that_hydra_composes(words: tuple[str, ...]) -> None:
    verb, rest = words[0], words[1:]
    theirs = _composed(verb, rest)
    mine = {name: key.default for name, key in INDEX.keys(verb, rest).items()}
    whole = {name for name, key in mine.items() if isinstance(key, dict)}
    theirs = {name: each for name, each in theirs.items() if not name.startswith(tuple(whole))}
    mine = {name: each for name, each in mine.items() if name not in whole}
    unchosen = {group for group, option in INDEX.choice(verb, rest).groups.items() if not option}
    assert mine == {name: each for name, each in theirs.items() if name not in unchosen}


@pytest.mark.parametrize("group", ["data", "model", "task", "pipeline", "experiment", "report"])
def test_options_are_the_files_and_say_what_they_are(group: str) -> None:
    told = INDEX.options(group)
    assert sorted(told) == options_of(group) and all(told.values())


def test_a_key_knows_the_options_that_have_it() -> None:
    places = INDEX.places("prune", "pipeline.sparsity")
    assert "pipeline=magnitude" in places and "pipeline=train" not in places
    assert INDEX.places("doctor", "pipeline.sparsity") == []


def test_the_words_of_a_command_line_choose_options() -> None:
    choice = INDEX.choice("prune", ["model=gcrn", "data=vctk,nsynth", "x=1", "-m"])
    assert choice.groups["task"] == "complex" and choice.groups["data"] == "vctk"
    assert INDEX.choice("prune", ["model=gcrn", "task=magnitude"]).groups["task"] == "magnitude"


def test_defaults_are_told_as_they_are_typed() -> None:
    keys = INDEX.keys("prune")
    assert keys["pipeline.finetune_epochs"].default_text == "<training.finetune_epochs>"
    assert keys["data.test_snr_db"].default_text == "[-5.0,0.0,5.0]"
    assert keys["scale"].default_text == '""' and keys["checkpoint"].default_text == "null"
    assert INDEX.keys("prune", ["data=class_folder"])["data.root"].default_text == ""
