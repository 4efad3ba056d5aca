"""Which speaker or noise a file belongs to, and which of train, valid and test gets it.

The rules are the same for every corpus: folders named after splits first, then a list, then a share of the speakers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audioprune.data.lists import Places, bare_name, name_key, read_cells, read_lines, without_ending
from audioprune.errors import ConfigError, DataError, unknown_name

SPLITS = ("train", "valid", "test")
SPEAKER_RULES = ("auto", "folder", "prefix", "file")

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
_LISTED = 5
_COLUMNS = {"split": ("split",), "speaker": ("speaker",), "path": ("path", "file", "filename")}


def split_of_folder(name: str) -> str:
    """Return the split that a folder name stands for, or an empty text: ``dev`` is valid, ``train-clean-100`` is train."""
    librispeech = _LIBRISPEECH.fullmatch(name.lower())
    return _FOLDERS.get(librispeech.group(1) if librispeech else name.lower(), "")


def split_named(parts: Sequence[str]) -> str:
    """Return the split that the first folder with a split's name stands for, or an empty text."""
    return next((split for split in map(split_of_folder, parts) if split), "")


def has_split_folders(relative: Sequence[Path]) -> bool:
    """Tell whether the first folders of the relative paths name at least a training and a test split."""
    return {"train", "test"} <= {split_of_folder(path.parts[0]) for path in relative if len(path.parts) > 1}


def speaker_of(relative: Path, rule: str = "auto") -> str:
    """Return the speaker of a file from its path below the corpus or split folder.

    Args:
        relative: Path of the file.
        rule: ``"folder"``: its first folder. ``"prefix"``: its name up to the first ``_`` or ``-``. ``"file"``: the file is
            a speaker of its own. ``"auto"``: the folder, or the prefix where there is none.

    Raises:
        DataError: The rule is ``"folder"`` and the file lies in no folder.
    """
    relative = Path(name_key(relative.as_posix()))
    if rule == "file":
        return relative.with_suffix("").as_posix()
    if rule != "prefix" and len(relative.parts) > 1:
        return relative.parts[0]
    if rule == "folder":
        raise DataError(f"expected {relative.name} in a folder named after its speaker, got none; use speaker_from=prefix or file")
    return re.split(r"[_-]", relative.stem, maxsplit=1)[0] or relative.stem


def noise_of(relative: Path) -> str:
    """Return the name of a noise: the file name before its first ``_``, else the folder's name, else the whole file name."""
    relative = Path(name_key(relative.as_posix()))
    head, underscore, _ = relative.stem.partition("_")
    if underscore and head:
        return head
    folder = relative.parent.name
    return folder if folder and not split_of_folder(folder) else relative.stem


@dataclass(frozen=True)
class Assigned:
    """One file with its split and its group.

    Attributes:
        path: The file.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        group: Speaker or noise.
    """

    path: Path
    split: str
    group: str


@dataclass
class SplitList:
    """Splits that a user wrote down, by file or by speaker.

    Attributes:
        name: Where they stand, for messages.
        by_path: Split and speaker (or an empty text) of each file.
        by_speaker: Split of each speaker.
        absent: Rows whose file does not exist.
    """

    name: str
    by_path: dict[Path, tuple[str, str]] = field(default_factory=dict)
    by_speaker: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def read_split_list(source: str | Path | Mapping[str, Sequence[str]], root: Path) -> SplitList:
    """Read splits from a list file or a mapping.

    Args:
        source: A CSV file with a header and the columns ``split`` and ``speaker`` or ``path`` (or both), a text file with one
            ``split speaker`` a line, a folder with train.txt, valid.txt and test.txt, or a mapping from split to speakers or to
            such a text file. A line of these names a speaker or a file. Paths in a CSV are relative to ``root``, to its folder
            or to the folder above it. Endings of file names may be missing.
        root: Folder of the corpus.

    Raises:
        DataError: The file is missing or has other columns, a split is unknown, or a file or speaker is in two splits.
    """
    if isinstance(source, Mapping):
        listed = SplitList("split")
        rows = [{"split": split, "speaker": name} for split, given in source.items() for name in _names_in(given)]
        place = root
    else:
        place = Path(source).expanduser()
        listed = SplitList(str(place))
        rows = _read_folder(place) if place.is_dir() else _read_rows(place)
    places = Places((root, place.parent, place.parent.parent))
    for number, row in enumerate(rows, 1):
        _add_row(listed, row, number, places)
    return listed


