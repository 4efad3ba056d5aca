"""Which noisy file belongs to which clean file, from the names of folders and files.

``find_pairs`` finds them, ``read_conditions`` reads noise and SNR of each, ``LengthRule`` decides
about pairs of two lengths. What pairs are used for is decided in paired_folder.py.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audioprune.data.files.audio import find_audio
from audioprune.data.files.checks import Finding
from audioprune.data.files.lists import bare_name, name_key, read_cells, without_ending
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import split_of_folder
from audioprune.errors import ConfigError, DataError, unknown_name

LENGTHS = ("equal", "shortest")
_DEPTH = 3
_CONDITION = 3
"""Cells of a line that names a condition."""
_NOISY = re.compile("noisy", re.IGNORECASE)
_WORD = re.compile(r"(train|valid|val|dev|test)(set)?")


@dataclass(frozen=True)
class Pair:
    """Two files of the same recording.

    Attributes:
        noisy: The noisy file.
        clean: The clean file.
        relative: Place of both in the corpus: split, if folders name one, speaker folder if there
            is one, name.
    """

    noisy: Path
    clean: Path
    relative: Path


def find_pairs(
    root: Path | None, noisy_root: Path | None, clean_root: Path | None
) -> tuple[list[Pair], list[Finding]]:
    """Find noisy and clean files of the same name.

    Args:
        root: Folder that holds folders named alike but for ``noisy`` and ``clean``, such as
            ``noisy_testset_wav`` and ``clean_testset_wav``, or ``train/noisy`` and
            ``train/clean``.
        noisy_root: Folder of noisy files, in place of ``root``.
        clean_root: Folder of clean files, in place of ``root``.

    Returns:
        The pairs, and an error finding for every file without a partner.

    Raises:
        DataError: A folder is missing or there is no pair.
    """
    folders = _given(noisy_root, clean_root) if root is None else _folders_below(root)
    pairs: list[Pair] = []
    problems: list[Finding] = []
    for noisy, clean, split in folders:
        noisy_files, clean_files = by_name(noisy), by_name(clean)
        for name in sorted({*noisy_files, *clean_files}):
            one, other = noisy_files.get(name), clean_files.get(name)
            if one and other:
                pairs.append(Pair(one, other, split / one.relative_to(noisy)))
            elif one:
                problems.append(_alone(one, f"no clean file {name}.* in {clean}"))
            elif other:
                problems.append(_alone(other, f"no noisy file {name}.* in {noisy}"))
    if not pairs:
        raise DataError(
            f"expected noisy and clean files of the same name at {root or noisy_root}, found "
            f"{len(problems)} without a partner; check the names"
        )
    return pairs, problems


def _alone(path: Path, reason: str) -> Finding:
    return Finding(path, "error", "partner", reason)


def read_conditions(path: Path) -> dict[str, tuple[str, float]]:
    """Read the noise and the SNR in dB of each file name.

    Lines are ``name noise snr``, as in VoiceBank-DEMAND's logs. A CSV with these three columns is
    read as well, with or without a header.

    Returns:
        Noise and SNR by name; look names up as ``lists.bare_name`` gives them.

    Raises:
        DataError: The file cannot be read, or a line has another form.
    """
    found: dict[str, tuple[str, float]] = {}
    for place, line in enumerate(read_cells(path, "a list of noises and SNRs")):
        parts = line.cells if len(line.cells) >= _CONDITION else " ".join(line.cells).split()
        if not place and len(parts) >= _CONDITION and parts[1].lower() == "noise":
            continue
        try:
            name, noise, snr_db = parts[0], parts[1], float(parts[2])
        except (IndexError, ValueError):
            given = " ".join(line.cells)[:60]
            raise DataError(
                f"{path}, line {line.number}: expected 'name noise snr', got '{given}'; correct "
                f"the line"
            ) from None
        condition = (noise, snr_db)
        known = found.setdefault(bare_name(name), condition)
        if not math.isfinite(snr_db) or known != condition:
            raise DataError(
                f"{path}, line {line.number}: expected one finite SNR for {name}, got another; "
                f"remove one of the lines"
            )
    return found


def _given(noisy_root: Path | None, clean_root: Path | None) -> list[tuple[Path, Path, Path]]:
    """Return the two folders that the user gave, and no split."""
    for name, folder in (("noisy_root", noisy_root), ("clean_root", clean_root)):
        if folder is None or not folder.is_dir():
            raise DataError(
                f"expected a folder of audio at {name}, got {folder}; give both noisy_root and "
                f"clean_root, or root alone"
            )
    return [(Path(noisy_root or ""), Path(clean_root or ""), Path())]


def _folders_below(root: Path) -> list[tuple[Path, Path, Path]]:
    """Return noisy folders, their clean partners, and the split that they name."""
    layout = (
        f"folders noisy and clean (or noisy_testset_wav and clean_testset_wav, ...) below {root}"
    )
    if not root.is_dir():
        raise DataError(f"expected {layout}, found no such folder; check the path")
    found = []
    for noisy in _noisy_folders(root):
        clean = _partner(noisy)
        if clean is not None:
            found.append((noisy, clean, Path(_split_in(noisy.relative_to(root)))))
    if not found:
        inside = _NOISY.search(root.name) or "clean" in root.name.lower()
        hint = f"; point to {root.parent}" if inside else "; check the path"
        raise DataError(f"expected {layout}, found {listing(root)}{hint}")
    return found


def _noisy_folders(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, _ in os.walk(root, followlinks=True):
        named = sorted(name for name in folders if _NOISY.search(name))
        found += [Path(folder, name) for name in named]
        deep = len(Path(folder).relative_to(root).parts) >= _DEPTH
        # os.walk goes on into the folders that are left in the list.
        folders[:] = [] if deep else sorted(set(folders) - set(named))
    return found


def _partner(noisy: Path) -> Path | None:
    """Return the folder named alike but for ``clean``, in the same case, if there is one."""
    cases = {"noisy": "clean", "NOISY": "CLEAN"}
    name = _NOISY.sub(lambda match: cases.get(match.group(), "Clean"), noisy.name)
    partner = noisy.with_name(name)
    return partner if partner.is_dir() else None


def _split_in(relative: Path) -> str:
    """Return the split that a word in a path names, or an empty text."""
    for word in re.split(r"[^a-z]+", relative.as_posix().lower()):
        match = _WORD.fullmatch(word)
        if match:
            return split_of_folder(match.group(1))
    return ""


def by_name(folder: Path) -> dict[str, Path]:
    """Return the audio files of a folder by their ``place_key``."""
    return {place_key(path.relative_to(folder)): path for path in find_audio(folder)}


def place_key(relative: Path) -> str:
    """Return the form of a file's place in which partners are compared.

    The ending is left out, and accents are composed.
    """
    return name_key(without_ending(relative.as_posix()))


@dataclass(frozen=True)
class LengthRule:
    """What becomes of pairs whose files differ in length, as codecs and enhancers leave them.

    Attributes:
        lengths: ``"equal"`` refuses them; ``"shortest"`` cuts both files at the end of the shorter
            one.
        tolerance_s: Largest difference that may be cut, in seconds; more is an error in any case.

    Raises:
        ConfigError: A value is out of its range.
    """

    lengths: str = "equal"
    tolerance_s: float = 0.05

    def __post_init__(self) -> None:
        if self.lengths not in LENGTHS:
            raise ConfigError(unknown_name("lengths", self.lengths, LENGTHS))
        if not (self.tolerance_s >= 0 and math.isfinite(self.tolerance_s)):
            raise ConfigError(
                f"expected length_tolerance_s of at least 0, got {self.tolerance_s}; use for "
                f"instance 0.05"
            )

    def fault(self, noisy: Sequence[int], clean: Sequence[int]) -> str:
        """Say why two files are no pair, and what helps; empty where they are one.

        Args:
            noisy: Sample rate and number of samples of the noisy file.
            clean: The same of the clean file.
        """
        differ = partners_differ(noisy, clean)
        if not differ or noisy[0] != clean[0]:
            return differ
        apart_s = abs(noisy[1] - clean[1]) / noisy[0]
        if apart_s > self.tolerance_s:
            return (
                f"{differ}: {apart_s:.3g} s apart, more than "
                f"data.length_tolerance_s={self.tolerance_s:g}"
            )
        return "" if self.lengths == "shortest" else f"{differ}; data.lengths=shortest cuts both"

    def note(self, apart_s: Sequence[float]) -> list[str]:
        """Return a note on the pairs that are cut, if there are any.

        Args:
            apart_s: Difference in length of every pair in seconds.
        """
        cut = [each for each in apart_s if each > 0]
        if not cut:
            return []
        return [
            f"{len(cut)} of {len(apart_s)} pairs differ by up to {1000 * max(cut):.3g} ms; both "
            f"files are cut to the shorter"
        ]


def partners_differ(noisy_frames: Sequence[int], clean_frames: Sequence[int]) -> str:
    """Say how the sample rate and the length of two files differ; empty when they do not.

    Args:
        noisy_frames: Sample rate and number of samples of the noisy file.
        clean_frames: The same of the clean file.
    """
    for what, noisy, clean in zip(("Hz", "samples"), noisy_frames, clean_frames, strict=True):
        if noisy != clean:
            return f"{noisy} {what}, its clean file {clean} {what}"
    return ""
