"""The contracts of tasks: what a batch, a loss and a score mean, and what else a task can do.

Shapes: B batch, T samples, N frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.search.perturbed_loss import TensorLoss
from audioprune.protocols.corpora import Batch, Collate, Items

Row = dict[str, Any]
"""One row of results: plain values only."""
Number = Tensor | float
"""A logged value: a detached scalar that is still on its device, or a plain number."""
Signals = tuple[str, np.ndarray, np.ndarray]
"""Id, clean signal (T,) and the signal (T,) that is scored against it."""


class SignalScorer(Protocol):
    """Computes metrics of signals; ``metrics.pool.Scorer`` is the one that the pipeline uses."""

    def score(self, items: Iterable[Signals]) -> Sequence[Any]:
        """Return the scores of each item."""
        ...


@runtime_checkable
class Judge(Protocol):
    """What decides which weights of a training are the best."""

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return at least ``loss`` and the monitored value over the validation set."""
        ...

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value is an improvement."""
        ...


@runtime_checkable
class Trainable(Judge, Protocol):
    """What the training loop needs of a task."""

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step: call ``update(loss)`` for every loss.

        A loss is a mean over the items of the batch; where it is one over something else, such as
        frames, ``update(loss, weight=count)`` is given a function that returns how many, by which
        several processes weigh their parts of the batch.

        ``update`` returns the loss as a detached scalar on its device, in float64 where the device
        has it. A step reads no value on the host (``float``, ``item``, ``if tensor``): the device
        would have to end its work first.

        Return what is logged by name, ``loss`` among it: detached scalars, or plain numbers.
        """
        ...


@runtime_checkable
class Task(Trainable, Protocol):
    """What batches, losses and scores mean.

    To add one, write a class with these members, give it a file ``conf/task/NAME.yaml`` with its
    ``_target_``, and add the capabilities below that it can offer; ``HasLoss`` and ``Shares`` are
    useful to every task. Arguments that are null in the file may be filled in from the corpus.

    Attributes:
        sample_rate: In Hz.
    """

    sample_rate: int

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> TensorLoss:
        """Return what evaluates the validation loss of a changing model again and again.

        Args:
            model: On the CPU.
            dataset: Validation set.
            collate: Joins items to a batch.
            items: Number of items to use, or None for all.
        """
        ...

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
        """Score a model on one test condition.

        Args:
            model: In evaluation mode.
            dataset: Test items.
            scorer: Computes the metrics of signals; None for a task without them.
            condition: Name of the condition, for the progress display.
            variant: Name of this state of the model.
            audio: Folder for audio of the first ``keep`` items, or None.
            keep: Number of items whose audio is kept.

        Returns:
            The row of ``variant``, and of ``mixture``, the unprocessed signals, where there are
            any: ``noise``, ``snr_db``, ``metrics``, ``std``, ``n``, ``n_valid`` and ``failures``.
            It may hold ``items``: under ``id`` the names of all items, under a metric the score
            of each or None.
        """
        ...


@runtime_checkable
class NotScored(Protocol):
    """A task that measures nothing, neither a loss nor a score.

    Attributes:
        not_scored: What tables say in place of scores.
    """

    not_scored: str


@runtime_checkable
class HasMetrics(Protocol):
    """A task that says whether metrics of signals are to be prepared; without it they are."""

    scores_audio: bool


@runtime_checkable
class HasMonitors(Protocol):
    """A task that names the values that training may monitor."""

    monitors: Sequence[str]


@runtime_checkable
class HasLoss(Protocol):
    """A task whose training is the descent of one loss."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""
        ...


@runtime_checkable
class HasOutputShape(Protocol):
    """A task that knows which output it expects of a model before any work begins."""

    def output_shape(self, batch: Batch) -> tuple[int, ...]:
        """Return the expected shape of the model's output for a batch."""
        ...


@runtime_checkable
class ChoosesInput(Protocol):
    """A task whose settings say what a model is fed."""

    def settings_for(self, shape: tuple[int, ...]) -> Sequence[str]:
        """Return the choices of settings that feed such a shape, as they are typed."""
        ...


