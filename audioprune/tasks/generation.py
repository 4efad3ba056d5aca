"""The tasks of models that make single notes: sample by sample, or by reconstruction.

``NextSample`` is for WaveNet, ``Reconstruction`` for SING and DDSP. What models are conditioned on
is in ``note_features``, the spectral distance in ``spectral_loss``, rows and kept audio in
``note_scoring``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.dsp import check_samples, mu_law_encode
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.protocols import (
    Collate,
    GeneratesSamples,
    Items,
    ReadsFeatures,
    Row,
    SignalScorer,
)
from audioprune.ranges import FOLLOWS, OneOf, OrNull, Range
from audioprune.tasks import next_sample, reconstruction
from audioprune.tasks.batches import spread_batches
from audioprune.tasks.notes.note_features import (
    BLOCK,
    LOUDNESS,
    Conditioning,
    controls,
    loudness_curve,
)
from audioprune.tasks.notes.note_scoring import DescendsError, alone, note_row, scored
from audioprune.tasks.notes.note_targets import frame_features, next_amplitude
from audioprune.tasks.spectral_loss import WINDOWS, SpectralLoss
from audioprune.training.loaders import moved

INPUTS = ("audio", "controls")
_ORACLE_BATCH = 8


class NextSample(DescendsError):
    """Train and score a model that predicts each sample of a note from those before it.

    Samples become classes of a mu-law scale, rounded to the nearest. A model maps the true classes
    (B, T), and features (B, C, T) where it is conditioned, to logits (B, Q, T) of which position t
    predicts sample t + 1; the loss is the cross-entropy in nats. The first ``receptive_field``
    samples of an item are context and are not predicted. The silence that fills up a short note
    counts. Models have the attributes ``receptive_field`` and ``classes``.

    Args:
        conditioning: ``"none"``, ``"mel"`` or ``"note"``, see ``note_features.Conditioning``.
        mels: Number of mel bands.
        pitches: Lowest and highest MIDI pitch of the tags.
        families: Number of families of the tags, 0 for none.
        instruments: Number of instruments of the tags, 0 for none.
        harmonics: Multiples of the note's frequency whose sine and cosine are features beside the
            tags, so that a short training need not find out what a pitch sounds like; 0 for none.
        example_s: Length of a free run of which Evaluate keeps the audio, in seconds.
        sample_rate: In Hz.

    Attributes:
        scores_audio: False: no speech metrics are prepared.

    Raises:
        ConfigError: A value is unknown or out of its range.

    Source: van den Oord et al. (2016), WaveNet; Esling et al., Sec. 4.1: cross-entropy with
    teacher forcing. Their code truncates to classes and skips twice the receptive field.
    """

    scores_audio = False
    monitors = ("loss",)

    def __init__(
        self,
        *,
        conditioning: Annotated[str, OneOf("none", "mel", "note")] = "none",
        mels: Annotated[int, Range(1, 1024)] = 80,
        pitches: Annotated[Sequence[int], Range(0, 127), FOLLOWS] = (0, 127),
        families: Annotated[int, Range(0, 100_000), OrNull(0)] = 0,
        instruments: Annotated[int, Range(0, 100_000), OrNull(0)] = 0,
        harmonics: Annotated[int, Range(0, 64)] = 0,
        example_s: Annotated[float, Range(0, 60)] = 1.0,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
    ) -> None:
        if not 0 <= example_s <= 60:
            raise ConfigError(
                f"expected example_s from 0 to 60 s, got {example_s}; use for instance 1"
            )
        self.conditioning = Conditioning(
            conditioning,
            mels=mels,
            pitches=pitches,
            families=families,
            instruments=instruments,
            harmonics=harmonics,
            sample_rate=sample_rate,
        )
        self.example_s = example_s
        self.sample_rate = sample_rate

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {"sample_rate": self.sample_rate, "conditioning": self.conditioning.channels}

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the mean cross-entropy of a batch in nats per sample, a scalar."""
        tokens, features = self.inputs(model, batch)
        return next_sample.nats(model, tokens, features).mean()

    def check_batch(self, model: nn.Module, batch: Mapping[str, Any]) -> None:
        """Refuse samples without a class, and tags that are not known."""
        check_samples(batch["audio"].float())
        self.conditioning.check(batch)

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the cross-entropy of each item in nats per sample, shape (B,)."""
        return next_sample.mean_nats(model, *self.inputs(model, batch))

    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the error of the best constant prediction: the entropy of the classes in nats."""
        return next_sample.constant_nats(
            model, (self.inputs(model, batch)[0] for batch in batches)
        )

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over ``items`` spread evenly; see ``protocols.Task``."""
        context = next_sample.predictor(model).receptive_field
        batches: list[LossBatch] = []
        for batch in spread_batches(dataset, collate, items, _ORACLE_BATCH, device_of(model)):
            tokens, features = self.inputs(model, batch)
            given: Tensor | tuple[Tensor, ...] = tokens[:, :-1]
            if features is not None:
                given = (tokens[:, :-1], features[..., :-1])
            loss = next_sample.loss_of_logits(tokens, context)
            batches.append((given, loss, float(len(tokens))))
        return BatchLoss(model, batches)

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what units are compared with: ``note_targets.next_amplitude``, (B, T - 1, 1)."""
        classes = next_sample.predictor(model).classes
        return next_amplitude(mu_law_encode(batch["audio"].float(), classes), classes)

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        dataset: Items,
        scorer: SignalScorer | None = None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, Row]:
        """Score a model on the test notes; see ``protocols.Task``. The scorer is not used.

        Kept audio is the note, its prediction from the true samples before (``one_step``), and a
        free run of the model.

        Returns:
            For ``variant``: mean and standard deviation of ``error``, the cross-entropy in nats
            per sample, and of ``bits_per_sample``, the same in bits; counts and failures;
            ``trivial``, the error of the best constant prediction.
        """

        def versions(item: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Tensor]:
            kept = {f"{variant}_one_step": self.one_step(model, batch)[0]}
            samples = min(round(self.example_s * self.sample_rate), batch["audio"].shape[-1])
            if samples and isinstance(model, GeneratesSamples):
                kept[variant] = self.generate(model, batch, samples)[0]
            return kept

        title = f"{variant} on {condition}"
        found = scored(self, model, dataset, title, versions, audio, keep, self.score_batch)
        row = note_row(found, {"error": 1.0, "bits_per_sample": 1 / math.log(2)})
        row["trivial"] = self.trivial_error(model, alone(dataset))
        row["trivial_name"] = "a constant"
        return {variant: row}

    def inputs(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Return the classes (B, T) of a batch and its features (B, C, T), or None.

        Raises:
            DataError: The items are not longer than the receptive field of the model.
            ConfigError: The model reads another number of features.
        """
        audio, known = batch["audio"], next_sample.predictor(model)
        if audio.shape[-1] <= known.receptive_field:
            raise DataError(
                f"expected items of more than {known.receptive_field} samples, the receptive "
                f"field, got {audio.shape[-1]}; "
                "make data.segment_s and data.duration_s longer"
            )
        reads = model.conditioning if isinstance(model, ReadsFeatures) else None
        wanted = self.conditioning.channels
        if isinstance(reads, int) and reads != wanted:
            raise ConfigError(
                f"expected a model that reads {wanted} features, got {reads}; set "
                f"model.conditioning={wanted}"
            )
        features = self.conditioning.of(batch, audio.shape[-1])
        return mu_law_encode(audio.float(), known.classes), features

    @torch.no_grad()
    def one_step(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the likeliest value of each sample given the true ones before it, (B, T')."""
        return next_sample.likeliest(model, *self.inputs(model, batch))

    def generate(
        self,
        model: nn.Module,
        batch: Mapping[str, Any],
        samples: int,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Generate notes freely, one sample after the other.

        Args:
            model: Draws samples one after another.
            batch: What the notes are: ``pitch``, ``velocity``, ``family`` and ``instrument``, or
                ``audio`` for mel features; without conditioning only their number counts.
            samples: Length in samples.
            seed: Decides the draws.
            temperature: Divisor of the logits; 0 takes the most likely class.

        Returns:
            Audio (B, samples).

        Raises:
            ConfigError: The model cannot generate.
        """
        drawer = next_sample.drawer(model)
        batch = moved(batch, device_of(model))
        # the receptive field of silence before the note has the note's tags, but no sound
        tags = self.conditioning.kind == "note"
        features = self.conditioning.of(batch, samples + drawer.receptive_field * tags)
        if features is not None and not tags:
            features = F.pad(features, (drawer.receptive_field, 0))
        return next_sample.drawn(drawer, len(batch["pitch"]), samples, features, seed, temperature)

    def listens(self, model: nn.Module) -> bool:
        """Tell whether a model needs a recording to make a note."""
        return self.conditioning.kind == "mel"

    def tags(self) -> tuple[str, ...]:
        """Return what a model is conditioned on."""
        if self.conditioning.kind != "note":
            return ()
        found = ["pitch", "velocity"]
        found += ["family"] if self.conditioning.families else []
        found += ["instrument"] if self.conditioning.instruments else []
        return tuple(found)


class Reconstruction(DescendsError):
    """Train and score a model that makes a note again, from itself or from pitch and loudness.

    With ``audio`` a model maps audio (B, T), filled with zeros at both ends where it has an
    attribute ``pad``, to a shorter stretch of it that ``target(audio)`` cuts out. With
    ``controls`` it maps frames (B, N, 2) of frequency in Hz and loudness, and audio (B, N * 160)
    for its encoder if it has one, to audio (B, N * 160). Loss and error are the spectral distance.
    The silence that fills up a short note counts.

    Args:
        inputs: ``"audio"`` (SING) or ``"controls"`` (DDSP).
        spectral: Form of the distance, see ``spectral_loss.SpectralLoss``.
        stft_windows: Its windows in samples.
        eps: What it adds before the logarithm.
        base: ``"l1"`` or ``"mse"``.
        loudness: Kind of loudness, see ``note_features.loudness_curve``.
        waveform_weight: Weight of the relative squared error of the samples in the training loss,
            beside the distance of spectra; 0 (the paper's) for none.
        waveform_first_epochs: Epochs whose training loss is that error alone. A distance of
            spectra tells a narrow network little of pitch before its phases fit.
        sample_rate: In Hz.

    Attributes:
        scores_audio: False: no speech metrics are prepared.

    Raises:
        ConfigError: A value is unknown or out of its range.

    Source: Esling et al., Sec. 4.1 and equation 2. They estimate the frequency with CREPE; here it
    is that of the note's MIDI pitch.
    """

    scores_audio = False
    monitors = ("loss",)

    def __init__(
        self,
        *,
        inputs: Annotated[str, OneOf(*INPUTS)] = "audio",
        spectral: Annotated[str, OneOf("log_power", "linear_log")] = "log_power",
        stft_windows: Annotated[Sequence[int], Range(4, 65_536)] = WINDOWS,
        eps: Annotated[float, Range(above=0)] = 5e-3,
        base: Annotated[str, OneOf("l1", "mse")] = "l1",
        loudness: Annotated[str, OneOf(*LOUDNESS)] = "rms",
        waveform_weight: Annotated[float, Range(0)] = 0.0,
        waveform_first_epochs: Annotated[int, Range(0)] = 0,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
    ) -> None:
        for what, given, known in (("inputs", inputs, INPUTS), ("loudness", loudness, LOUDNESS)):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        self.kind = inputs
        self.loudness = loudness
        self.distance = SpectralLoss(spectral, stft_windows, eps, base)
        self.waveform = reconstruction.WaveformTerm(waveform_weight, waveform_first_epochs)
        self.sample_rate = sample_rate

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        numbers = {"sample_rate": self.sample_rate}
        return numbers | {"block_size": BLOCK} if self.kind == "controls" else numbers

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what training descends: spectral distance and, if asked, the samples' error."""
        given, wanted = self.inputs(model, batch)
        made = model(*given)
        return self.waveform.joined(wanted, made, partial(self.distance, wanted, made))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose steps follow."""
        self.waveform.epoch = epoch

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the spectral distance of each item, shape (B,)."""
        given, wanted = self.inputs(model, batch)
        return self.distance.each(wanted, model(*given))

    @torch.no_grad()
    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the mean error of silence."""
        found = []
        for batch in batches:
            _, wanted = self.inputs(model, batch)
            found.append(self.distance.each(wanted, torch.zeros_like(wanted)))
        return float(torch.cat(found).double().mean())

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over ``items`` spread evenly; see ``protocols.Task``."""
        batches: list[LossBatch] = []
        for batch in spread_batches(dataset, collate, items, _ORACLE_BATCH, device_of(model)):
            given, wanted = self.inputs(model, batch)
            loss = partial(self.distance, wanted)
            batches.append((given[0] if len(given) == 1 else given, loss, float(len(wanted))))
        return BatchLoss(model, batches)

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what units are compared with: ``note_targets.frame_features``, (B, N, 25)."""
        return frame_features(self.inputs(model, batch)[1], self.sample_rate)

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        dataset: Items,
        scorer: SignalScorer | None = None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, Row]:
        """Score a model on the test notes; see ``protocols.Task``. The scorer is not used.

        Kept audio is the note and its reconstruction.

        Returns:
            For ``variant``: mean and standard deviation of ``error``, the spectral distance,
            counts and failures; ``trivial``, the error of silence.
        """

        def versions(item: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Tensor]:
            return {variant: self.reconstruct(model, batch)[0]}

        title = f"{variant} on {condition}"
        found = scored(self, model, dataset, title, versions, audio, keep, self.score_batch)
        row = note_row(found, {"error": 1.0})
        row["trivial"] = self.trivial_error(model, alone(dataset))
        row["trivial_name"] = "silence"
        return {variant: row}

    def inputs(
        self, model: nn.Module, batch: Mapping[str, Any]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the arguments of the model for a batch and the audio that it should return."""
        if self.kind == "audio":
            audio = reconstruction.padded(model, batch["audio"])
            return (audio,), reconstruction.reconstructed(model, audio)
        curves, audio = controls(batch, self.loudness, self.sample_rate)
        return ((curves, audio) if reconstruction.has_encoder(model) else (curves,)), audio

    @torch.no_grad()
    def reconstruct(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what the model makes of notes, (B, T'), without the silence put before them."""
        given, wanted = self.inputs(model, batch)
        before = reconstruction.samples_before(model) if self.kind == "audio" else 0
        length = min(wanted.shape[-1] - before, batch["audio"].shape[-1])
        return model(*given)[..., before : before + length]

    def generate(
        self,
        model: nn.Module,
        batch: Mapping[str, Any],
        samples: int,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Make notes in one pass.

        Args:
            model: A model of this task.
            batch: ``audio`` (B, T) of the notes to make again, where the model listens to one; for
                ``controls`` also ``pitch``, ``velocity`` and, to follow a curve in place of an
                imagined note of that velocity, ``loudness`` (B, N).
            samples: Length in samples.
            seed: Not used: in evaluation models are functions of their inputs.
            temperature: Not used.

        Returns:
            Audio (B, samples), filled with zeros where the model returns less.
        """
        batch = moved(batch, device_of(model))
        given = reconstruction.whole_blocks(batch, samples)
        if self.kind == "controls":
            given = reconstruction.with_loudness(given, self.loudness, self.sample_rate)
        made = self.reconstruct(model, given)[:, :samples]
        return F.pad(made, (0, samples - made.shape[1]))

    def loudness_of(self, audio: Tensor) -> Tensor:
        """Return the loudness curve (B, N) of audio (B, T), the last block filled with silence."""
        whole = F.pad(audio, (0, -audio.shape[1] % BLOCK))
        return loudness_curve(whole, self.loudness, self.sample_rate)

    def listens(self, model: nn.Module) -> bool:
        """Tell whether a model needs a recording to make a note."""
        return self.kind == "audio" or reconstruction.has_encoder(model)

    def tags(self) -> tuple[str, ...]:
        """Return what a model is conditioned on."""
        return ("pitch", "velocity") if self.kind == "controls" else ()
