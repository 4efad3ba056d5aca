"""Which of train, valid and test each speech file gets, with its speaker.

``assign_speech`` has one rule for every corpus: folders named after splits first, then a list,
then a share of the speakers. Noise has rules of its own, in noise.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audioprune.data.files.lists import bare_name, name_key, without_ending
from audioprune.data.files.messages import first_names, listing
from audioprune.data.splits.folders import SPLITS, below_splits, has_split_folders, split_of_folder
from audioprune.data.splits.recordings import Links, joined
from audioprune.data.splits.shares import draw_share, share_out
from audioprune.data.splits.speakers import OUTER_FOLDERS, SpeakerRule
from audioprune.data.splits.split_list import SplitList, read_split_list
from audioprune.errors import ConfigError, DataError


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

    @property
    def unit(self) -> str:
        """What moves between splits as a whole."""
        return self.together or self.group

    def to_validation(self) -> Assigned:
        """Return a training file in the validation set; any other stays where it is."""
        return replace(self, split="valid") if self.split == "train" else self


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
    """Give every speech file a speaker and a split; no speaker is in two splits.

    Speakers with the same audio are shared out together.

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
    found = _Speech(root, relative, rule, links)
    if split in (None, "folders") and has_split_folders(list(relative.values())):
        return _by_folders(found, fractions, seed, valid_speakers)
    if split == "folders":
        remedy = "rename them or use data.split=fraction"
        raise DataError(
            f"expected folders train, valid and test below {root}, found {listing(root)}; {remedy}"
        )
    if split is not None and split != "fraction":
        return _by_list(found, read_split_list(split, root))
    speakers, together, words = found.read(relative)
    chosen = share_out(sorted(set(together.values())), fractions, seed, f"speakers below {root}")
    said = f"{words}; shares of the speakers by seed {seed}"
    assigned = [
        Assigned(path, chosen[together[path]], name, together[path], said)
        for path, name in speakers.items()
    ]
    return assigned, _notes_on(words)


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
    training = sorted({entry.unit for entry in assigned if entry.split == "train"})
    count = min(math.ceil(share * len(training)), len(training) - 1)
    if count <= 0:
        return assigned, []
    order = np.random.default_rng([seed, 7]).permutation(len(training))
    lent = {training[int(place)] for place in order[:count]}
    note = (
        f"speech: {count} of {len(training)} training speakers also serve validation, not "
        f"training (data.valid_share={share:g})"
    )
    return [entry.to_validation() if entry.unit in lent else entry for entry in assigned], [note]


