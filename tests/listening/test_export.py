"""A whole export: files, their equality, the manifest, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from listening_parts import Corpus, Items, corpus, model_file

from audioprune.errors import ConfigError, OutputError
from audioprune.files import sha256_file
from audioprune.listening import export as listening_export
from audioprune.listening.export import Plan, export
from audioprune.listening.loudness import loudness_lufs


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = str(model_file(tmp_path_factory.mktemp("models") / "a.safetensors"))
    return Plan("pruned", {"DCAE": path, "DCAE_pr": path}, items=2, duration_s=(0.1, 9.0))


@pytest.fixture(scope="module")
def written(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "t2"
    assert [path.name for path in export(plan, corpus(codec={"name": "aac"}), out)] == [
        "t2.html",
        "t2.yaml",
        "manifest.json",
    ]
    return out


def _manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def test_every_path_of_the_configuration_exists_and_fits(written: Path) -> None:
    config = yaml.safe_load((written / "t2.yaml").read_text())
    pages = config["pages"][2][1:]
    assert len(pages) == 2
    for page in pages:
        assert list(page["stimuli"]) == ["coded", "DCAE", "DCAE_pr", "anchor35", "anchor70"]
        files = [
            written / path.removeprefix("configs/resources/t2/")
            for path in (page["reference"], *page["stimuli"].values())
        ]
        headers = [soundfile.info(str(file)) for file in files]
        assert {
            (info.samplerate, info.channels, info.subtype, info.frames) for info in headers
        } == {(48000, 1, "PCM_16", 24000)}
        levels = [loudness_lufs(soundfile.read(str(file))[0]) for file in files]
        assert max(levels) - min(levels) < 0.01 and levels[0] == pytest.approx(-23, abs=0.01)


def test_manifest_names_everything(written: Path, plan: Plan) -> None:
    found = _manifest(written)
    assert (found["name"], found["test"], found["unprocessed"], found["corpus"]["codec"]) == (
        "t2",
        "pruned",
        "coded",
        {"name": "aac"},
    )
    assert [system["sha256"] for system in found["systems"]] == [
        sha256_file(Path(plan.systems["DCAE"]))
    ] * 2
    assert found["common_gain_db"] <= 0 and found["anchors_hz"] == {
        "anchor35": 3500,
        "anchor70": 7000,
    }
    assert {trial["gender"] for trial in found["trials"]} == {"F", "M"}
    facts = found["trials"][0]["stimuli"]
    assert list(facts) == ["reference", "coded", "DCAE", "DCAE_pr", "anchor35", "anchor70"]
    assert (
        facts["DCAE"]["lag_samples"] == 0
        and facts["coded"]["control"] is False
        and facts["anchor35"]["control"] is True
    )
    assert facts["reference"]["loudness_lufs"] + facts["reference"]["gain_db"] == pytest.approx(
        -23, abs=0.01
    )


def test_same_plan_gives_the_same_bytes_and_another_one_leaves_nothing_behind(
    written: Path, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "t2"
    export(replace(plan, seed=4), corpus(codec={"name": "aac"}), out)
    first = {path.relative_to(out) for path in out.rglob("*.wav")}
    export(plan, corpus(codec={"name": "aac"}), out)
    for path in written.rglob("*"):
        if path.is_file():
            assert (out / path.relative_to(written)).read_bytes() == path.read_bytes(), path
    assert {path.relative_to(out) for path in out.rglob("*")} == {
        path.relative_to(written) for path in written.rglob("*")
    }
    assert len(first) == 12


def test_noisy_corpora_of_low_rate_have_fewer_anchors(plan: Plan, tmp_path: Path) -> None:
    low = Corpus({"c": Items(["a"], 4)}, sample_rate=14000)
    path = model_file(
        tmp_path / "m.safetensors",
        {"_target_": "audioprune.tasks.enhancement.Enhancement", "sample_rate": 14000},
    )
    export(
        Plan("custom", {"A": str(path)}, items=1, duration_s=(0.1, 9.0), page=False),
        low,
        tmp_path / "x",
    )
    found = _manifest(tmp_path / "x")
    assert found["unprocessed"] == "noisy" and list(found["anchors_hz"]) == ["anchor35"]
    assert (
        "the audio of 14000 Hz holds nothing above 7000 Hz: anchor70 is left out" in found["notes"]
    )
    assert not (tmp_path / "x" / "x.html").exists()


def test_late_systems_are_told(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audioprune.listening.systems import System

    monkeypatch.setattr(System, "enhance", lambda self, item: np.roll(item.clean, 160))
    export(replace(plan, webmushra=False), corpus(), tmp_path / "x")
    assert (
        "DCAE is +10.0 ms late against the reference: switching will jump"
        in _manifest(tmp_path / "x")["notes"]
    )
    assert not (tmp_path / "x" / "audio").exists()


def test_foreign_folders_and_odd_names_are_refused(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(
        OutputError, match="expected a new folder or an earlier export, got other files"
    ):
        export(plan, corpus(), tmp_path / "mine")
    with pytest.raises(ConfigError, match="folder name of letters"):
        export(plan, corpus(), tmp_path / "a b")
    with pytest.raises(ConfigError, match="page=true or webmushra=true"):
        export(replace(plan, page=False, webmushra=False), corpus(), tmp_path / "x")
    with pytest.raises(ConfigError, match="systems.noisy: expected a name of its own"):
        export(Plan("custom", {"noisy": plan.systems["DCAE"]}), corpus(), tmp_path / "y")


def test_a_test_that_was_killed_while_it_was_written_is_written_again(
    plan: Plan, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t2"

    def killed(*_: Any) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(listening_export, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            export(plan, corpus(codec={"name": "aac"}), out)
    (out / "t2.html.tmp.999999999").touch()  # of a dead process
    export(plan, corpus(codec={"name": "aac"}), out)
    names = [{path.name for path in folder.iterdir()} for folder in (out, written)]
    assert names[0] == names[1]
