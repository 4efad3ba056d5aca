"""Which corpus, task and model a command with a model file means."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_runs import MyNet, config, open_run, rows, start, step

from audioprune import checkpoint, packing, provenance
from audioprune.errors import CheckpointError, DataError
from audioprune.experiment.config_hash import config_hash
from audioprune.experiment.model_io import load_model_file

CORPUS = {
    "name": "synthetic_speech",
    "_target_": "audioprune.data.speech.synthetic_speech.SyntheticSpeech",
    "minutes": 0.3,
    "cache_dir": "/theirs",
}
TASK = {
    "name": "irm",
    "_target_": "audioprune.tasks.enhancement.Enhancement",
    "frame_length": 32,
    "hop_length": 16,
}
EXPERIMENTS = Path(__file__).resolve().parent.parent / "conf" / "experiment"
STEPS = {
    "train": step("Train", only_from_scratch=True),
    "dense": step("Evaluate", variant="uncompressed", file="model.safetensors"),
    "quantize": step("Quantize", levels=4),
    "packed": step("Evaluate", variant="compressed", file="model.apz"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that wrote a dense and a packed file, on a corpus of eleven items."""
    folder = tmp_path_factory.mktemp("made")
    plain = config(
        STEPS,
        folder / "cache",
        data={"items": 11},
        training={"epochs": 1},
        scoring={"metrics": ["si_sdr", "l1"]},
        seed=5,
    )
    start(folder / "run", plain)
    return folder / "run"


def _file(path: Path, **facts: Any) -> str:
    """Write a file without tensors that says these things of its making."""
    model = {"name": "fdnn", "_target_": "audioprune.models.fdnn.FDNN", "width": 6}
    checkpoint.write(path, {"model/w": torch.zeros(1)}, {"model": model, "task": TASK, **facts})
    return str(path)


def _composed(file: str, **groups: Any) -> dict[str, Any]:
    """Return what a command line without choices composes: the defaults of every group."""
    default = {
        "name": "synthetic_speech",
        "_target_": "audioprune.data.speech.synthetic_speech.SyntheticSpeech",
        "minutes": 14.0,
        "cache_dir": None,
    }
    model = {
        "name": "fdnn",
        "_target_": "audioprune.models.fdnn.FDNN",
        "bins": 161,
        "width": 2048,
        "depth": 3,
    }
    task = {**TASK, "frame_length": 320, "hop_length": 160}
    return {
        "verb": "eval",
        "seed": 0,
        "checkpoint": file,
        "data": default,
        "task": task,
        "model": model,
        "scoring": {"metrics": ["stoi"]},
    } | groups


def _eval(made: Path, file: str, **changes: Any) -> dict[str, Any]:
    """Return the configuration of ``eval`` with a corpus of twelve items, not the run's eleven."""
    steps = {"score": step("Evaluate", variant="file")}
    return config(
        steps, made.parent / "cache", checkpoint=str(made / file), verb="eval", **changes
    )


@pytest.mark.parametrize("name", ["model.safetensors", "model.apz", "state.safetensors"])
def test_every_written_file_says_how_it_was_made(made: Path, name: str) -> None:
    facts = provenance.read_facts(made / name)
    assert facts["data"] == {"name": "tiny", "_target_": "tiny_runs.TinySpeech", "items": 11}
    assert (facts["corpus"], facts["corpus_fingerprint"], facts["parent"], facts["seed"]) == (
        "tiny",
        "tiny 11 ",
        None,
        5,
    )
    assert facts["task"] == {**config({}, made)["task"], "sample_rate": 16000}
    assert facts["training"]["epochs"] == 1 and facts["metrics"] == ["si_sdr", "l1"]
    assert facts["model"]["width"] == 6


