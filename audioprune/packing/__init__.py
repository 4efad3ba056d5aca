"""The packed model file and its sizes: what leaves the house after pruning and quantization.

The file is small because masks, codes and floats are entropy-coded, and safe because every bit is
covered by a checksum and no code is inside. Dense checkpoints for resuming stand in
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
    compression_ratio,
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
    "compression_ratio",
    "inspect",
    "pack",
    "storage",
    "storage_of",
    "unpack",
]
