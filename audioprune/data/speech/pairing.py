"""Which noisy file belongs to which clean file, from the names of folders and files.

What the pairs are used for stands in paired_folder.py.
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
        found = [by_name(folder) for folder in (noisy, clean)]
        for name in sorted(set(found[0]) | set(found[1])):
            files = [side.get(name) for side in found]
            if files[0] and files[1]:
                inside = (
                    Path(split, files[0].relative_to(noisy))
                    if split
                    else files[0].relative_to(noisy)
                )
                pairs.append(Pair(files[0], files[1], inside))
            else:
                kind, other = ("clean", clean) if files[0] else ("noisy", noisy)
                problems.append(
                    Finding(
                        files[0] or files[1] or noisy,
                        "error",
                        "partner",
                        f"no {kind} file {name}.* in {other}",
                    )
                )
    if not pairs:
        where = root or noisy_root
        alone = len(problems)
        raise DataError(
            f"expected noisy and clean files of the same name at {where}, found {alone} without "
            f"a partner; check the names"
        )
    return pairs, problems


def read_conditions(path: Path) -> dict[str, tuple[str, float]]:
    """Read the noise and the SNR in dB of each file name from lines ``name noise snr``, as VoiceBank-DEMAND's logs have them.

    A CSV with these three columns is read as well, with or without a header.

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
        if not math.isfinite(snr_db) or found.setdefault(bare_name(name), (noise, snr_db)) != (
            noise,
            snr_db,
        ):
            raise DataError(
                f"{path}, line {line.number}: expected one finite SNR for {name}, got another; "
                f"remove one of the lines"
            )
    return found


def _given(noisy_root: Path | None, clean_root: Path | None) -> list[tuple[Path, Path, str]]:
    for name, folder in (("noisy_root", noisy_root), ("clean_root", clean_root)):
        if folder is None or not folder.is_dir():
            raise DataError(
                f"expected a folder of audio at {name}, got {folder}; give both noisy_root and "
                f"clean_root, or root alone"
            )
    return [(Path(noisy_root or ""), Path(clean_root or ""), "")]


def _folders_below(root: Path) -> list[tuple[Path, Path, str]]:
    layout = (
        f"folders noisy and clean (or noisy_testset_wav and clean_testset_wav, ...) below {root}"
    )
    if not root.is_dir():
        raise DataError(f"expected {layout}, found no such folder; check the path")
    noisy = _noisy_folders(root)
    pairs = [(folder, partner) for folder in noisy if (partner := _partner(folder)) is not None]
    if not pairs:
        hint = (
            f"; point to {root.parent}"
            if _NOISY.search(root.name) or "clean" in root.name.lower()
            else "; check the path"
        )
        raise DataError(f"expected {layout}, found {listing(root)}{hint}")
    return [(folder, partner, _split_in(folder.relative_to(root))) for folder, partner in pairs]


def _noisy_folders(root: Path) -> list[Path]:
    found = []
    for folder, folders, _ in os.walk(root, followlinks=True):
        named = sorted(name for name in folders if _NOISY.search(name))
        found += [Path(folder, name) for name in named]
        deep = len(Path(folder).relative_to(root).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(set(folders) - set(named))
    return found


def _partner(noisy: Path) -> Path | None:
    name = _NOISY.sub(
        lambda match: {"noisy": "clean", "NOISY": "CLEAN"}.get(match.group(), "Clean"), noisy.name
    )
    partner = noisy.with_name(name)
    return partner if partner.is_dir() else None


def _split_in(relative: Path) -> str:
    for word in re.split(r"[^a-z]+", relative.as_posix().lower()):
        match = _WORD.fullmatch(word)
        if match:
            return split_of_folder(match.group(1))
    return ""


def by_name(folder: Path) -> dict[str, Path]:
    """Return the audio files of a folder by their place in it without the ending, as ``place_key`` gives it."""
    return {place_key(path.relative_to(folder)): path for path in find_audio(folder)}


def place_key(relative: Path) -> str:
    """Return a file's place in a folder in the form in which partners are looked up: without the ending, accents composed."""
    return name_key(without_ending(relative.as_posix()))


LENGTHS = ("equal", "shortest")


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
        """Return one line on the pairs that are cut, from the differences of all pairs in seconds."""
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
