"""Help: short pages with commands that work, every key with its meaning, close names."""

from __future__ import annotations

import shlex

import pytest
from composing import composed, hydra_started

from audioprune.cli import VERBS, _asks_for_help
from audioprune.commands.own_model import own_words
from audioprune.errors import ConfigError
from audioprune.terminal.help import MOST_LINES, closest_text, help_text
from audioprune.terminal.index import HYDRA_GROUPS, read_index
from audioprune.terminal.pages import PAGES

INDEX = read_index()


def _page(verb: str, *words: str, columns: int = 100) -> str:
    return help_text(verb, words, columns, VERBS[verb])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("columns", [80, 100])
def test_the_page_of_a_verb_is_short_and_fits(verb: str, columns: int) -> None:
    lines = _page(verb, "--help", columns=columns).splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) <= columns
    assert f"audioprune {verb}: {VERBS[verb]}" == lines[0]
    assert sum(line.startswith("  # ") for line in lines) == 5


@pytest.mark.parametrize("verb", VERBS)
def test_the_main_keys_exist(verb: str) -> None:
    missing = set(PAGES[verb].keys) - set(INDEX.keys(verb))
    assert not missing


def _examples() -> list[tuple[str, list[str]]]:
    """Return every command that help shows, by verb, in the words that Hydra is given."""
    found = []
    for verb, page in PAGES.items():
        for _, command in page.examples:
            named, *words = shlex.split(command)
            assert named in (verb, "prune") and len(page.examples) == 5
            if named not in ("info", "apply", "export"):  # these have a key of this name
                words = [word for word in words if not word.startswith("format=")]
            words = [f"input{word[2:]}" if word.startswith("in=") else word for word in words]
            named = "prune" if named == "doctor" and words else named
            swept = "-m" in words
            words = [word.partition(",")[0] if swept else word for word in words if word != "-m"]
            found.append((named, own_words(named, words)))
    return found


def test_every_command_that_help_shows_names_what_there_is() -> None:
    for verb, words in _examples():
        groups, keys = INDEX.groups(verb), INDEX.keys(verb, words)
        for word in words:
            name, _, value = word.lstrip("+").partition("=")
            if name in groups:
                assert value in INDEX.options(name), word
            elif name in HYDRA_GROUPS:
                assert value in HYDRA_GROUPS[name]
            elif not name.startswith(("model.", "hydra.", "systems.")):
                assert name in keys, f"{verb} {word}"


@pytest.mark.slow
def test_every_command_that_help_shows_can_be_composed() -> None:
    with hydra_started():
        for verb, words in _examples():
            assert composed(verb, *words)


def test_a_key_is_told_with_default_range_and_meaning() -> None:
    text = _page("prune", "training.learning_rate=?")
    assert text.splitlines()[0] == "training.learning_rate=0.001  (default)"
    assert "Initial learning rate" in text and "accepts: float > 0" in text
    assert _page("prune", "--help", "training.learning_rate") == text
    assert "follows: training.finetune_epochs" in _page("prune", "pipeline.finetune_epochs=?")
    assert "root=...  (needed)" in _page("data", "data=class_folder", "data.root=?")


def test_a_group_is_told_with_its_options_and_keys() -> None:
    text = _page("prune", "--help", "model=gcrn")
    assert "GCRN of Tan & Wang" in text and "Keys of model with model=gcrn" in text
    keys = {name for name in INDEX.keys("prune", ["model=gcrn"]) if name.startswith("model.")}
    assert keys and all(f"  {name}=" in text for name in keys)
    assert "training.epochs=10" in _page("prune", "experiment=p2/fdnn_demo", "--help", "training")


def test_all_keys_are_told() -> None:
    text = _page("prune", "--help", "all")
    assert all(f"\n  {name}=" in text for name in INDEX.keys("prune"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("pipeline.lambda1", "closest: pipeline.lambda_1 (float >= 0: Strength of the l1"),
        ("lambda_1", "closest: pipeline.lambda_1 ("),
        ("epochs", "closest: training.epochs (int >= 1: Passes over"),
        ("trainin.epochs", "closest: training.epochs ("),
        ("learning_rate", "closest: training.learning_rate ("),
        ("pipeline.sparsity", "it is a key of pipeline=magnitude, pipeline="),
        ("pipeline.sparsty", "closest: pipeline.sparsity (float >= 0 and <= 1: Removed"),
        ("qqqq", ""),
    ],
)
def test_a_close_key_is_told_with_its_meaning(given: str, told: str) -> None:
    found = closest_text(INDEX, "prune", given, [])
    assert told in found and bool(told) == bool(found)


def test_an_unknown_topic_is_an_error_that_names_the_closest() -> None:
    with pytest.raises(ConfigError, match="no group or key 'sede' -> closest: seed"):
        _page("prune", "--help", "sede")


def test_help_is_asked_for_in_two_ways() -> None:
    assert _asks_for_help(["--help"]) and _asks_for_help(["seed=?"]) and _asks_for_help(["-h"])
    assert not _asks_for_help(["seed=1", "-m"])
