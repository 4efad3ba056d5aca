"""Notes on request: each kind of model, references, the nearest note, refusals, the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from note_trees import write_tone

from audioprune import checkpoint
from audioprune.commands.on_audio.make_note import Request, make_note
from audioprune.errors import AudiopruneError, ConfigError
from audioprune.experiment.model_io import build_model
from audioprune.models.parts import wavenet_generation

MODELS: dict[str, dict[str, Any]] = {
    "wavenet": {
        "_target_": "audioprune.models.wavenet.WaveNet",
        "layers": 2,
        "cycles": 1,
        "residual": 4,
        "gate": 4,
        "skip": 4,
        "end": 4,
        "classes": 16,
        "conditioning": 45 + 1 + 11,
    },
    "sing": {
        "_target_": "audioprune.models.sing.SING",
        "channels": 4,
        "dimension": 2,
        "kernel_size": 64,
        "stride": 16,
        "context": 5,
    },
    "ddsp": {
        "_target_": "audioprune.models.ddsp.DDSP",
        "hidden": 4,
        "depth": 1,
        "latent": 2,
        "encoder_width": 4,
        "partials": 4,
        "filter_size": 8,
        "reverb_length": 100,
    },
}
TASKS: dict[str, dict[str, Any]] = {
    "wavenet": {
        "_target_": "audioprune.tasks.generation.NextSample",
        "conditioning": "note",
        "pitches": [40, 84],
        "families": 11,
    },
    "sing": {"_target_": "audioprune.tasks.generation.Reconstruction"},
    "ddsp": {"_target_": "audioprune.tasks.generation.Reconstruction", "inputs": "controls"},
}


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Any]:
    """The configuration of 36 short artificial notes."""
    made = {
        "instruments": 3,
        "notes_per_instrument": 3,
        "duration_s": 0.25,
        "cache_dir": str(tmp_path / "cache"),
    }
    return {"_target_": "audioprune.data.notes.synthetic.synthetic_notes", **made}


def _stored(folder: Path, name: str, **changes: Any) -> str:
    torch.manual_seed(0)
    model, task = MODELS[name] | changes.get("model", {}), TASKS[name] | changes.get("task", {})
    tensors = {
        f"model/{key}": value
        for key, value in build_model(model, trusted=True).state_dict().items()
    }
    checkpoint.write(folder / f"{name}.safetensors", tensors, {"model": model, "task": task})
    return str(folder / f"{name}.safetensors")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile nothing."""
    steps = wavenet_generation.run_eagerly
    monkeypatch.setattr(wavenet_generation, "run_compiled", lambda *given: steps(*given[:5]))


def test_a_wavenet_draws_what_it_is_told(tmp_path: Path, corpus: dict[str, Any]) -> None:
    file = _stored(tmp_path, "wavenet")
    notes = []
    for number, wish in enumerate(({"seed": 0}, {"seed": 0}, {"seed": 1}, {"family": 3})):
        wanted = Request(**{"pitch": 62, "family": "organ", "duration_s": 0.01, **wish})
        made = make_note(file, wanted, str(tmp_path / f"{number}.wav"), data=corpus)
        notes.append(soundfile.read(made.file)[0])
    assert (
        made.tags == {"pitch": 62, "velocity": 100, "family": 3}
        and made.recording == ""
        and made.sample_rate == 16000
    )
    assert (
        notes[0].shape == (160,)
        and np.array_equal(notes[0], notes[1])
        and not np.array_equal(notes[0], notes[2])
    )
    assert soundfile.info(made.file).subtype == "PCM_16" and made.real_time_factor > 0
    assert made.lines()[0].endswith("3.wav: 0.01 s at 16000 Hz, pitch 62, velocity 100, family 3")


def test_another_sample_rate_is_refused(tmp_path: Path, corpus: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match="expected SING.sample_rate as task.sample_rate, got 16000 and 44100"
    ):
        make_note(
            _stored(tmp_path, "sing", task={"sample_rate": 44100}),
            Request(duration_s=0.05),
            str(tmp_path / "a.wav"),
            data=corpus,
        )
    with pytest.raises(ConfigError, match="got 44100 and 16000; give data.sample_rate=16000"):
        make_note(
            _stored(tmp_path, "sing"),
            Request(duration_s=0.05),
            str(tmp_path / "a.wav"),
            data={**corpus, "sample_rate": 44100},
        )


def test_an_unconditional_wavenet_is_told_nothing(tmp_path: Path) -> None:
    file = _stored(tmp_path, "wavenet", model={"conditioning": 0}, task={"conditioning": "none"})
    made = make_note(file, Request(pitch=62, duration_s=0.02), str(tmp_path / "a.wav"))
    assert made.tags == {} and made.lines()[0].endswith("told nothing")
    assert made.remarks == ("the model is not told pitch, which change nothing",)


