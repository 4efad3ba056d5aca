"""Where a model computes: the one place that chooses a device.

Nothing but the configuration decides how it computes.
Variables of the environment that change numbers and that we do not own enter the run's hash, see
experiment/config_hash.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import cast

import accelerate.accelerator
import accelerate.optimizer
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from audioprune.errors import ConfigError, unknown_name
from audioprune.launch import Place, place

DEVICES = ("auto", "cpu", "cuda", "cuda:N")
_OWNED = "ACCELERATE_"  # prefix of the variables that we own
_PLACING = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

# Accelerate looks through all folders of packages for an optimiser that is not used here, four
# times in every training step.
for _module in (accelerate.accelerator, accelerate.optimizer):
    _module.is_lomo_available = lambda: False


def chosen_device(name: str) -> torch.device:
    """Return the device that a name means: ``auto`` is CUDA where there is one, else the CPU.

    Of several processes on a machine each has the CUDA device of its own number.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, or ``cuda:N`` for the device of that number.

    Raises:
        ConfigError: The name is unknown, it is Metal, this machine has no such device or not one
            for each process, or one numbered device is given to several.
    """
    kind, _, number = str(name).partition(":")
    if kind == "mps":
        raise ConfigError(
            "runtime.device=mps: expected a device that computes in float64, which criteria, "
            "losses and phases need, got Metal; give runtime.device=cpu"
        )
    if str(name) not in DEVICES and not (kind == "cuda" and number.isdecimal()):
        raise ConfigError(f"runtime.device: {unknown_name('device', str(name), DEVICES)}")
    if kind == "cuda":
        _require_cuda(str(name), number)
    where = place()
    if where.count > 1 and (kind == "cuda" or (name == "auto" and torch.cuda.is_available())):
        return _own_cuda(str(name), number, where)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def placed_device(name: str) -> torch.device:
    """Return the device of this process: the one chosen, or of several CUDA devices its own.

    Args:
        name: See ``chosen_device``.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.
    """
    device = chosen_device(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK") or 0))
    return device


def open_accelerator(name: str, precision: str) -> Accelerator:
    """Return what places a training, made anew from the configuration alone.

    A process of a sweep may have trained on another device or in another precision before; and
    ``ACCELERATE_*`` variables, such as gradient accumulation, would change the numbers of a run
    without changing its hash. Those that place the processes of one training, such as ``RANK``,
    are hidden as well: what processes share is in training/processes.

    Args:
        name: Device, see ``chosen_device``.
        precision: ``fp32``, ``tf32`` or ``bf16``.

    Raises:
        ConfigError: See ``chosen_device``.
    """
    device = chosen_device(name)
    AcceleratorState._reset_state(reset_partial_state=True)
    with own_variables({f"{_OWNED}TORCH_DEVICE": str(device)}, hidden=_PLACING):
        return Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            cpu=device.type == "cpu",
            gradient_accumulation_steps=1,
            split_batches=False,
        )


@contextmanager
def precise(precision: str) -> Iterator[None]:
    """Let float32 products on CUDA be those of a precision within a block, and exact behind it.

    Torch alone would round the inputs of convolutions to TF32, and no others.

    Args:
        precision: ``tf32`` rounds inputs of matrix products and convolutions to 10 bits of
            mantissa; with any other float32 stays float32.
    """
    _round_products(precision == "tf32")
    try:
        yield
    finally:
        exact_products()


def exact_products() -> None:
    """Let float32 products on CUDA keep all bits, those of convolutions too."""
    _round_products(False)


def _round_products(rounded: bool) -> None:
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded


def laid_out(model: nn.Module, order: torch.memory_format) -> None:
    """Order the weights of two-dimensional convolutions in memory, in place.

    Args:
        model: Its parameters stay the same objects, with the same values.
        order: ``torch.channels_last`` or ``torch.contiguous_format``.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=order)


def compiled(model: nn.Module) -> nn.Module:
    """Return a module that runs the same parameters through ``torch.compile``.

    Raises:
        ConfigError: This machine has no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        raise ConfigError(
            "training.compile=true: expected a C++ compiler on this machine, got none; install "
            "g++ or set it to false"
        )
    return cast(nn.Module, torch.compile(model))


def _require_cuda(name: str, number: str) -> None:
    if not torch.cuda.is_available():
        raise ConfigError(
            f"runtime.device={name}: expected a CUDA device, this machine has none; give "
            f"runtime.device=auto or cpu"
        )
    count = torch.cuda.device_count()
    if number == "N" or (number and int(number) >= count):
        raise ConfigError(
            f"runtime.device={name}: expected cuda:0 to cuda:{count - 1} on this machine, got "
            f"{name}; give one of them"
        )


def _own_cuda(name: str, number: str, where: Place) -> torch.device:
    """Return the device of one of several processes."""
    if number:
        raise ConfigError(
            f"runtime.device={name}: expected one device for each process, got one for all; "
            f"give runtime.device=cuda"
        )
    count = torch.cuda.device_count()
    if where.local_index >= count:
        raise ConfigError(
            f"runtime.device={name}: expected a CUDA device for each of the {where.local_count} "
            f"processes of this machine, got {count}; start {count} of them, or give "
            f"runtime.device=cpu"
        )
    return torch.device("cuda", where.local_index)


@contextmanager
def own_variables(
    values: Mapping[str, str] = MappingProxyType({}), hidden: Collection[str] = ()
) -> Iterator[None]:
    """Hide the ``ACCELERATE_*`` variables within a block, and others, and set those given.

    Some are read during a training.
    """
    names = [name for name in os.environ if name.startswith(_OWNED) or name in hidden]
    before = {name: os.environ.pop(name) for name in names}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(_OWNED)]:
            del os.environ[name]
        os.environ.update(before)
