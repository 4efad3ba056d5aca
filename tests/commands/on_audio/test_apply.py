"""The verb that tells what a network says of files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from made_enhancers import recording
from omegaconf import OmegaConf

import audioprune
from audioprune import schema
from audioprune.commands.on_audio import apply, enhance
from audioprune.errors import ConfigError, DataError, OutputError
from audioprune.models.zoo.silero_vad import SileroVAD


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the verb, without its command line, in a folder with a network and two recordings."""
    monkeypatch.chdir(tmp_path)
    audioprune.save(SileroVAD(), "vad.apz", arguments={})
    recording(Path("all/a.wav"), 0.1)
    recording(Path("all/sub/b.wav"), 0.2)

    def answer(**keys: Any) -> str:
        capfd.readouterr()
        config = OmegaConf.structured(schema.classes()["ApplyRoot"])
        config = OmegaConf.merge(config, {"checkpoint": "vad.apz", **keys})
        apply.run(config, [f"{key}={value}" for key, value in keys.items()])
        return capfd.readouterr().out

    return answer


def test_a_table_holds_all_files(run: Callable[..., str]) -> None:
    assert "2 files, 11 rows" in run(input="all", out="table.csv")
    with open("table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["all/a.wav"] * 4 + ["all/sub/b.wav"] * 7
    run(input="all/a.wav", out="table.json")
    assert len(json.loads(Path("table.json").read_text())) == 4
    assert run(input="all/a.wav", top=1).startswith("file,time_s,class_1,value_1\n")


def test_a_folder_becomes_a_folder_of_tables(run: Callable[..., str]) -> None:
    assert "2 told, 0 done before, 0 failed" in run(input="all", out="told", format="json")
    assert len(json.loads(Path("told/sub/b.wav.json").read_text())) == 7
    Path("all/bad.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match="1 files could not be read"):
        run(input="all", out="told", format="json")
    with pytest.raises(DataError, match="1 files could not be read"):
        run(input="all", out="table.csv")
    assert Path("table.csv").read_text().count("all/a.wav") == 4


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        ({}, ConfigError, "expected checkpoint=FILE and in=FILE"),
        ({"input": "gone.wav"}, DataError, "no such file"),
        ({"input": "all/a.wav", "out": "told"}, ConfigError, "expected out=FILE.csv"),
        ({"input": "all/a.wav", "out": "vad.apz/x.csv"}, OutputError, "cannot write"),
        ({"input": "all/a.wav", "names": "vad.apz"}, ConfigError, "names"),
    ],
)
def test_wrong_usage_is_one_line(
    run: Callable[..., str], keys: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(**keys)
    assert {path.name for path in Path().iterdir()} == {"all", "vad.apz"}


def test_both_verbs_tell_their_outputs_apart() -> None:
    same = {"checkpoint": "vad.apz", "device": "cpu", "threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        for verb in (apply, enhance):
            patch.setattr(verb, "sha256_file", lambda path: "0")
            patch.setattr(verb, "model_file", lambda path: path)
        told = apply.Request(**same, parts={}, told={}, format="csv").made_by()
        options = {key: None for key in ("model", "task", "dry", "level")}
        more = {"block_s": 1.0, "resample": True, "overwrite": False}
        assert told != enhance.Request(**same, **options, **more).made_by()
    assert apply.LOG != enhance.LOG


def test_a_pipe_is_told_row_by_row(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, _ = soundfile.read("all/a.wav", dtype="int16")
    Path("raw").write_bytes(samples.tobytes())
    expected = list(csv.DictReader(run(input="all/a.wav").splitlines()))
    for form in ("csv", "json"):
        with open("raw") as source:
            monkeypatch.setattr("sys.stdin", source)
            text = run(input="-", out="-", rate=16000, format=form)
        lines = text.splitlines()
        rows = list(csv.DictReader(lines)) if form == "csv" else [json.loads(row) for row in lines]
        assert [row["file"] for row in rows] == ["-"] * 4
        values = [float(row["value"]) for row in rows]
        assert values == pytest.approx([float(row["value"]) for row in expected], abs=1e-5)
    with pytest.raises(ConfigError, match="give > table.csv to keep them"):
        run(input="-", out="table.csv", rate=16000)
    with pytest.raises(ConfigError, match="expected rate=HZ"):
        run(input="-")
