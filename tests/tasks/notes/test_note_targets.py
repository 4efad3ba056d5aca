"""Targets of the information criterion: aligned, finite, and telling of what is heard."""

from __future__ import annotations

import torch

from audioprune.dsp import mu_law_decode, mu_law_encode
from audioprune.tasks.notes.note_targets import MELS, frame_features, next_amplitude


def test_the_amplitude_is_that_of_the_next_sample() -> None:
    tokens = torch.tensor([[0, 255, 128, 64]])
    assert torch.allclose(
        next_amplitude(tokens, 256)[0, :, 0],
        torch.tensor([1.0, 1 / 255, -127 / 255], dtype=torch.float64),
    )
    audio = torch.linspace(-1, 1, 50)[None]
    found = next_amplitude(mu_law_encode(audio, 64), 64)
    assert found.shape == (1, 49, 1) and bool((found.diff(dim=1) >= 0).all())
    assert torch.allclose(
        mu_law_decode(mu_law_encode(audio, 64), 64)[0, 1:].sign(), found[0, :, 0].sign().float()
    )


def test_frames_tell_level_and_pitch() -> None:
    time = torch.arange(16000) / 16000
    quiet, loud, high = (
        0.1 * torch.sin(6.2832 * 200 * time),
        torch.sin(6.2832 * 200 * time),
        torch.sin(6.2832 * 3000 * time),
    )
    found = frame_features(torch.stack([quiet, loud, high]), 16000)
    assert (
        found.shape[0] == 3
        and found.shape[2] == 1 + MELS
        and abs(found.shape[1] - 16000 / 256) < 3
    )
    middle = found[:, found.shape[1] // 2]
    assert torch.allclose(middle[1, 0] - middle[0, 0], torch.tensor(100.0).log(), atol=1e-3)
    assert int(middle[2, 1:].argmax()) > int(middle[1, 1:].argmax())
    assert torch.isfinite(frame_features(torch.zeros(1, 2048), 16000)).all()
