"""The task of classifying acoustic scenes: what a batch, a loss and a score mean.

``SceneClassification`` takes batches of ``features`` (B, C, M, N) and ``label`` (B,). Features
come ready from the corpus; accuracies are counted in ``metrics.classification``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.errors import ConfigError, unknown_name
from audioprune.metrics.classification import (
    accuracy,
    accuracy_macro,
    class_accuracies,
    confusion_matrix,
)
from audioprune.progress import Progress, progress
from audioprune.protocols import Batch, Collate, Items, Labelled, Number, Row, SignalScorer
from audioprune.ranges import FOLLOWS, Range
from audioprune.tasks.batches import Batches, items_of, spread_batches
from audioprune.training.processes import processes

MONITORS = ("loss", "accuracy", "accuracy_macro")
_BATCH = 16


class SceneClassification:
    """Train and score a model that names the scene of a clip.

    A model maps features (B, 2, M, N) to one value per class (B, K); the loss is the
    cross-entropy. In training every clip is shifted in time, with its end wrapped to its start,
    and mixed with another clip of the batch. All chance comes from torch's own generator, whose
    state a checkpoint holds.

    Args:
        classes: Number of classes K.
        mixup: Parameter of the Beta distribution of mixing weights; 0 mixes nothing.
        roll_frames: Largest shift in frames, to either side; 0 shifts nothing.
        sample_rate: Rate at which features are computed, in Hz.

    Attributes:
        scores_audio: False: there is no audio to score, so that no audio metrics are prepared.

    Raises:
        ConfigError: A value is out of its range.

    Source: Koutini et al. (EUSIPCO 2019), the setting that Chen compares with: alpha 0.3, shifts
    up to 50 frames. Chen prints neither.
    """

    scores_audio = False
    monitors = MONITORS

    def __init__(
        self,
        *,
        classes: Annotated[int, Range(2, 10_000), FOLLOWS] = 10,
        mixup: Annotated[float, Range(0)] = 0.3,
        roll_frames: Annotated[int, Range(0)] = 50,
        sample_rate: Annotated[int, Range(1000), FOLLOWS] = 22050,
    ) -> None:
        if not isinstance(classes, int) or classes < 2:
            raise ConfigError(
                f"expected at least 2 classes, got {classes}; give the number of classes of the "
                f"corpus"
            )
        if not 0 <= mixup < float("inf"):
            raise ConfigError(
                f"expected mixup of at least 0, got {mixup}; use for instance 0.3, or 0 for none"
            )
        if not isinstance(roll_frames, int) or roll_frames < 0:
            raise ConfigError(
                f"expected roll_frames of at least 0, got {roll_frames}; use for instance 50, "
                f"or 0 for none"
            )
        self.classes = classes
        self.mixup = mixup
        self.roll_frames = roll_frames
        self.sample_rate = sample_rate

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        return {"classes": self.classes}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch as it is, a scalar."""
        return F.cross_entropy(self._logits(model, batch["features"]), self._labels(batch))

    def check_batch(self, model: nn.Module, batch: Batch) -> None:
        """Refuse labels that are no class of the task."""
        self._labels(batch)

    def batch_weight(self, batch: Batch) -> float:
        """Return the clips of a batch."""
        return float(len(batch["label"]))

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step on shifted and mixed clips."""
        features, labels = self._shifted(batch["features"]), self._labels(batch)
        if not self.mixup:
            return {"loss": update(F.cross_entropy(self._logits(model, features), labels))}
        group = processes()
        count = group.rows(len(labels))
        partner = torch.randperm(count)
        share = torch.distributions.Beta(self.mixup, self.mixup).sample((count,))
        # partners are drawn among the clips of all processes
        mine = group.own_rows(len(labels))
        partner = partner[mine].to(labels.device)
        share = torch.maximum(share, 1 - share)[mine].to(features)
        partners, their_labels = group.whole_rows(features), group.whole_rows(labels)
        weight = share[:, None, None, None]
        logits = self._logits(model, weight * features + (1 - weight) * partners[partner])
        own = F.cross_entropy(logits, labels, reduction="none")
        other = F.cross_entropy(logits, their_labels[partner], reduction="none")
        return {"loss": update((share * own + (1 - share) * other).mean())}

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean loss and both accuracies over the batches.

        Raises:
            ConfigError: The monitored value is none of these.
        """
        if monitor not in MONITORS:
            raise ConfigError(unknown_name("monitor", monitor, MONITORS))
        sums: list[Tensor] = []
        found: list[Tensor] = []
        for batch in batches:
            logits, wanted = self._logits(model, batch["features"]), self._labels(batch)
            sums.append(F.cross_entropy(logits, wanted, reduction="sum"))
            found.append(torch.stack((wanted, logits.argmax(dim=1))))
        labels, predictions = torch.cat(found, 1).tolist()
        total = sum(torch.stack(sums).tolist())
        counts = confusion_matrix(labels, predictions, self.classes)
        return {
            "loss": total / len(labels),
            "accuracy": accuracy(counts) or 0.0,
            "accuracy_macro": accuracy_macro(counts) or 0.0,
        }

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved: a smaller loss, a larger accuracy."""
        return new < best if monitor == "loss" else new > best

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the validation loss over ``items`` spread evenly; see ``protocols.Task``."""
        batches: list[LossBatch] = []
        for batch in spread_batches(dataset, collate, items, _BATCH, device_of(model)):
            loss = self._loss_of(self._labels(batch))
            batches.append((batch["features"], loss, float(len(batch["label"]))))
        return BatchLoss(model, batches)

    @torch.inference_mode()
    def classify(self, model: nn.Module, features: Tensor) -> Tensor:
        """Return the probability of each class, shape (B, K).

        Args:
            model: In evaluation mode.
            features: Normalised features (B, 2, M, N).
        """
        return self._logits(model, features.to(device_of(model))).softmax(dim=1)

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
        """Score a model on one test condition; see ``protocols.Task``.

        Nothing is done with scorer, audio and keep. A clip for which the model gives no finite
        values is a failure; it is in no accuracy.

        Returns:
            For ``variant``: accuracies and the accuracy of chance, counts, failures, the confusion
            matrix (rows are true classes) and the names of the classes.

        Raises:
            ConfigError: Model, task and data differ in the number of classes.
        """
        names = self._names(dataset)
        labels: list[int] = []
        predictions: list[int] = []
        failures: list[str] = []
        right: dict[str, int] = {}
        with progress(f"{variant} on {condition}", len(dataset)) as display:
            for name, label, predicted in self._predicted(model, dataset, display):
                right[name] = int(label == predicted)  # a failure is not right
                if predicted >= 0:
                    labels.append(label)
                    predictions.append(predicted)
                else:
                    failures.append(f"{name}: accuracy: the model's output is not finite")
        counts = confusion_matrix(labels, predictions, self.classes)
        metrics = {"accuracy": accuracy(counts), "accuracy_macro": accuracy_macro(counts)}
        row = {
            "noise": None,
            "snr_db": None,
            "metrics": metrics,
            "std": {},
            "n": len(dataset),
            "failures": failures,
            "n_valid": dict.fromkeys(metrics, len(labels)),
            "accuracy_per_class": class_accuracies(counts),
            "chance": 1 / self.classes,
            "confusion": counts.tolist(),
            "classes": names,
            "items": {"id": list(right), "accuracy": list(right.values())},
        }
        return {variant: row}

    def _predicted(
        self, model: nn.Module, dataset: Items, display: Progress
    ) -> list[tuple[str, int, int]]:
        """Return id, label and predicted class of every item; -1 without finite values."""
        device = device_of(model)

        def make(items: Sequence[Mapping[str, Any]]) -> list[int]:
            features = torch.stack([item["features"] for item in items]).to(device)
            shares = self.classify(model, features)
            finite = torch.isfinite(shares).all(dim=1)
            found: list[int] = torch.where(finite, shares.argmax(dim=1), -1).tolist()
            return found

        def frames(item: Mapping[str, Any]) -> int:
            return int(item["features"].shape[-1])

        found: dict[int, tuple[str, int, int]] = {}
        batches = Batches(make, frames, _BATCH * frames(dataset[0]) if len(dataset) else 1)
        for place, item, predicted in batches.results(items_of(dataset)):
            found[place] = (item["id"], int(item["label"]), predicted)
            display.advance()
        return [found[place] for place in range(len(dataset))]

    def _names(self, dataset: Items) -> list[str]:
        """Return the names of the classes, their numbers where the items do not name them."""
        known = dataset.classes if isinstance(dataset, Labelled) else range(self.classes)
        names = [str(name) for name in known]
        if len(names) != self.classes:
            raise ConfigError(
                f"expected data of {self.classes} classes, got {len(names)}; set "
                f"task.classes={len(names)} and train anew"
            )
        return names

    def _shifted(self, features: Tensor) -> Tensor:
        """Shift each clip by its own number of frames."""
        if not self.roll_frames:
            return features
        shifts = torch.randint(-self.roll_frames, self.roll_frames + 1, (len(features),)).tolist()
        clips = zip(features, shifts, strict=True)
        return torch.stack([clip.roll(shift, -1) for clip, shift in clips])

    def _logits(self, model: nn.Module, features: Tensor) -> Tensor:
        logits = model(features)
        if logits.shape != (len(features), self.classes):
            wanted = (len(features), self.classes)
            raise ConfigError(
                f"expected a model with output {wanted}, got {tuple(logits.shape)}; set "
                f"model.classes={self.classes}"
            )
        return logits.float()

    def _labels(self, batch: Batch) -> Tensor:
        labels = batch["label"]
        # a training has checked them before they left the CPU
        if labels.device.type == "cpu" and int(labels.max()) >= self.classes:
            raise ConfigError(
                f"expected labels below {self.classes}, got {int(labels.max())}; set "
                f"task.classes to those of the corpus"
            )
        return labels

    def _loss_of(self, labels: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda logits: F.cross_entropy(logits.float(), labels)
