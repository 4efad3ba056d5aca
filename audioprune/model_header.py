"""What a model file says of how it was made, read from its header without torch: ``read_facts``.

Nothing here believes a file or changes a configuration; what a command with that file means is
worked out in provenance.py, and whether the bytes are whole where the model is loaded
(experiment/model_io.py).
"""

from __future__ import annotations

import struct
import zlib
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from audioprune.errors import CheckpointError
from audioprune.paths import model_file
from audioprune.plain.sealing import parse
from audioprune.records import read_record

PACKED_MAGIC = b"\x89APZ"
PACKED_PREFIX = struct.Struct("<4sHI")
MAX_HEADER_BYTES = 4 << 20
_LONGEST_DENSE_HEADER = 16 << 20
_RUN = "run.json"
# Text that most packed headers hold, so that it costs almost nothing; part of format version 1
COMMON_TEXT = (
    b'"bfloat16","float16","num_batches_tracked",[],"int64","bytes",0,0,4,0],["running_mean",["running_var",["bias_ih","bias_hh",'
    b'"weight_ih","weight_hh","generation","scenes","codes","sparse-bytes",1,0,"raw",0,0,0,'
    b'{"config":{"model":{"_target_":"audioprune.models.","name":"task":{"_target_":"audioprune.tasks.enhancement.",'
    b'"sample_rate":16000},"meta":{"scale":"seed":0},"meta":{},"config":{},'
    b'"tensors":[["0.bias",[512],"float32","bytes",0,0,["0.weight",[512,512],"float32","sparse-codes",1,16,0],["]]}'
)
MOVED = {
    "audioprune.data.coded_corpora": "audioprune.data.coded.corpora",
    "audioprune.data.note_folder": "audioprune.data.notes.folder",
    "audioprune.data.nsynth": "audioprune.data.notes.nsynth",
    "audioprune.data.sol": "audioprune.data.notes.studio_online",
    "audioprune.data.synthetic_notes": "audioprune.data.notes.synthetic",
    "audioprune.data.scenes": "audioprune.data.scenes.corpora",
    "audioprune.data.synthetic_scenes": "audioprune.data.scenes.synthetic",
    "audioprune.data.noisy_mixtures": "audioprune.data.speech.noisy_mixtures",
    "audioprune.data.paired_folder": "audioprune.data.speech.paired_folder",
    "audioprune.data.synthetic_speech": "audioprune.data.speech.synthetic_speech",
    "audioprune.data.wsj0_mix": "audioprune.data.speech.wsj0_mix",
}
"""Modules of corpora that older files name, and where they are now."""

Stamp = tuple[int, int, int] | None
"""Time of the last change, size and inode of a file; None of one that does not exist."""


def read_facts(checkpoint: str | Path) -> dict[str, Any]:
    """Return what a model file says of its making; empty for a file that says nothing.

    That is ``model``, ``task``, ``data`` and more. An older file of a run names no corpus; that of
    its run.json is taken. A file is read once, as long as it does not change.

    Args:
        checkpoint: A model file or a run folder.
    """
    path = model_file(checkpoint)
    return deepcopy(_facts(path, _stamp(path), _stamp(path.parent / _RUN)))


@lru_cache(maxsize=64)
def _facts(path: Path, file: Stamp, run: Stamp) -> dict[str, Any]:
    """Read a file; the stamps of it and of its run's record tell one state of it from the next."""
    try:
        with open(path, "rb") as stream:
            facts = _packed_facts(stream) if path.suffix == ".apz" else _dense_facts(stream)
    except (OSError, ValueError, TypeError, LookupError, struct.error, zlib.error):
        return {}
    facts = {"model": facts.get("model_config"), **facts}
    if not facts["model"]:
        return {}
    known = facts if "data" in facts else _of_run(path.parent) | facts
    return known | {"data": _present_name(known["data"])} if "data" in known else known


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _present_name(node: Any) -> Any:
    """Return a corpus' configuration under the name that its class has today."""
    target = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(target, str):
        return node
    module, _, name = target.rpartition(".")
    return {**node, "_target_": f"{MOVED.get(module, module)}.{name}"} if name else node


def _dense_facts(stream: BinaryIO) -> dict[str, Any]:
    length = min(int.from_bytes(stream.read(8), "little"), _LONGEST_DENSE_HEADER)
    metadata = parse(stream.read(length))["__metadata__"]
    return dict(parse(metadata["audioprune"]))


def _packed_facts(stream: BinaryIO) -> dict[str, Any]:
    magic, _, length = PACKED_PREFIX.unpack(stream.read(PACKED_PREFIX.size))
    if magic != PACKED_MAGIC:
        return {}
    inflate = zlib.decompressobj(-15, zdict=COMMON_TEXT)
    packed = stream.read(min(length, MAX_HEADER_BYTES))
    header = parse(inflate.decompress(packed, MAX_HEADER_BYTES))
    return dict(header["config"])


def _of_run(folder: Path) -> dict[str, Any]:
    """Return corpus and task of the run that an older file lies in."""
    try:
        known = read_record(folder / _RUN)
        config = known["config"]
        found = {
            "data": config["data"],
            "task": config.get("task"),
            "corpus": config["data"].get("name"),
            "of_run": True,
        }
    except (CheckpointError, KeyError, TypeError, AttributeError):
        return {}
    return {**found, "corpus_fingerprint": known.get("data_fingerprint")}
