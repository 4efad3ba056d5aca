"""Which saved state an optimiser may load: ``check_state`` refuses one that is not its own.

Nothing is loaded here. How a state follows a trim of the model is in trimmed.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from audioprune.errors import CheckpointError


def check_state(
    optimizer: Optimizer, state_dict: Mapping[str, Any], check: Callable[[Mapping[str, Any]], None]
) -> None:
    """Refuse a state that does not belong to this optimiser before any of it is taken over.

    Args:
        optimizer: The optimiser that is about to load the state.
        state_dict: What ``state_dict()`` returned.
        check: Raises when an option is wrong.

    Raises:
        CheckpointError: Options are missing, or the number of param groups, parameters or groups,
            or the shape of a moment differs.
        ConfigError: An option in the state is out of range.
    """
    saved, ours = state_dict["param_groups"], optimizer.param_groups
    if len(saved) != len(ours):
        raise CheckpointError(
            f"expected a state of {len(ours)} param groups, got {len(saved)}; build the "
            f"optimiser as it was saved"
        )
    for there, here in zip(saved, ours, strict=True):
        # torch adds this default of its own accord when an optimiser is copied or loads a state.
        missing = sorted(set(optimizer.defaults) - set(there) - {"differentiable"})
        if missing:
            kind = type(optimizer).__name__
            raise CheckpointError(
                f"expected a state of {kind}, got one without {', '.join(missing)}; load it "
                f"into the class that saved it"
            )
        for what, theirs, mine in (
            ("parameters", len(there["params"]), len(here["params"])),
            ("groups", there["groups"], here["groups"]),
        ):
            if theirs != mine:
                raise CheckpointError(
                    f"expected a state of {mine} {what} in a param group, got {theirs}; rebuild "
                    f"model and units as saved"
                )
        check({key: value for key, value in there.items() if key != "units"})
        _check_shapes(state_dict["state"], there["params"], here["params"])


def _check_shapes(
    state: Mapping[Any, Mapping[str, Any]], keys: Sequence[Any], params: Sequence[Tensor]
) -> None:
    for key, param in zip(keys, params, strict=True):
        for name, value in state.get(key, {}).items():
            if isinstance(value, Tensor) and value.shape != param.shape:
                given, wanted = tuple(value.shape), tuple(param.shape)
                raise CheckpointError(
                    f"expected {name} of shape {wanted}, got {given}; slice the state with "
                    f"sliced_state after a trim"
                )
