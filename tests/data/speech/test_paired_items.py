"""Items of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from speech_trees import tone

from audioprune.data.speech.paired_folder import PairedFolder


def _corpus(root: Path, tmp_path: Path, **options) -> PairedFolder:
    return PairedFolder(root, cache_dir=str(tmp_path / "cache"), **options)


def test_parts_are_aligned_and_change_with_the_epoch(voicebank: Path, tmp_path: Path) -> None:
    items = _corpus(voicebank, tmp_path, segment_s=0.2, rms_normalise=False).train()
    first = items[0]
    assert len(first["noisy"]) == 3200
    seed = int(first["id"][-1]) + 10 * int(first["id"].partition("_p")[2][0])
    starts = np.flatnonzero(
        np.isclose(tone(0.7, seed)[:8000], float(first["clean"][0]), atol=1e-4)
    )
    assert any(
        np.allclose(
            tone(0.7, seed + 5000)[s : s + 3200] / 2,
            (first["noisy"] - first["clean"]).numpy(),
            atol=1e-3,
        )
        for s in starts
    )
    items.set_epoch(1)
    assert not first["clean"].equal(items[0]["clean"])
    items.set_epoch(0)
    assert first["clean"].equal(items[0]["clean"])
    assert (
        len(_corpus(voicebank, tmp_path, max_test_s=0.3).tests()["recorded"][0]["noisy"]) == 4800
    )
