"""How a module from anywhere becomes a model that can be worked on: ``adopted``.

A built module is unwrapped, given the example and the picked output of its configuration, and its
lazy layers are initialised; what cannot be handled is refused in a line that says what to do. No
model of this package passes here, and nothing is trained or stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from audioprune.compress.units.find import HasExample
from audioprune.errors import ConfigError
from audioprune.experiment.foreign.example import Example, Pick, Seconds
from audioprune.experiment.foreign.trial import run_example
from audioprune.protocols import Costed
from audioprune.provenance import READING

RESERVED = ("name", "_target_", "args", *READING)
"""Keys of a user's model that are no arguments of its class."""


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return target and arguments of a user's model.

    Arguments whose names mean something here are in ``args``.
    """
    own = {key: value for key, value in config.items() if key not in RESERVED}
    return {"_target_": config.get("_target_", ""), **own, **(config.get("args") or {})}


def adopted(built: Any, config: Mapping[str, Any]) -> nn.Module:
    """Return a user's object as a model that every verb can work on.

    Args:
        built: What the target returned.
        config: The configuration of the model; ``example``, ``output`` and ``seconds`` are read.

    Raises:
        ConfigError: It is no module or a TorchScript program, has lazy layers and no example, or
            layers of a type that cannot be compressed.
    """
    model = _module(built, str(config.get("_target_", "")))
    if config.get("example") is not None:
        object.__setattr__(model, "example_input", Example(config["example"]))
    if isinstance(model, HasExample) and (
        config.get("seconds") is not None or not isinstance(model, Costed)
    ):
        object.__setattr__(model, "example_seconds", Seconds(config.get("seconds") or 1.0))
    lazy = [name for name, value in model.named_parameters() if is_lazy(value)]
    if lazy:
        _initialise(model, lazy)
    if config.get("output") is not None:
        model.register_forward_hook(Pick(config["output"]))
    _refuse_odd_parameters(model)
    return model


def _module(built: Any, target: str) -> nn.Module:
    """Return the module that a target built, without what compiling put around it."""
    if not isinstance(built, nn.Module):
        kind = type(built).__name__
        raise ConfigError(
            f"expected model._target_ to name a torch.nn.Module, or a function that returns one, "
            f"got {kind} from {target or 'nothing'}; give package.module:Class"
        )
    compiled = getattr(built, "_orig_mod", None)
    model = compiled if isinstance(compiled, nn.Module) else built
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigError(
                f"expected model._target_ to name a plain torch.nn.Module, got the TorchScript "
                f"program {name or target}; give the class that it was made from, and its "
                f"weights: torch.save(script.state_dict(), 'weights.pt')"
            )
    return model


def _initialise(model: nn.Module, lazy: list[str]) -> None:
    """Let lazy layers learn their sizes from the example.

    The draws begin anew, so that the same configuration always gives the same weights.
    """
    if not isinstance(model, HasExample):
        raise ConfigError(
            f"{type(model).__name__}: expected an example to initialise the lazy layers "
            f"({', '.join(lazy[:3])}), got none; give model.example=[1,16000], the shape of an "
            f"input"
        )
    run_example(model)
    left = [name for name, value in model.named_parameters() if is_lazy(value)]
    if left:
        raise ConfigError(
            f"{type(model).__name__}: expected the example to reach every lazy layer, "
            f"{', '.join(left[:3])} is not called; remove it, or use layers of a known size"
        )


def _refuse_odd_parameters(model: nn.Module) -> None:
    """Refuse parameters that no later step could store or compress."""
    for name, value in model.named_parameters():
        layer = name.rpartition(".")[0] or type(model).__name__
        if value.numel() == 0:
            raise ConfigError(
                f"{name}: expected a parameter that holds numbers, got the shape "
                f"{tuple(value.shape)}; leave the layer {layer} out of the model"
            )
        if value.dtype in (torch.float64, torch.float16, torch.bfloat16):
            kind = str(value.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{name}: expected a parameter of float32, got {kind}; build the layer {layer} "
                f"in float32, as .float() does"
            )
