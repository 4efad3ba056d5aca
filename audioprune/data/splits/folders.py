"""Which split the folders of a file stand for, by their names.

``dev`` is valid, ``train-clean-100`` is train. Whether a corpus uses its folders is decided in
assign.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

SPLITS = ("train", "valid", "test")

_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_LIBRISPEECH = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")


@lru_cache(maxsize=4096)  # many files are in few folders
def split_of_folder(name: str) -> str:
    """Return the split that a folder name stands for, or an empty text."""
    librispeech = _LIBRISPEECH.fullmatch(name.lower())
    return _FOLDERS.get(librispeech.group(1) if librispeech else name.lower(), "")


def split_named(parts: Sequence[str]) -> str:
    """Return the split that the first folder with a split's name stands for, or an empty text."""
    return next((split for split in map(split_of_folder, parts) if split), "")


def has_split_folders(relative: Sequence[Path]) -> bool:
    """Tell whether the first folders of the paths name a training and a test split."""
    return {"train", "test"} <= {
        split_of_folder(path.parts[0]) for path in relative if len(path.parts) > 1
    }


def places_below(root: Path, paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the place of each path below a folder, as ``relative_to`` does, for many paths."""
    above = len(os.fspath(root / "x")) - 1
    return {path: Path(os.fspath(path)[above:]) for path in paths}


def below_splits(place: Path) -> Path:
    """Return a place without the folders at its begin that are named after splits."""
    while len(place.parts) > 1 and split_of_folder(place.parts[0]):
        place = Path(*place.parts[1:])
    return place
