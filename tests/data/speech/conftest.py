"""Corpora and mixers that several tests of speech use."""

from __future__ import annotations

from pathlib import Path

import pytest
from speech_trees import HOSTILE, RATE, source, tone, write_pair

from audioprune.data.files.audio import AudioStore
from audioprune.data.speech.mixing import Mixer
from audioprune.data.speech.mixing_rules import MixingRules


@pytest.fixture
def mixer(tmp_path: Path):
    """Return a function that makes a mixer by other rules: four speakers a split, few noises."""
    speech = {
        split: [
            source(
                tmp_path,
                f"{split}{s}_{n}",
                split,
                f"{split}{s}",
                tone(0.6 + 0.05 * s, 100 * place + 10 * s + n),
            )
            for s in range(4)
            for n in range(3)
        ]
        for place, split in enumerate(("train", "valid", "test"))
    }
    noise = {
        "train": [
            source(tmp_path, "fan_1", "train", "fan", tone(3.0, 901)),
            source(tmp_path, "rain_1", "train", "rain", tone(0.2, 902)),
        ],
        "valid": [source(tmp_path, "fan_2", "valid", "fan", tone(3.0, 903))],
        "test": [
            source(tmp_path, f"{n}_1", "test", n, tone(2.0, 904 + i))
            for i, n in enumerate(("babble", "cafeteria"))
        ],
    }

    def make(**rules) -> Mixer:
        return Mixer(
            MixingRules(sample_rate=RATE, **rules), AudioStore(RATE, 10**9), speech, noise
        )

    return make


@pytest.fixture
def voicebank(tmp_path: Path) -> Path:
    """Return a folder like VoiceBank-DEMAND: four training speakers and one test speaker."""
    root = tmp_path / HOSTILE
    for speaker in range(4):
        for number in range(2):
            write_pair(
                root,
                ("clean_trainset_wav", "noisy_trainset_wav"),
                f"p{speaker}_{number}.wav",
                10 * speaker + number,
            )
    for number in range(4):
        write_pair(
            root, ("clean_testset_wav", "noisy_testset_wav"), f"p9_{number}.wav", 100 + number
        )
    return root
