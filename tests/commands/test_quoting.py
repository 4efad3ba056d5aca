"""Words that Hydra cannot read are answered by a word that it reads as the same text."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from audioprune.commands.quoting import quoted, remedy, unresolved
from audioprune.experiment.model_io import instantiate


def _read(word: str) -> str:
    """Return what a shell, Hydra and OmegaConf make of a word."""
    (typed,) = shlex.split(word)
    return str(OmegaConf.create({"x": OverridesParser.create().parse_override(typed).value()}).x)


HOSTILE = (
    *("/a=b", "/a#b", "/a{b", "/a}b", "/a b", "/a,b", "/a[1]", "/a(b)", "it's", 'say "so"'),
    *("/ü/語", "~/x", "/a\\", '\\"', "/a${x}", "/a\\${x}b", "${", "$x", "a;b|c&d", "%s", "null"),
    *("true", "1", "--help", "choice(1,2)", "/a:b", "<b>", "]]>", "*?", "!x", "@c^d"),
)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_quoted_word_gives_the_same_text(value: str) -> None:
    assert _read(quoted("data.root", value)) == value


@given(st.text(st.characters(codec="utf-8"), max_size=12))
@settings(max_examples=6, deadline=None)
def test_whatever_is_proposed_gives_the_same_text(value: str) -> None:
    word = quoted("root", value)
    assert not word or _read(word) == value
    assert word or not value.isprintable() or "\\" in value or "$" in value


def test_a_text_that_no_word_gives_is_not_proposed() -> None:
    assert quoted("root", "/a\nb") == "" and quoted("root", "\x1b[31m") == ""
    told = remedy(["root=/a\nb=c"])
    assert told.endswith("got /a\\nb=c; take its special signs away") and "\n" not in told


def test_words_that_can_be_read_are_left_alone() -> None:
    assert remedy(["--cfg", "job", "root=/a/b", "+x=1", "~y", "data.test_snr_db=[-5,0]"]) == ""
    assert remedy(["-m", "seed=0,1", "root=/a"]) == ""


def test_a_nameless_interpolation_names_its_key() -> None:
    told = unresolved(["seed=1", 'data.root="/a${x}"'], "not found")
    assert told.startswith("data.root: expected the name of another key in ${...}, got ${x} (not")
    assert "'data.root=\"/a\\${x}\"'" in told
    assert unresolved(["seed=1"], "not found") == ""


@pytest.mark.parametrize("value", ["/a${x}b", "/a\\${x}", "${", "${oc.env:HOME}", "a\\b"])
def test_a_resolved_value_is_built_as_it_is(value: str) -> None:
    """Signs of an interpolation that are part of a path stay, at any depth."""
    node = {"_target_": "builtins.dict", "name": "x", "a": value, "b": [value], "c": {"d": value}}
    assert instantiate(node) == {"a": value, "b": [value], "c": {"d": value}}
