"""How a dense checkpoint is stored: tensors and JSON facts in one safetensors file.

``write`` and ``read`` are exact, and every bit is under a digest. Nothing is rebuilt here: a model
is built from a configuration in experiment/model_io.py. The small model file is written in
audioprune.packing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.optim import Optimizer

from audioprune.errors import CheckpointError
from audioprune.files import write_atomic
from audioprune.plain.sealing import parse

_VERSION = 1
_LONGEST_HEADER = 16 << 20  # of more tensors than any model has


def write(path: str | Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Write tensors and JSON facts, atomically.

    Args:
        path: Final name; a previous file of that name survives any failure.
        tensors: Tensors of any shape and dtype; copied to the CPU.
        meta: Facts that JSON can hold.

    Raises:
        OutputError: The file cannot be written.
    """
    plain = _apart(tensors)
    text = json.dumps({"version": _VERSION, **meta}, sort_keys=True)
    metadata = {"audioprune": text, "sha256": _digest(plain, text)}
    return write_atomic(path, _in_order(save_tensors(plain, metadata)))


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return plain tensors on the CPU; those that share memory are copied, no others."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage()
        if place.data_ptr() in seen or place.nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def _in_order(data: bytes) -> list[bytes | memoryview]:
    """Put the metadata of a written file in order; the library leaves it in a random one.

    The tensors are not copied for it.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors stay aligned
    return [len(text).to_bytes(8, "little"), text, memoryview(data)[8 + length :]]


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint and verify its digest.

    Returns:
        The tensors by name and the facts.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint of this package or of a
            newer version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); expected a checkpoint file"
        ) from error
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:
        raise CheckpointError(
            f"{path}: expected a header of at most {_LONGEST_HEADER} bytes, got a longer one; it "
            f"is damaged or of another program"
        )
    try:
        tensors = load_tensors(data)
        header = parse(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text = header["__metadata__"]["audioprune"]
        given = header["__metadata__"]["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); it is damaged or of "
            f"another program, copy it again or give another file"
        ) from error
    if _digest(tensors, text) != given:
        raise CheckpointError(
            f"{path}: checksum mismatch; the file was damaged after it was written, use an "
            f"earlier one"
        )
    return tensors, _facts(path, text)


def _facts(path: str | Path, text: str) -> dict[str, Any]:
    """Return the facts of a file whose digest fits, which says nothing of who wrote it."""
    try:
        meta = parse(text)
        version = meta["version"]
    except (ValueError, KeyError, TypeError):
        meta, version = {}, None
    if not isinstance(meta, dict) or not isinstance(version, int):
        raise CheckpointError(
            f"{path}: expected facts with a format version, got others; it is of another program"
        )
    if version > _VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, this program reads up to {_VERSION}; "
            f"update audioprune"
        )
    return meta


def is_foreign(path: Path) -> bool:
    """Tell whether another program wrote a safetensors file, whose header must be readable."""
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = parse(stream.read(min(length, _LONGEST_HEADER)))
        return isinstance(header, dict) and "audioprune" not in header.get("__metadata__", {})
    except (OSError, ValueError, TypeError):
        return False


def write_rotating(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Write a checkpoint and keep the one before it as ``<name>.previous``."""
    if path.exists():
        path.replace(path.with_name(path.name + ".previous"))
    return write(path, tensors, meta)


def read_newest(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read a rotating checkpoint, falling back to the one before it when the newest is damaged.

    Returns:
        Tensors and facts, or None when neither file exists.

    Raises:
        CheckpointError: Files exist and none of them can be verified.
    """
    failure: CheckpointError | None = None
    for candidate in (path, path.with_name(path.name + ".previous")):
        if candidate.exists():
            try:
                return read(candidate)
            except CheckpointError as error:
                failure = error
    if failure:
        raise failure
    return None


def split_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors and JSON facts, exactly.

    Returns:
        Tensors named ``<parameter index>/<key>`` and the rest of the state.
    """
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    extra = {key: value for key, value in state.items() if key not in ("state", "param_groups")}
    groups = [
        {key: value for key, value in group.items() if _is_json(value)}
        for group in state["param_groups"]
    ]
    return tensors, {
        "plain": plain,
        "param_groups": groups,
        "extra": {key: value for key, value in extra.items() if _is_json(value)},
    }


def join_optimizer(
    optimizer: Optimizer, tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Load what `split_optimizer` returned into a freshly built optimiser of the same parameters.

    Raises:
        CheckpointError: The number of parameter groups differs.
    """
    current = optimizer.state_dict()
    if len(current["param_groups"]) != len(facts["param_groups"]):
        raise CheckpointError(
            f"optimiser state has {len(facts['param_groups'])} parameter groups, the optimiser "
            f"{len(current['param_groups'])}; start the step again"
        )
    state: dict[int, dict[str, Any]] = {
        int(index): dict(entries) for index, entries in facts["plain"].items()
    }
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    groups = [
        {**now, **_retuple(then, now), "params": now["params"]}
        for now, then in zip(current["param_groups"], facts["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({**facts["extra"], "state": state, "param_groups": groups})


def plain_part(state: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that come back from JSON as they went in.

    These are numbers, texts, None and lists of them.
    """
    return {key: value for key, value in state.items() if _is_plain(value)}


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }


def rng_state() -> dict[str, Tensor]:
    """Return the states of torch's global generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"cuda{index}"] = state
    return states


def restore_rng_state(states: dict[str, Tensor]) -> None:
    """Set torch's global generators to stored states."""
    torch.set_rng_state(states["cpu"])
    cuda = [state for name, state in sorted(states.items()) if name.startswith("cuda")]
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators for a block; after it they go on where they were."""
    before = rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_rng_state(before)


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """Return the SHA-256 of the facts and of name, type, shape and values of every tensor."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        if tensor.numel():
            total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str | type(None)) or (
        isinstance(value, list) and all(map(_is_plain, value))
    )


def _retuple(stored: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """JSON turns tuples into lists; give them back the type that the optimiser uses."""
    return {
        key: tuple(value) if isinstance(current.get(key), tuple) else value
        for key, value in stored.items()
    }