def inside_splits(relative: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Return the split of each file inside a split folder, and a note on the files outside."""
    used: dict[Path, str] = {}
    outside: set[str] = set()
    for path, place in relative.items():
        split = split_of_folder(place.parts[0]) if len(place.parts) > 1 else ""
        if split:
            used[path] = split
        else:
            outside.add(place.parts[0])
    if not outside:
        return used, []
    listed = first_names(sorted(outside))
    return used, [f"not used, since they are not in a folder train, valid or test: {listed}"]


def refuse_shared(assigned: Sequence[Assigned], what: str) -> None:
    """Refuse a group in two splits.

    Raises:
        DataError: There is one; the message names it with a file of each split.
    """
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
        """Return the speaker of some files, what each is kept with, and how speakers were found.

        Args:
            paths: The files.
            known: Speakers that need not be read.
        """
        known = known or {}
        places = {path: self._place(path) for path in paths}
        unknown = {path: place for path, place in places.items() if path not in known}
        found: dict[Path, str] = {}
        words = "speakers as listed"
        if unknown:
            found, words = self.rule.read(self.root, unknown)
        speakers = {path: known.get(path) or found[path] for path in places}
        return speakers, joined(speakers, self.links), words

    def _place(self, path: Path) -> Path:
        place = self.relative[path]
        return place if self.rule.by_file else below_splits(place)


def _notes_on(words: str) -> list[str]:
    """Return how speakers were found where the user should know it."""
    return [words] if OUTER_FOLDERS in words else []


def _by_folders(
    found: _Speech, fractions: Sequence[float], seed: int, valid_speakers: Sequence[str]
) -> tuple[list[Assigned], list[str]]:
    used, notes = inside_splits(found.relative)
    speakers, together, words = found.read(used)
    said = f"{words}; folders give the splits"
    assigned = [
        Assigned(path, split, speakers[path], together[path], said) for path, split in used.items()
    ]
    refuse_shared(assigned, "speaker")
    notes += _notes_on(words)
    if "valid" in used.values():
        return assigned, notes
    share = fractions[1] / (fractions[0] + fractions[1])
    chosen, note = _valid_speakers(assigned, share, seed, valid_speakers)
    assigned = [entry.to_validation() if entry.group in chosen else entry for entry in assigned]
    return assigned, [*notes, note]


def _valid_speakers(
    assigned: Sequence[Assigned], share: float, seed: int, wanted: Sequence[str]
) -> tuple[set[str], str]:
    """Return the training speakers that validate, as wanted or drawn, and a note on them."""
    training = [entry for entry in assigned if entry.split == "train"]
    names = sorted({entry.group for entry in training})
    groups = sorted({entry.together for entry in training})
    if len(groups) < 2:
        raise DataError(
            f"expected a folder valid, or at least 2 training speakers to take some, found "
            f"{first_names(names)}; add one of both"
        )
    drawn = draw_share(groups, share, seed)
    chosen = set(map(name_key, wanted))
    if not chosen:
        chosen = {entry.group for entry in training if entry.together in drawn}
    listed = first_names(sorted(chosen))
    if chosen - set(names) or len(chosen) == len(names):
        raise DataError(
            f"expected valid_speakers to be some of the training speakers ({first_names(names)}), "
            f"got {listed}; correct it"
        )
    return chosen, (
        f"no folder valid: {len(chosen)} of {len(names)} training speakers are used for "
        f"validation ({listed})"
    )


def _by_list(found: _Speech, listed: SplitList) -> tuple[list[Assigned], list[str]]:
    """Give files the split of their row, else of their speaker, name or place in the list."""
    rows = {path: listed.by_path.get(path.resolve(), ("", "")) for path in found.relative}
    paths = [path for path, (split, _) in rows.items() if split or listed.by_speaker]
    known = {path: speaker for path, (_, speaker) in rows.items() if speaker}
    speakers, together, words = found.read(paths, known)
    said = f"{words}; a list gives the splits"
    assigned: list[Assigned] = []
    unlisted: list[str] = []
    used: set[str] = set()
    for path, (split, _) in rows.items():
        place = found.relative[path]
        inside = without_ending(below_splits(place).as_posix())
        names = (speakers.get(path, ""), bare_name(path.name), name_key(inside))
        named = [name for name in names if name in listed.by_speaker]
        used.update(named)
        if not split and named:
            split = listed.by_speaker[named[0]]
        if split:
            assigned.append(Assigned(path, split, speakers[path], together[path], said))
        else:
            unlisted.append(place.as_posix())
    refuse_shared(assigned, "speaker")
    missing = [split for split in SPLITS if split not in {entry.split for entry in assigned}]
    if missing:
        raise DataError(
            f"{listed.name}: expected files below {found.root} for all splits, got none for "
            f"{', '.join(missing)}; check the names"
        )
    return assigned, _list_notes(listed, sorted(set(listed.by_speaker) - used), unlisted)


def _list_notes(listed: SplitList, idle: Sequence[str], unlisted: Sequence[str]) -> list[str]:
    """Return notes on rows without a file, speakers without one, and files without a row."""
    notes = []
    if listed.absent:
        names = first_names(listed.absent)
        notes.append(
            f"{listed.name}: {len(listed.absent)} rows name files that do not exist: {names}"
        )
    if idle:
        notes.append(f"{listed.name}: {len(idle)} speakers have no file: {first_names(idle)}")
    if unlisted:
        notes.append(
            f"{listed.name} does not name {len(unlisted)} files, which are not used: "
            f"{first_names(unlisted)}"
        )
    return notes
