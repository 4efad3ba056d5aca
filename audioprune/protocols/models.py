"""The contracts of models: what a ``torch.nn.Module`` may offer beside its forward pass.

Any module can be trained, pruned and stored without one of these; each makes one thing better or
possible. To add a model, write a module whose keyword arguments are plain values, give it a file
``conf/model/NAME.yaml`` with its ``_target_``, and satisfy at least ``Costed`` and ``Prunable``.

Shapes: B batch, C channels, T samples, N frames.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from audioprune.compress.search.perturbed_loss import Stage as Stage
from audioprune.compress.search.perturbed_loss import Staged as Staged
from audioprune.compress.units.declare import Prunable as Prunable


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
        """Return an input, or a tuple of inputs."""
        ...


@runtime_checkable
class HasExampleSeconds(Protocol):
    """A model whose example lasts another time than its number of frames says."""

    def example_seconds(self) -> float:
        """Return the seconds of audio that the example makes."""
        ...


@runtime_checkable
class GeneratesByStep(Protocol):
    """A model that makes audio step by step."""

    def step(self, *inputs: Any, **options: Any) -> Any:
        """Run one step."""
        ...

    def step_input(self) -> Any:
        """Return the argument of one step, or a tuple of arguments."""
        ...


@runtime_checkable
class Synthesizes(Protocol):
    """A model with signal processing behind its layers."""

    def synthesis_flops_per_second(self) -> float:
        """Return its operations per second of audio, which no count of layers holds."""
        ...


@runtime_checkable
class HasStateBytes(Protocol):
    """A model that remembers more between steps than its state shows."""

    def state_bytes(self) -> int:
        """Return the bytes that one stream remembers."""
        ...


@runtime_checkable
class StreamsFrames(Protocol):
    """A model that runs frame by frame, with the frames along the axis ``time_dim``."""

    time_dim: int

    def initial_state(self, batch: int = 1) -> Any:
        """Return the state before the first frame."""
        ...

    def step(self, frame: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map one frame and the state before it to the output frame and the state after it."""
        ...


@runtime_checkable
class StreamsPart(Protocol):
    """A model of which only a part runs frame by frame, such as what controls a synthesizer."""

    def streaming_part(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """Return this part, an example of its inputs and their axis of time."""
        ...


@runtime_checkable
class StreamsBlocks(StreamsFrames, Protocol):
    """A model that runs frame by frame, and many frames at once from a state on."""

    def continued(self, spectrum: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map frames and the state before them to the outputs and the state after them."""
        ...


@runtime_checkable
class FrameWise(Protocol):
    """A model that says whether it maps each frame alone, so that frames may be shuffled."""

    frame_wise: bool


class InputNorm(Protocol):
    """Mean and deviation of the bins of a model's input."""

    def is_measured(self) -> bool:
        """Tell whether they were set."""
        ...

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and the standard deviation (F,) of each bin."""
        ...


@runtime_checkable
class NormalisesInputs(Protocol):
    """A model that may normalise its inputs by statistics of the training set."""

    def input_norm(self) -> InputNorm | None:
        """Return what normalises, or None where nothing does."""
        ...


@runtime_checkable
class ChecksLength(Protocol):
    """A model that takes frames of some lengths only."""

    def check_length(self, samples: int) -> None:
        """Raise ConfigError where frames of so many samples do not fit."""
        ...


@runtime_checkable
class SeedsNoise(Protocol):
    """A model whose noise in evaluation follows a seed, which may be set."""

    z_seed: int


@runtime_checkable
class DrawsNoise(SeedsNoise, Protocol):
    """A model that joins channels of noise to its values; 0 channels are none."""

    z_channels: int


@runtime_checkable
class PredictsSamples(Protocol):
    """A model that maps classes of samples (B, T) to logits (B, Q, T) of the next ones.

    Attributes:
        classes: Number of classes Q.
    """

    classes: int

    @property
    def receptive_field(self) -> int:
        """Number of samples that one prediction reads, the newest one included."""
        ...


@runtime_checkable
class ReadsFeatures(Protocol):
    """A model that reads ``conditioning`` features with every sample; 0 are none."""

    conditioning: int


@runtime_checkable
class GeneratesSamples(PredictsSamples, Protocol):
    """A model that draws samples one after another."""

    def generate(
        self,
        steps: int,
        cond: Tensor | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        start: Tensor | None = None,
    ) -> Tensor:
        """Return classes (B, steps) that follow the start (B, T0), given features (B, C, T)."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """A model with an encoder of ``latent`` dimensions; 0 are none."""

    latent: int


@runtime_checkable
class PadsNotes(Protocol):
    """A model that wants ``pad`` zeros at both ends of a note."""

    pad: int


@runtime_checkable
class StripsNotes(Protocol):
    """A model whose output lacks ``strip`` samples at both ends of its input."""

    strip: int


@runtime_checkable
class CutsTarget(Protocol):
    """A model whose output is shorter than its input."""

    def target(self, audio: Tensor) -> Tensor:
        """Return the stretch (B, T') of an input (B, T) that the output should equal."""
        ...


@runtime_checkable
class Resizable(Protocol):
    """A model class that knows the width whose model has a wished number of parameters."""

    def width_for(self, params: int, **arguments: Any) -> float:
        """Return the width whose model has the number of parameters nearest to ``params``."""
        ...


@runtime_checkable
class HasWidth(Protocol):
    """A model whose size follows one number, which tables name."""

    width: float


@runtime_checkable
class HasFrontEnd(Protocol):
    """A model that says what it is fed for a waveform, where that is not the waveform."""

    def front_end(self, waveform: Tensor) -> Tensor:
        """Map waveforms (B, T) to inputs, whose first axis may be longer than B."""
        ...
