"""The contracts: what a task, a corpus, a model, a pipeline step and a metric must offer.

A class satisfies a contract by having its methods and inherits nothing. ``require`` tells which
members an object lacks. Shapes: B batch, C channels, T samples, N frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.search.perturbed_loss import Staged as Staged
from audioprune.compress.units.declare import Prunable as Prunable
from audioprune.errors import ConfigError
from audioprune.metrics.contract import Metric as Metric  # the contract of scores, for all to find

Batch = dict[str, Any]
"""What ``collate`` makes of items: tensors with the batch axis first, and lists of names."""
Row = dict[str, Any]
"""One row of results: plain values only."""


@runtime_checkable
class Items(Sized, Protocol):
    """A set of items; item i of epoch e depends on the seed, the split, i and e alone."""

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """Return one item, with CPU tensors."""
        ...


@runtime_checkable
class EpochItems(Items, Protocol):
    """Items that are drawn anew in every epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, that the next items belong to."""
        ...


@runtime_checkable
class Corpus(Protocol):
    """Recordings on disk, split and turned into items.

    ``audioprune.data.corpus`` has a base for what all corpora share.
    """

    @property
    def title(self) -> str:
        """Name in tables."""
        ...

    @property
    def sample_rate(self) -> int:
        """Rate of all items in Hz, known before ``prepare``."""
        ...

    def prepare(self) -> None:
        """Find and check the files; the second call does nothing.

        Raises:
            DataError: A file is missing or cannot be trusted; the message names it.
        """
        ...

    def train(self) -> Items:
        """Return the training items."""
        ...

    def valid(self) -> Items:
        """Return the validation items, the same in every epoch."""
        ...

    def tests(self) -> Mapping[str, Items]:
        """Return the test items by condition, such as ``babble_-5dB``."""
        ...

    def collate(self, items: Sequence[Mapping[str, Any]]) -> Batch:
        """Join items to a batch."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of everything that decides which items there are and what they hold."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the size of every split and the rules of splitting, as plain values."""
        ...

    def scale(self) -> str:
        """Return the size of the training set in a few words."""
        ...

    def leaks(self) -> Sequence[Any]:
        """Return what is suspected to be in several splits."""
        ...

    def manifest(self) -> list[dict[str, Any]]:
        """Return one record for the corpus and one for each source, as plain values."""
        ...


@runtime_checkable
class NamesInstruments(Protocol):
    """A corpus of notes; its sets of items list them as ``notes``.

    Attributes:
        families: Names of the families; the index of a family is its place here.
        instruments: Names of the instruments, likewise.
    """

    @property
    def families(self) -> Sequence[str]: ...

    @property
    def instruments(self) -> Sequence[str]: ...


@runtime_checkable
class Task(Protocol):
    """What batches, losses and scores mean.

    Attributes:
        sample_rate: In Hz.
    """

    sample_rate: int

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., float]
    ) -> dict[str, float]:
        """Carry out one training step: call ``update(loss)`` for every loss.

        Return what is logged by name, ``loss`` among it.
        """
        ...

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return at least ``loss`` and the monitored value over the validation set."""
        ...

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value is an improvement."""
        ...

    def validation_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Return a function that evaluates the validation loss of a model again and again."""
        ...

    def score(self, *args: Any, **kwargs: Any) -> list[Row]:
        """Return one row of scores for each test condition."""
        ...


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
class Shares(Protocol):
    """A task or corpus with numbers that all parts must agree on, such as the sample rate."""

    def shared(self) -> dict[str, Any]:
        """Return these numbers by their names; None in a task where the corpus decides."""
        ...


@runtime_checkable
class HasNetworks(Protocol):
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

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors of the networks."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the networks."""
        ...


