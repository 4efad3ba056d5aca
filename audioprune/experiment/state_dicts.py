"""How weights that other programs saved are read: ``read_state_dict``, then ``fitting``.

The first finds them in a file, the second gives them the names and types of a model.
Nothing in such a file is executed. Checkpoints of this package are read in experiment/model_io.py.
"""

from __future__ import annotations

import logging
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from audioprune.errors import CheckpointError

PICKLED = (".pt", ".pth", ".ckpt", ".tar", ".bin")
"""Endings of files that ``torch.save`` writes."""
KEYS = ("model", "model_state", "state_dict", "model_state_dict", "generator", "net")
"""Where trainings keep the weights beside an optimiser's state."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers put in front of every name."""
_DEEPEST = 4  # wrappers around one another
_BAD_ARCHIVE = (
    *(zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error),
    *(EOFError, RuntimeError),
)
"""What reading an archive may raise."""
_LOG = logging.getLogger(__name__)
_SAVE = "torch.save(model.state_dict(), 'weights.pt')"


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a file that another program wrote, and where in the file they were.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote: a state dict, or a mapping that holds
            one under one of `KEYS`.

    Raises:
        CheckpointError: The file holds code, is damaged, is a TorchScript program or holds no
            state dict.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path), []
    if _is_script(path):
        raise CheckpointError(
            f"{path}: expected a state dict, got a TorchScript program; save its weights: "
            f"torch.save(torch.jit.load('{path.name}').state_dict(), 'weights.pt')"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of other protocols of pickle
            held = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # torch raises many kinds here; each of them means that the file is not loaded
        raise CheckpointError(
            f"{path}: contains code or is damaged, not loaded "
            f"({'no pickle' if isinstance(error, struct.error) else type(error).__name__}); "
            f"expected a plain state dict, {_SAVE}"
        ) from error
    return _find(path, held)


def fitting(
    path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor], said: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Return a file's tensors under a model's names and in its types.

    One line says what was changed.

    Args:
        path: The file, for the line.
        state: Tensors as the file has them.
        own: The state dict of the model that is to take them.
        said: What was done before and belongs in the same line.
    """
    stripped, named = _renamed(state, own)
    fitted = {name: _converted(value, own.get(name)) for name, value in named.items()}
    kinds = sorted(
        {
            str(value.dtype).removeprefix("torch.")
            for name, value in named.items()
            if fitted[name].dtype != value.dtype
        }
    )
    done = [*said, *([f"'{stripped}' stripped from the names"] if stripped else [])]
    done += (
        [f"{len(state) - len(named)} tensors of other parts left aside"]
        if len(named) < len(state)
        else []
    )
    done += [f"{' and '.join(kinds)} weights converted to the model's type"] if kinds else []
    if done:
        _LOG.warning("%s: %s", path, ", ".join(done))
    return fitted


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, got a damaged one ({type(error).__name__}); "
            f"copy it again"
        ) from error


def _is_script(path: Path) -> bool:
    """Tell a TorchScript program, which holds code, from other files that torch writes."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            broken = archive.testzip() if stored else None  # torch itself compares no checksum
    except _BAD_ARCHIVE as error:
        raise CheckpointError(
            f"{path}: expected a file that torch.save wrote, got a damaged archive "
            f"({str(error) or type(error).__name__}); copy it again"
        ) from error
    if any(
        entry.filename.endswith("/constants.pkl") or "/code/" in entry.filename
        for entry in entries
    ):
        return True
    if broken is not None:
        raise CheckpointError(
            f"{path}: checksum mismatch in {broken}; the file was damaged after it was written, "
            f"copy it again"
        )
    if not stored:
        raise CheckpointError(
            f"{path}: expected a file that torch.save wrote, got compressed records, which may "
            f"unfold to any size; {_SAVE}"
        )
    return False


def _find(path: Path, held: Any) -> tuple[dict[str, Tensor], list[str]]:
    """Return the state dict that a file holds, directly or under a key, and a note of it."""
    found, seen = held, []
    while isinstance(found, Mapping) and not _is_state(found):
        key = next((name for name in KEYS if isinstance(found.get(name), Mapping)), None)
        if key is None:
            break
        seen.append(key)
        found = found[key]
    if not isinstance(found, Mapping) or not _is_state(found):
        held_here = (
            f"keys {', '.join(map(str, list(held)[:6]))}"
            if isinstance(held, Mapping) and held
            else type(held).__name__
        )
        raise CheckpointError(
            f"{path}: expected a state dict of tensors, got {held_here}; {_SAVE} writes one"
        )
    rest = [str(name) for name in held if seen and name != seen[0]]
    beside = f" ({', '.join(rest[:6])} left aside)" if rest else ""
    return dict(found), [f"weights taken from '{'.'.join(seen)}'{beside}"] if seen else []


def _is_state(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(name, str) and isinstance(item, Tensor) for name, item in value.items()
    )


def _renamed(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[str, dict[str, Tensor]]:
    """Take wrappers' parts out of the names until they are the model's.

    Returns:
        What was taken away, and the tensors under the names that are left; those of the file where
        nothing helps.
    """
    tried: list[tuple[str, dict[str, Tensor]]] = [("", dict(state))]
    for taken, named in tried:
        if set(own) <= set(named):
            return taken, named
        if taken.count(".") < _DEEPEST:
            tried += [(taken + part, left) for part, left in _one_shorter(named)]
    return tried[0]


def _one_shorter(named: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield a wrapper's part and the tensors without it.

    It is in front of every name, or within the names of a wrapped layer.
    """
    for part in PREFIXES:
        front = {
            name[len(part) :]: value for name, value in named.items() if name.startswith(part)
        }
        if front:
            yield part, front
    for part in PREFIXES:
        within = {name.replace(f".{part}", "."): value for name, value in named.items()}
        if set(within) != set(named) and len(within) == len(named):
            yield part, within


def _converted(value: Tensor, own: Tensor | None) -> Tensor:
    """Return half-precision weights in the type of a model of single precision."""
    if (
        own is None
        or value.dtype == own.dtype
        or not (value.is_floating_point() and own.is_floating_point())
    ):
        return value
    return value.to(own.dtype)