def assign_speech(
    root: Path,
    relative: Mapping[Path, Path],
    split: str | Path | Mapping[str, Sequence[str]] | None = None,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    speaker_from: str = "auto",
    seed: int = 0,
    valid_speakers: Sequence[str] = (),
) -> tuple[list[Assigned], list[str]]:
    """Give every speech file a speaker and a split; no speaker is in two splits.

    Args:
        root: Folder of the corpus.
        relative: The place in the corpus of each file.
        split: None: folders named after splits if there are, else shares of the speakers. ``"folders"``, ``"fraction"`` or a
            list as in ``read_split_list``.
        fractions: Shares of the speakers in train, valid and test.
        speaker_from: Rule of ``speaker_of``.
        seed: Chooses the speakers of each share.
        valid_speakers: Training speakers to use for validation when no folder is named so; empty for a share of them.

    Returns:
        The files with their places, and notes for the user. If folders name no valid split, training speakers are taken.

    Raises:
        DataError: There are too few speakers, a speaker is in two splits, or the list does not fit the files.
    """
    if split in (None, "folders") and has_split_folders(list(relative.values())):
        return _by_folders(relative, fractions, speaker_from, seed, valid_speakers)
    if split == "folders":
        raise DataError(f"expected folders train, valid and test below {root}, found {listing(root)}; rename them or use split=fraction")
    if split not in (None, "fraction"):
        return _by_list(root, relative, read_split_list(split, root), speaker_from)
    speakers = {path: speaker_of(place, speaker_from) for path, place in relative.items()}
    chosen = share_out(sorted(set(speakers.values())), fractions, seed, f"speakers below {root}")
    return [Assigned(path, chosen[speaker], speaker) for path, speaker in speakers.items()], []