@runtime_checkable
class HasEpochs(Protocol):
    """A task that changes with the epochs."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        ...


@runtime_checkable
class HasMonitors(Protocol):
    """A task that says which validated values may choose the weights of a training."""

    monitors: Sequence[str]


@runtime_checkable
class SaysScoresAudio(Protocol):
    """A task that says whether ``score`` uses the scorer of audio metrics; without it, it does."""

    scores_audio: bool


@runtime_checkable
class Enhances(Protocol):
    """A task whose models turn signals into better signals.

    Attributes:
        sample_rate: Of all signals, in Hz.
    """

    sample_rate: int

    def enhance(self, model: nn.Module, noisy: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return enhanced signals (B, T) for signals (B, T)."""
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
    """A task whose models make single notes, alone or after a recording that they listen to.

    Attributes:
        sample_rate: In Hz.
    """

    sample_rate: int

    def generate(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the samples of a note, shape (T,)."""
        ...

    def listens(self, model: nn.Module) -> bool:
        """Tell whether the model needs a recording to start from."""
        ...

    def tags(self) -> tuple[str, ...]:
        """Return what a model is conditioned on, such as ``pitch``."""
        ...


@runtime_checkable
class HasLoudness(Protocol):
    """A task whose models follow a loudness curve."""

    def loudness_of(self, audio: Tensor) -> Tensor:
        """Return the loudness (B, N) of recordings (B, T)."""
        ...


@runtime_checkable
class HasErrors(Protocol):
    """A task whose scores are errors, which may be compared with what needs no network."""

    def errors(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the error of each item, shape (B,)."""
        ...

    def trivial_error(self, model: nn.Module, batches: Iterator[Mapping[str, Any]]) -> float:
        """Return the error of the best answer that needs no network."""
        ...


@runtime_checkable
class HasInformationTarget(Protocol):
    """A task for the information criterion: it says what a unit may tell something about."""

    def information_target(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the target of a batch, in which units are compared, batch axis first."""
        ...


@runtime_checkable
class Costed(Protocol):
    """A model whose cost can be counted and timed.

    Attributes:
        frames_per_second: Frames in one second of audio.
        time_dim: Axis of the frames in input and output.
    """

    frames_per_second: float
    time_dim: int

    def example_input(self) -> Any:
        """Return an input, or a tuple of inputs, of one second."""
        ...


@runtime_checkable
class HasWidth(Protocol):
    """A model whose size is said by one number; tables print it as part of the scale."""

    width: Any


@runtime_checkable
class HasExampleSeconds(Protocol):
    """A model whose example's duration does not follow from its shape."""

    def example_seconds(self) -> float:
        """Return the audio that ``example_input()`` stands for, in seconds."""
        ...


@runtime_checkable
class HasStepInput(Protocol):
    """A model that makes audio step by step and knows the arguments of one step."""

    def step_input(self) -> Any:
        """Return an argument, or a tuple of arguments, of ``step``."""
        ...

    def step(self, *args: Any) -> Any:
        """Make one step."""
        ...


@runtime_checkable
class HasStateBytes(Protocol):
    """A model that remembers something between two steps."""

    def state_bytes(self) -> int:
        """Return its size in bytes."""
        ...


@runtime_checkable
class Synthesizes(Protocol):
    """A model with a synthesizer behind its layers, whose operations no layer counts."""

    def synthesis_flops_per_second(self) -> float:
        """Return its floating-point operations per second of audio."""
        ...


@runtime_checkable
class StreamsFrames(Protocol):
    """A model that runs frame by frame.

    Attributes:
        time_dim: Axis of the frames.
    """

    time_dim: int

    def initial_state(self, batch: int = 1) -> Any:
        """Return the state before the first frame."""
        ...

    def step(self, frame: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map one frame and the state before it to the output frame and the state after it."""
        ...


@runtime_checkable
class AddsNoise(Protocol):
    """A model that adds noise of its own, the same one in every pass of evaluation.

    Attributes:
        z_seed: Seed of that noise.
    """

    z_seed: int


@runtime_checkable
class GeneratesSamples(Protocol):
    """A model that makes audio from a conditioning."""

    def generate(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return samples (B, T)."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """A model class that knows the width whose model has a wished number of parameters."""

    def width_for(self, params: int, **arguments: Any) -> int:
        """Return the width whose model has the number of parameters nearest to ``params``."""
        ...


@runtime_checkable
class Step(Protocol):
    """One piece of a pipeline: the only thing that changes a run.

    A step is a dataclass whose fields are its configuration. What it must remember between two
    sessions is a dataclass of its own, asked for by ``run.states.of(path, Kind)`` under the step's
    path in the pipeline.
    """

    def run(self, run: Any, path: str) -> None:
        """Carry out the step; ``path`` names it uniquely within the run."""
        ...


@runtime_checkable
class SaysIfItChanges(Protocol):
    """A step that says whether it changes the run; without it, it does, and the run is stored."""

    @property
    def changes_state(self) -> bool:
        """Whether the run's state is stored after the step."""
        ...


@runtime_checkable
class WritesFile(Protocol):
    """A step that writes a file of a configured name into the run folder."""

    file: str | None


@runtime_checkable
class Checks(Protocol):
    """A step that refuses what it could not carry out, before any step begins."""

    def check(self, run: Any) -> None:
        """Raise ConfigError where the step could not be carried out."""
        ...


@runtime_checkable
class CleansUp(Protocol):
    """A step with files that are not needed once its result is stored."""

    def cleanup(self, run: Any, path: str) -> None:
        """Remove them."""
        ...


@runtime_checkable
class Nests(Protocol):
    """A step that holds other steps."""

    def nested(self, path: str) -> dict[str, Step]:
        """Return them by the path under which each is carried out last."""
        ...


Kind = TypeVar("Kind")


def require(value: object, kind: type[Kind], name: str, remedy: str) -> Kind:
    """Return a value that satisfies a contract.

    Args:
        value: A task, corpus, model or step.
        kind: The contract.
        name: What the value is called in the message, such as ``task irm``.
        remedy: What the user may do.

    Raises:
        ConfigError: It lacks a member of the contract; the message names the missing ones.
    """
    if isinstance(value, kind):
        return value
    members = _members(kind)
    missing = [each for each in members if not hasattr(value, each)]
    raise ConfigError(
        f"{name}: expected {kind.__name__} ({', '.join(missing)} missing), got "
        f"{type(value).__name__}; {remedy}"
    )


def optional(value: object, kind: type[Kind], sign: str, name: str, remedy: str) -> Kind | None:
    """Return a value that satisfies a contract, or None where it does not try to.

    Args:
        value: A task, corpus, model or step.
        kind: The contract.
        sign: The member without which the contract is not meant.
        name: What the value is called in the message.
        remedy: What the user may do.

    Raises:
        ConfigError: It has ``sign`` and lacks other members.
    """
    return require(value, kind, name, remedy) if hasattr(value, sign) else None


def _members(kind: type) -> list[str]:
    methods = [each for each in dir(kind) if not each.startswith("_") or each == "__call__"]
    return methods + [each for each in kind.__annotations__ if each not in methods]
