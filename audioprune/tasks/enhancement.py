"""The task of speech enhancement: what a batch, a loss and a score mean.

``Enhancement`` takes batches of ``noisy`` and ``clean`` signals (B, T) with ``lengths`` (B,). The
four training targets are in ``targets``; it reads no files and computes no metrics itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune import dsp
from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.dsp import STFT, OlaNorm
from audioprune.errors import ConfigError, unknown_name
from audioprune.protocols import (
    Batch,
    Collate,
    FrameWise,
    Items,
    Number,
    Signals,
)
from audioprune.ranges import FOLLOWS, OneOf, Range
from audioprune.tasks.batches import first_batches, rows_by_length, weighted_mean
from audioprune.tasks.remix import remixed
from audioprune.tasks.signal_scores import (
    MONITORS,
    ScoresEnhanced,
    batch_items,
    monitored,
)
from audioprune.tasks.targets import (
    FEATURES,
    OUTPUTS,
    PHASED_FEATURES,
    ComplexMapping,
    MagnitudeMapping,
    RatioMask,
    Target,
    WaveformMapping,
)
from audioprune.training.processes import processes

TARGETS = ("irm", "magnitude", "complex", "waveform")
_ORACLE_BATCH = 8
_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "irm": {"feature": FEATURES, "output": ("mapping",)},
    "magnitude": {"feature": FEATURES, "output": OUTPUTS},
    "complex": {"feature": PHASED_FEATURES, "output": OUTPUTS},
    "waveform": {"feature": ("magnitude",), "output": ("mapping",)},
}


class Enhancement(ScoresEnhanced):
    """Train and score a model that removes noise from speech.

    Mixtures are scaled to RMS 1 before the model gets them, the clean signal by the same factor;
    enhanced signals are scaled back. The loss is the mean squared error over all frames that hold
    signal.

    Args:
        target: ``irm``, ``magnitude``, ``complex`` or ``waveform``.
        sample_rate: In Hz.
        frame_length: Samples of a frame; also the size of the transform.
        hop_length: Samples from one frame to the next.
        ola_norm: Convention of the inverse transform, see `audioprune.dsp.STFT.synthesis`.
        feature: How models of spectra see the magnitude: ``magnitude`` (the paper's),
            ``cube_root`` or, without phases, ``log``.
        output: What ``magnitude`` and ``complex`` models return: ``mapping`` (the paper's), the
            clean spectrum itself, or ``mask``, a factor of the noisy spectrum whose product is
            trained by the same loss.
        dry: Share of the noisy signal in what `enhance` returns, 0 (the paper's) to below 1. The
            mean squared error makes a model of a short training suppress weak speech with the
            noise, which costs more intelligibility than some noise does.
        frame_batch: For models that map each frame alone (``frame_wise``): frames per update. A
            training step then makes many updates, each on frames drawn at random from all frames
            of the batch. None makes one update per batch.
        remix: Whether a training step exchanges the noises within its batch, each at the SNR of
            the speech that it comes to.

    Attributes:
        waveform: Whether models are given frames of samples.
        estimates_signals: Whether a model's output grows with its input, as a mask does not.

    Raises:
        ConfigError: The target, the convention, the feature or the output is unknown, the target
            does not know it, or ``dry`` is outside its range.
    """

    monitors = MONITORS

    def __init__(
        self,
        *,
        target: Annotated[str, OneOf(*TARGETS)] = "irm",
        sample_rate: Annotated[int, Range(1000), FOLLOWS] = 16000,
        frame_length: Annotated[int, Range(2)] = 320,
        hop_length: Annotated[int, Range(1)] = 160,
        ola_norm: Annotated[str, OneOf("window", "window_squared")] = "window",
        feature: Annotated[str, OneOf(*FEATURES)] = "magnitude",
        output: Annotated[str, OneOf(*OUTPUTS)] = "mapping",
        dry: Annotated[float, Range(0, below=1)] = 0.0,
        frame_batch: Annotated[int | None, Range(1)] = None,
        remix: bool = False,
    ) -> None:
        for what, given, known in (
            ("target", target, TARGETS),
            ("ola_norm", ola_norm, dsp.OLA_NORMS),
        ):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        for what, given in (("feature", feature), ("output", output)):
            if given not in _CHOICES[target][what]:
                raise ConfigError(
                    unknown_name(f"{what} of the target {target}", given, _CHOICES[target][what])
                )
        if frame_batch is not None and output == "mask":
            raise ConfigError(
                f"task.frame_batch: expected null where the output is a mask, got "
                f"{frame_batch}; change one of the two"
            )
        if not 0 <= dry < 1:
            raise ConfigError(
                f"task.dry: expected a share from 0 to below 1, got {dry}; 0 returns the "
                f"estimate alone"
            )
        self.sample_rate = sample_rate
        self.frame_length, self.hop_length = frame_length, hop_length
        self.frame_batch = frame_batch
        self.remix = remix
        self.dry = dry
        self.waveform = target == "waveform"
        self.estimates_signals = target != "irm" and output == "mapping"
        self.target = _build_target(target, frame_length, hop_length, ola_norm, feature, output)

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        facts: dict[str, Any] = {"frames_per_second": self.sample_rate / self.hop_length}
        if self.waveform:
            return {"frame_length": self.frame_length, **facts}
        return {"bins": self.frame_length // 2 + 1, **facts}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean squared error of a batch, a scalar."""
        return self.loss_of(batch)(model(self.target.inputs(batch["noisy"])))

    def input_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what a model is given (B, N, F), and which frames hold signal (B, N), bool."""
        frames = self.target.inputs(batch["noisy"])
        number = torch.arange(frames.shape[self.target.frame_dim], device=frames.device)
        return frames, number < self._frame_counts(batch).to(frames.device)[:, None]

    def output_shape(self, batch: Batch) -> tuple[int, ...]:
        """Return the shape that a model's output for this batch must have."""
        return tuple(self.target.wanted(batch["noisy"], batch["clean"]).shape)

    def loss_of(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the function that maps the model's output for this batch to its loss."""
        wanted = self.target.wanted(batch["noisy"], batch["clean"])
        valid = self._valid_frames(batch, wanted)
        frames = wanted.shape[0] * wanted.shape[self.target.frame_dim]
        count = valid.sum() * wanted.numel() / frames  # values in frames that hold signal

        def loss(output: Tensor) -> Tensor:
            error = self.target.estimate(output, batch["noisy"]) - wanted
            return (error.square() * valid).sum() / count

        return loss

    def batch_weight(self, batch: Batch) -> float:
        """Return the frames of a batch that hold signal."""
        return float(self._frame_counts(batch).sum())

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step: one update, or many where ``frame_batch`` is set."""
        batch = remixed(batch) if self.remix else batch
        if self.frame_batch is None:
            loss = self.loss(model, batch)
            return {"loss": update(loss, weight=lambda: self._frame_counts(batch).sum())}
        return {"loss": self._step_on_frames(model, batch, update, self.frame_batch)}

    def _step_on_frames(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor], size: int
    ) -> Tensor:
        if not (isinstance(model, FrameWise) and model.frame_wise):
            raise ConfigError(
                f"task.frame_batch: expected a model that maps each frame alone, got "
                f"{type(model).__name__}; set it to null"
            )
        with torch.no_grad():
            wanted = self.target.wanted(batch["noisy"], batch["clean"])
            counts = self._frame_counts(batch)  # on the CPU, where positions cost no waiting
            valid = torch.arange(wanted.shape[1]) < counts[:, None]
            rows = valid.flatten().nonzero()[:, 0].to(wanted.device)
            inputs = self.target.inputs(batch["noisy"]).flatten(0, 1)[rows]
            wanted = wanted.flatten(0, 1)[rows]
        group = processes()
        count = group.rows(len(inputs))
        order = torch.randperm(count).to(inputs.device)
        total = torch.zeros((), device=inputs.device)
        for chosen in order.split(size):
            own = group.own(chosen, len(inputs))
            error = (model(inputs[own]) - wanted[own]).square()
            loss = error.mean() if len(own) else error.sum()  # another process may have all
            total = total + update(loss, weight=partial(len, own)) * len(chosen)
        return total / count

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean loss over all frames as ``loss``, and the monitored metric."""
        losses: list[Tensor] = []
        frames: list[Tensor] = []
        items: list[Signals] = []
        for batch in batches:
            losses.append(self.loss(model, batch))
            frames.append(self._frame_counts(batch).sum())
            if monitor != "loss":
                items += batch_items(batch, self.enhance(model, batch["noisy"], batch["lengths"]))
        loss = weighted_mean(losses, frames)
        return {"loss": loss, **monitored(monitor, items, self.sample_rate)}

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over the first ``items``; see ``protocols.Task``."""
        batches: list[LossBatch] = []
        for batch in first_batches(dataset, collate, items, _ORACLE_BATCH, device_of(model)):
            inputs, frames = self.target.inputs(batch["noisy"]), self._frame_counts(batch).sum()
            batches.append((inputs, self.loss_of(batch), float(frames)))
        return BatchLoss(model, batches)

    @torch.inference_mode()
    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Remove noise from signals, each as if it were alone but in the model itself.

        Args:
            model: In evaluation mode.
            noisy: Signals (B, T) at the task's sample rate, of any level.
            lengths: Samples of each signal before padding, or None when all are T long.

        Returns:
            Enhanced signals (B, T) at the level of the input, zeros behind each.
        """
        noisy = noisy.to(device_of(model))
        groups = rows_by_length(noisy, lengths)
        signals = [noisy[rows, :length] for rows, length in groups]
        gains = [each.square().mean(1, keepdim=True).sqrt().clamp_min(1e-8) for each in signals]
        scaled = [signal / gain for signal, gain in zip(signals, gains, strict=True)]
        inputs = [self.target.inputs(each) for each in scaled]
        outputs = model(_joined(inputs, self.target.frame_dim))
        estimates = torch.zeros_like(noisy)
        start = 0
        for (rows, length), given, frames, gain in zip(groups, scaled, inputs, gains, strict=True):
            own = outputs[start : start + len(frames)]
            own = own.narrow(self.target.frame_dim, 0, frames.shape[self.target.frame_dim])
            estimates[rows, :length] = self.target.audio(own, given) * gain
            start += len(frames)
        return estimates if self.dry == 0 else torch.lerp(estimates, noisy, self.dry)

    def _frame_counts(self, batch: Batch) -> Tensor:
        return self.target.frames(batch["lengths"])

    def _valid_frames(self, batch: Batch, wanted: Tensor) -> Tensor:
        """Return 1 for frames of signal and 0 for padding, in the shape of the target."""
        frames = wanted.shape[self.target.frame_dim]
        counts = self._frame_counts(batch).to(wanted.device)
        valid = torch.arange(frames, device=wanted.device)[None, :] < counts[:, None]
        shape = [wanted.shape[0], *[1] * (wanted.ndim - 1)]
        shape[self.target.frame_dim] = frames
        return valid.to(wanted).reshape(shape)


def _joined(inputs: Sequence[Tensor], frame_dim: int) -> Tensor:
    """Return inputs of a model as one batch, with zeros behind the frames of the shorter ones."""
    frames = max(each.shape[frame_dim] for each in inputs)
    padded = []
    for each in inputs:
        axes = each.ndim - 1 - frame_dim  # F.pad counts from the last axis
        behind = [0, 0] * axes + [0, frames - each.shape[frame_dim]]
        padded.append(F.pad(each, behind))
    return torch.cat(padded)


def _build_target(
    name: str, frame_length: int, hop_length: int, ola_norm: str, feature: str, output: str
) -> Target:
    if name == "waveform":
        return WaveformMapping(frame_length, hop_length)
    stft, norm = STFT(frame_length, hop_length), cast(OlaNorm, ola_norm)
    if name == "irm":
        return RatioMask(stft, norm, feature)
    if name == "complex":
        return ComplexMapping(stft, norm, feature, output)
    return MagnitudeMapping(stft, norm, feature, output)
