"""The task of enhancing coded speech by a generator trained against a discriminator.

``Adversarial`` takes batches of ``noisy`` (coded) and ``clean`` signals (B, T) with ``lengths``
(B,). Frames are cut in ``frames``; it knows neither codecs nor corpora.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.errors import ConfigError, DataError
from audioprune.models.discriminator import Discriminator
from audioprune.protocols import (
    Batch,
    Collate,
    DrawsNoise,
    Items,
    Number,
    Row,
    SeedsNoise,
    Signals,
    SignalScorer,
)
from audioprune.ranges import FOLLOWS, PassedTo, Range
from audioprune.tasks.batches import first_batches, items_of, rows_by_length
from audioprune.tasks.frames import Frames
from audioprune.tasks.signal_scores import (
    MONITORS,
    Enhanced,
    KeptAudio,
    batch_items,
    enhanced,
    improved,
    interval_row,
    monitored,
    score_enhanced,
    seeded,
    seeds_row,
)
from audioprune.tasks.spectral_loss import SpectralLoss
from audioprune.training.decaying_weight import DecayingWeight
from audioprune.training.processes import processes
from audioprune.training.settings import Settings, build_optimizer

_ORACLE_BATCH = 8
_LOUDEST = 2.0
_SPECTRAL_WINDOWS = (256, 512, 1024, 2048)
_SPECTRAL_EPS = 1e-3
_OWN_RATE = {
    "learning_rate": Annotated[
        float | None, Range(above=0), "Of the discriminator's optimiser; None for the generator's."
    ]
}

Framed = tuple[Tensor, Tensor, Tensor]
"""Coded frames, clean frames, and 1 where samples are signal; each (M, 1, L)."""


class Adversarial:
    """Train and score a generator that maps frames of coded speech to frames like the clean ones.

    A step cuts the recordings of a batch into overlapping frames and makes two updates: the
    discriminator learns to give clean frames 1 and enhanced ones 0, each beside the coded frame;
    the generator learns to get 1, and to stay near the clean frame in the mean absolute
    difference. All of it happens in the domain of pre-emphasised samples. Items of training are
    parts of recordings.

    Args:
        sample_rate: In Hz.
        frame_length: Samples of a frame.
        hop_length: Samples from one frame to the next in training; None for half a frame.
        pre_emphasis: Coefficient of the pre-emphasis of both signals, 0 to below 1.
        level: Root mean square that the coded signal of each recording, and the clean one by the
            same factor, is scaled to before the model and back from behind it. None leaves levels
            as they are, within -1 and 1, as the source does.
        gan_weight: Weight of the adversarial loss; 0 trains without a discriminator.
        gan_factor: Factor of both adversarial losses: 1 as in the implementation that we follow,
            0.5 as in Mao et al.
        l1_weight: Weight of the mean absolute difference.
        l1_decay: How much less ``l1_weight`` is after each step from epoch ``l1_decay_from`` on,
            counted from 0; never below 0.
        l1_decay_from: See ``l1_decay``.
        spectral_weight: Weight of the distance of short-time spectra, 0 (the source's) for none.
            The mean absolute difference leaves empty what a codec left out, since its phases
            cannot be told; this distance asks for its power alone.
        overlap: Samples by which frames overlap, with a cross-fade, when a recording is enhanced.
            0 is the source's way, which a model of a short training leaves audible: at both ends
            of a frame its transposed convolutions lack neighbours.
        z_seeds: Seeds of the generator's noise over which scores are averaged; a generator without
            noise is scored once.
        frames_per_call: Frames that validation and scoring give to the model at once.
        discriminator: Arguments of `audioprune.models.discriminator.Discriminator`, and
            ``learning_rate``, None for the generator's.

    Raises:
        ConfigError: A value is out of its range.

    Source: Plain & Biswas, "Pruning of an audio enhancing deep generative neural network"; the
    losses are those of Mao et al., "Least squares generative adversarial networks", ICCV 2017,
    with the L1 term of Pascual et al., "SEGAN", INTERSPEECH 2017. All numbers are the defaults of
    SEGAN's published PyTorch implementation, since the talk prints none.
    """

    monitors = MONITORS
    score_batch: float | None = None

    def __init__(
        self,
        *,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
        frame_length: Annotated[int, Range(1), FOLLOWS] = 16384,
        hop_length: Annotated[int | None, Range(1)] = None,
        pre_emphasis: Annotated[float, Range(0, below=1)] = 0.95,
        level: Annotated[float | None, Range(above=0)] = None,
        gan_weight: Annotated[float, Range(0)] = 1.0,
        gan_factor: Annotated[float, Range(0)] = 1.0,
        l1_weight: Annotated[float, Range(0)] = 100.0,
        l1_decay: Annotated[float, Range(0)] = 0.0,
        l1_decay_from: Annotated[int, Range(0)] = 100,
        spectral_weight: Annotated[float, Range(0)] = 0.0,
        overlap: Annotated[int, Range(0)] = 0,
        z_seeds: Annotated[int, Range(1)] = 3,
        frames_per_call: Annotated[int, Range(1)] = 32,
        discriminator: Annotated[
            Mapping[str, Any] | None, PassedTo(Discriminator, more=_OWN_RATE)
        ] = None,
    ) -> None:
        hop_length = max(1, frame_length // 2) if hop_length is None else hop_length
        if not 1 <= hop_length <= frame_length:
            raise ConfigError(
                f"expected hop_length from 1 to frame_length {frame_length}, got {hop_length}; "
                f"change task.hop_length"
            )
        weights = {
            "gan_weight": gan_weight,
            "gan_factor": gan_factor,
            "l1_weight": l1_weight,
            "l1_decay": l1_decay,
            "spectral_weight": spectral_weight,
        }
        for name, value in weights.items():
            if not 0 <= value < math.inf:
                raise ConfigError(
                    f"expected {name} as a finite number from 0 on, got {value}; change "
                    f"task.{name}"
                )
        if not gan_weight * gan_factor and not l1_weight:
            raise ConfigError(
                "expected a loss, got l1_weight=0 without an adversarial one; change "
                "task.l1_weight or task.gan_weight"
            )
        for name, value in (("z_seeds", z_seeds), ("frames_per_call", frames_per_call)):
            if value < 1:
                raise ConfigError(
                    f"expected {name} of at least 1, got {value}; change task.{name}"
                )
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.frames = Frames(frame_length, pre_emphasis, level, overlap)
        self.gan_weight, self.gan_factor = gan_weight, gan_factor
        self.l1 = DecayingWeight(l1_weight, l1_decay, l1_decay_from)
        self.spectral_weight = spectral_weight
        self.spectral = SpectralLoss("linear_log", _SPECTRAL_WINDOWS, _SPECTRAL_EPS)
        self.z_seeds, self.frames_per_call = z_seeds, frames_per_call
        self._options = {**(discriminator or {}), "frame_length": frame_length}
        self._rate = self._options.pop("learning_rate", None)
        self._discriminator: Discriminator | None = None
        with torch.device("meta"):  # wrong options are refused before any work
            Discriminator(**self._options)

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {"sample_rate": self.sample_rate}

    @property
    def discriminator(self) -> Discriminator:
        """The discriminator, built when it is first needed: scoring alone has none."""
        if self._discriminator is None:
            self._discriminator = Discriminator(**self._options)
        return self._discriminator

    def modules(self) -> dict[str, nn.Module]:
        """Return what training stores besides the model."""
        found: dict[str, nn.Module] = {"l1": self.l1}
        if self.gan_weight:
            found["discriminator"] = self.discriminator
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return what trainings have changed so far, so that a later one goes on from there."""
        built: dict[str, nn.Module] = {"l1": self.l1}
        if self._discriminator is not None:
            built["discriminator"] = self._discriminator
        state: dict[str, Tensor] = {}
        for name, module in built.items():
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = value
        for part, own in parts.items():
            (self.l1 if part == "l1" else self.discriminator).load_state_dict(own)

    def optimizers(self, settings: Settings) -> dict[str, Optimizer]:
        """Return the optimiser of the discriminator: the model's, at its own learning rate."""
        if not self.gan_weight:
            return {}
        own = settings if self._rate is None else replace(settings, learning_rate=self._rate)
        return {"discriminator": build_optimizer(self.discriminator, own)}

    def to(self, device: torch.device | str) -> None:
        """Move the discriminator to a device; ``l1``, whose number is read, stays on the CPU."""
        if self.gan_weight:
            self.discriminator.to(device)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose steps follow."""
        self.l1.epoch = epoch

    def check_batch(self, model: nn.Module, batch: Batch) -> None:
        """Refuse samples that a model's output cannot reach."""
        if model.training:
            self._check_level(batch)

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step: update the discriminator, then the generator.

        Returns:
            ``loss`` of the generator, and what it and the discriminator's are made of.
        """
        coded, clean, inside = self._frames(batch, self.hop_length, going_on=True)
        group = processes()
        group.rows(len(coded))
        frames = partial(len, coded)
        enhanced = model(coded)
        logged: dict[str, Number] = {}
        distance = ((enhanced - clean).abs() * inside).sum() / inside.sum()
        # the update weighs by frames, the distance is a mean over the samples of signal
        loss = self.l1.step() * group.ratio(inside.sum(), len(coded)) * distance
        if self.spectral_weight:
            spectral = self.spectral(clean[:, 0], (enhanced * inside)[:, 0])
            logged["spectral"] = spectral.detach()
            loss = loss + self.spectral_weight * spectral
        if self.gan_weight:
            logged["discriminator"] = update(
                self._discriminator_loss(coded, clean, enhanced.detach()),
                "discriminator",
                weight=frames,
            )
            adversarial = self._generator_loss(coded, enhanced)
            logged["adversarial"] = adversarial.detach()
            loss = loss + self.gan_weight * adversarial
        return {
            "loss": update(loss, weight=partial(len, coded)),
            "l1": distance.detach(),
            **logged,
        }

    def _discriminator_loss(self, coded: Tensor, clean: Tensor, enhanced: Tensor) -> Tensor:
        judge = self.discriminator.train().requires_grad_(True)
        real, fake = torch.cat((clean, coded), 1), torch.cat((enhanced, coded), 1)
        judge.observe(processes().whole_rows(real))
        return self.gan_factor * ((judge(real) - 1).square().mean() + judge(fake).square().mean())

    def _generator_loss(self, coded: Tensor, enhanced: Tensor) -> Tensor:
        judge = self.discriminator.requires_grad_(False)  # its weights need no gradient here
        return self.gan_factor * (judge(torch.cat((enhanced, coded), 1)) - 1).square().mean()

    def output_shape(self, batch: Batch) -> tuple[int, ...]:
        """Return the shape of a model's first output for this batch: frames (M, 1, L)."""
        return tuple(next(self._calls(batch))[1].shape)

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean absolute difference as ``loss``, and the monitored metric."""
        sums: list[Tensor] = []
        weights: list[Tensor] = []
        items: list[Signals] = []
        for batch in batches:
            for coded, clean, inside in self._calls(batch):
                sums.append(((model(coded) - clean).abs() * inside).sum())
                weights.append(inside.sum())
            if monitor != "loss":
                items += batch_items(batch, self.enhance(model, batch["noisy"], batch["lengths"]))
        loss = sum(torch.stack(sums).tolist()) / sum(torch.stack(weights).tolist())
        return {"loss": loss, **monitored(monitor, items, self.sample_rate)}

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved."""
        return improved(monitor, new, best)

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over the first ``items``; see ``protocols.Task``."""
        calls: list[LossBatch] = []
        for batch in first_batches(dataset, collate, items, _ORACLE_BATCH, device_of(model)):
            for coded, clean, inside in self._calls(batch):
                calls.append((coded, _distance_to(clean, inside), float(inside.sum())))
        return BatchLoss(model, calls)

    @torch.inference_mode()
    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Enhance coded signals frame by frame.

        Args:
            model: In evaluation mode.
            noisy: Coded signals (B, T) at the task's sample rate.
            lengths: Samples of each signal before padding, or None when all are T long.

        Returns:
            Enhanced signals (B, T) at the level of the input, zeros behind each.
        """
        noisy = noisy.to(device_of(model))
        groups = rows_by_length(noisy, lengths)
        signals = [noisy[rows, :length] for rows, length in groups]
        gains = [self.frames.gains(signal) for signal in signals]
        coded = [
            self.frames.cut_whole(signal, gain)
            for signal, gain in zip(signals, gains, strict=True)
        ]
        calls = torch.cat([each.flatten(0, 1) for each in coded])[:, None]
        made = torch.cat([model(each) for each in calls.split(self.frames_per_call)])
        parts = made.float().split([each.shape[0] * each.shape[1] for each in coded])
        estimates = torch.zeros_like(noisy)
        for (rows, length), part, cut, gain in zip(groups, parts, coded, gains, strict=True):
            estimates[rows, :length] = self.frames.join(part.reshape(cut.shape), gain, length)
        return estimates

    def enhance_items(
        self, model: nn.Module, items: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Mapping[str, Any], np.ndarray]]:
        """Yield place, item and enhanced signal (T,) of every item, several made at once."""
        seed = model.z_seed if isinstance(model, SeedsNoise) else 0
        for place, item, (signal,) in self._made(model, items, [seed]):
            yield place, item, signal

    def score(
        self,
        model: nn.Module,
        dataset: Items,
        scorer: SignalScorer | None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, Row]:
        """Score a model and the coded signals on one codec at one rate; see ``protocols.Task``.

        Kept audio is made with the first seed.

        Returns:
            For ``"mixture"``, the coded signals, and for ``variant``: noise, snr_db, mean,
            standard deviation, counts and failures of each metric and its 95 % interval; for
            ``variant`` also the gain over the coded signals, the number of seeds and the standard
            deviation of the mean between them.
        """
        noisy_model = isinstance(model, DrawsNoise) and model.z_channels
        seeds = range(self.z_seeds if noisy_model else 1)
        made = self._made(model, items_of(dataset), seeds)
        kept = KeptAudio(audio, keep, self.sample_rate)
        inputs, *runs = score_enhanced(made, len(dataset), scorer, condition, variant, kept)
        place = {key: dataset[0][key] for key in ("noise", "snr_db")}
        return {
            "mixture": {"label": "Coded", **place, **interval_row(inputs)},
            variant: {**place, **seeds_row(runs, inputs)},
        }

    def _made(
        self, model: nn.Module, items: Iterable[Mapping[str, Any]], seeds: Sequence[int]
    ) -> Iterator[Enhanced]:
        """Yield what a model makes of every item with each seed."""

        def enhance(noisy: Tensor, lengths: Tensor) -> list[Tensor]:
            found = []
            for seed in seeds:
                with seeded(model, seed):
                    found.append(self.enhance(model, noisy, lengths))
            return found

        yield from enhanced(enhance, model, items, self.score_batch, self.sample_rate)

    def _frames(self, batch: Batch, hop_length: int, going_on: bool = False) -> Framed:
        """Return the frames of all recordings of a batch that hold signal."""
        lengths = batch["lengths"].cpu()  # where positions cost no waiting
        gains = self.frames.gains(batch["noisy"], batch["lengths"])
        coded = self.frames.cut(batch["noisy"], gains, hop_length, going_on)  # (B, N, L)
        clean = self.frames.cut(batch["clean"], gains, hop_length, going_on)
        used, places = self.frames.places(lengths, coded.shape[1], hop_length)
        inside = places[used].to(coded)  # (M, L), of the frames that hold signal
        rows = used.flatten().nonzero()[:, 0].to(coded.device)
        coded, clean = (each.flatten(0, 1)[rows] * inside for each in (coded, clean))
        return coded[:, None], clean[:, None], inside[:, None]

    def _calls(self, batch: Batch) -> Iterator[Framed]:
        """Yield the frames of a batch without overlap, as many at once as the model is given."""
        coded, clean, inside = self._frames(batch, self.frames.length)
        size = self.frames_per_call
        yield from zip(coded.split(size), clean.split(size), inside.split(size), strict=True)

    def _check_level(self, batch: Batch) -> None:
        peak = float(batch["clean"].abs().max()) if self.frames.level is None else 0.0
        if peak > _LOUDEST:
            raise DataError(
                f"expected samples within -1..1, got a peak of "
                f"{peak:.3g}, which the model's output cannot "
                "reach; set task.level, for instance 0.1, or data.rms_normalise=false"
            )


def _distance_to(clean: Tensor, inside: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: ((output - clean).abs() * inside).sum() / inside.sum()
