"""The packed model file and its sizes: what is passed on after pruning and quantization.

The file is small because masks, codes and floats are entropy-coded, and safe because every bit is
covered by a checksum and no code is inside. Dense checkpoints for resuming are written in
audioprune/checkpoint.py.
"""

from audioprune.packing.container import (
    Inspection,
    Packed,
    PackReport,
    TensorSize,
    inspect,
    pack,
    unpack,
)
from audioprune.packing.storage import (
    Storage,
    TensorStorage,
    storage,
    storage_of,
)

__all__ = [
    "Inspection",
    "PackReport",
    "Packed",
    "Storage",
    "TensorSize",
    "TensorStorage",
    "inspect",
    "pack",
    "storage",
    "storage_of",
    "unpack",
]
