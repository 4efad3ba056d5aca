"""What a model costs to run: parameters, multiplications, memory and its traffic, latency.

Sizes of compressed files are counted in audioprune.packing, machines compared in
report/platforms.py. Convention: one MAC is one multiplication by a weight and the addition of its
product; biases, normalisations, activations and transforms are no MACs; one MAC is two FLOPs. A
layer that takes whole numbers looks its weights up: it multiplies nothing, whatever convolution of
one-hot vectors it equals.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.ties import tie_key
from audioprune.compress.units.find import HasExample
from audioprune.errors import ConfigError
from audioprune.protocols import Costed, GeneratesByStep, HasExampleSeconds, require

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_COUNTED = (nn.Linear, _ConvNd, *_RECURRENT)
_FREE = (_NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.PReLU, nn.Embedding)
_BYTES = 4  # of a float32
Inputs = Tensor | Sequence[Any]


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        name: Name of the module.
        type: Its class.
        params: Parameters, as they are stored.
        nonzero: Parameters that are not 0.
        macs_per_second: Dense multiply-accumulates per second of audio, all calls together.
        effective_macs_per_second: Those with a weight that is not 0; dense kernels save none of
            the others.
        output_shape: Shape of the output of the last call; of recurrent layers without the state.
        calls: How often the example called the layer.
        read_bytes: Inputs and parameters that all calls read, as float32.
        written_bytes: Outputs that all calls write, as float32.
    """

    name: str
    type: str
    params: int
    nonzero: int
    macs_per_second: float
    effective_macs_per_second: float
    output_shape: tuple[int, ...]
    calls: int
    read_bytes: int
    written_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON can hold them."""
        return asdict(self) | {"output_shape": list(self.output_shape)}


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        params: Parameters; a shared one counts once.
        nonzero: Parameters that are not 0.
        macs_per_second: Dense multiply-accumulates per second of audio.
        effective_macs_per_second: Those with a weight that is not 0.
        layers: Every leaf module that was called, in the order of definition.
        uncounted: Names of the parameters whose multiplications no layer counts, because the model
            uses them in functions of its own, in modules of unknown types or not at all in this
            forward pass.
        read_bytes: Inputs and parameters that all leaf modules read in the example, as float32.
        written_bytes: Outputs that they write, as float32.
        peak_bytes: All parameters and the inputs and outputs of the largest call, as float32: what
            a run that frees each layer's input at once holds at most, without branches that wait.
    """

    params: int
    nonzero: int
    macs_per_second: float
    effective_macs_per_second: float
    layers: tuple[LayerCost, ...]
    uncounted: tuple[str, ...]
    read_bytes: int
    written_bytes: int
    peak_bytes: int

    @property
    def flops_per_second(self) -> float:
        """Floating-point operations per second of audio, two per MAC."""
        return 2 * self.macs_per_second

    @property
    def disk_bytes(self) -> int:
        """Bytes of the parameters as dense float32."""
        return _BYTES * self.params

    @property
    def read_write_bytes(self) -> int:
        """Memory traffic of the example: what leaf modules read and write together."""
        return self.read_bytes + self.written_bytes


@dataclass
class _Tally:
    """What the calls of one module added up to."""

    uses: int = 0  # multiplications by each weight
    calls: int = 0
    read: int = 0
    written: int = 0
    largest: int = 0
    shape: tuple[int, ...] = field(default=())


