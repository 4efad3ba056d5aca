"""A model that enhances signals of any rate, length and number of channels: ``Enhancer``.

``load_enhancer`` reads one from a file; ``stream`` begins a signal, whose blocks are resampled to
the model's rate and back by streaming filters of linear phase. Where audio comes from is up to the
modules above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.experiment.model_io import instantiate, load_model_file
from audioprune.inference.blocks import BlockPlan
from audioprune.inference.signals import SignalStream, scales_input, signal_plan, stream_of
from audioprune.protocols import Classifies, Enhances, GeneratesNotes, SeedsNoise
from audioprune.tasks.enhancement import Enhancement

Samples = NDArray[np.float32]
FILES, PIPES = "VHQ", "HQ"
"""Qualities of the resampling; the filters of the second wait half as long."""
_LEAST_POWER = 1e-16


@dataclass(frozen=True)
class Enhancer:
    """A model, what its inputs and outputs mean, and how it is run on blocks.

    Attributes:
        model: In evaluation mode.
        task: What enhances.
        plan: How the model is run on blocks.
        dry: Share of the unprocessed signal in the output.
    """

    model: nn.Module
    task: Enhances
    plan: BlockPlan
    dry: float = 0.0

    @property
    def sample_rate(self) -> int:
        """Rate of the model in Hz."""
        return self.task.sample_rate

    def rule(self) -> str:
        """Say how the model is run."""
        return f"{type(self.model).__name__} runs {self.plan.text()}"

    def stream(
        self,
        channels: int,
        sample_rate: int,
        levels: NDArray[np.float64] | None = None,
        quality: str = FILES,
    ) -> EnhancedStream:
        """Begin to enhance a signal.

        Args:
            channels: Number of channels, each of which is enhanced alone.
            sample_rate: Of the signal in Hz.
            levels: Root mean square of each channel at the model's rate, see ``level_of``; None
                follows what is heard.
            quality: Of the resampling: ``FILES``, or ``PIPES`` with its shorter filters.
        """
        level = None if levels is None else torch.from_numpy(levels).float()
        own = stream_of(self.task, self.model, self.plan, channels, level)
        mixed = (
            own if isinstance(self.task, Enhancement) or not self.dry else _Mixed(own, self.dry)
        )
        rates = (sample_rate, self.sample_rate)
        return EnhancedStream(mixed, device_of(self.model), channels, rates, quality)

    def level_of(self, blocks: Iterable[Samples], sample_rate: int) -> NDArray[np.float64] | None:
        """Return the root mean square of each channel of a whole signal, for ``stream``.

        Args:
            blocks: Its samples (T, C) in order.
            sample_rate: Of the signal in Hz.

        Returns:
            Levels (C,); None where the model does not need them, and nothing is then read.
        """
        if not scales_input(self.task):
            return None
        resampler = None
        power: NDArray[np.float64] = np.zeros(1)
        count = 0
        for block in blocks:
            if resampler is None:
                resampler = Resampler(sample_rate, self.sample_rate, block.shape[1], FILES)
            made = resampler.push(block)
            power, count = power + np.square(made, dtype=np.float64).sum(0), count + len(made)
        if resampler is not None:
            rest = resampler.push(np.zeros((0, resampler.channels), np.float32), last=True)
            power, count = power + np.square(rest, dtype=np.float64).sum(0), count + len(rest)
        return np.sqrt(np.maximum(power / max(1, count), _LEAST_POWER))

    @torch.inference_mode()
    def latency_s(self, sample_rate: int, block: int) -> float:
        """Measure how far the output lags behind the input, in seconds, on blocks of noise.

        Args:
            sample_rate: Of the signal in Hz.
            block: Samples that come at once.

        Raises:
            ConfigError: The model must see the whole signal.
        """
        if self.plan.kind == "whole":
            raise ConfigError(
                f"expected a model that runs on parts of a signal, got one that runs "
                f"{self.plan.text()}; give files in place of a pipe"
            )
        stream = self.stream(1, sample_rate, None, PIPES)
        noise = np.random.default_rng(0)
        given = returned = most = 0
        for _ in range(max(2, round(sample_rate / block))):
            given += block
            # what was given first has waited longest when its block is complete
            most = max(most, given - returned)
            samples = 0.1 * noise.standard_normal((block, 1))
            returned += len(stream.push(samples.astype(np.float32)))
        return most / sample_rate


class EnhancedStream:
    """A signal (T, C) of any rate that is enhanced block by block; as many samples come back."""

    def __init__(
        self,
        stream: SignalStream,
        device: torch.device,
        channels: int,
        rates: tuple[int, int],
        quality: str,
    ) -> None:
        self._stream, self._device, self.channels = stream, device, channels
        own, models = rates
        self._inward = Resampler(own, models, channels, quality)
        self._outward = Resampler(models, own, channels, quality)
        self._given = self._returned = 0

    @torch.inference_mode()
    def push(self, samples: Samples, last: bool = False) -> Samples:
        """Take the next samples (T, C) and return those that are ready (T', C).

        Raises:
            DataError: A sample is NaN or infinite.
            DivergedError: The model makes one.
        """
        if not np.isfinite(samples).all():
            place = self._given + int(np.flatnonzero(~np.isfinite(samples).all(1))[0])
            raise DataError(
                f"expected finite samples, got NaN or infinity at sample {place}; repair the "
                f"recording"
            )
        self._given += len(samples)
        if self._given == 0:
            return samples
        inward = np.ascontiguousarray(self._inward.push(samples, last).T)
        made: Tensor = self._stream.push(torch.from_numpy(inward).to(self._device), last)
        if not bool(torch.isfinite(made).all()):
            raise DivergedError(
                "expected finite samples from the model, got NaN or infinity; check its weights"
            )
        outward = np.ascontiguousarray(made.cpu().numpy().T)
        found = self._outward.push(outward, last)
        if last:  # rates that do not divide one another may miss the length by a sample or two
            missing = self._given - self._returned
            found = np.pad(found[:missing], ((0, max(0, missing - len(found))), (0, 0)))
        self._returned += len(found)
        return found


class Resampler:
    """Samples (T, C) of one rate in, of another out; the same samples where the rates are."""

    def __init__(self, from_rate: int, to_rate: int, channels: int, quality: str) -> None:
        self.channels = channels
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype="float32", quality=quality
            )

    def push(self, samples: Samples, last: bool = False) -> Samples:
        """Take the next samples and return those that are ready."""
        if self._stream is None:
            return samples
        given = samples if self.channels > 1 else samples[:, 0]
        made = self._stream.resample_chunk(np.ascontiguousarray(given, np.float32), last=last)
        return np.asarray(made, np.float32).reshape(-1, self.channels)


class _Mixed:
    """A stream whose output is mixed with the samples that it was made of."""

    def __init__(self, stream: SignalStream, dry: float) -> None:
        self._stream, self._dry = stream, dry
        self._waiting: Tensor | None = None

    def push(self, samples: Tensor, last: bool = False) -> Tensor:
        """Take the next samples (C, T) and return those that are ready (C, T')."""
        waiting = self._waiting
        waiting = samples if waiting is None else torch.cat((waiting, samples), 1)
        made = self._stream.push(samples, last)
        ready = made.shape[1]
        self._waiting = waiting[:, ready:].clone()
        return torch.lerp(made, waiting[:, :ready].to(made), self._dry)


def load_enhancer(
    checkpoint: str,
    *,
    model: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    dry: float | None = None,
    device: torch.device | str = "cpu",
) -> Enhancer:
    """Read a model that enhances.

    Args:
        checkpoint: ``.apz``, ``.safetensors``, a state dict or a run folder.
        model: The user's own class, which a file may name then, or that of a state dict.
        task: Target and arguments of the task; None for that of the file.
        dry: Share of the unprocessed signal, 0 to below 1; None for that of the task.
        device: Where the model computes.

    Raises:
        CheckpointError: The file is missing, damaged or hostile.
        ConfigError: There is no task, or one whose models do not enhance signals.
    """
    loaded = load_model_file(checkpoint, dict(model) if model else None)
    node = dict(task) if task else loaded.task_config
    return enhancer_of(loaded.model.to(device), node, checkpoint, dry)


def enhancer_of(
    model: nn.Module, task: Mapping[str, Any] | None, name: str, dry: float | None = None
) -> Enhancer:
    """Return a model as one that enhances.

    Args:
        model: Any module; put into evaluation mode.
        task: Target and arguments of its task.
        name: What messages call it.
        dry: As for ``load_enhancer``.

    Raises:
        ConfigError: There is no task, or one whose models do not enhance signals.
    """
    if task is None:
        raise ConfigError(
            f"{name}: expected a model whose file says its task, got none; give task=irm, "
            f"magnitude, complex, waveform, waveform_model or adversarial"
        )
    built = instantiate(dict(task))
    if isinstance(built, GeneratesNotes):
        raise ConfigError(
            f"{name}: expected a model that enhances signals, got one that makes notes; use "
            f"audioprune generate"
        )
    if isinstance(built, Classifies) or not isinstance(built, Enhances):
        raise ConfigError(
            f"{name}: expected a model that enhances signals, got the task "
            f"{type(built).__name__}; use audioprune apply"
        )
    own = built.dry if isinstance(built, Enhancement) else 0.0
    share = own if dry is None else dry
    if not 0 <= share < 1:
        raise ConfigError(f"dry: expected a share from 0 to below 1, got {share}; 0 leaves none")
    if isinstance(built, Enhancement):
        built.dry = share
    model = model.eval()
    if isinstance(model, SeedsNoise):
        model.z_seed = 0
    with torch.inference_mode():
        return Enhancer(model, built, signal_plan(built, model), share)