def test_sing_makes_the_nearest_training_note_again(
    tmp_path: Path, corpus: dict[str, Any]
) -> None:
    file = _stored(tmp_path, "sing")
    made = make_note(
        file,
        Request(pitch=127, family="flute", duration_s=0.25),
        str(tmp_path / "a.wav"),
        data=corpus,
    )
    assert made.recording.startswith("note flute_synthetic_") and any(
        "the model keeps the pitch" in line for line in made.remarks
    )
    again = make_note(
        file,
        Request(reference=made.recording.removeprefix("note "), duration_s=0.25),
        str(tmp_path / "b.wav"),
        data=corpus,
    )
    assert (
        np.array_equal(soundfile.read(made.file)[0], soundfile.read(again.file)[0])
        and len(soundfile.read(again.file)[0]) == 4000
    )


def test_ddsp_follows_pitch_and_a_reference(tmp_path: Path, corpus: dict[str, Any]) -> None:
    file, reference = (
        _stored(tmp_path, "ddsp"),
        write_tone(tmp_path / "violin_A4_ff.wav", 69, seconds=0.3),
    )
    made = {
        name: make_note(
            file, Request(duration_s=0.25, **wish), str(tmp_path / f"{name}.wav"), data=corpus
        )
        for name, wish in {
            "plain": {"pitch": 60},
            "high": {"pitch": 72},
            "own": {"reference": str(reference)},
            "moved": {"reference": str(reference), "pitch": 60},
        }.items()
    }
    assert made["own"].tags == {"pitch": 69, "velocity": 127} and made["moved"].tags["pitch"] == 60
    assert made["plain"].recording.startswith("note ") and made["own"].recording == str(reference)
    sounds = {name: soundfile.read(note.file)[0].tobytes() for name, note in made.items()}
    assert len(set(sounds.values())) == 4


def test_ddsp_without_a_latent_needs_no_corpus(tmp_path: Path) -> None:
    made = make_note(
        _stored(tmp_path, "ddsp", model={"latent": 0}),
        Request(velocity=30, duration_s=0.11),
        str(tmp_path / "a.wav"),
    )
    assert (
        made.recording == ""
        and made.tags == {"pitch": 60, "velocity": 30}
        and len(soundfile.read(made.file)[0]) == 1760
    )


def test_the_corpus_of_a_run_is_its_own(tmp_path: Path, corpus: dict[str, Any]) -> None:
    file = _stored(tmp_path, "sing")
    with pytest.raises(ConfigError, match="expected data=<corpus of notes>, got none"):
        make_note(file, Request(duration_s=0.25), str(tmp_path / "a.wav"))
    (tmp_path / "run.json").write_text(json.dumps({"config": {"data": corpus}}))
    assert make_note(file, Request(duration_s=0.25), str(tmp_path / "a.wav")).recording
    (tmp_path / "run.json").write_text(json.dumps({"config": {"data": {"_target_": "os.system"}}}))
    with pytest.raises(ConfigError, match="expected data="):
        make_note(file, Request(duration_s=0.25), str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("name", "wish", "message"),
    [
        ("wavenet", {}, "expected family=<name or index>, got none"),
        ("wavenet", {"family": "orgel"}, "unknown family 'orgel'; closest: organ"),
        ("wavenet", {"family": 0, "pitch": 90}, "expected pitch within 40..84, got 90"),
        (
            "sing",
            {"reference": "none.wav"},
            "reference: no file of this name, and unknown note 'none.wav'",
        ),
        ("sing", {"instrument": "kazoo"}, "unknown instrument 'kazoo'"),
        (
            "sing",
            {"family": "brass"},
            "expected a training note of this instrument and family, got none",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(
    tmp_path: Path, corpus: dict[str, Any], name: str, wish: dict[str, Any], message: str
) -> None:
    with pytest.raises(AudiopruneError, match=message) as caught:
        make_note(
            _stored(tmp_path, name),
            Request(duration_s=0.05, **wish),
            str(tmp_path / "a.wav"),
            data=corpus,
        )
    assert "\n" not in str(caught.value) and not (tmp_path / "a.wav").exists()


def test_other_models_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected out=<file>.wav"):
        make_note("x", Request(), str(tmp_path / "a.flac"))
    file = _stored(
        tmp_path, "sing", task={"_target_": "audioprune.tasks.scenes.SceneClassification"}
    )
    with pytest.raises(
        ConfigError, match="expected a model that makes notes, got one of SceneClassification"
    ):
        make_note(file, Request(), str(tmp_path / "a.wav"))
    tensors = {
        f"model/{key}": value
        for key, value in build_model(MODELS["sing"], trusted=True).state_dict().items()
    }
    checkpoint.write(tmp_path / "bare.safetensors", tensors, {"model": MODELS["sing"]})
    with pytest.raises(ConfigError, match="expected a file that names its task"):
        make_note(str(tmp_path / "bare.safetensors"), Request(), str(tmp_path / "a.wav"))
