"""What an autoencoder of notes is given, and how its output lies within the note.

Signals are (B, T). A model may want zeros around a note (``pad``), lose samples at its ends
(``strip``), say which stretch it returns (``target``) and have an encoder (``latent``).
``WaveformTerm`` is what a training may ask of the samples themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.protocols import Batch, CutsTarget, HasLatent, PadsNotes, StripsNotes
from audioprune.tasks.notes.note_features import BLOCK, played_loudness

_FAINTEST = 1e-6


def padded(model: nn.Module, audio: Tensor) -> Tensor:
    """Return notes with the zeros around them that a model wants."""
    pad = model.pad if isinstance(model, PadsNotes) else 0
    return F.pad(audio, (pad, pad))


def reconstructed(model: nn.Module, audio: Tensor) -> Tensor:
    """Return the stretch of padded notes that a model should return."""
    return model.target(audio) if isinstance(model, CutsTarget) else audio


def samples_before(model: nn.Module) -> int:
    """Return how many samples of padding a model's output begins with."""
    pad = model.pad if isinstance(model, PadsNotes) else 0
    strip = model.strip if isinstance(model, StripsNotes) else 0
    return pad - strip


def has_encoder(model: nn.Module) -> bool:
    """Tell whether a model of control curves also reads the note itself."""
    return model.latent > 0 if isinstance(model, HasLatent) else True


def whole_blocks(batch: Mapping[str, Any], samples: int) -> Batch:
    """Return a batch whose audio fills the blocks that hold ``samples``, with silence at least."""
    silence = torch.zeros(len(batch["pitch"]), samples, device=batch["pitch"].device)
    audio = batch.get("audio", silence)[:, :samples]
    length = -(-samples // BLOCK) * BLOCK
    return {**batch, "audio": F.pad(audio, (0, length - audio.shape[1]))}


def with_loudness(batch: Batch, kind: str, sample_rate: int) -> Batch:
    """Return a batch with a loudness curve for every block: its own, or that of a played note."""
    blocks = batch["audio"].shape[1] // BLOCK
    if "loudness" in batch:
        return {**batch, "loudness": batch["loudness"][:, :blocks]}
    curve = played_loudness(batch["pitch"], batch["velocity"], blocks, kind, sample_rate)
    return {**batch, "loudness": curve}


class WaveformTerm:
    """What a training asks of the samples of its notes, beside their spectra.

    Args:
        weight: Weight of the relative squared error beside the spectral distance; 0 for none.
        first_epochs: Epochs in which it is all that counts, at weight 1.

    Attributes:
        epoch: The epoch whose steps follow, from 0.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(self, weight: float, first_epochs: int) -> None:
        if not 0 <= weight < math.inf:
            raise ConfigError(
                f"expected waveform_weight as a finite number from 0 on, got {weight}; change "
                f"task.waveform_weight"
            )
        if first_epochs < 0:
            raise ConfigError(
                f"expected waveform_first_epochs of at least 0, got {first_epochs}; change "
                f"task.waveform_first_epochs"
            )
        self.weight, self.first_epochs, self.epoch = weight, first_epochs, 0

    def joined(self, wanted: Tensor, made: Tensor, spectral: Callable[[], Tensor]) -> Tensor:
        """Return the loss of a batch (B, T), a scalar, from both parts."""
        if self.epoch < self.first_epochs:
            return relative_error(wanted, made).mean()
        if not self.weight:
            return spectral()
        return spectral() + self.weight * relative_error(wanted, made).mean()


def relative_error(wanted: Tensor, made: Tensor) -> Tensor:
    """Return the squared error of each signal (B, T) over its power, shape (B,).

    Signals below -60 dB of full scale count as that loud.
    """
    power = wanted.square().mean(-1).clamp_min(_FAINTEST)
    return (made - wanted).square().mean(-1) / power
