"""The public networks score as they should on embedded audio, and on TinySOL where it is.

Minutes, so that they are slow tests; what needs a package that is not installed is skipped, and
TinySOL is looked for in the folder that the variable AUDIOPRUNE_TINYSOL names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from audioprune.data.notes.studio_online import tinysol
from audioprune.data.notes.synthetic import synthetic_notes
from audioprune.data.speech.synthetic_speech import SyntheticSpeech
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.originals import published
from audioprune.tasks.foreign.imitate import Imitate

pytestmark = pytest.mark.slow
CLASSES: dict[str, dict[str, Any]] = {
    "crepe_tiny": {"_target_": "audioprune.models.zoo.crepe.Crepe", "size": "tiny"},
    "silero_vad": {"_target_": "audioprune.models.zoo.silero_vad.SileroVAD"},
    "ge2e": {"_target_": "audioprune.models.zoo.ge2e.GE2E"},
}


def _metrics(name: str, items: Any, cache: Path, **options: Any) -> dict[str, float]:
    if not published.installed(name):
        pytest.skip(f"needs the package {published.NETWORKS[name].package} (extra zoo)")
    config = CLASSES[name]
    model, original = (
        load_model_file(published.weights(name, str(cache)), config).model.eval() for _ in "ab"
    )
    task = Imitate(**options)
    task.teach(original)
    row = task.score(model, items, condition="c", variant="v")["v"]
    assert row["metrics"]["relative_error"] == 0
    return row["metrics"]


def _first(items: Any, count: int) -> list[Any]:
    return [items[place * len(items) // count] for place in range(count)]


def test_pitch_of_embedded_notes(tmp_path: Path) -> None:
    corpus = synthetic_notes(instruments=3, notes_per_instrument=3, duration_s=0.5)
    items = _first(corpus.tests()["test"], 8)
    found = _metrics("crepe_tiny", items, tmp_path, loss="binary_kl", labels="pitch")
    assert found["pitch_within_50_cents"] > 0.8


def test_pitch_of_real_notes(tmp_path: Path) -> None:
    root = os.environ.get("AUDIOPRUNE_TINYSOL", "")
    if not Path(root or "none").is_dir():
        pytest.skip("needs TinySOL in the folder that AUDIOPRUNE_TINYSOL names")
    corpus = tinysol(root, sample_rate=16000, duration_s=1.0, cache_dir=str(tmp_path))
    items = _first(corpus.train(), 10)
    found = _metrics("crepe_tiny", items, tmp_path, loss="binary_kl", labels="pitch")
    assert found["pitch_within_50_cents"] > 0.6


def test_speech_and_voices_of_embedded_mixtures(tmp_path: Path) -> None:
    corpus = SyntheticSpeech(
        minutes=1.0,
        speakers=4,
        test_speakers=4,
        test_mixtures=12,
        test_snr_db=[20.0],
        rms_normalise=False,
        max_test_s=3.0,
    )
    corpus.prepare()
    items = _first(corpus.tests()["cafeteria_20dB"], 12)
    speech = _metrics("silero_vad", items, tmp_path, loss="binary_kl", labels="speech")
    assert speech["speech_accuracy"] > 0.5
    voices = _metrics("ge2e", items, tmp_path, loss="cosine", labels="speaker", signal="clean")
    assert voices["equal_error_rate"] < 0.35 and voices["cosine"] == pytest.approx(1)