def cost(
    model: nn.Module,
    example_input: Inputs,
    seconds: float,
    forward: Callable[..., Any] | None = None,
) -> Cost:
    """Count what a model costs, by one forward pass in evaluation mode.

    The multiplications of linear, convolution and recurrent modules are counted from their weights
    and the shapes they meet; padded positions count as full. Every call of a module counts. For
    the memory traffic of one generation step, as the platform bounds need it, give the input of
    one step and the function that runs it.

    Args:
        model: Any module; it stays as it is.
        example_input: Argument or arguments of its forward pass.
        seconds: Audio that the example stands for, in seconds, all batch entries together.
        forward: Function to call with the example in place of the model, such as ``model.step``.

    Raises:
        ConfigError: ``seconds`` is not a positive number.

    Source: Esling et al., Sec. 3 and 6: operations for one second of audio, size on disk and
    read-write memory, the latter as the sum over layers of inputs and parameters read and outputs
    written.
    """
    _check_seconds(seconds)
    tallies: dict[nn.Module, _Tally] = {}

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        _add(tallies.setdefault(module, _Tally()), module, args, kwargs, output)

    watched = [
        module
        for name, module in model.named_modules()
        if _is_leaf(module) and ".parametrizations." not in f".{name}"
    ]
    handles = [module.register_forward_hook(note, with_kwargs=True) for module in watched]
    try:
        # no inference mode: tensors that the model caches must stay usable in training
        with torch.no_grad(), evaluating(model):
            (forward or model)(*arguments_of(example_input))
    finally:
        for handle in handles:
            handle.remove()
    layers = tuple(
        _layer(name, module, tallies[module], seconds)
        for name, module in model.named_modules()
        if module in tallies
    )
    weights = {tie_key(parameter): parameter for parameter in model.parameters()}.values()
    params = sum(parameter.numel() for parameter in weights)
    return Cost(
        params=params,
        nonzero=sum(int(parameter.count_nonzero()) for parameter in weights),
        macs_per_second=sum(layer.macs_per_second for layer in layers),
        effective_macs_per_second=sum(layer.effective_macs_per_second for layer in layers),
        layers=layers,
        uncounted=_uncounted(model, tallies),
        read_bytes=sum(layer.read_bytes for layer in layers),
        written_bytes=sum(layer.written_bytes for layer in layers),
        peak_bytes=_BYTES * params + max((tally.largest for tally in tallies.values()), default=0),
    )


@dataclass(frozen=True)
class GenerationStep:
    """The smallest piece of audio that a model makes at once.

    Attributes:
        inputs: Arguments of ``forward``.
        forward: ``model.step``, or the model itself where it has no steps.
        seconds: Audio that one step stands for.
    """

    inputs: Inputs
    forward: Callable[..., Any]
    seconds: float


def generation_step(model: nn.Module) -> GenerationStep:
    """Return a model's generation step.

    It is one sample of WaveNet, one frame of DDSP, one note of SING; of a model without steps its
    whole example.

    Args:
        model: A module with ``example_input``, ``frames_per_second`` and ``time_dim``; with
            ``step`` and ``step_input``, the arguments of one step, where it makes audio frame by
            frame. A step whose input is as long as the example makes the whole of it.
    """
    costed = require_example(model)
    example = costed.example_input()
    if not isinstance(model, GeneratesByStep):
        return GenerationStep(example, model, example_seconds(costed))
    inputs = model.step_input()
    whole = arguments_of(inputs)[0].shape == arguments_of(example)[0].shape
    seconds = example_seconds(costed) if whole else 1 / costed_by_frames(model).frames_per_second
    return GenerationStep(inputs, model.step, seconds)


def require_example(model: nn.Module) -> HasExample:
    """Return a model as one that says what its costs are counted on.

    Raises:
        ConfigError: It has no example, or says not how much audio its example is.
    """
    if isinstance(model, Costed) or (
        isinstance(model, HasExample) and isinstance(model, HasExampleSeconds)
    ):
        return model
    wanted = ("example_input", "frames_per_second", "time_dim")
    missing = [name for name in wanted if not hasattr(model, name)]
    raise ConfigError(
        f"{type(model).__name__}: expected example_input(), frames_per_second and time_dim, "
        f"{', '.join(missing)} missing; give model.example=[1,16000], the shape of an input, or "
        f"add them as audioprune/models/fdnn.py does"
    )


def example_seconds(model: HasExample) -> float:
    """Return the audio that a model's example stands for, in seconds."""
    if isinstance(model, HasExampleSeconds):
        return model.example_seconds()
    frames: int = arguments_of(model.example_input())[0].shape[costed_by_frames(model).time_dim]
    return frames / costed_by_frames(model).frames_per_second


def costed_by_frames(model: object) -> Costed:
    """Return a model that counts in frames."""
    return require(model, Costed, "model", "add what is missing as audioprune/models/fdnn.py does")