def lend_speakers(assigned: list[Assigned], share: float, seed: int) -> tuple[list[Assigned], list[str]]:
    """Move a share of the training speakers to validation, in addition to those that are there.

    A validation set of one or two voices ranks models by those voices; what prunes and stops by it then errs.

    Args:
        assigned: Speech files with their places.
        share: Share of the training speakers, 0..1 (exclusive); 0 moves none, anything above at least one.
        seed: Chooses the speakers.

    Raises:
        ConfigError: The share is out of its range.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"expected valid_share from 0 to below 1, got {share}; 0 leaves every speaker where the folders put it")
    training = sorted({entry.group for entry in assigned if entry.split == "train"})
    count = min(math.ceil(share * len(training)), len(training) - 1)
    if count <= 0:
        return assigned, []
    lent = {training[int(index)] for index in np.random.default_rng([seed, 7]).permutation(len(training))[:count]}
    note = f"speech: {count} of {len(training)} training speakers also serve validation, not training (valid_share={share:g})"
    return [replace(entry, split="valid") if entry.group in lent and entry.split == "train" else entry for entry in assigned], [note]


def share_out(names: Sequence[str], fractions: Sequence[float], seed: int, what: str) -> dict[str, str]:
    """Give each name a split by shares; valid and test get at least one name each.

    Raises:
        DataError: There are fewer than three names.
        ConfigError: The shares are not three positive numbers with a sum of 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"expected fractions of train, valid and test that add up to 1, got {list(fractions)}; use [0.8, 0.1, 0.1]")
    if len(names) < 3:
        found = ", ".join(names) or "none"
        raise DataError(
            f"expected at least 3 {what} to split them, found {len(names)} ({found}); point to the folder above, make folders train, valid "
            f"and test, or use speaker_from=file to split single files"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    valid, test = (max(1, round(share * len(names))) for share in fractions[1:])
    valid, test = min(valid, len(names) - 2), min(test, len(names) - 1 - min(valid, len(names) - 2))
    chosen = {}
    for place, index in enumerate(order):
        chosen[names[index]] = "test" if place < test else "valid" if place < test + valid else "train"
    return chosen


def assign_noise(root: Path, relative: Mapping[Path, Path], fractions: Sequence[float], seed: int) -> tuple[list[Assigned], list[str]]:
    """Give every noise file a name and a split; the test files are never heard in training.

    Folders named after splits are taken as they are; otherwise files are shared out. Without a valid folder no file is
    assigned to it here: training and validation then use different parts of the training files.

    Raises:
        DataError: There are no split folders and fewer than two files.
    """
    paths = list(relative)
    if has_split_folders(list(relative.values())):
        used, notes = _inside_splits(relative)
        return [Assigned(path, split, noise_of(Path(*relative[path].parts[1:]))) for path, split in used.items()], notes
    if len(paths) < 2:
        raise DataError(f"expected at least 2 noise files below {root} to keep one for the test, found {len(paths)}; add files")
    test = min(len(paths) - 1, max(1, round(fractions[2] * len(paths))))
    chosen = set(np.random.default_rng([seed, 2]).permutation(len(paths))[:test].tolist())
    return [Assigned(path, "test" if i in chosen else "train", noise_of(relative[path])) for i, path in enumerate(paths)], []


def listing(root: Path, most: int = 6) -> str:
    """Return the first names in a folder, for a message; folders end with a slash."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in root.iterdir() if not entry.name.startswith("."))
    return ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "") if names else "an empty folder"


def refuse_shared(assigned: Sequence[Assigned], what: str) -> None:
    """Raise a DataError when a group is in two splits."""
    seen: dict[str, Assigned] = {}
    for entry in assigned:
        first = seen.setdefault(entry.group, entry)
        if first.split != entry.split:
            raise DataError(
                f"expected every {what} in one split, got {what} '{entry.group}' in {first.split} ({first.path}) and {entry.split} "
                f"({entry.path}); move the files, or say with speaker_from how {what}s are named"
            )


def _inside_splits(relative: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Return the split of each file inside a split folder, and a note on the files outside."""
    used = {path: split_of_folder(place.parts[0]) if len(place.parts) > 1 else "" for path, place in relative.items()}
    outside = sorted({relative[path].parts[0] for path, split in used.items() if not split})
    notes = [f"not used, since they are not in a folder train, valid or test: {_some(outside)}"] if outside else []
    return {path: split for path, split in used.items() if split}, notes


def _by_folders(
    relative: Mapping[Path, Path], fractions: Sequence[float], speaker_from: str, seed: int, valid_speakers: Sequence[str]
) -> tuple[list[Assigned], list[str]]:
    used, notes = _inside_splits(relative)
    assigned = [Assigned(path, split, speaker_of(Path(*relative[path].parts[1:]), speaker_from)) for path, split in used.items()]
    refuse_shared(assigned, "speaker")
    if "valid" in used.values():
        return assigned, notes
    speakers = sorted({entry.group for entry in assigned if entry.split == "train"})
    if len(speakers) < 2:
        raise DataError(f"expected a folder valid, or at least 2 training speakers to take some, found {_some(speakers)}; add one of both")
    chosen = set(map(name_key, valid_speakers)) or _share_of(speakers, fractions[1] / (fractions[0] + fractions[1]), seed)
    unknown = sorted(chosen - set(speakers))
    if unknown or len(chosen) == len(speakers):
        known = _some(speakers)
        raise DataError(f"expected valid_speakers to be some of the training speakers ({known}), got {_some(sorted(chosen))}; correct it")
    notes.append(f"no folder valid: {len(chosen)} of {len(speakers)} training speakers are used for validation ({_some(sorted(chosen))})")
    return [Assigned(e.path, "valid", e.group) if e.split == "train" and e.group in chosen else e for e in assigned], notes


def _share_of(names: Sequence[str], share: float, seed: int) -> set[str]:
    count = min(len(names) - 1, max(1, round(share * len(names))))
    return {names[i] for i in np.random.default_rng([seed, 3]).permutation(len(names))[:count]}


def _by_list(root: Path, relative: Mapping[Path, Path], listed: SplitList, speaker_from: str) -> tuple[list[Assigned], list[str]]:
    assigned, unlisted, used = [], [], set()
    for path, place in relative.items():
        inside = Path(*place.parts[1:]) if len(place.parts) > 1 and split_of_folder(place.parts[0]) else place
        split, speaker = listed.by_path.get(path.resolve(), ("", ""))
        speaker = speaker or speaker_of(inside, speaker_from)
        named = (name_key(speaker), bare_name(path.name), name_key(without_ending(inside.as_posix())))
        split = split or next((listed.by_speaker[name] for name in named if name in listed.by_speaker), "")
        used.update(name for name in named if name in listed.by_speaker)
        if split:
            assigned.append(Assigned(path, split, speaker))
        else:
            unlisted.append(relative[path].as_posix())
    refuse_shared(assigned, "speaker")
    notes = [f"{listed.name}: {len(listed.absent)} rows name files that do not exist: {_some(listed.absent)}"] if listed.absent else []
    idle = sorted(set(listed.by_speaker) - used)
    notes += [f"{listed.name}: {len(idle)} speakers have no file: {_some(idle)}"] if idle else []
    notes += [f"{listed.name} does not name {len(unlisted)} files, which are not used: {_some(unlisted)}"] if unlisted else []
    missing = [split for split in SPLITS if split not in {entry.split for entry in assigned}]
    if missing:
        raise DataError(f"{listed.name}: expected files below {root} for all splits, got none for {', '.join(missing)}; check the names")
    return assigned, notes


def _read_folder(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder with a list of names for each split."""
    lists = {place: split_of_folder(place.stem) for place in sorted(folder.glob("*.txt"))}
    if not any(lists.values()):
        raise DataError(f"{folder}: expected lists train.txt, valid.txt and test.txt, found {listing(folder)}; give a list or its folder")
    return [{"split": split, "speaker": name} for place, split in lists.items() if split for name in _names_in(place)]


def _names_in(given: str | Path | Sequence[str]) -> list[str]:
    """Return the names of speakers or files: as given, or one a line of a text file, without the ending of audio."""
    if isinstance(given, str | Path):
        return [without_ending(line) for _, line in read_lines(Path(given).expanduser(), "a list of speakers or files")]
    return [str(name) for name in given]


def _read_rows(place: Path) -> list[dict[str, str]]:
    lines = read_cells(place, "a list of splits")
    header = [name.lower() for name in lines[0].cells] if lines else []
    columns = {name: header.index(known) for name, spellings in _COLUMNS.items() for known in spellings if known in header}
    if {"split", "speaker"} <= set(columns) or {"split", "path"} <= set(columns):
        return [{name: line.cells[at] if at < len(line.cells) else "" for name, at in columns.items()} for line in lines[1:]]
    words = [line.cells if len(line.cells) == 2 else " ".join(line.cells).split() for line in lines]
    if len(header) > 1 and not split_of_folder(header[0]):
        given = ", ".join(lines[0].cells)
        raise DataError(f"{place}: expected the columns split and speaker or path, got {given}; add a header line")
    wrong = next((line for line in words if len(line) != 2), None)
    if wrong or not words:
        given = " ".join(wrong or []) or "nothing"
        raise DataError(f"{place}: expected lines 'split speaker', got {given}; correct the line or write a CSV")
    return [{"split": first, "speaker": second} for first, second in words]


def _add_row(listed: SplitList, row: Mapping[str, str], number: int, places: Places) -> None:
    split = split_of_folder(row.get("split", ""))
    if not split:
        raise DataError(f"{listed.name}, row {number}: {unknown_name('split', row.get('split', ''), SPLITS)}")
    speaker = name_key(row.get("speaker", ""))
    if not row.get("path"):
        before = listed.by_speaker.setdefault(speaker, split)
        what = f"speaker '{speaker}'"
    else:
        path = places.find(row["path"])
        if path is None:
            listed.absent.append(row["path"])
            return
        before = listed.by_path.setdefault(path.resolve(), (split, speaker))[0]
        what = f"file {row['path']}"
    if before != split:
        raise DataError(f"{listed.name}, row {number}: expected {what} in one split, got {before} and {split}; remove one of the rows")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f", ... {len(names)} in all" if len(names) > _LISTED else "")
