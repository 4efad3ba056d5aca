"""The task of enhancing whole waveforms: what a batch, a loss and a score mean.

``WaveformModel`` takes batches of ``noisy`` and ``clean`` signals (B, T) with ``lengths`` (B,) and
models that map a waveform to a waveform. Models of frames and spectra are trained by
tasks/enhancement.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.errors import ConfigError
from audioprune.protocols import Batch, Collate, Items, Number, Signals
from audioprune.ranges import FOLLOWS, OneOf, Range
from audioprune.tasks.batches import first_batches, rows_by_length, weighted_mean
from audioprune.tasks.foreign.comparisons import named_outputs
from audioprune.tasks.signal_scores import (
    MONITORS,
    ScoresEnhanced,
    batch_items,
    monitored,
)
from audioprune.tasks.spectral_loss import SpectralLoss

_BATCH = 8
_TINY = 1e-8
_WINDOWS = (256, 512, 1024)


class WaveformModel(ScoresEnhanced):
    """Train and score a model that maps a noisy waveform to a clean one.

    The loss is a weighted sum; a weight of 0 leaves a part out. Padding counts nowhere.

    Args:
        si_sdr: Weight of minus the scale-invariant signal-to-distortion ratio in dB.
        stft: Weight of the distance of spectra in windows of 256, 512 and 1024 samples.
        l1: Weight of the mean absolute error.
        input: ``waveform`` (B, T), or ``channel`` (B, 1, T); the output may be either.
        output: Name of the output where a model returns several, see
            `comparisons.named_outputs`; null for the first.
        level: Root mean square that each signal is brought to before the model, and back from
            behind it; null leaves the level as it is.
        sample_rate: In Hz.

    Raises:
        ConfigError: No weight is above 0.
    """

    monitors = MONITORS

    def __init__(
        self,
        *,
        si_sdr: Annotated[float, Range(0)] = 1.0,
        stft: Annotated[float, Range(0)] = 0.0,
        l1: Annotated[float, Range(0)] = 0.0,
        input: Annotated[str, OneOf("waveform", "channel")] = "waveform",
        output: str | None = None,
        level: Annotated[float | None, Range(above=0)] = None,
        sample_rate: Annotated[int, Range(1000), FOLLOWS] = 16000,
    ) -> None:
        self.weights = {"si_sdr": si_sdr, "stft": stft, "l1": l1}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ConfigError(
                f"task: expected a weight above 0 for si_sdr, stft or l1, got {self.weights}; "
                f"give for instance task.si_sdr=1"
            )
        self.input, self.output, self.level = input, output, level
        self.sample_rate = sample_rate
        self.spectra = SpectralLoss("linear_log", _WINDOWS)

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {"sample_rate": self.sample_rate}

    def settings_for(self, shape: tuple[int, ...]) -> Sequence[str]:
        """Return the choices of settings that feed such a shape, as they are typed."""
        if len(shape) == 3 and shape[1] == 1:
            return ("task.input=channel",)
        return ("task.input=waveform",) if len(shape) == 2 else ()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""
        gain = self._gain(batch["noisy"])
        return self._loss_of(batch, gain)(model(self._fed(batch["noisy"] * gain)))

    def _loss_of(self, batch: Batch, gain: Tensor) -> Callable[[Any], Tensor]:
        """Return the function that maps the model's output for a batch to its loss."""
        clean = batch["clean"] * gain
        valid = torch.arange(clean.shape[1])[None] < batch["lengths"].cpu()[:, None]
        valid = valid.to(clean)

        def loss(output: Any) -> Tensor:
            found = self._signal(output, clean) * valid
            wanted = clean * valid
            parts = {
                "si_sdr": lambda: -si_sdr_db(wanted, found).mean(),
                "stft": lambda: self.spectra(wanted, found),
                "l1": lambda: (found - wanted).abs().sum() / valid.sum(),
            }
            return torch.stack(
                [weight * parts[name]() for name, weight in self.weights.items() if weight]
            ).sum()

        return loss

    def _gain(self, noisy: Tensor) -> Tensor:
        if self.level is None:
            return noisy.new_ones(len(noisy), 1)
        return self.level / noisy.square().mean(1, keepdim=True).sqrt().clamp_min(_TINY)

    def _fed(self, noisy: Tensor) -> Tensor:
        return noisy.unsqueeze(1) if self.input == "channel" else noisy

    def _signal(self, output: Any, like: Tensor) -> Tensor:
        """Return the waveform (B, T) that a model returned.

        Raises:
            ConfigError: There is no such output, or it has another shape.
        """
        found = named_outputs(output)
        if not found or (self.output is not None and self.output not in found):
            raise ConfigError(
                f"task.output: expected one of {', '.join(found) or 'no outputs'}, got "
                f"{self.output}; choose the waveform"
            )
        signal = found[self.output] if self.output is not None else next(iter(found.values()))
        if signal.ndim == 3 and signal.shape[1] == 1:
            signal = signal.squeeze(1)
        if signal.shape != like.shape:
            raise ConfigError(
                f"expected a model that returns waveforms {tuple(like.shape)}, got "
                f"{tuple(signal.shape)}; choose task.output, task.input=channel or another task"
            )
        return signal

    def batch_weight(self, batch: Batch) -> float:
        """Return the items of a batch."""
        return float(len(batch["lengths"]))

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step."""
        return {"loss": update(self.loss(model, batch), weight=lambda: len(batch["lengths"]))}

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean loss as ``loss``, and the monitored metric."""
        losses: list[Tensor] = []
        counts: list[Tensor] = []
        items: list[Signals] = []
        for batch in batches:
            losses.append(self.loss(model, batch))
            counts.append(torch.tensor(float(len(batch["lengths"]))))
            if monitor != "loss":
                items += batch_items(batch, self.enhance(model, batch["noisy"], batch["lengths"]))
        loss = weighted_mean(losses, counts)
        return {"loss": loss, **monitored(monitor, items, self.sample_rate)}

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over the first ``items``; see ``protocols.Task``."""
        batches: list[LossBatch] = []
        for batch in first_batches(dataset, collate, items, _BATCH, device_of(model)):
            gain = self._gain(batch["noisy"])
            inputs = self._fed(batch["noisy"] * gain)
            batches.append((inputs, self._loss_of(batch, gain), float(len(batch["lengths"]))))
        return BatchLoss(model, batches, nonnegative=not self.weights["si_sdr"])

    @torch.inference_mode()
    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Remove noise from signals, each alone with those of its length.

        Args:
            model: In evaluation mode.
            noisy: Signals (B, T) at the task's sample rate.
            lengths: Samples of each signal before padding, or None when all are T long.

        Returns:
            Enhanced signals (B, T) at the level of the input, zeros behind each.
        """
        noisy = noisy.to(device_of(model))
        estimates = torch.zeros_like(noisy)
        for rows, length in rows_by_length(noisy, lengths):
            signal = noisy[rows, :length]
            gain = self._gain(signal)
            estimates[rows, :length] = self.mapped(model, signal * gain) / gain
        return estimates

    def mapped(self, model: nn.Module, signals: Tensor) -> Tensor:
        """Return what a model makes of signals (B, T) at the level that it is given."""
        return self._signal(model(self._fed(signals)), signals)


def si_sdr_db(reference: Tensor, estimate: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio of each pair in dB, shape (B,).

    Args:
        reference: Clean signals (B, T).
        estimate: Signals of the same shape.

    Source: Le Roux et al. (ICASSP 2019), without the removal of the mean.
    """
    scale = (estimate * reference).sum(1) / reference.square().sum(1).clamp_min(_TINY)
    target = scale[:, None] * reference
    wanted, rest = target.square().sum(1), (estimate - target).square().sum(1)
    return 10 * torch.log10((wanted + _TINY) / (rest + _TINY))