@pytest.mark.parametrize("name", ["model.safetensors", "model.apz"])
def test_eval_of_a_file_gives_the_rows_of_its_run_bit_for_bit(
    made: Path, tmp_path: Path, name: str
) -> None:
    start(tmp_path / "e", _eval(made, name))
    step_name = "dense" if name == "model.safetensors" else "packed"
    own = [
        row
        for row in rows(made)
        if row["kind"] == "score" and row["key"].startswith((f"{step_name}/", "mixture/"))
    ]
    found = [row for row in rows(tmp_path / "e") if row["kind"] == "score"]
    for row in (*own, *found):
        row.pop("key"), row.pop("variant")
    assert len(found) == 4 and sorted(map(json.dumps, found)) == sorted(map(json.dumps, own))
    assert {(row["corpus"], row["corpus_fingerprint"], row["seed"]) for row in found} == {
        ("tiny", "tiny 11 ", 5)
    }
    known = json.loads((tmp_path / "e" / "run.json").read_text())
    assert known["config"]["data"]["items"] == 11 and known["data_fingerprint"] == "tiny 11 "
    assert known["parent"] == hashlib.sha256((made / name).read_bytes()).hexdigest()


def test_a_file_made_from_a_file_names_its_parent(made: Path, tmp_path: Path) -> None:
    steps = {
        "quantize": step("Quantize", levels=2),
        "score": step("Evaluate", variant="c", file="model.apz"),
    }
    plain = config(steps, made.parent / "cache", checkpoint=str(made), verb="quantize")
    start(tmp_path / "q", plain)
    facts = provenance.read_facts(tmp_path / "q" / "model.apz")
    assert facts["parent"] == hashlib.sha256((made / "model.apz").read_bytes()).hexdigest()
    assert facts["data"]["items"] == 11 and facts["corpus_fingerprint"] == "tiny 11 "


def test_a_given_corpus_is_used_and_the_difference_said_in_one_line(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "audioprune"):
        run = open_run(tmp_path / "same", _eval(made, "model.apz"))
    assert run.data.items == 11 and not caplog.messages
    with caplog.at_level(logging.WARNING, "audioprune"):
        run = open_run(tmp_path / "other", _eval(made, "model.apz"), ("data=tiny",))
    assert run.data.items == 12 and run.config["data"] == {
        "name": "tiny",
        "_target_": "tiny_runs.TinySpeech",
    }
    assert caplog.messages == [
        f"{made}/model.apz was trained on the corpus tiny (tiny 11 ), this run works on another "
        f"one: tiny (tiny 12 )"
    ]
    run.results.put({"key": "a", "kind": "score"})
    assert run.results.rows["a"]["corpus_fingerprint"] == "tiny 12 "


def test_of_a_nested_part_of_a_task_only_what_differs_is_said() -> None:
    was = {"name": "a", "discriminator": {"width": 0.5, "stride": 2}}
    now = {"name": "b", "discriminator": {"width": 1.0, "stride": 2}}
    assert provenance._task_notes("x", was, now) == [
        "x was trained with another task, the one given is used: discriminator.width 0.5 -> 1.0"
    ]
    assert not provenance._task_notes(
        "x", {"sample_rate": 16000, "power": 2}, {"sample_rate": None, "power": 2}
    )


