"""Every YAML under conf/ composes, passes the range check, and names things that exist."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from composing import CONF, composed, hydra_started, options_of
from omegaconf import DictConfig, OmegaConf

from audioprune import schema
from audioprune.errors import ConfigError
from audioprune.experiment import agreement
from audioprune.experiment.config_hash import config_hash, run_name
from audioprune.experiment.originals import published
from audioprune.schema.table import read_table

RUN_VERBS = ("train", "prune", "quantize", "eval")
NEEDS = {
    "wsj0_mix": ["data.wsj0_root=/w", "data.train_noise_root=/n", "data.test_noise_root=/t"],
    "noisy_mixtures": ["data.speech_root=/s", "data.noise_root=/n"],
    "paired_folder": ["data.root=/p"],
    "own": ["model._target_=audioprune.models.fdnn.FDNN"],
    "own_task": ["task._target_=audioprune.tasks.enhancement.Enhancement"],
    "tut2017": ["data.root=/t"],
    "tut2018": ["data.root=/t"],
    "class_folder": ["data.root=/c"],
    "nsynth": ["data.root=/n"],
    "tinysol": ["data.root=/t"],
    "note_folder": ["data.root=/f"],
    "vctk": ["data.root=/v"],
    "coded_folder": ["data.root=/c"],
    "audio_folder": ["data.root=/a"],
    # in place of the file in a package, which need not be installed
    **{f"zoo/{name}": ["checkpoint=w.pt"] for name in published.NETWORKS},
}


@pytest.fixture(autouse=True, scope="module")
def hydra() -> Iterator[None]:
    with hydra_started():
        yield


def _experiment(verb: str, option: str) -> DictConfig:
    """Compose an experiment and fill in what its data demand of the user."""
    config = composed(verb, f"experiment={option}")
    needs = NEEDS.get(OmegaConf.to_container(config).get("data", {}).get("name", ""), [])
    if needs:
        config = config.copy()
    for need in needs:
        key, _, value = need.partition("=")
        OmegaConf.update(config, key, value)
    return config


def _pipeline(verb: str, experiment: str) -> str:
    """Return the pipeline of an experiment: its paper's for ``prune``, else the verb's own."""
    if verb != "prune":
        return {"train": "train", "quantize": "quantize", "eval": "evaluate"}[verb]
    if "dcae10" in experiment or "gtcrn" in experiment or experiment.endswith("_tiny"):
        return "train"  # an unpruned model that the pruned one is compared with
    of_scenes = "p4_reach" if experiment.endswith(("_desk", "_small")) else "p4_literal"
    return {"p1": "p1_sensitivity", "p2": "p2_unstructured", "p3": "p3_trim", "p4": of_scenes}[
        experiment[:2]
    ]


def _nodes(group: str) -> dict[str, type]:
    """Return the class of every option of a group."""
    names = read_table()["groups"][group]
    return {option: schema.classes()[name] for option, name in names.items()}


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [target for value in node.values() for target in _targets(value)]
    if isinstance(node, list):
        return [target for value in node for target in _targets(value)]
    return []


def _check(config: DictConfig) -> dict[str, Any]:
    schema.check(config)
    plain = OmegaConf.to_container(config, resolve=True)
    for target in _targets(plain):
        module, _, name = target.rpartition(".")
        assert hasattr(importlib.import_module(module), name), target
    return plain


def _cases() -> list[tuple[str, str]]:
    """Return each verb with the groups whose options it composes.

    Models, corpora and tasks are the same files under every verb.
    """
    everywhere = [(verb, group) for verb in RUN_VERBS for group in ("pipeline", "experiment")]
    return [*everywhere, ("prune", "model"), ("prune", "data"), ("prune", "task")]


def _chosen(verb: str, group: str) -> list[str]:
    """Return all options for ``prune``, and share them out to the other verbs, one for each."""
    others = [each for each in RUN_VERBS if each != "prune"]
    options = options_of(group)
    return options if verb == "prune" else options[others.index(verb) :: len(others)]


@pytest.mark.parametrize(("verb", "group"), _cases())
def test_every_option_of_every_group_composes(verb: str, group: str) -> None:
    assert len(options_of(group)) >= 9
    for option in _chosen(verb, group):
        if group == "experiment":
            plain = _check(_experiment(verb, option))
            assert plain["pipeline"]["name"] == _pipeline(verb, option), option
        else:
            needs = NEEDS.get(option, []) if group in ("data", "model", "task") else []
            _check(composed(verb, f"{group}={option}", *needs))


@pytest.mark.parametrize(
    "verb", ["info", "report", "data", "listen", "generate", "export", "doctor"]
)
def test_every_tool_composes(verb: str) -> None:
    schema.check(composed(verb))


@pytest.mark.parametrize(
    ("verb", "group"),
    [("report", "report"), pytest.param("info", "model", marks=pytest.mark.slow)],
)
def test_every_tool_composes_with_every_option(verb: str, group: str) -> None:
    for option in options_of(group):
        schema.check(composed(verb, f"{group}={option}", *NEEDS.get(option, [])))


def test_systems_of_a_listening_test_have_names_of_the_users_own() -> None:
    config = composed("listen", "systems.DCAE=runs/a", "systems.DCAE_pr=runs/b")
    assert config.systems == {"DCAE": "runs/a", "DCAE_pr": "runs/b"}


@pytest.mark.slow
def test_every_value_that_a_sweep_tries_is_accepted_by_its_pipeline() -> None:
    space = OmegaConf.load(CONF / "tune" / "smallest.yaml").tune.space
    assert set(space) <= set(options_of("pipeline"))
    for pipeline, keys in space.items():
        values = {
            key: text.removeprefix("choice(").removesuffix(")") for key, text in keys.items()
        }
        for key, tried in values.items():
            for value in (tried.split(",")[0], tried.split(",")[-1]):
                schema.check(composed("prune", f"pipeline={pipeline}", f"{key}={value}"))


def test_no_file_is_left_out() -> None:
    known = {
        "model",
        "data",
        "task",
        "pipeline",
        "experiment",
        "report",
        "hydra",
        "reported",
        "platform",
        "tune",
    }
    groups = {
        path.relative_to(CONF).parts[0] for path in CONF.rglob("*.yaml") if path.parent != CONF
    }
    assert groups <= known, f"say here how {groups - known} is checked"
    assert len(list(CONF.rglob("*.yaml"))) >= 28


def test_every_experiment_has_a_desk_sibling() -> None:
    names = options_of("experiment")
    for name in names:
        if not name.endswith(("_desk", "_demo", "_small", "_tiny")):
            assert f"{name}_desk" in names, f"{name} has no sibling that runs on two cores"


def test_what_compression_is_compared_with_hears_the_same_mixtures() -> None:
    for one, others in {
        "p2/lstm_small": ("p2/lstm_tiny", "p2/gtcrn_small"),
        "p2/gcrn_small": ("p2/gcrn_tiny",),
    }.items():
        wanted = composed("prune", f"experiment={one}").data
        for other in others:
            assert composed("prune", f"experiment={other}").data == wanted, other
    by_hand = ("data.segment_s=1.0", "data.valid_mixtures=24")
    hand_made = composed("prune", "experiment=p2/gtcrn_small", *by_hand).data
    assert hand_made == composed("prune", "experiment=p2/gcrn_small").data


@pytest.mark.parametrize(
    "experiment",
    [name for name in options_of("experiment") if name.endswith(("_desk", "_small", "_tiny"))],
)
def test_desk_models_build_and_run(experiment: str) -> None:
    from audioprune.experiment.model_io import build_model

    config = OmegaConf.to_container(
        composed("prune", f"experiment={experiment}").model, resolve=True
    )
    model = build_model(agreement.complete_model(config), trusted=True).eval()
    few = "frames" in model.example_input.__code__.co_varnames and not hasattr(
        model, "classes"
    )  # classifiers pool over time
    example = model.example_input(frames=5) if few else model.example_input()
    assert model(*(example if isinstance(example, tuple) else (example,))).shape[0] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pipeline.lambda_1=-3", "pipeline.lambda_1: expected a number >= 0, got -3"),
        ("pipeline.lambda_1=nan", "pipeline.lambda_1: expected a finite number"),
        ("pipeline.min_removed=1.5", "<= 1, got 1.5"),
        ("training.learning_rate=0", "> 0, got 0"),
        ("training.epochs=0", ">= 1, got 0"),
        ("training.batch_size=-1", ">= 1"),
        ("training.optimizer=adm", "closest: adam"),
        ("training.betas=[0.9,1.0]", "< 1, got 1"),
        ("data.train_snr_db=[-5,inf]", "finite"),
        ("pipeline.method=bisect", "bisection"),
        ("seed=-1", ">= 0"),
        ("model.width=0", ">= 1"),
    ],
)
def test_wrong_numbers_are_refused_before_work(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema.check(composed("prune", override))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_hash_stands_for_what_can_change_a_result() -> None:
    plain = OmegaConf.to_container(composed("prune"), resolve=True)
    other_runtime = OmegaConf.to_container(
        composed("prune", "runtime.threads=2", "runtime.folder=/x"), resolve=True
    )
    other_seed = OmegaConf.to_container(composed("prune", "seed=1"), resolve=True)
    assert config_hash(plain) == config_hash(other_runtime) != config_hash(other_seed)
    assert run_name(plain) == f"fdnn-p2_unstructured-{config_hash(plain)}"


def test_the_task_follows_the_model() -> None:
    assert composed("prune", "model=lstm").task.target == "magnitude"
    assert composed("prune", "model=lstm", "task=irm").task.target == "irm"


def test_keys_of_an_experiments_own_pipeline_are_known() -> None:
    line = [
        "experiment=p3/ddsp_nsynth",
        "data=nsynth",
        "data.root=/n",
        "pipeline.criterion=information",
        "pipeline.scope=global",
    ]
    assert _check(composed("prune", *line))["pipeline"]["criterion"] == "information"


@pytest.mark.parametrize(
    ("verb", "pipeline"),
    [("prune", "magnitude"), ("train", "p2_unstructured"), ("eval", "quantize")],
)
def test_a_pipeline_on_the_command_line_wins(verb: str, pipeline: str) -> None:
    for order in (
        (f"pipeline={pipeline}", "experiment=p3/ddsp_nsynth_desk"),
        ("experiment=p3/ddsp_nsynth_desk", f"pipeline={pipeline}"),
    ):
        assert composed(verb, *order).pipeline.name == pipeline


CORPORA = {
    "p1": ("vctk", "coded_folder", "coded_synthetic"),
    "p2": ("wsj0_mix", "noisy_mixtures", "paired_folder", "synthetic_speech"),
    "p3": ("nsynth", "tinysol", "note_folder", "synthetic_notes"),
    "p4": ("tut2017", "tut2018", "class_folder", "synthetic_scenes"),
}


@cache
def _own_keys(experiment: str) -> dict[str, Any]:
    """Return the data keys that an experiment sets, with those of the experiments it builds on."""
    plain = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml"))
    below = [item for item in plain["defaults"] if isinstance(item, str) and item != "_self_"]
    inherited = {key: value for name in below for key, value in _own_keys(name).items()}
    return inherited | plain.get("data", {})


def test_every_experiment_accepts_every_corpus_of_its_kind() -> None:
    without_labels = {"audio_folder", "no_audio"}  # no experiment of a paper can use them
    assert {name for names in CORPORA.values() for name in names} | without_labels == {
        name for name in options_of("data") if not name.endswith(("_desk", "_demo", "_small"))
    }
    for paper, corpora in CORPORA.items():
        experiments = [name for name in options_of("experiment") if name.startswith(paper)]
        different = {str(keys): keys for keys in map(_own_keys, experiments)}
        for corpus in corpora:
            node = OmegaConf.structured(_nodes("data")[corpus])
            roots = {
                key.removeprefix("data."): value
                for key, _, value in (need.partition("=") for need in NEEDS.get(corpus, []))
            }
            for keys in different.values():
                schema.check(OmegaConf.merge(node, roots, keys))


@pytest.mark.parametrize(
    "line",
    [
        ["experiment=p1/dcae_desk", "data=vctk", "data.root=/v"],
        ["experiment=p2/fdnn_desk", "data=paired_folder", "data.root=/p"],
        ["experiment=p3/wavenet_nsynth_desk", "data=tinysol", "data.root=/t"],
        ["experiment=p4/vgg_2018_desk", "data=class_folder", "data.root=/c"],
        ["experiment=p4/vgg_2017", "data=synthetic_scenes"],
    ],
)
def test_other_corpora_compose_and_decide_what_is_shared(line: list[str]) -> None:
    plain = _check(composed("prune", *line))
    decided = {
        "task": ("sample_rate", "classes", "pitches"),
        "model": ("sample_rate", "mels", "bins", "conditioning", "frames_per_second"),
    }
    for group, keys in decided.items():
        for key in keys:
            assert plain[group].get(key) is None, (
                f"{line[0]} sets {group}.{key}, which the corpus decides"
            )


TOLD = {
    ("enhancement", "frame_length"),
    ("enhancement", "hop_length"),
    ("imitate", "frame_length"),
    ("imitate", "hop_length"),
    ("wavenet", "classes"),
    ("next_sample", "families"),  # 0 tells none
    ("next_sample", "instruments"),
}
"""Shared arguments that a configuration says itself."""


@pytest.mark.parametrize("group", ["task", "model"])
def test_shared_arguments_follow_by_default(group: str) -> None:
    for name, node in _nodes(group).items():
        config = OmegaConf.structured(node)
        for key in set(agreement.FOLLOWS[group]) & set(config):
            assert (name, key) in TOLD or config[key] is None, f"{group} {name}.{key}"


def test_a_pattern_of_speakers_passes_the_command_line() -> None:
    pattern = r"^(?P<speaker>[^/]+)/(x|\d{3})"
    for option in ("noisy_mixtures", "coded_folder", "paired_folder"):
        config = composed(
            "data", f"data={option}", f'data.speaker="{pattern}"', *NEEDS.get(option, [])
        )
        assert config.data.speaker == pattern and config.data.speaker_csv is None


@pytest.mark.parametrize(
    "experiment",
    [
        f"p4/{name}"
        for name in ("vgg_2018_desk", "densenet_2018_desk", "cp_resnet_2017", "resnet_2017")
    ],
)
def test_a_folder_of_three_classes_decides_them(experiment: str) -> None:
    from types import SimpleNamespace

    from audioprune.experiment.model_io import instantiate

    plain = _check(
        composed("prune", f"experiment={experiment}", "data=class_folder", "data.root=/c")
    )
    mels = plain["data"]["mels"]
    facts = {"sample_rate": 32000, "classes": 3, "mels": mels, "frames_per_second": 100.0}
    corpus = SimpleNamespace(shared=lambda: facts | {"channels": 2})
    task = instantiate(agreement.complete_task(plain["task"], corpus))
    model = agreement.complete_model(plain["model"], task, corpus)
    assert (task.classes, task.sample_rate) == (3, 32000)
    assert (model["classes"], model["mels"], model["frames_per_second"]) == (3, 256, 100.0)
