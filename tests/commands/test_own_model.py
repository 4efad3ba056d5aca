"""What a short command line about a user's own network means in full."""

from __future__ import annotations

import pytest

from audioprune.commands.own_model import own_words

OWN = ["model=own", "model._target_=mynet.Net"]


@pytest.mark.parametrize(
    ("verb", "words", "wanted"),
    [
        # the factory in one word, its arguments, what is said of inputs and outputs
        ("info", ["model=mynet:Net"], ["model=own", "task=none", "model._target_=mynet.Net"]),
        (
            "train",
            ["model=a.b:Net", "model.args.width=4", "model.example=[1,16]", "model.output=0"],
            [
                *("model=own", "model._target_=a.b.Net", "++model.width=4"),
                *("++model.example=[1,16]", "++model.output=0"),
            ],
        ),
        # an argument that has the name of a key of the model stays apart
        ("train", [*OWN, "model.args.output=3"], [*OWN[:1], "++model._target_=mynet.Net", "x"]),
        ("train", ["model=a:B,c:D", "-m"], ["model=own", "model._target_=a.B,c.D", "-m"]),
        # a target alone is one's own network, unless it is one of this package
        ("train", OWN[1:], OWN),
        (
            "train",
            ["model._target_=audioprune.models.fdnn.FDNN"],
            ["model._target_=audioprune.models.fdnn.FDNN"],
        ),
        ("listen", ["model=mynet:Net"], ["model._target_=mynet.Net"]),
        ("data", ["root=x"], ["root=x"]),
        ("prune", ["model=fdnn", "model.width=4"], ["model=fdnn", "model.width=4"]),
    ],
)
def test_words_in_full(verb: str, words: list[str], wanted: list[str]) -> None:
    found = [word.replace("++model._target_", "model._target_") for word in own_words(verb, words)]
    if wanted[-1] == "x":
        wanted = [*OWN, "++model.args.output=3"]
    assert found == wanted


@pytest.mark.parametrize(
    ("verb", "words", "added"),
    [
        ("prune", OWN, ["task=none", "data=no_audio", "pipeline=weights"]),
        ("prune", [*OWN, "pipeline=units"], ["task=none", "data=no_audio"]),
        ("quantize", OWN, ["task=none", "data=no_audio", "pipeline.levels=64"]),
        ("quantize", [*OWN, "pipeline.levels=8"], ["task=none", "data=no_audio"]),
        ("eval", OWN, ["task=none", "data=no_audio"]),
        ("train", OWN, []),  # a training needs a task
        *(("prune", [*OWN, named], []) for named in ("task=irm", "data=vctk", "task.remix=true")),
        *(("prune", [*OWN, named], []) for named in ("data.root=x", "experiment=p1/dcae_desk")),
        ("eval", ["checkpoint=x.apz", "task=none"], ["data=no_audio"]),
    ],
)
def test_a_network_without_labels_has_no_task(
    verb: str, words: list[str], added: list[str]
) -> None:
    found = [word.replace("++", "") for word in own_words(verb, words)]
    assert [word for word in found if word not in words and word[0] != "~"] == added


def test_a_model_file_with_a_task_keeps_it() -> None:
    assert "task=none" not in own_words("eval", OWN, ["task=irm", "data=vctk"])


def test_an_experiments_width_is_that_of_its_own_model() -> None:
    words = own_words("prune", ["experiment=p2/fdnn_desk", *OWN, "model.width=9"])
    assert words.index("~model.width") < words.index("++model.width=9")
    assert "~model.width" not in own_words("prune", ["experiment=p2/fdnn_desk", "model=lstm"])
