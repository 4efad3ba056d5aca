"""What a note is in few numbers per sample or frame, to measure what single units know of it.

The measurement is in ``compress.criteria.information``; what models are conditioned on is in
``note_features``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioprune.dsp import STFT
from audioprune.tasks.notes.note_features import mel_filters

MELS = 24
"""Mel bands of a frame."""
STFT_OF_TARGETS = STFT(1024, 256, "hann")
_FLOOR = 1e-7


def next_amplitude(tokens: Tensor, classes: int) -> Tensor:
    """Return the companded amplitude after each sample but the last, (B, T - 1, 1) in -1..1.

    Position t is what a causal model is to predict at t, so that layers of its length are aligned
    with it.

    Args:
        tokens: Classes (B, T) of a mu-law scale.
        classes: Number of classes.

    Source: Esling et al., equation 7, leave the target's form open. As one of 256 classes it would
    leave about one sample per cell of the estimator; as one number it orders them.
    """
    return (tokens[:, 1:, None].double() * 2 / (classes - 1)) - 1


def frame_features(audio: Tensor, sample_rate: int) -> Tensor:
    """Return log energy and log mel energies of frames of 256 samples, shape (B, N, 1 + 24).

    Args:
        audio: Signals (B, T).
        sample_rate: In Hz.

    Source: Esling et al., equation 7, leave the target's form open; the estimator needs few
    numbers, so that the criterion takes the first one and three principal components of the
    others.
    """
    spectrum = STFT_OF_TARGETS.analysis(audio.float())
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power @ mel_filters(MELS, sample_rate, STFT_OF_TARGETS.n_fft).to(audio.device)
    return torch.cat([power.sum(-1, keepdim=True), mel], -1).clamp_min(_FLOOR).log()
