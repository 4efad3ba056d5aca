"""One tiny command line of every verb that writes: ``COMMANDS``, and what they are given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from made_enhancers import enhancer_file, recording
from speech_trees import noise_tree, speech_tree

import audioprune
from audioprune import checkpoint, cli
from audioprune.experiment.model_io import build_model
from audioprune.models.zoo.silero_vad import SileroVAD

QUICK = (
    *("scoring.metrics=[si_sdr,stoi]", "scoring.latency_repeats=0", "scoring.audio_items=1"),
    *("runtime.metric_workers=0", "runtime.device=cpu", "runtime.threads=1"),
    *("runtime.folder=runs", "runtime.save_every_s=1e-9"),
)
TRAINING = ("training.epochs=2", "training.batch_size=2", "training.finetune_epochs=1")
MODEL = ("model.width=4", "model.depth=2")
DATA = (
    *("data=noisy_mixtures", "data.speech_root=GIVEN/speech", "data.noise_root=GIVEN/noise"),
    *("data.babble_share=0", "data.train_mixtures=4", "data.valid_mixtures=2"),
    *("data.test_mixtures=1", "data.test_snr_db=[-5]"),
)
EXPERIMENT = (*QUICK, *TRAINING, *MODEL, *DATA)
MADE = (
    *("data.minutes=0.1", "data.valid_minutes=0.05", "data.test_minutes=0.05", "data.noise_s=2"),
    *("data.utterance_s=[1,1.2]", "data.speakers=2", "data.valid_speakers=1"),
    *("data.test_speakers=1", "data.root=made"),
    "data.babble_share=0",
)
NOTE = {
    "_target_": "audioprune.models.ddsp.DDSP",
    **{"hidden": 4, "depth": 1, "latent": 2, "encoder_width": 4, "partials": 4},
    **{"filter_size": 8, "reverb_length": 100},
}
NOTES = {
    "_target_": "audioprune.data.notes.synthetic.synthetic_notes",
    **{"instruments": 3, "notes_per_instrument": 3, "duration_s": 0.25},
}
NOTE_TASK = {"_target_": "audioprune.tasks.generation.Reconstruction", "inputs": "controls"}
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", *EXPERIMENT),
    "prune": ("prune", *EXPERIMENT, "pipeline=magnitude", "pipeline.levels=4"),
    "quantize": ("quantize", "checkpoint=GIVEN/small.safetensors", *QUICK, *DATA),
    "eval": ("eval", "checkpoint=GIVEN/small.apz", *QUICK, *DATA),
    "sweep": (
        *("prune", "-m", *EXPERIMENT, "pipeline=magnitude", "pipeline.levels=4"),
        "pipeline.sparsity=0.3,0.6",
    ),
    "tune": (
        *("prune", "-m", "+tune=smallest", "tune.metric=si_sdr", "tune.max_drop=99"),
        *("tune.trials=2", "pipeline=magnitude", "pipeline.levels=4", *EXPERIMENT),
    ),
    "report": ("report", "runs=runs", "out=reports"),
    "listen": (
        *("listen", "systems.small=GIVEN/small.apz", "items=1", "duration_s=[0.3,2]", "out=test"),
        *DATA,
    ),
    "generate": ("generate", "checkpoint=GIVEN/note.safetensors", "duration_s=0.1", "out=a.wav"),
    "enhance": ("enhance", "checkpoint=GIVEN/small.apz", "in=GIVEN/speech", "out=clean"),
    "apply": ("apply", "checkpoint=GIVEN/vad.apz", "in=GIVEN/short", "out=told"),
    "export": ("export", "checkpoint=GIVEN/small.apz", "format=torchscript", "out=small.pt"),
    "data": ("data", "data=synthetic_speech", *MADE),
}
NEED_RUNS = ("report",)
"""Verbs that are given runs in their current folder."""


@dataclass(frozen=True)
class Given:
    """What commands read.

    Attributes:
        folder: Corpora and model files.
    """

    folder: Path

    def command(self, name: str, *more: str) -> Callable[[], int]:
        """Return what runs a command of `COMMANDS`, with further words."""
        words = [word.replace("GIVEN", str(self.folder)) for word in (*COMMANDS[name], *more)]

        def command() -> int:
            os.environ["AUDIOPRUNE_CACHE"] = "cache"
            return cli.run_verb(words[0], words[1:])

        return command

    def prepare(self, name: str) -> Callable[[Path], object]:
        """Return what makes the folder of a trial ready for a command."""
        if name not in NEED_RUNS:
            return lambda place: None
        return lambda place: shutil.copytree(self.folder / "runs", place / "runs")


def make_given(folder: Path) -> Given:
    """Make corpora and model files."""
    speech_tree(folder / "speech", speakers=2, utterances=1)
    noise_tree(folder / "noise", seconds=2.0)
    recording(folder / "short" / "a.wav", 0.1)
    recording(folder / "short" / "sub" / "b.wav", 0.2)
    enhancer_file(folder / "small.apz")
    torch.manual_seed(0)
    audioprune.save(SileroVAD(), folder / "vad.apz", arguments={})
    audioprune.save(audioprune.load(folder / "small.apz"), folder / "small.safetensors")
    tensors = {
        f"model/{name}": value
        for name, value in build_model(NOTE, trusted=True).state_dict().items()
    }
    facts = {"model": NOTE, "task": NOTE_TASK, "data": {**NOTES, "cache_dir": str(folder / "n")}}
    checkpoint.write(folder / "note.safetensors", tensors, facts)
    return Given(folder)