@runtime_checkable
class FeedsFrames(Protocol):
    """A task that gives models frames of bins, whose mean and deviation can be measured."""

    def input_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what a model is given (B, N, F), and which frames hold signal (B, N), bool."""
        ...


@runtime_checkable
class Shares(Protocol):
    """A task with numbers that corpus and model must agree with, such as the sample rate."""

    def shared(self) -> dict[str, Any]:
        """Return these numbers by their names; None where the corpus decides."""
        ...


class HasLength(Protocol):
    """What knows its length in samples."""

    @property
    def length(self) -> int:
        """Samples of a frame."""
        ...


@runtime_checkable
class CutsFrames(Protocol):
    """A task that gives models frames of samples, of a length that they must accept."""

    frames: HasLength


@runtime_checkable
class KeepsState(Protocol):
    """A task with tensors of its own that a run stores beside the model."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


@runtime_checkable
class HasNetworks(KeepsState, Protocol):
    """A task that trains networks of its own beside the model, such as a discriminator."""

    def modules(self) -> dict[str, nn.Module]:
        """Return these networks by name."""
        ...

    def optimizers(self, settings: Any) -> dict[str, Optimizer]:
        """Return an optimiser for each of them; ``settings`` are the numbers of the training."""
        ...

    def to(self, device: Any) -> None:
        """Move the networks to a device."""
        ...


@runtime_checkable
class ChecksBatches(Protocol):
    """A task that refuses wrong batches while they are still on the CPU.

    The same look at a batch on another device would make the host wait for it.
    """

    def check_batch(self, model: nn.Module, batch: Batch) -> None:
        """Raise what is wrong with a batch of the training."""
        ...


@runtime_checkable
class Weighs(Protocol):
    """A task that knows how much a part of a batch counts, so that a step can be taken in parts.

    The loss of a whole batch is the mean of the losses of its parts, weighted by this.
    """

    def batch_weight(self, batch: Batch) -> float:
        """Return the weight of a part, above 0, such as its number of frames that hold signal."""
        ...


@runtime_checkable
class HasEpochs(Protocol):
    """A task that changes with the epochs."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        ...


@runtime_checkable
class Enhances(Protocol):
    """A task whose models turn signals into better signals."""

    sample_rate: int

    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return enhanced signals (B, T) for signals (B, T)."""
        ...


@runtime_checkable
class EnhancesItems(Enhances, Protocol):
    """A task that enhances the items of a set several at once."""

    def enhance_items(
        self, model: nn.Module, items: Iterable[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Mapping[str, Any], np.ndarray]]:
        """Yield place, item and enhanced signal (T,) of every item, in any order."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A task whose models choose one of several classes."""

    classes: int

    def classify(self, model: nn.Module, features: Tensor) -> Tensor:
        """Return class probabilities (B, K) for features."""
        ...


@runtime_checkable
class GeneratesNotes(Protocol):
    """A task whose models make single notes, alone or from a recording that they are given."""

    sample_rate: int

    def generate(
        self,
        model: nn.Module,
        batch: Mapping[str, Any],
        samples: int,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return notes (B, samples)."""
        ...

    def listens(self, model: nn.Module) -> bool:
        """Tell whether the model needs a recording to start from."""
        ...

    def tags(self) -> tuple[str, ...]:
        """Return what a model is conditioned on, such as ``pitch``."""
        ...


@runtime_checkable
class FollowsLoudness(Protocol):
    """A task whose models can follow the loudness of a recording."""

    def loudness_of(self, audio: Tensor) -> Tensor:
        """Return the loudness curve (B, N) of audio (B, T)."""
        ...


@runtime_checkable
class ScoresBatches(Protocol):
    """A task that passes several items of a test set through the model at once.

    Attributes:
        score_batch: Seconds of audio of such a batch, set from ``runtime.score_batch``; None
            leaves it to the task. It changes no result but for rounding.
    """

    score_batch: float | None


@runtime_checkable
class HasErrors(Protocol):
    """A task whose scores are errors, which may be compared with what needs no network."""

    sample_rate: int

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the error of each item, shape (B,)."""
        ...

    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the error of the best answer that needs no network."""
        ...


@runtime_checkable
class HasInformationTarget(Protocol):
    """A task that says what a unit could tell about, for criteria of mutual information."""

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the target of a batch, in which units are compared, batch axis first."""
        ...


@runtime_checkable
class HasTeacher(Protocol):
    """A task that compares a model with its original, which whoever builds a run gives to it."""

    teacher: nn.Module | None

    def teach(self, original: nn.Module) -> None:
        """Take the original, which is never changed."""
        ...


def scores_audio(task: object) -> bool:
    """Tell whether metrics of signals are to be prepared for a task."""
    return task.scores_audio if isinstance(task, HasMetrics) else True
