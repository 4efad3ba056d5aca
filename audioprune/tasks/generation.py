"""What a batch, a loss and a score mean for models that generate single notes: sample by sample, or by reconstruction.

What models are told of a note stands in note_features.py, the spectral distance in
spectral_loss.py, rows and kept audio in note_scoring.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune.compress.search.perturbed_loss import BatchLoss
from audioprune.dsp import mu_law_decode, mu_law_encode
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.ranges import FOLLOWS, OneOf, OrNull, Range
from audioprune.tasks.note_features import (
    BLOCK,
    LOUDNESS,
    Conditioning,
    controls,
    loudness_curve,
    played_loudness,
)
from audioprune.tasks.note_scoring import (
    Collate,
    alone,
    note_row,
    scored,
    spread_batches,
    validated,
)
from audioprune.tasks.note_targets import frame_features, next_amplitude
from audioprune.tasks.spectral_loss import WINDOWS, SpectralLoss

INPUTS = ("audio", "controls")
_ORACLE_BATCH = 8
_CHUNK = 16384


class NextSample:
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
        families: Number of families of the tags, 0 to tell none.
        instruments: Number of instruments of the tags, 0 to tell none.
        example_s: Length of a free run of which Evaluate keeps the audio, in seconds.
        sample_rate: In Hz.

    Attributes:
        scores_audio: False: no speech metrics are prepared.

    Raises:
        ConfigError: A value is unknown or out of its range.

    Source: van den Oord et al. (2016), WaveNet; Esling et al., Sec. 4.1: cross-entropy with
    teacher forcing. Their code truncates
        to classes and skips twice the receptive field.
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
        example_s: Annotated[float, Range(0, 60)] = 1.0,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
    ) -> None:
        if not 0 <= example_s <= 60:
            raise ConfigError(
                f"expected example_s from 0 to 60 s, got {example_s}; use for instance 1"
            )
        tags = {"pitches": pitches, "families": families, "instruments": instruments}
        self.conditioning = Conditioning(conditioning, mels=mels, sample_rate=sample_rate, **tags)
        self.example_s = example_s
        self.sample_rate = sample_rate

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {"sample_rate": self.sample_rate, "conditioning": self.conditioning.channels}

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the mean cross-entropy of a batch in nats per sample, a scalar."""
        tokens, features = self.inputs(model, batch)
        return self._nats(model, tokens, features).mean()

    def step(
        self, model: nn.Module, batch: Mapping[str, Any], update: Callable[[Tensor], float]
    ) -> dict[str, float]:
        """Take one training step."""
        return {"loss": update(self.loss(model, batch))}

    def validate(
        self, model: nn.Module, batches: Iterator[Mapping[str, Any]], monitor: str
    ) -> dict[str, float]:
        """Return the mean cross-entropy over the items; ``loss`` is the only monitor."""
        return validated(self, model, batches, monitor)

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved: a smaller loss did."""
        return new < best

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the cross-entropy of each item in nats per sample, shape (B,); long items pass in parts, with the same result."""
        tokens, features = self.inputs(model, batch)
        context, length = model.receptive_field, tokens.shape[1]
        total = torch.zeros(len(tokens), device=tokens.device)
        for start in range(context, length, _CHUNK):
            part = slice(start - context, min(length, start + _CHUNK))
            total += self._nats(
                model, tokens[:, part], None if features is None else features[..., part]
            ).sum(1)
        return total / (length - context)

    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the error of the best constant prediction: the entropy in nats of the shares that the classes have in these batches."""
        counts = torch.zeros(model.classes, dtype=torch.long)
        for batch in batches:
            tokens, _ = self.inputs(model, batch)
            counts += (
                tokens[:, model.receptive_field :]
                .cpu()
                .reshape(-1)
                .bincount(minlength=model.classes)
            )
        shares = counts[counts > 0].double() / counts.sum()
        return -float((shares * shares.log()).sum())

    def validation_loss(
        self, model: nn.Module, dataset: Dataset, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the mean validation loss as an oracle that a sensitivity search can ask again and again.

        Args:
            model: On the CPU.
            dataset: Validation set.
            collate: Joins items to a batch.
            items: Number of items to use, spread evenly over the set, or None for all.
        """
        batches = []
        for batch in spread_batches(dataset, collate, items, _ORACLE_BATCH):
            tokens, features = self.inputs(model, batch)
            given = tokens[:, :-1] if features is None else (tokens[:, :-1], features[..., :-1])
            batches.append((given, _next_class(tokens, model.receptive_field), float(len(tokens))))
        return BatchLoss(model, batches)

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what the information criterion compares units with, shape (B, T - 1, 1); see ``note_targets.next_amplitude``."""
        return next_amplitude(mu_law_encode(batch["audio"].float(), model.classes), model.classes)

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        dataset: Dataset,
        scorer: Any = None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, dict[str, Any]]:
        """Score a model on the test notes, and keep audio of the first ones.

        Args:
            model: In evaluation mode.
            dataset: Test notes.
            scorer: Not used.
            condition: Name of the condition, for the progress display.
            variant: Name of this state of the model.
            audio: Folder for audio of the first ``keep`` notes, or None: the note, its prediction
                from the true samples before (``one_step``), and a free run of the model.
            keep: Number of notes whose audio is kept.

        Returns:
            For ``variant``: mean and standard deviation of ``error``, the cross-entropy in nats
            per sample, and of ``bits_per_sample``, the same in bits; counts and failures;
            ``trivial``, the error of the best constant prediction.
        """

        def versions(item: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Tensor]:
            free = self._free_run(model, batch)
            return {f"{variant}_one_step": self.one_step(model, batch)[0]} | (
                {} if free is None else {variant: free[0]}
            )

        found = scored(self, model, dataset, f"{variant} on {condition}", versions, audio, keep)
        row = note_row(found, {"error": 1.0, "bits_per_sample": 1 / math.log(2)})
        return {
            variant: {
                **row,
                "trivial": self.trivial_error(model, alone(dataset)),
                "trivial_name": "a constant",
            }
        }

    def inputs(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Return the classes (B, T) of a batch and its features (B, C, T), or None.

        Raises:
            DataError: The items are not longer than the receptive field of the model.
            ConfigError: The model reads another number of features.
        """
        audio = batch["audio"]
        if audio.shape[-1] <= model.receptive_field:
            raise DataError(
                f"expected items of more than {model.receptive_field} samples, the receptive "
                f"field, got {audio.shape[-1]}; "
                "make data.segment_s and data.duration_s longer"
            )
        reads = getattr(model, "conditioning", None)
        if isinstance(reads, int) and reads != self.conditioning.channels:
            wanted = self.conditioning.channels
            raise ConfigError(
                f"expected a model that reads {wanted} features, got {reads}; set "
                f"model.conditioning={wanted}"
            )
        return mu_law_encode(audio.float(), model.classes), self.conditioning.of(
            batch, audio.shape[-1]
        )

    @torch.no_grad()
    def one_step(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the most likely value of each sample given the true ones before it, shape (B, T - receptive_field)."""
        tokens, features = self.inputs(model, batch)
        parts = []
        for start in range(model.receptive_field, tokens.shape[1], _CHUNK):
            part = slice(start - model.receptive_field, min(tokens.shape[1], start + _CHUNK))
            logits, _ = _predictions(
                model, tokens[:, part], None if features is None else features[..., part]
            )
            parts.append(mu_law_decode(logits.argmax(1), model.classes))
        return torch.cat(parts, 1)

    def generate(
        self,
        model: nn.Module,
        batch: Mapping[str, Any],
        samples: int,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Generate notes freely, one sample after the other, out of a receptive field of silence.

        Args:
            model: With a method ``generate(steps, cond, seed, temperature, start)`` that returns
                classes (B, steps).
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
        if not hasattr(model, "generate"):
            raise ConfigError(
                f"expected a model with a method generate(), got {type(model).__name__}; add "
                f"one or use another model"
            )
        silence = torch.full((len(batch["pitch"]), model.receptive_field), model.classes // 2)
        features = self.conditioning.of(batch, samples)
        if features is not None:
            before = (
                features[..., :1]
                if self.conditioning.kind == "note"
                else torch.zeros_like(features[..., :1])
            )
            features = torch.cat((before.expand(-1, -1, model.receptive_field), features), -1)
        return mu_law_decode(
            model.generate(samples, features, seed, temperature, silence), model.classes
        )

    def listens(self, model: nn.Module) -> bool:
        """Tell whether a model must hear a note to make one."""
        return self.conditioning.kind == "mel"

    def tags(self) -> tuple[str, ...]:
        """Return what a model is told of the note that it makes."""
        if self.conditioning.kind != "note":
            return ()
        chosen = (
            ("family", self.conditioning.families),
            ("instrument", self.conditioning.instruments),
        )
        return ("pitch", "velocity", *(name for name, count in chosen if count))

    def _free_run(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor | None:
        samples = min(round(self.example_s * self.sample_rate), batch["audio"].shape[-1])
        return (
            self.generate(model, batch, samples)
            if samples and hasattr(model, "generate")
            else None
        )

    def _nats(self, model: nn.Module, tokens: Tensor, features: Tensor | None) -> Tensor:
        """Return the cross-entropy (B, T - receptive_field) of the samples behind the context."""
        logits, wanted = _predictions(model, tokens, features)
        return F.cross_entropy(logits, wanted, reduction="none")


class Reconstruction:
    """Train and score a model that makes a note again, from the note itself or from its pitch and loudness.

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
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16000,
    ) -> None:
        for what, given, known in (("inputs", inputs, INPUTS), ("loudness", loudness, LOUDNESS)):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        self.kind = inputs
        self.loudness = loudness
        self.distance = SpectralLoss(spectral, stft_windows, eps, base)
        self.sample_rate = sample_rate

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {
            "sample_rate": self.sample_rate,
            **({"block_size": BLOCK} if self.kind == "controls" else {}),
        }

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the mean spectral distance of a batch, a scalar."""
        return self.errors(model, batch).mean()

    def step(
        self, model: nn.Module, batch: Mapping[str, Any], update: Callable[[Tensor], float]
    ) -> dict[str, float]:
        """Take one training step."""
        return {"loss": update(self.loss(model, batch))}

    def validate(
        self, model: nn.Module, batches: Iterator[Mapping[str, Any]], monitor: str
    ) -> dict[str, float]:
        """Return the mean distance over the items; ``loss`` is the only monitor."""
        return validated(self, model, batches, monitor)

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved: a smaller loss did."""
        return new < best

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the spectral distance of each item, shape (B,)."""
        given, wanted = self.inputs(model, batch)
        return self.distance.each(wanted, model(*given))

    @torch.no_grad()
    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the mean error of silence."""
        found = [
            self.distance.each(wanted, torch.zeros_like(wanted))
            for _, wanted in (self.inputs(model, batch) for batch in batches)
        ]
        return float(torch.cat(found).double().mean())

    def validation_loss(
        self, model: nn.Module, dataset: Dataset, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the mean validation loss as an oracle that a sensitivity search can ask again and again.

        Args:
            model: On the CPU.
            dataset: Validation set.
            collate: Joins items to a batch.
            items: Number of items to use, spread evenly over the set, or None for all.
        """
        batches = []
        for batch in spread_batches(dataset, collate, items, _ORACLE_BATCH):
            given, wanted = self.inputs(model, batch)
            batches.append(
                (given[0] if len(given) == 1 else given, self._to(wanted), float(len(wanted)))
            )
        return BatchLoss(model, batches)

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what the information criterion compares units with, shape (B, N, 25); see ``note_targets.frame_features``."""
        return frame_features(self.inputs(model, batch)[1], self.sample_rate)

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        dataset: Dataset,
        scorer: Any = None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, dict[str, Any]]:
        """Score a model on the test notes, and keep audio of the first ones.

        Args:
            model: In evaluation mode.
            dataset: Test notes.
            scorer: Not used.
            condition: Name of the condition, for the progress display.
            variant: Name of this state of the model.
            audio: Folder for audio of the first ``keep`` notes, or None: the note and its
                reconstruction.
            keep: Number of notes whose audio is kept.

        Returns:
            For ``variant``: mean and standard deviation of ``error``, the spectral distance,
            counts and failures; ``trivial``, the error of silence.
        """

        def versions(item: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Tensor]:
            return {variant: self.reconstruct(model, batch)[0]}

        found = scored(self, model, dataset, f"{variant} on {condition}", versions, audio, keep)
        row = note_row(found, {"error": 1.0})
        return {
            variant: {
                **row,
                "trivial": self.trivial_error(model, alone(dataset)),
                "trivial_name": "silence",
            }
        }

    def inputs(
        self, model: nn.Module, batch: Mapping[str, Any]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the arguments of the model for a batch and the audio that it should return."""
        if self.kind == "controls":
            curves, audio = controls(batch, self.loudness, self.sample_rate)
            return ((curves, audio) if getattr(model, "latent", 1) else (curves,)), audio
        pad = int(getattr(model, "pad", 0))
        padded = F.pad(batch["audio"], (pad, pad))
        return (padded,), model.target(padded) if hasattr(model, "target") else padded

    @torch.no_grad()
    def reconstruct(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return what the model makes of the notes of a batch, shape (B, T'), without the silence put before them."""
        given, wanted = self.inputs(model, batch)
        before = (
            int(getattr(model, "pad", 0)) - int(getattr(model, "strip", 0))
            if self.kind == "audio"
            else 0
        )
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
        audio = batch.get("audio", torch.zeros(len(batch["pitch"]), samples))[:, :samples]
        whole = -(-samples // BLOCK) * BLOCK
        given = {**batch, "audio": F.pad(audio, (0, whole - audio.shape[1]))}
        if "loudness" in batch:
            given["loudness"] = batch["loudness"][:, : whole // BLOCK]
        elif self.kind == "controls":
            given["loudness"] = played_loudness(
                batch["pitch"], batch["velocity"], whole // BLOCK, self.loudness, self.sample_rate
            )
        made = self.reconstruct(model, given)[:, :samples]
        return F.pad(made, (0, samples - made.shape[1]))

    def loudness_of(self, audio: Tensor) -> Tensor:
        """Return the loudness curve (B, N) of audio (B, T) as the model is told it, the last block filled with silence."""
        return loudness_curve(
            F.pad(audio, (0, -audio.shape[1] % BLOCK)), self.loudness, self.sample_rate
        )

    def listens(self, model: nn.Module) -> bool:
        """Tell whether a model must hear a note to make one."""
        return self.kind == "audio" or bool(getattr(model, "latent", 1))

    def tags(self) -> tuple[str, ...]:
        """Return what a model is told of the note that it makes."""
        return ("pitch", "velocity") if self.kind == "controls" else ()

    def _to(self, wanted: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda output: self.distance(wanted, output)


def _predictions(
    model: nn.Module, tokens: Tensor, features: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return logits (B, Q, T - receptive_field) and the classes that they should name."""
    given = tokens[:, :-1]
    logits = model(given) if features is None else model(given, features[..., :-1])
    return logits[..., model.receptive_field - 1 :].float(), tokens[:, model.receptive_field :]


def _next_class(tokens: Tensor, context: int) -> Callable[[Tensor], Tensor]:
    return lambda logits: F.cross_entropy(logits[..., context - 1 :].float(), tokens[:, context:])
