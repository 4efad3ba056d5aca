"""Scores by labels that a corpus has or that can be made: pitch, speech, speakers.

``judge_of`` returns what adds up one kind; items without the label count nowhere. Losses never see
these labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audioprune.errors import ConfigError, unknown_name
from audioprune.models.zoo.crepe import CENTS_APART, FRAME, LOWEST_CENTS

_WITHIN_CENTS = 50.0
_SOUNDS_DB = -30.0
"""Level below the loudest frame from which on a frame of a note counts as sounding."""
_SPEAKS_DB = -40.0
_AROUND = 4  # pitches on either side of the best one, whose mean is meant
Scores = dict[str, float | None]


class JudgesLabels(Protocol):
    """What adds up the items of a test set."""

    def add(self, item: Mapping[str, Any], output: Tensor, frames_per_second: float) -> None:
        """Add an item and what the network returned for it."""
        ...

    def result(self) -> Scores:
        """Return the scores, nothing where no item had the label."""
        ...


class PitchJudge:
    """Counts the sounding frames whose pitch is within 50 cents of the note's."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.hits = self.count = 0

    def add(self, item: Mapping[str, Any], output: Tensor, frames_per_second: float) -> None:
        """Add a note: ``audio`` (T,), ``pitch`` (MIDI), probabilities (N, 360)."""
        if "pitch" not in item:
            return
        hop = round(self.sample_rate / frames_per_second)
        levels = frame_levels(item["audio"], FRAME, hop)[: len(output)]
        sounding = levels > levels.max() * 10 ** (_SOUNDS_DB / 20)
        wanted = 1200 * math.log2(440 / 10) + 100 * (float(item["pitch"]) - 69)
        found = cents_of(output.float().cpu())[: len(levels)]
        self.hits += int(((found - wanted).abs() <= _WITHIN_CENTS)[sounding].sum())
        self.count += int(sounding.sum())

    def result(self) -> Scores:
        """Return ``pitch_within_50_cents``, 0..1."""
        return {"pitch_within_50_cents": self.hits / self.count} if self.count else {}


def cents_of(probabilities: Tensor) -> Tensor:
    """Return pitches in cents above 10 Hz, shape (N,), for the probabilities of CREPE (N, 360).

    It is the mean of the nine around the most probable one, weighted by their probabilities.
    """
    best = probabilities.argmax(1, keepdim=True)
    places = torch.arange(probabilities.shape[1])[None]
    weights = probabilities * ((places - best).abs() <= _AROUND)
    cents = LOWEST_CENTS + CENTS_APART * places
    return (weights * cents).sum(1) / weights.sum(1).clamp_min(1e-12)


def frame_levels(audio: Tensor, length: int, hop: int) -> Tensor:
    """Return the root mean square of centred frames of a signal (T,), shape (N,)."""
    padded = F.pad(audio.float().cpu(), (length // 2, length // 2))
    return padded.unfold(0, length, hop).square().mean(1).sqrt()


class SpeechJudge:
    """Counts the frames whose decision for speech agrees with the level of the clean signal."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.right = [0, 0]
        self.count = [0, 0]

    def add(self, item: Mapping[str, Any], output: Tensor, frames_per_second: float) -> None:
        """Add a mixture: ``clean`` (T,), probabilities (..., N)."""
        if "clean" not in item:
            return
        length = round(self.sample_rate / frames_per_second)
        clean = item["clean"].float().cpu()
        whole = clean[: len(clean) // length * length].reshape(-1, length)
        levels = whole.square().mean(1).sqrt()
        spoken = levels > levels.max() * 10 ** (_SPEAKS_DB / 20)
        told = output.float().cpu().flatten()[: len(levels)] > 0.5
        for side in (0, 1):
            own = spoken == bool(side)
            self.right[side] += int((told == spoken)[own].sum())
            self.count[side] += int(own.sum())

    def result(self) -> Scores:
        """Return ``speech_accuracy``, the mean of those in speech and in pauses, 0..1."""
        if not any(self.count):
            return {}
        shares = [r / n for r, n in zip(self.right, self.count, strict=True) if n]
        return {"speech_accuracy": sum(shares) / len(shares)}


class SpeakerJudge:
    """Compares the embeddings of all pairs of recordings."""

    def __init__(self, sample_rate: int) -> None:
        self.embeddings: list[Tensor] = []
        self.speakers: list[str] = []

    def add(self, item: Mapping[str, Any], output: Tensor, frames_per_second: float) -> None:
        """Add a recording: ``speaker``, embeddings of its parts (P, D)."""
        if not item.get("speaker"):
            return
        self.embeddings.append(F.normalize(output.float().cpu().mean(0), dim=0))
        self.speakers.append(str(item["speaker"]))

    def result(self) -> Scores:
        """Return ``equal_error_rate``, 0..1, where there are pairs of one and of two speakers."""
        if not self.embeddings:
            return {}
        stacked = torch.stack(self.embeddings)
        likeness = (stacked @ stacked.T).double().numpy()
        names = np.array(self.speakers)
        pairs = np.triu_indices(len(names), 1)
        same = (names[:, None] == names[None, :])[pairs]
        if same.all() or not same.any():
            return {}
        return {"equal_error_rate": equal_error_rate(likeness[pairs], same)}


def equal_error_rate(likeness: np.ndarray, same: np.ndarray) -> float:
    """Return the error rate at the threshold where both kinds of errors are alike, 0..1.

    Args:
        likeness: Score of each pair, larger for one speaker.
        same: Whether a pair is of one speaker.
    """
    order = np.argsort(-likeness, kind="stable")
    accepted, given = np.cumsum(same[order]), likeness[order]
    places = np.arange(1, len(order) + 1)
    last = np.append(given[1:] != given[:-1], True)  # pairs of one score are accepted together
    missed = 1 - accepted[last] / same.sum()
    wrong = (places - accepted)[last] / (~same).sum()
    missed, wrong = np.append(1.0, missed), np.append(0.0, wrong)
    at = int(np.argmin(np.abs(missed - wrong)))
    return float((missed[at] + wrong[at]) / 2)


JUDGES: dict[str, Callable[[int], JudgesLabels]] = {
    "pitch": PitchJudge,
    "speech": SpeechJudge,
    "speaker": SpeakerJudge,
}


def judge_of(kind: str | None, sample_rate: int) -> JudgesLabels | None:
    """Return what adds up one kind of label, None for none.

    Raises:
        ConfigError: The kind is unknown.
    """
    if kind is None:
        return None
    if kind not in JUDGES:
        raise ConfigError(unknown_name("task.labels", kind, JUDGES))
    return JUDGES[kind](sample_rate)
