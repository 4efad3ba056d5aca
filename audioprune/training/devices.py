"""Where a model computes: the one place that chooses a device.

Nothing but the configuration decides how it computes.
Variables of the environment that change numbers and that we do not own enter the run's hash, see
experiment/config_hash.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from audioprune.errors import ConfigError, unknown_name

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
_OWNED = "ACCELERATE_"  # prefix of the variables that we own


def chosen_device(name: str) -> torch.device:
    """Return the device that a name means: ``auto`` is CUDA where there is one, else the CPU.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` for the device of that number, or ``mps``.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.
    """
    kind, _, number = str(name).partition(":")
    if str(name) not in DEVICES and not (kind == "cuda" and number.isdecimal()):
        raise ConfigError(f"runtime.device: {unknown_name('device', str(name), DEVICES)}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        _require_cuda(str(name), number)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "runtime.device=mps: expected a Metal device, this machine has none; give "
            "runtime.device=auto or cpu"
        )
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
    stay in force.

    Args:
        name: Device, see ``chosen_device``.
        precision: ``fp32`` or ``bf16``.

    Raises:
        ConfigError: The device is unknown or missing, or one numbered device is given to several
            processes.
    """
    device = chosen_device(name)
    several = int(os.environ.get("WORLD_SIZE") or 1) > 1
    if several and device.index is not None:
        raise ConfigError(
            f"runtime.device={name}: expected one device for each process, got one for all; "
            f"give runtime.device=cuda"
        )
    placed = {} if several else {f"{_OWNED}TORCH_DEVICE": str(device)}
    AcceleratorState._reset_state(reset_partial_state=True)
    with own_variables(placed):
        return Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            cpu=device.type == "cpu",
            gradient_accumulation_steps=1,
            split_batches=False,
        )


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


@contextmanager
def own_variables(values: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Hide the ``ACCELERATE_*`` variables within a block, and set those given.

    Some are read during a training.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OWNED)}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(_OWNED)]:
            del os.environ[name]
        os.environ.update(hidden)
