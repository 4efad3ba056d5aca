"""Whether a folder is the one that the user meant: the audio below it, or what is one level off.

``audio_below`` returns the files or says in one line which folder to give.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from audioprune.data.files.audio import AUDIO_SUFFIXES, find_audio, has_audio
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import split_of_folder
from audioprune.errors import DataError


def audio_below(
    root: Path, role: str, suffixes: tuple[str, ...] = AUDIO_SUFFIXES, part: bool = False
) -> list[Path]:
    """Return the audio files below a folder.

    Args:
        root: The folder.
        role: ``"speech"`` or ``"noise"``.
        suffixes: Accepted endings.
        part: Whether the folder may be one split of a corpus.

    Raises:
        DataError: The folder is missing, is not a folder, holds no audio, or is plainly the folder
            above the right one.
    """
    group = "speaker" if role == "speech" else "noise"
    layout = f"{role} files in {root}/<{group}>/ or {root}/train, valid, test"
    if not root.exists():
        raise DataError(f"expected {layout}, found no such folder{_nearest(root)}; check the path")
    if not root.is_dir():
        raise DataError(f"expected {layout}, found a file; give the folder")
    children = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    if {"speech", "noise"} <= set(children):
        raise DataError(f"expected {layout}, found {listing(root)}; point to {children[role]}")
    paths = find_audio(root, suffixes)
    if not paths:
        raise DataError(
            f"expected {layout}, found {listing(root)} without any audio file; check the path"
        )
    if not part:
        _refuse_part(root, layout)
    _refuse_parent(root, layout, children)
    return paths


def _refuse_part(root: Path, layout: str) -> None:
    """Refuse a folder that is itself one split of a corpus."""
    above = root.resolve().parent
    siblings = {split_of_folder(entry.name) for entry in above.iterdir() if entry.is_dir()}
    if split_of_folder(root.resolve().name) and {"train", "test"} <= siblings:
        raise DataError(f"expected {layout}, found one split of a corpus; point to {above}")


def _refuse_parent(root: Path, layout: str, children: dict[str, Path]) -> None:
    """Refuse a folder whose only folder with audio is the corpus itself."""
    holding = list(islice((each for each in children.values() if has_audio(each)), 2))
    if len(holding) != 1 or _has_files(root):
        return
    inner = [entry for entry in holding[0].iterdir() if entry.is_dir() and has_audio(entry)]
    if len(inner) > 1:
        raise DataError(f"expected {layout}, found {listing(root)}; point to {holding[0]}")


def _has_files(root: Path) -> bool:
    """Tell whether audio lies in a folder itself."""
    named = (entry for entry in root.iterdir() if entry.name.lower().endswith(AUDIO_SUFFIXES))
    return any(entry.is_file() and not entry.name.startswith(".") for entry in named)


def _nearest(root: Path) -> str:
    """Name the contents of the nearest existing folder above a path that does not exist."""
    above = next(parent for parent in root.absolute().parents if parent.is_dir())
    return f" ({above} holds {listing(above)})"
