"""Which speaker or noise a file belongs to, and which of train, valid and test gets it.

The rules are the same for every corpus: folders named after splits first, then a list, then a
share of the speakers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audioprune.data.files.lists import (
    Places,
    bare_name,
    name_key,
    read_cells,
    read_lines,
    without_ending,
)
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.data.splits.speakers import OUTER_FOLDERS, SpeakerRule
from audioprune.errors import ConfigError, DataError, unknown_name

SPLITS = ("train", "valid", "test")
NOISE_RULES = ("auto", "file")

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
    return {"train", "test"} <= {
        split_of_folder(path.parts[0]) for path in relative if len(path.parts) > 1
    }


def below_splits(place: Path) -> Path:
    """Return a place without the folders at its begin that are named after splits."""
    while len(place.parts) > 1 and split_of_folder(place.parts[0]):
        place = Path(*place.parts[1:])
    return place


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
        together: What is never split: the speaker or the recording, joined with those of the same
            audio.
        rule: How group and split were found, in words.
    """

    path: Path
    split: str
    group: str
    together: str = ""
    rule: str = ""


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
        source: A CSV file with a header and the columns ``split`` and ``speaker`` or ``path`` (or
            both), a text file with one ``split speaker`` a line, a folder with train.txt,
            valid.txt and test.txt, or a mapping from split to speakers or to such a text file. A
            line of these names a speaker or a file. Paths in a CSV are relative to ``root``, to
            its folder or to the folder above it. Endings of file names may be missing.
        root: Folder of the corpus.

    Raises:
        DataError: The file is missing or has other columns, a split is unknown, or a file or
            speaker is in two splits.
    """
    if isinstance(source, Mapping):
        listed = SplitList("split")
        rows = [
            {"split": split, "speaker": name}
            for split, given in source.items()
            for name in _names_in(given)
        ]
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
    speaker_from: str | SpeakerRule = "auto",
    seed: int = 0,
    valid_speakers: Sequence[str] = (),
    links: Links = (),
) -> tuple[list[Assigned], list[str]]:
    """Give every speech file a speaker and a split; no speaker is in two splits, nor are speakers with the same audio if shared out.

    Args:
        root: Folder of the corpus.
        relative: The place in the corpus of each file.
        split: None: folders named after splits if there are, else shares of the speakers.
            ``"folders"``, ``"fraction"`` or a list as in ``read_split_list``.
        fractions: Shares of the speakers in train, valid and test.
        speaker_from: Rule of ``speakers.SpeakerRule``, or the whole rule.
        seed: Chooses the speakers of each share.
        valid_speakers: Training speakers to use for validation when no folder is named so; empty
            for a share of them.
        links: Files of the same audio, which are shared out together.

    Returns:
        The files with their places, and notes for the user. If folders name no valid split,
        training speakers are taken.

    Raises:
        DataError: There are too few speakers, a speaker is in two splits, or the list does not fit
            the files.
    """
    rule = speaker_from if isinstance(speaker_from, SpeakerRule) else SpeakerRule(speaker_from)
    if split in (None, "folders") and has_split_folders(list(relative.values())):
        return _by_folders(_Speech(root, relative, rule, links), fractions, seed, valid_speakers)
    if split == "folders":
        remedy = "rename them or use data.split=fraction"
        raise DataError(
            f"expected folders train, valid and test below {root}, found {listing(root)}; {remedy}"
        )
    if split not in (None, "fraction"):
        return _by_list(_Speech(root, relative, rule, links), read_split_list(split, root))
    found = _Speech(root, relative, rule, links)
    speakers, together, words = found.read(relative)
    chosen = share_out(sorted(set(together.values())), fractions, seed, f"speakers below {root}")
    said = f"{words}; shares of the speakers by seed {seed}"
    return [
        Assigned(path, chosen[together[path]], name, together[path], said)
        for path, name in speakers.items()
    ], _told(words)


@dataclass(frozen=True)
class _Speech:
    """Speech files, and how their speakers are found."""

    root: Path
    relative: Mapping[Path, Path]
    rule: SpeakerRule
    links: Links

    def read(
        self, paths: Iterable[Path], known: Mapping[Path, str] | None = None
    ) -> tuple[dict[Path, str], dict[Path, str], str]:
        """Return the speaker of some files, what they are kept with, and in words how the speakers were found.

        Args:
            paths: The files.
            known: Speakers that need not be read.
        """
        known = known or {}
        places = {
            path: self.relative[path] if self.rule.by_file else below_splits(self.relative[path])
            for path in paths
        }
        unknown = {path: place for path, place in places.items() if path not in known}
        found, words = (
            self.rule.read(self.root, unknown) if unknown else ({}, "speakers as listed")
        )
        speakers = {path: known.get(path) or found[path] for path in places}
        return speakers, joined(speakers, self.links), words


def _told(words: str) -> list[str]:
    return [words] if OUTER_FOLDERS in words else []


def lend_speakers(
    assigned: list[Assigned], share: float, seed: int
) -> tuple[list[Assigned], list[str]]:
    """Move a share of the training speakers to validation, in addition to those that are there.

    A validation set of one or two voices ranks models by those voices; what prunes and stops by it
    then errs.

    Args:
        assigned: Speech files with their places.
        share: Share of the training speakers, 0..1 (exclusive); 0 moves none, anything above at
            least one.
        seed: Chooses the speakers.

    Raises:
        ConfigError: The share is out of its range.
    """
    if not 0 <= share < 1:
        raise ConfigError(
            f"expected valid_share from 0 to below 1, got {share}; 0 leaves every speaker where "
            f"the folders put it"
        )
    training = sorted(
        {entry.together or entry.group for entry in assigned if entry.split == "train"}
    )
    count = min(math.ceil(share * len(training)), len(training) - 1)
    if count <= 0:
        return assigned, []
    lent = {
        training[int(index)]
        for index in np.random.default_rng([seed, 7]).permutation(len(training))[:count]
    }
    note = (
        f"speech: {count} of {len(training)} training speakers also serve validation, not "
        f"training (data.valid_share={share:g})"
    )
    moved = [
        entry.split == "train" and (entry.together or entry.group) in lent for entry in assigned
    ]
    return [
        replace(entry, split="valid") if move else entry
        for entry, move in zip(assigned, moved, strict=True)
    ], [note]


def share_out(
    names: Sequence[str], fractions: Sequence[float], seed: int, what: str
) -> dict[str, str]:
    """Give each name a split by shares; valid and test get at least one name each.

    Raises:
        DataError: There are fewer than three names.
        ConfigError: The shares are not three positive numbers with a sum of 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"expected fractions of train, valid and test that add up to 1, got "
            f"{list(fractions)}; use [0.8, 0.1, 0.1]"
        )
    if len(names) < 3:
        found = ", ".join(names) or "none"
        raise DataError(
            f"expected at least 3 {what} to split them, found {len(names)} ({found}); point to "
            f"the folder above, make folders train, valid "
            f"and test, name speakers with data.speaker, or use data.speaker_from=file to split "
            f"single files"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    valid, test = (max(1, round(share * len(names))) for share in fractions[1:])
    valid, test = (
        min(valid, len(names) - 2),
        min(test, len(names) - 1 - min(valid, len(names) - 2)),
    )
    chosen = {}
    for place, index in enumerate(order):
        chosen[names[index]] = (
            "test" if place < test else "valid" if place < test + valid else "train"
        )
    return chosen


def assign_noise(
    root: Path,
    relative: Mapping[Path, Path],
    fractions: Sequence[float],
    seed: int,
    links: Links = (),
    noise_from: str = "auto",
) -> tuple[list[Assigned], list[str]]:
    """Give every noise file a name and a split; the test files are never heard in training.

    Folders named after splits are taken as they are; otherwise recordings are shared out, see
    ``recordings.recording_of``. Without a valid folder no file is assigned to it here: training
    and validation then use different parts of the training files.

    Args:
        root: Folder of the noise.
        relative: The place in it of each file.
        fractions: Shares in train, valid and test.
        seed: Chooses the test recordings.
        links: Files of the same audio, which are kept together.
        noise_from: ``"auto"``: names say what one recording is. ``"file"``: each file is one.

    Raises:
        DataError: There are no split folders and fewer than two recordings.
    """
    by_file = noise_from == "file"
    keys = {
        path: place.as_posix() if by_file else recording_of(below_splits(place), True)
        for path, place in relative.items()
    }
    together = joined(keys, links)
    words = (
        "each noise file is a recording"
        if by_file
        else "noise files are recordings by their names"
    )
    if has_split_folders(list(relative.values())):
        used, notes = _inside_splits(relative)
        names = {path: noise_of(Path(*relative[path].parts[1:])) for path in used}
        said = f"{words}; folders give the splits"
        return [
            Assigned(path, split, names[path], together[path], said)
            for path, split in used.items()
        ], notes
    groups = list(dict.fromkeys(together.values()))
    if len(groups) < 2:
        # Files of one sound stay together whatever they are called, so that names help only where
        # they joined them.
        apart = (
            "they hold the same audio"
            if by_file
            else "data.noise_from=file parts those that sound different"
        )
        one = f" recording, {_some(groups)}, in {len(relative)} files ({apart})"
        found = f"{len(groups)}{one if len(relative) > 1 else ''}"
        raise DataError(
            f"expected at least 2 noise files below {root} to keep one recording for the test, "
            f"found {found}; add files"
        )
    count = min(len(groups) - 1, max(1, round(fractions[2] * len(groups))))
    order = np.random.default_rng([seed, 2]).permutation(len(groups))
    test = {groups[int(index)] for index in order[:count]}
    said = f"{words}; shares of the recordings by seed {seed}"
    splits = {path: "test" if together[path] in test else "train" for path in relative}
    return [
        Assigned(path, split, noise_of(relative[path]), together[path], said)
        for path, split in splits.items()
    ], []


def listing(root: Path, most: int = 6) -> str:
    """Return the first names in a folder, for a message; folders end with a slash."""
    names = sorted(
        entry.name + ("/" if entry.is_dir() else "")
        for entry in root.iterdir()
        if not entry.name.startswith(".")
    )
    return (
        ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "")
        if names
        else "an empty folder"
    )