def test_a_given_task_is_used_and_the_difference_said(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = _eval(made, "model.apz", task={"target": "magnitude"})
    assert open_run(tmp_path / "own", plain).task_config.get("target") is None
    with caplog.at_level(logging.WARNING, "audioprune"):
        run = open_run(tmp_path / "given", plain, ("task.target=magnitude",))
    assert (
        run.task_config["target"] == "magnitude"
        and run.task.target.__class__.__name__ == "MagnitudeMapping"
    )


def test_old_files_work_and_it_is_said_which_corpus_is_used(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors, meta = checkpoint.read(made / "model.safetensors")
    old = {"model": meta["model"], "task": meta["task"]}
    checkpoint.write(tmp_path / "old.safetensors", tensors, old)
    plain = _eval(made, "model.safetensors") | {"checkpoint": str(tmp_path / "old.safetensors")}
    with caplog.at_level(logging.WARNING, "audioprune"):
        assert open_run(tmp_path / "a", plain).data.items == 12
    assert caplog.messages == [
        f"{tmp_path}/old.safetensors names no corpus; tiny is used, another one with data=..."
    ]
    caplog.clear()
    (tmp_path / "run.json").write_text((made / "run.json").read_text())
    with caplog.at_level(logging.WARNING, "audioprune"):
        assert open_run(tmp_path / "b", plain).data.items == 11
    assert caplog.messages == [
        f"{tmp_path}/old.safetensors names no corpus; that of its run is used: tiny"
    ]


def test_single_keys_lie_on_top_of_the_files_corpus(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "m.safetensors", data={**CORPUS, "speakers": 3, "split": {"a": 1, "b": 2}}
    )
    composed = _composed(file)
    assert provenance.effective(composed, ())["data"] == {
        **CORPUS, "speakers": 3, "split": {"a": 1, "b": 2}, "cache_dir": None,
    }  # fmt: skip
    composed["data"] |= {"minutes": 2.0, "speakers": 24, "split": {"a": 9}}
    meant = provenance.effective(composed, ("data.minutes=2", "+data.split.a=9"))["data"]
    assert (meant["minutes"], meant["speakers"], meant["split"]) == (2.0, 3, {"a": 9, "b": 2})
    again = provenance.effective(
        provenance.effective(composed, ("data.minutes=2",)), ("data.minutes=2",)
    )
    assert again == provenance.effective(composed, ("data.minutes=2",))


@pytest.mark.parametrize(
    "wish",
    [
        "data=synthetic_speech",
        "+data=synthetic_speech",
        "experiment=p2/fdnn_desk",
        "+experiment=p2/fdnn_desk",
    ],
)
def test_a_group_that_is_named_is_taken_as_it_is(tmp_path: Path, wish: str) -> None:
    composed = _composed(_file(tmp_path / "m.safetensors", data=CORPUS))
    assert provenance.effective(composed, (wish,))["data"] == composed["data"]
    assert provenance.effective(composed, ("task=irm",))["task"] == composed["task"]


def test_the_hash_follows_what_is_used(tmp_path: Path) -> None:
    composed = _composed(_file(tmp_path / "m.safetensors", data=CORPUS))
    other = {**composed, "data": {**composed["data"], "minutes": 5.0}}

    def code(plain: dict[str, Any], *overrides: str) -> str:
        return config_hash(provenance.effective(plain, overrides))

    assert code(composed) == code(other)  # a default that is not used
    assert (
        len(
            {
                code(composed),
                code(composed, "data=synthetic_speech"),
                code(other, "data.minutes=5"),
            }
        )
        == 3
    )


def test_a_folder_that_is_gone_is_named_with_the_key_that_replaces_it(tmp_path: Path) -> None:
    mixtures = {
        "name": "noisy_mixtures",
        "_target_": "audioprune.data.speech.noisy_mixtures.NoisyMixtures",
        "speech_root": str(tmp_path / "gone"),
    }
    composed = _composed(
        _file(tmp_path / "m.safetensors", data={**mixtures, "noise_root": str(tmp_path)})
    )
    with pytest.raises(
        DataError,
        match=re.escape(f"{tmp_path}/gone: ")
        + r".*give data.speech_root=\.\.\. or another corpus with data=",
    ) as caught:
        provenance.check(composed, ())
    assert "\n" not in str(caught.value)
    composed["data"] |= {"speech_root": str(tmp_path)}
    provenance.check(composed, (f"data.speech_root={tmp_path}",))
    provenance.check(composed, ("data=synthetic_speech",))


@pytest.mark.parametrize(
    "data",
    [
        {"name": "x", "_target_": "os.system", "command": "touch CANARY"},
        {"name": "x", "_target_": "audioprune.data.files.audio.decode", "path": "CANARY"},
        {"name": "x", "_target_": "mycorpus.Mine"},
        {**CORPUS, "seed": {"_target_": "os.system", "command": "touch CANARY"}},
        {**CORPUS, "seed": "${oc.env:HOME}"},
        "os.system",
    ],
    ids=range(6),
)
def test_a_file_names_no_corpus_outside_the_package(tmp_path: Path, data: Any) -> None:
    composed = _composed(_file(tmp_path / "m.safetensors", data=data))
    assert provenance.effective(composed, ())["data"] == composed["data"]
    with pytest.raises(CheckpointError, match="data=") as caught:
        provenance.check(composed, ())
    assert "\n" not in str(caught.value)


def test_a_users_corpus_is_built_where_the_user_names_it(tmp_path: Path) -> None:
    mine = {"name": "x", "_target_": "mycorpus.Mine", "hours": 3}
    composed = _composed(_file(tmp_path / "m.safetensors", data=mine))
    with pytest.raises(CheckpointError, match=r"data\._target_=mycorpus\.Mine"):
        provenance.check(composed, ())
    composed["data"] |= {"_target_": "mycorpus.Mine"}
    assert provenance.effective(composed, ("data._target_=mycorpus.Mine",))["data"] == {
        **mine,
        "cache_dir": None,
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89APZ", b"\xff" * 100, b"{}", b"\x08" + b"\0" * 7 + b"[1,2,3] "],
    ids=range(5),
)
def test_unreadable_files_say_nothing(tmp_path: Path, content: bytes) -> None:
    for name in ("a.apz", "a.safetensors", "a.pt"):
        (tmp_path / name).write_bytes(content)
        assert provenance.read_facts(tmp_path / name) == {}
    assert (
        provenance.read_facts(tmp_path / "none.apz") == {}
        and provenance.effective(_composed(str(tmp_path / "a.apz")), ())["verb"] == "eval"
    )


def test_a_users_model_reads_back_with_the_files_arguments(tmp_path: Path) -> None:
    mine = {"name": "own", "_target_": "tiny_runs.MyNet", "width": 9}
    train = {
        "train": step("Train"),
        "dense": step("Evaluate", variant="u", file="model.safetensors"),
    }
    start(tmp_path / "r", config(train, tmp_path / "c", model=mine, training={"epochs": 1}))
    fdnn = config({}, tmp_path)["model"]
    steps = {
        "quantize": step("Quantize", levels=2),
        "score": step("Evaluate", variant="c", file="model.apz"),
    }

    def command(name: str, model: dict[str, Any], *overrides: str) -> Any:
        plain = config(steps, tmp_path / "c", model=model, checkpoint=str(tmp_path / "r"))
        start(tmp_path / name, plain, overrides)
        return load_model_file(tmp_path / name, mine).model

    target = "model._target_=tiny_runs.MyNet"
    alone = command("a", {**fdnn, "_target_": "tiny_runs.MyNet"}, target)
    own = command("b", {"name": "own", "_target_": "tiny_runs.MyNet"}, "model=own", target)
    assert isinstance(alone, MyNet) and isinstance(own, MyNet) and own.inner.out_features == 9
    assert json.loads((tmp_path / "b" / "run.json").read_text())["config"]["model"] == mine
    command("c", mine, "model=own", target, "+model.width=9")
    with pytest.raises(
        CheckpointError, match=re.escape("(differs in width); leave model.width=4 away")
    ):
        command("d", {**mine, "width": 4}, "model=own", target, "+model.width=4")
    with pytest.raises(
        CheckpointError, match=re.escape("give it yourself with model=tiny_runs:MyNet")
    ) as caught:
        command("e", fdnn)
    assert "\n" not in str(caught.value)


def test_no_code_of_a_file_is_looked_up_for_the_name_of_a_run(tmp_path: Path) -> None:
    file = _file(
        tmp_path / "m.safetensors", model={"name": "x", "_target_": "evil.module.Net"}, data=CORPUS
    )
    assert provenance.effective(_composed(file), ())["model"] == _composed(file)["model"]


def test_packed_headers_are_read_without_decoding(tmp_path: Path) -> None:
    facts = {"model": {"_target_": "audioprune.models.fdnn.FDNN"}, "data": CORPUS}
    packing.pack(tmp_path / "m.apz", {"w": torch.zeros(3)}, config=facts)
    assert provenance.read_facts(tmp_path / "m.apz")["data"] == CORPUS and provenance.corpus_of(
        tmp_path / "m.apz"
    ) == provenance.portable(CORPUS)


def _keys_of_experiment(path: Path) -> set[str]:
    """Return the groups that an experiment file, or one that it builds on, chooses or changes."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = set(content)
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):
            keys |= {key.removeprefix("override ").strip("/") for key in entry}
        elif entry != "_self_":
            keys |= _keys_of_experiment(EXPERIMENTS / f"{entry}.yaml")
    return keys


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_says_something_of_its_corpus(path: Path) -> None:
    assert "data" in _keys_of_experiment(
        path
    )  # so that an experiment beside a file means the experiment's corpus
