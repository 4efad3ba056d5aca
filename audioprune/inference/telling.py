"""What a network says of raw samples from a pipe, while they come: ``tell_pipe``.

Rows are told as soon as what they are of has come: where the network has steps of its own, one a
step; where its front end cuts a waveform into frames that do not know one another, one a frame.
Any other network is told at the end of the pipe. Files are told in applying.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from audioprune.compress.placement import device_of
from audioprune.dsp import mixdown
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.inference.applying import Applier, Row
from audioprune.inference.enhancer import PIPES, Resampler
from audioprune.inference.pipes import Pipe, Raw
from audioprune.interrupts import check_stop
from audioprune.protocols import Classifies, Costed, GeneratesByStep, HasFrontEnd, StreamsFrames

NAME = "-"
"""What rows have in the place of a file."""
BLOCK_S = 0.01
_SAME = 1e-5  # of the largest value, between frames of a block and those of the whole


class Hearing(Protocol):
    """Takes a waveform piece by piece and returns values of the frames that are whole."""

    what: str

    def push(self, audio: Tensor, last: bool) -> list[Tensor]:
        """Take the next samples (1, T) and return the values (K,) of frames."""
        ...


class _Steps:
    """A network that maps one piece of a waveform and a state to one frame."""

    what = "step by step"

    def __init__(self, applier: Applier, model: StreamsFrames, piece: int) -> None:
        self._applier, self._model, self._piece = applier, model, piece
        self._state = model.initial_state(1)
        self._held = torch.zeros(1, 0)

    def push(self, audio: Tensor, last: bool) -> list[Tensor]:
        held = torch.cat((self._held.to(audio), audio), 1)
        if last:  # the last piece is filled with zeros
            held = torch.nn.functional.pad(held, (0, -held.shape[1] % self._piece))
        count = held.shape[1] // self._piece
        found = []
        for piece in held[:, : count * self._piece].split(self._piece, 1):
            if piece.shape[1]:
                made, self._state = self._model.step(piece, self._state)
                found.append(self._applier.chosen(made)[0].reshape(-1))
        self._held = held[:, count * self._piece :].clone()
        return found


class _Frames:
    """A network that maps each frame of its front end alone."""

    what = "frame by frame"

    def __init__(self, applier: Applier, front: HasFrontEnd, hop: int, length: int) -> None:
        self._applier, self._front, self._hop, self._length = applier, front, hop, length
        self._margin = -(-length // hop) * hop
        self._held = torch.zeros(1, 0)
        self._begin = self._told = self._heard = 0

    def frames(self, audio: Tensor, last: bool) -> Tensor:
        """Take the next samples (1, T) and return the frames (N, L) that are whole."""
        self._held = torch.cat((self._held.to(audio), audio), 1)
        self._heard += audio.shape[1]
        # no frame reaches further than its own length
        ready = max(0, (self._heard - self._length) // self._hop + 1)
        if ready <= self._told and not last:
            return self._held.new_zeros(0, self._length)
        made = self._front.front_end(self._held)
        first = self._begin // self._hop
        found = made[self._told - first : None if last else ready - first]
        self._told += len(found)
        begin = max(self._begin, self._told * self._hop - self._margin)
        self._held, self._begin = self._held[:, begin - self._begin :].clone(), begin
        return found

    def push(self, audio: Tensor, last: bool) -> list[Tensor]:
        found = self.frames(audio, last)
        return (
            list(self._applier.chosen(self._applier.model(found)).flatten(1)) if len(found) else []
        )


class _Whole:
    """Any other network, which hears everything at the end."""

    what = "at the end of the pipe, since it hears a whole"

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._held: list[Tensor] = []

    def push(self, audio: Tensor, last: bool) -> list[Tensor]:
        self._held.append(audio)
        if not last:
            return []
        whole = torch.cat(self._held, 1)
        duration = whole.shape[1] / self._applier.front.sample_rate
        return list(self._applier.values_of(whole, duration))


def hearing_of(applier: Applier) -> Hearing:
    """Return how a network hears a pipe.

    Raises:
        ConfigError: It is a classifier, whose corpus reads files.
    """
    if applier.corpus is not None and isinstance(applier.task, Classifies):
        raise ConfigError(
            "expected a network that is fed a waveform for a pipe, got a classifier of "
            "recordings; give in=FILE"
        )
    model, kind = applier.model, applier.front.kind
    if not isinstance(model, Costed) or kind not in ("model", "waveform"):
        return _Whole(applier)
    example = model.example_input()
    if not isinstance(example, Tensor) or example.dim() != 2:
        return _Whole(applier)
    if kind == "model" and isinstance(model, HasFrontEnd):
        hop = applier.front.sample_rate / model.frames_per_second
        if model.time_dim == 0 and hop == int(hop):
            return _proved(applier, model, int(hop), example.shape[1])
        return _Whole(applier)
    if isinstance(model, StreamsFrames) and isinstance(model, GeneratesByStep):
        given = model.step_input()
        if isinstance(given, tuple) and given[0].dim() == 2:
            return _Steps(applier, model, given[0].shape[1])
    return _Whole(applier)


def _proved(applier: Applier, front: HasFrontEnd, hop: int, length: int) -> Hearing:
    """Return frame by frame where the frames of blocks are those of the whole."""
    noise = torch.randn(1, 4 * length + hop // 2, generator=torch.Generator().manual_seed(0))
    trial = _Frames(applier, front, hop, length)
    pieces = noise.split(length // 2 + 1, 1)
    found = torch.cat([trial.frames(each, each is pieces[-1]) for each in pieces])
    whole = front.front_end(noise)
    same = found.shape == whole.shape and torch.allclose(
        found, whole, rtol=0, atol=_SAME * float(whole.abs().max())
    )
    return _Frames(applier, front, hop, length) if same else _Whole(applier)


def tell_pipe(
    applier: Applier, hearing: Hearing, raw: Raw, source: Pipe, tell: Callable[[Row], None]
) -> float:
    """Tell rows of raw samples until the pipe ends.

    Args:
        applier: The network and how its outputs are told.
        hearing: From ``hearing_of``.
        raw: Layout of the samples.
        source: Where bytes come from.
        tell: Takes each row.

    Returns:
        Seconds of audio that came.

    Raises:
        DataError: No sample came, or one is not finite.
        DivergedError: An output is not finite.
    """
    inward = Resampler(raw.sample_rate, applier.front.sample_rate, 1, PIPES)
    place, number, count = device_of(applier.model), 0, 0
    for samples in chain(_blocks(raw, source), (None,)):
        last = samples is None
        given = np.zeros((0, 1), np.float32) if samples is None else samples
        count += len(given)
        if not count:
            continue
        audio = np.ascontiguousarray(inward.push(given, last).T)
        with torch.inference_mode():
            found = hearing.push(torch.from_numpy(audio).to(place), last)
        for values in found:
            if not bool(torch.isfinite(values).all()):
                raise DivergedError("expected finite outputs of the pipe, got NaN or infinity")
            tell(applier.row(NAME, number, values.cpu(), not last or number + len(found) > 1))
            number += 1
    if not count:
        raise DataError("expected raw samples on the pipe, got none; check what writes to it")
    return count / raw.sample_rate


def _blocks(raw: Raw, source: Pipe) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """Yield samples (T, 1), the mean of all channels, as they come."""
    most = max(1, round(BLOCK_S * raw.sample_rate)) * raw.frame_bytes
    rest = b""
    while data := os.read(source.fileno(), most):
        check_stop()
        data = rest + data
        whole = len(data) // raw.frame_bytes * raw.frame_bytes
        rest = data[whole:]
        samples = raw.decode(data[:whole])
        if not np.isfinite(samples).all():
            raise DataError(
                "expected finite samples, got NaN or infinity; repair what writes them"
            )
        yield mixdown(samples.T)[:, None].astype(np.float32)
