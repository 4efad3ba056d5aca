"""How a model becomes TorchScript: ``script_of`` returns bytes that ``torch.jit.load`` reads.

A function of tensors is recorded with an example; whether it holds for other lengths is compared
by whoever calls this. Only torch is needed.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.errors import ConfigError
from audioprune.export.trace import first_line

FACTS = "audioprune.json"
"""Name of the extra file inside that says what the model is."""


def script_of(model: nn.Module, example: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    """Record a model.

    Args:
        model: Any module of tensors.
        example: Its inputs.
        metadata: What the file says about itself.

    Raises:
        ConfigError: The model cannot be recorded.
    """
    with evaluating(model), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = torch.jit.freeze(torch.jit.trace(model, tuple(example), check_trace=False))
        except Exception as error:  # the tracer raises whatever the model raises
            raise ConfigError(
                f"format=torchscript: expected a model that torch.jit.trace records, got "
                f"{first_line(error)}; return tensors or tuples of them"
            ) from error
        stream = io.BytesIO()
        torch.jit.save(made, stream, _extra_files={FACTS: json.dumps(dict(metadata))})
    return stream.getvalue()


def loaded(data: bytes) -> nn.Module:
    """Return the recorded model that bytes hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(data))