def latency(
    model: nn.Module,
    example_input: Inputs,
    seconds: float,
    threads: int = 1,
    repeats: int = 9,
    forward: Callable[..., Any] | None = None,
) -> float:
    """Measure how long a model takes, in milliseconds per second of audio.

    Two runs warm up, then the median of ``repeats`` timed runs is taken, in evaluation and
    inference mode.

    Args:
        model: Any module; it and torch's number of threads stay as they are.
        example_input: Argument or arguments of its forward pass.
        seconds: Audio that the example stands for, in seconds, all batch entries together.
        threads: Number of threads of torch, at least 1.
        repeats: Number of timed runs, at least 1.
        forward: Function to call with the example in place of the model, such as ``model.step``.

    Raises:
        ConfigError: A number is not positive.
    """
    _check_seconds(seconds)
    for what, number in (("threads", threads), ("repeats", repeats)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(
                f"latency: expected {what} as a whole number above 0, got {number!r}; correct it"
            )
    arguments, before, times = arguments_of(example_input), torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), evaluating(model):
            for _ in range(2 + repeats):
                start = time.perf_counter()
                (forward or model)(*arguments)
                if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return 1000 * statistics.median(times[2:]) / seconds


def _is_leaf(module: nn.Module) -> bool:
    return isinstance(module, _COUNTED) or not any(True for _ in module.children())


def _add(tally: _Tally, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
    inputs, outputs = _tensors((args, kwargs)), _tensors(output)
    given, made = (
        _BYTES * sum(tensor.numel() for tensor in tensors) for tensors in (inputs, outputs)
    )
    tally.calls += 1
    tally.read += given + _BYTES * sum(parameter.numel() for parameter in module.parameters())
    tally.written += made
    tally.largest = max(tally.largest, given + made)
    if outputs:
        tally.shape = tuple(outputs[0].shape)
    if isinstance(module, _COUNTED) and not _looks_up(inputs[0]):
        tally.uses += _uses(module, inputs[0], outputs[0])


def _looks_up(given: Tensor) -> bool:
    """Tell whether a layer got indices, such as classes of samples, in place of values."""
    return not (given.is_floating_point() or given.is_complex())


def _uses(module: nn.Module, given: Tensor, output: Tensor) -> int:
    """Tell how often one call multiplies by each weight; 0 for layers that are not counted."""
    if isinstance(module, nn.Linear):
        return given.numel() // given.shape[-1]
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return given.numel() // module.input_size
    if isinstance(module, _ConvNd):
        # A transposed convolution multiplies each input by the whole kernel.
        positions = given if module.transposed else output
        spatial = len(module.kernel_size)
        return positions.numel() // positions.shape[-1 - spatial]
    return 0


def _weights(module: nn.Module) -> list[Tensor]:
    """Return the weights that a layer multiplies by; none for layers that are not counted."""
    if isinstance(module, nn.RNNBase):
        return [weight for layer in module.all_weights for weight in layer if weight.dim() > 1]
    if isinstance(module, nn.RNNCellBase):
        return [module.weight_ih, module.weight_hh]
    return [module.weight] if isinstance(module, nn.Linear | _ConvNd) else []


def _layer(name: str, module: nn.Module, tally: _Tally, seconds: float) -> LayerCost:
    weights, parameters = _weights(module), list(module.parameters())
    size = sum(weight.numel() for weight in weights)
    effective = sum(int(weight.count_nonzero()) for weight in weights)
    return LayerCost(
        name=name,
        type=type(module).__name__,
        params=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(parameter.count_nonzero()) for parameter in parameters),
        macs_per_second=tally.uses * size / seconds,
        effective_macs_per_second=tally.uses * effective / seconds,
        output_shape=tally.shape,
        calls=tally.calls,
        read_bytes=tally.read,
        written_bytes=tally.written,
    )


def _uncounted(model: nn.Module, tallies: dict[nn.Module, _Tally]) -> tuple[str, ...]:
    known = {
        tie_key(p)
        for module in tallies
        if isinstance(module, _COUNTED + _FREE)
        for p in module.parameters()
    }
    return tuple(
        name for name, parameter in model.named_parameters() if tie_key(parameter) not in known
    )


def arguments_of(example_input: Inputs) -> tuple[Any, ...]:
    """Return the positional arguments that an example stands for."""
    return (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)


def _tensors(value: Any) -> list[Tensor]:
    leaves = tree_leaves(value, is_leaf=lambda item: isinstance(item, nn.utils.rnn.PackedSequence))
    plain = [
        leaf.data if isinstance(leaf, nn.utils.rnn.PackedSequence) else leaf for leaf in leaves
    ]
    return [leaf for leaf in plain if isinstance(leaf, Tensor)]


def _check_seconds(seconds: float) -> None:
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds < math.inf
    ):
        raise ConfigError(
            f"cost: expected the seconds of audio as a number above 0, got {seconds!r}; correct it"
        )
