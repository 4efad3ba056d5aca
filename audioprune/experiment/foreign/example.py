"""What a user says of a network's inputs and outputs: ``Example`` and ``Pick``.

``model.example=[1,16000]`` is an input by its shape, ``[[1,16000],[1,4]]`` are two. An input that
is no float32 is a mapping: ``{shape: [1,80], dtype: int64}``, or ``{value: 16000}`` for a plain
argument. ``model.output=1``, ``model.output=mask`` and ``model.output=[0,mask]`` pick one tensor
of the tuples, lists and mappings that a network returns. Nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.errors import ConfigError, unknown_name

DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
    )
}
_KEYS = ("shape", "dtype", "value")
_FORMS = "a shape such as [1,16000], several, or {shape: [1,80], dtype: int64}"


class Example:
    """Makes the example inputs that a configuration describes; the same at every call.

    Numbers with a fraction are drawn from a normal distribution, because silence would hide errors
    and be divided by; whole numbers are 0, which every table of embeddings has.

    Args:
        wish: The value of ``model.example``.

    Raises:
        ConfigError: It is no shape, names an unknown type, or a size below 1.
    """

    def __init__(self, wish: Any) -> None:
        several = _is_list(wish) and any(not isinstance(each, int) for each in wish)
        inputs = list(wish) if several else [wish]
        if not inputs or inputs == [[]]:
            raise ConfigError(f"model.example: expected {_FORMS}, got {wish!r}; give the shape")
        self._inputs = [_described(each) for each in inputs]

    def __call__(self) -> Any:
        """Return the input, or a tuple of inputs."""
        generator = torch.Generator().manual_seed(0)
        made = tuple(_made(each, generator) for each in self._inputs)
        return made[0] if len(made) == 1 and isinstance(made[0], Tensor) else made


class Seconds:
    """Says how much audio an example stands for.

    Args:
        seconds: The value of ``model.seconds``.

    Raises:
        ConfigError: It is no number above 0.
    """

    def __init__(self, seconds: Any) -> None:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 < seconds < float("inf"):
            raise ConfigError(
                f"model.seconds: expected the seconds of audio in the example, got {seconds!r}; "
                f"give a number above 0"
            )
        self.seconds = float(seconds)

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


class Pick:
    """A forward hook that returns one part of what a network returns.

    Args:
        wish: The value of ``model.output``: a place in a tuple or list, a key of a mapping, or a
            list of these from the outside in.
    """

    def __init__(self, wish: Any) -> None:
        self._path = list(wish) if _is_list(wish) else [wish]

    def __call__(self, module: nn.Module, given: Any, output: Any) -> Any:
        """Return the part of an output.

        Raises:
            ConfigError: The output has no such part; the message names those that it has.
        """
        for step in self._path:
            output = _part(output, step, type(module).__name__)
        return output


def _part(value: Any, step: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        if step in value:
            return value[step]
        raise ConfigError(
            f"model.output: {unknown_name(f'output of {name}', str(step), map(str, value))}"
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        if isinstance(step, int) and -len(value) <= step < len(value):
            return value[step]
        raise ConfigError(
            f"model.output: expected one of the {len(value)} outputs of {name}, 0 to "
            f"{len(value) - 1}, got {step}; correct it"
        )
    raise ConfigError(
        f"model.output: expected a tuple, list or mapping to pick {step} of, {name} returns "
        f"{shape_text(value)}; leave it out"
    )


def shape_text(value: Any) -> str:
    """Say what a value is: the shape of a tensor, and of each of several."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)}"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {shape_text(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shape_text, value))}]"
    return type(value).__name__


def _described(wish: Any) -> dict[str, Any]:
    """Check what is said of one input: ``shape`` and ``dtype``, or ``value``."""
    said: Mapping[str, Any] = wish if isinstance(wish, Mapping) else {"shape": wish}
    for key in said:
        if key not in _KEYS:
            raise ConfigError(unknown_name("key of model.example", str(key), _KEYS))
    if "value" in said:
        return {"value": said["value"]}
    shape, dtype = said.get("shape"), said.get("dtype", "float32")
    if not _is_list(shape) or not all(type(size) is int and size > 0 for size in shape or ()):
        raise ConfigError(
            f"model.example: expected {_FORMS}, got {wish!r}; every size is a whole number above 0"
        )
    if dtype not in DTYPES:
        raise ConfigError(f"model.example: {unknown_name('dtype', str(dtype), DTYPES)}")
    return {"shape": list(shape or ()), "dtype": dtype}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _made(said: dict[str, Any], generator: torch.Generator) -> Any:
    if "value" in said:
        return said["value"]
    shape, dtype = said["shape"], DTYPES[said["dtype"]]
    if not (dtype.is_floating_point or dtype.is_complex):
        return torch.zeros(shape, dtype=dtype)
    drawn = dtype if dtype.is_complex else torch.float32
    return torch.randn(shape, generator=generator, dtype=drawn).to(dtype)
