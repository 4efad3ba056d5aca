"""Which of train, valid and test each file gets, with its speaker or noise.

The rules are the same for every corpus: folders named after splits first, then a list, then a
share of the speakers or recordings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audioprune.data.files.lists import bare_name, name_key, without_ending
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import SPLITS, below_splits, has_split_folders, split_of_folder
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.data.splits.speakers import OUTER_FOLDERS, SpeakerRule
from audioprune.data.splits.split_list import SplitList, read_split_list
from audioprune.errors import ConfigError, DataError

NOISE_RULES = ("auto", "file")
_LISTED = 5


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


def noise_of(relative: Path) -> str:
    """Return the name of a noise: the file name before its first ``_``, else the folder's name, else the whole file name."""
    relative = Path(name_key(relative.as_posix()))
    head, underscore, _ = relative.stem.partition("_")
    if underscore and head:
        return head
    folder = relative.parent.name
    return folder if folder and not split_of_folder(folder) else relative.stem


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


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (
        f", ... {len(names)} in all" if len(names) > _LISTED else ""
    )