def refuse_shared(assigned: Sequence[Assigned], what: str) -> None:
    """Raise a DataError when a group is in two splits."""
    seen: dict[str, Assigned] = {}
    for entry in assigned:
        first = seen.setdefault(entry.group, entry)
        if first.split != entry.split:
            raise DataError(
                f"expected every {what} in one split, got {what} '{entry.group}' in "
                f"{first.split} ({first.path}) and {entry.split} "
                f"({entry.path}); move the files, or say with data.speaker_from or data.speaker "
                f"how {what}s are named"
            )


def _inside_splits(relative: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Return the split of each file inside a split folder, and a note on the files outside."""
    used = {
        path: split_of_folder(place.parts[0]) if len(place.parts) > 1 else ""
        for path, place in relative.items()
    }
    outside = sorted({relative[path].parts[0] for path, split in used.items() if not split})
    notes = (
        [f"not used, since they are not in a folder train, valid or test: {_some(outside)}"]
        if outside
        else []
    )
    return {path: split for path, split in used.items() if split}, notes


def _by_folders(
    found: _Speech, fractions: Sequence[float], seed: int, valid_speakers: Sequence[str]
) -> tuple[list[Assigned], list[str]]:
    used, notes = _inside_splits(found.relative)
    speakers, together, words = found.read(used)
    said = f"{words}; folders give the splits"
    assigned = [
        Assigned(path, split, speakers[path], together[path], said) for path, split in used.items()
    ]
    refuse_shared(assigned, "speaker")
    notes += _told(words)
    if "valid" in used.values():
        return assigned, notes
    training = [entry for entry in assigned if entry.split == "train"]
    names = sorted({entry.group for entry in training})
    groups = sorted({entry.together for entry in training})
    if len(groups) < 2:
        raise DataError(
            f"expected a folder valid, or at least 2 training speakers to take some, found "
            f"{_some(names)}; add one of both"
        )
    drawn = _share_of(groups, fractions[1] / (fractions[0] + fractions[1]), seed)
    chosen = set(map(name_key, valid_speakers)) or {
        entry.group for entry in training if entry.together in drawn
    }
    unknown = sorted(chosen - set(names))
    if unknown or len(chosen) == len(names):
        known = _some(names)
        raise DataError(
            f"expected valid_speakers to be some of the training speakers ({known}), got "
            f"{_some(sorted(chosen))}; correct it"
        )
    notes.append(
        f"no folder valid: {len(chosen)} of {len(names)} training speakers are used for "
        f"validation ({_some(sorted(chosen))})"
    )
    return [
        replace(entry, split="valid")
        if entry.split == "train" and entry.group in chosen
        else entry
        for entry in assigned
    ], notes


def _share_of(names: Sequence[str], share: float, seed: int) -> set[str]:
    count = min(len(names) - 1, max(1, round(share * len(names))))
    return {names[i] for i in np.random.default_rng([seed, 3]).permutation(len(names))[:count]}


def _by_list(found: _Speech, listed: SplitList) -> tuple[list[Assigned], list[str]]:
    root, relative = found.root, found.relative
    rows = {path: listed.by_path.get(path.resolve(), ("", "")) for path in relative}
    paths = list(relative) if listed.by_speaker else [path for path, row in rows.items() if row[0]]
    speakers, together, words = found.read(
        paths, {path: row[1] for path, row in rows.items() if row[1]}
    )
    assigned, unlisted, used = [], [], set()
    for path, row in rows.items():
        inside = without_ending(below_splits(relative[path]).as_posix())
        names = (speakers.get(path, ""), bare_name(path.name), name_key(inside))
        named = [name for name in names if name in listed.by_speaker]
        used.update(named)
        split = row[0] or (listed.by_speaker[named[0]] if named else "")
        if split:
            assigned.append(
                Assigned(
                    path,
                    split,
                    speakers[path],
                    together[path],
                    f"{words}; a list gives the splits",
                )
            )
        else:
            unlisted.append(relative[path].as_posix())
    refuse_shared(assigned, "speaker")
    notes = (
        [
            f"{listed.name}: {len(listed.absent)} rows name files that do not exist: "
            f"{_some(listed.absent)}"
        ]
        if listed.absent
        else []
    )
    idle = sorted(set(listed.by_speaker) - used)
    notes += [f"{listed.name}: {len(idle)} speakers have no file: {_some(idle)}"] if idle else []
    notes += (
        [
            f"{listed.name} does not name {len(unlisted)} files, which are not used: "
            f"{_some(unlisted)}"
        ]
        if unlisted
        else []
    )
    missing = [split for split in SPLITS if split not in {entry.split for entry in assigned}]
    if missing:
        raise DataError(
            f"{listed.name}: expected files below {root} for all splits, got none for "
            f"{', '.join(missing)}; check the names"
        )
    return assigned, notes


def _read_folder(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder with a list of names for each split."""
    lists = {place: split_of_folder(place.stem) for place in sorted(folder.glob("*.txt"))}
    if not any(lists.values()):
        raise DataError(
            f"{folder}: expected lists train.txt, valid.txt and test.txt, found "
            f"{listing(folder)}; give a list or its folder"
        )
    return [
        {"split": split, "speaker": name}
        for place, split in lists.items()
        if split
        for name in _names_in(place)
    ]


def _names_in(given: str | Path | Sequence[str]) -> list[str]:
    """Return the names of speakers or files: as given, or one a line of a text file, without the ending of audio."""
    if isinstance(given, str | Path):
        return [
            without_ending(line)
            for _, line in read_lines(Path(given).expanduser(), "a list of speakers or files")
        ]
    return [str(name) for name in given]


def _read_rows(place: Path) -> list[dict[str, str]]:
    lines = read_cells(place, "a list of splits")
    header = [name.lower() for name in lines[0].cells] if lines else []
    columns = {
        name: header.index(known)
        for name, spellings in _COLUMNS.items()
        for known in spellings
        if known in header
    }
    if {"split", "speaker"} <= set(columns) or {"split", "path"} <= set(columns):
        return [
            {name: line.cells[at] if at < len(line.cells) else "" for name, at in columns.items()}
            for line in lines[1:]
        ]
    words = [
        line.cells if len(line.cells) == 2 else " ".join(line.cells).split() for line in lines
    ]
    if len(header) > 1 and not split_of_folder(header[0]):
        given = ", ".join(lines[0].cells)
        raise DataError(
            f"{place}: expected the columns split and speaker or path, got {given}; add a "
            f"header line"
        )
    wrong = next((line for line in words if len(line) != 2), None)
    if wrong or not words:
        given = " ".join(wrong or []) or "nothing"
        raise DataError(
            f"{place}: expected lines 'split speaker', got {given}; correct the line or write a "
            f"CSV"
        )
    return [{"split": first, "speaker": second} for first, second in words]


def _add_row(listed: SplitList, row: Mapping[str, str], number: int, places: Places) -> None:
    split = split_of_folder(row.get("split", ""))
    if not split:
        raise DataError(
            f"{listed.name}, row {number}: {unknown_name('split', row.get('split', ''), SPLITS)}"
        )
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
        raise DataError(
            f"{listed.name}, row {number}: expected {what} in one split, got {before} and "
            f"{split}; remove one of the rows"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (
        f", ... {len(names)} in all" if len(names) > _LISTED else ""
    )
