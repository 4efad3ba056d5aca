"""The verb that runs a model on files: what it writes, says and refuses."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from hydra.core.global_hydra import GlobalHydra
from made_enhancers import enhancer_file, recording
from omegaconf import OmegaConf

from audioprune import cli, interrupts, schema
from audioprune.commands.on_audio import enhance
from audioprune.errors import CheckpointError, ConfigError, DataError, OutputError


class Answer(NamedTuple):
    """What the verb printed, and what it said beside."""

    out: str
    said: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run the verb, without its command line, in a folder that holds a model and a recording."""
    monkeypatch.chdir(tmp_path)
    enhancer_file(Path("model.apz"))
    recording(Path("in.wav"))

    def answer(**keys: Any) -> Answer:
        capfd.readouterr()
        config = OmegaConf.structured(schema.classes()["EnhanceRoot"])
        config = OmegaConf.merge(config, {"checkpoint": "model.apz", **keys})
        enhance.run(config, [f"{key}={value}" for key, value in keys.items()])
        return Answer(*capfd.readouterr())

    return answer


def test_the_command_line_says_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    enhancer_file(Path("model.apz"))
    recording(Path("in.wav"))
    for out, code in (("out.wav", 0), ("in.wav", 5)):
        GlobalHydra.instance().clear()
        words = ["checkpoint=model.apz", "in=in.wav", f"out={out}"]
        assert cli.run_verb("enhance", words) == code
    GlobalHydra.instance().clear()
    said = capfd.readouterr().err.splitlines()
    assert said[-1] == "error: in.wav: expected another file than the input; choose another name"
    assert Path("out.wav").exists()


def test_a_file_becomes_a_file(run: Callable[..., Answer]) -> None:
    found = run(input="in.wav", out="made/out.flac")
    assert "made/out.flac: 0.3 s" in found.out
    assert "states of recurrent layers carried" in found.said
    assert soundfile.info("made/out.flac").frames == soundfile.info("in.wav").frames


def test_settings_change_what_is_made(run: Callable[..., Answer]) -> None:
    for name, setting in (("a", {"dry": 0.0}), ("b", {"dry": 0.5}), ("c", {"level_db": -40.0})):
        run(input="in.wav", out=f"{name}.wav", **setting)
    made = [soundfile.read(f"{name}.wav")[0] for name in "abc"]
    noisy = soundfile.read("in.wav")[0]
    assert np.allclose(made[1], (made[0] + noisy) / 2, atol=1e-4)
    assert not np.allclose(made[0], made[2], atol=1e-4)


def test_a_folder_becomes_a_folder(run: Callable[..., Answer]) -> None:
    recording(Path("all/a/x.wav"))
    recording(Path("all/y.ogg"), subtype="VORBIS")
    assert "2 enhanced, 0 done before, 0 failed" in run(input="all", out="made").out
    assert {path.name for path in Path("made").rglob("*.wav")} == {"x.wav", "y.wav"}
    Path("all/bad.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match="1 files could not be enhanced; the first: all/bad.wav"):
        run(input="all", out="made")
    records = map(json.loads, Path("made/enhanced.jsonl").read_text().splitlines())
    assert [each["file"] for each in records] == ["a/x.wav", "y.ogg"]


def test_a_pipe_becomes_a_pipe(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "raw").write_bytes(np.zeros(4000, "<i2").tobytes())
    sink = io.BytesIO()
    with open("raw", "rb") as source:
        monkeypatch.setattr(sys, "stdin", type("", (), {"buffer": source}))
        monkeypatch.setattr(sys, "stdout", type("", (), {"buffer": sink, "flush": print}))
        found = run(input="-", out="-", rate=16000)
    assert len(sink.getvalue()) == 8000
    assert "output is 20 ms behind" in found.said and "0.2 s of audio" in found.said


class _Card(ModuleType):
    """A sound card that hears ten blocks of silence."""

    class PortAudioError(Exception):
        """As of the module."""

    class Stream:
        """Counts blocks, then stops the program as Ctrl-C does."""

        def __init__(self, samplerate: int, blocksize: int, channels: int, dtype: str) -> None:
            self.blocks, self.played = 0, 0

        def __enter__(self) -> _Card.Stream:
            return self

        def __exit__(self, *error: object) -> None:
            return

        def read(self, count: int) -> tuple[np.ndarray, bool]:
            self.blocks += 1
            if self.blocks == 10:
                interrupts._requested.set()
            return np.zeros((count, 1), np.float32), False

        def write(self, samples: np.ndarray) -> None:
            self.played += len(samples)


def test_a_microphone_is_played(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", _Card("sounddevice"))
    try:
        found = run(listen="mic")
    finally:
        interrupts._requested.clear()
    assert "0.1 s of audio" in found.said
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError, match="pip install sounddevice"):
        run(listen="mic")


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        ({"input": "in.wav"}, ConfigError, "got in=in.wav out=none"),
        ({"input": "in.wav", "out": "./"}, ConfigError, "expected out=FILE"),
        ({"input": "in.wav", "out": "in.wav"}, OutputError, "another file than the input"),
        ({"input": "gone.wav", "out": "x.wav"}, DataError, "no such file"),
        ({"input": "in.wav", "out": "-", "rate": 16000}, ConfigError, "expected in=- out=-"),
        ({"input": "-", "out": "-"}, ConfigError, "rate=HZ"),
        (
            {"input": "-", "out": "-", "rate": 8000, "resample": False},
            ConfigError,
            "expected rate=16000",
        ),
        ({"checkpoint": "in.wav", "input": "in.wav", "out": "x.wav"}, CheckpointError, "in.wav"),
        ({"checkpoint": None}, ConfigError, "expected checkpoint="),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    run: Callable[..., Answer], keys: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as found:
        run(**keys)
    assert "\n" not in str(found.value)
    assert {path.name for path in Path().iterdir()} == {"in.wav", "model.apz"}
