"""Lists of labelled clips: ``SceneList``, and how folders named after classes become one.

``list_classes`` reads folders, ``with_validation`` chooses clips for validation. Tables are read
in table.py, the lists of the TUT corpora in tut_lists.py. No audio is opened here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audioprune.data.files.audio import find_audio
from audioprune.data.files.lists import name_key
from audioprune.data.files.messages import listing
from audioprune.data.splits.folders import has_split_folders, split_of_folder
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.data.splits.shares import share_out
from audioprune.errors import ConfigError, DataError, unknown_name

RECORDING_RULES = ("auto", "folder", "prefix", "file")
_FEWEST_RECORDINGS = 3
_NAMED = 5


@dataclass(frozen=True)
class SceneClip:
    """One clip and its place.

    Attributes:
        path: The file.
        relative: Its path in the corpus.
        label: Name of its class.
        recording: What it was cut from; clips of one recording resemble one another.
        split: ``"train"``, ``"valid"`` or ``"test"``.
    """

    path: Path
    relative: str
    label: str
    recording: str
    split: str


@dataclass(frozen=True)
class SceneList:
    """The clips of a corpus.

    Attributes:
        root: Folder that holds all of them.
        classes: Names of the classes; a label is a place in this order.
        clips: The clips.
        notes: What a user should know, one line each.
        missing: Why this is not the whole published corpus; empty if it is, or if nothing is
            published.
        rule: How recordings and splits were found, in words.
    """

    root: Path
    classes: tuple[str, ...]
    clips: tuple[SceneClip, ...]
    notes: tuple[str, ...] = ()
    missing: str = ""
    rule: str = ""


def list_classes(
    root: Path,
    split: str | None = None,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    recording_from: str = "auto",
    seed: int = 0,
    links: Links = (),
) -> SceneList:
    """List the clips in folders named after classes.

    The folders are ``<class>/...`` or ``{train,valid,test}/<class>/...``.

    Args:
        root: Folder of the corpus.
        split: None takes folders named after splits if there are, else shares of the recordings;
            ``"folders"`` or ``"fraction"``.
        fractions: Shares of each class's recordings in train, valid and test.
        recording_from: ``"folder"``: the first folder inside the class. ``"prefix"``: the file
            name up to the first ``_``. ``"file"``: each file is a recording. ``"auto"``: the
            folder where there is one, else a prefix with a digit, such as ``a001_``, if that gives
            every class three recordings, else the name as ``recordings.recording_of`` reads it.
        seed: Chooses the recordings of each share.
        links: Files of the same audio, whose recordings are kept together.

    Raises:
        DataError: The folder is missing or laid out otherwise, a class has too few recordings, or
            one of test is unknown in training.
    """
    paths = _class_audio(root)
    inside = {path: path.relative_to(root) for path in paths}
    by_folder = has_split_folders(list(inside.values()))
    if split == "folders" and not by_folder:
        remedy = "rename them or use data.split=fraction"
        raise DataError(
            f"expected folders train, valid and test below {root}, found {listing(root)}; {remedy}"
        )
    splits, used = _places(inside, by_folder)
    notes = _unused_notes(paths, used)
    classes = tuple(sorted({place.parts[0] for place in used.values()}))
    _refuse_few(root, classes)
    shared = not by_folder or split == "fraction"
    recordings, said = _class_recordings(used, recording_from)
    if not shared and recording_from == "auto":
        recordings = _apart(recordings, used, splits)
    named = {path: f"{place.parts[0]}/{recordings[path]}" for path, place in used.items()}
    together = joined(named, links)
    clips = [
        SceneClip(path, inside[path].as_posix(), place.parts[0], together[path], splits[path])
        for path, place in used.items()
    ]
    how = "folders give the splits"
    if shared:
        notes += said
        clips = share_clips(clips, fractions, seed)
        how = f"shares of each class's recordings by seed {seed}"
    refuse_unknown_classes(root, clips)
    rule = f"recordings by {recording_from}; {how}"
    return SceneList(root, classes, tuple(clips), tuple(notes), rule=rule)


def with_validation(scenes: SceneList, fraction: float, hold_out: bool, seed: int) -> SceneList:
    """Use a share of each class's training recordings for validation.

    Nothing changes where there are validation clips already. In a class with a single recording
    single clips are used, which makes validation optimistic there.

    Args:
        scenes: The clips.
        fraction: Share of each class's recordings, above 0 and below 1; at least one.
        hold_out: Whether these clips leave the training set. If not, validation tells nothing
            about unseen recordings.
        seed: Chooses the recordings.

    Raises:
        DataError: No class has two training clips to take one from.
    """
    if any(clip.split == "valid" for clip in scenes.clips):
        return scenes
    training = [clip for clip in scenes.clips if clip.split == "train"]
    chosen: set[str] = set()
    single = []
    for place, label in enumerate(scenes.classes):
        own = [clip for clip in training if clip.label == label]
        names = sorted({clip.recording for clip in own})
        if len(names) == 1:
            single.append(label)
            names = sorted(clip.relative for clip in own)
        if len(names) > 1 or (names and not hold_out):
            count = min(max(1, round(fraction * len(names))), len(names) - hold_out)
            order = np.random.default_rng([seed, 4, place]).permutation(len(names))
            chosen |= {names[index] for index in order[:count]}
    valid = [
        replace(clip, split="valid")
        for clip in training
        if chosen & {clip.recording, clip.relative}
    ]
    if not valid:
        raise DataError(
            f"{scenes.root}: expected 2 training clips of a class to validate on one, found "
            f"none; use data.hold_out=false"
        )
    taken = {clip.path for clip in valid} if hold_out else set()
    kept = [clip for clip in scenes.clips if clip.split != "train" or clip.path not in taken]
    too = "" if hold_out else " and for training too"
    notes = [f"{len(valid)} of {len(training)} training clips are used for validation{too}"]
    if single and hold_out:
        notes.append(
            f"validation is optimistic for {len(single)} classes with a single training "
            f"recording: {some(single)}"
        )
    return replace(scenes, clips=(*kept, *valid), notes=(*scenes.notes, *notes))


def check_fraction(valid_fraction: float) -> None:
    """Raise a ConfigError when a share of validation clips is not between 0 and 1."""
    if not 0 < valid_fraction < 1:
        raise ConfigError(
            f"expected valid_fraction between 0 and 1, got {valid_fraction}; use for instance 0.1"
        )


def shared_recordings(clips: Iterable[SceneClip]) -> list[str]:
    """Return the recordings that occur both in the test set and in another split."""
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for clip in clips:
        seen[clip.split == "test"].add(clip.recording)
    return sorted(seen[True] & seen[False])


def some(names: Sequence[object]) -> str:
    """Return the first of some names for a message, and how many there are."""
    shown = ", ".join(map(str, names[:_NAMED]))
    return shown + (f", ... {len(names)} in all" if len(names) > _NAMED else "")


def share_clips(
    clips: Sequence[SceneClip], fractions: Sequence[float], seed: int
) -> list[SceneClip]:
    """Give each clip a split by shares of the recordings of its class."""
    splits: dict[str, str] = {}
    for label in sorted({clip.label for clip in clips}):
        recordings = sorted({clip.recording for clip in clips if clip.label == label})
        if len(recordings) < _FEWEST_RECORDINGS:
            raise DataError(
                f"expected at least {_FEWEST_RECORDINGS} recordings of class {label} to split "
                f"them, got {some(recordings)}; add clips, "
                "make folders train, valid and test, or use data.recording_from=file"
            )
        splits |= share_out(recordings, fractions, seed, f"recordings of {label}")
    return [replace(clip, split=splits[clip.recording]) for clip in clips]


def refuse_unknown_classes(root: Path, clips: Sequence[SceneClip]) -> None:
    """Raise a DataError when a clip has a class that no training clip has."""
    training = {clip.label for clip in clips if clip.split == "train"}
    for clip in clips:
        if clip.label not in training:
            raise DataError(
                f"{root}: {unknown_name('class', clip.label, training)}; {clip.relative} has a "
                f"class without training clips"
            )


def _class_audio(root: Path) -> list[Path]:
    layout = f"clips in {root}/<class>/ or {root}/{{train,valid,test}}/<class>/"
    if not root.is_dir():
        raise DataError(
            f"expected {layout}, found {'a file' if root.exists() else 'no such folder'}; check "
            f"the path"
        )
    paths = find_audio(root)
    if not paths:
        raise DataError(
            f"expected {layout}, found {listing(root)} without any audio file; check the path"
        )
    whole = root.resolve().parent
    siblings = {split_of_folder(entry.name) for entry in whole.iterdir() if entry.is_dir()}
    if split_of_folder(root.resolve().name) and {"train", "test"} <= siblings:
        raise DataError(f"expected {layout}, found one split of a corpus; point to {whole}")
    return paths


def _places(
    inside: Mapping[Path, Path], by_folder: bool
) -> tuple[dict[Path, str], dict[Path, Path]]:
    """Return the split that each file's folder names, and the usable files' places within it.

    The place of a file within its split begins with its class.
    """
    splits: dict[Path, str] = {}
    used: dict[Path, Path] = {}
    for path, relative in inside.items():
        splits[path], place = _place(relative, by_folder)
        if len(place.parts) > 1 and bool(splits[path]) == by_folder:
            used[path] = place
    return splits, used


def _unused_notes(paths: Iterable[Path], used: Iterable[Path]) -> list[str]:
    left = sorted(set(paths) - set(used))
    if not left:
        return []
    return [f"{len(left)} audio files are in no folder of a class and not used: {some(left)}"]


def _place(relative: Path, by_folder: bool) -> tuple[str, Path]:
    """Return the split that a folder names, or an empty text, and the place within it."""
    place = Path(name_key(relative.as_posix()))
    if not by_folder:
        return "", place
    return split_of_folder(place.parts[0]), Path(*place.parts[1:])


def _class_recordings(places: Mapping[Path, Path], rule: str) -> tuple[dict[Path, str], list[str]]:
    """Return the recording of each file, whose place begins with its class."""
    if rule == "auto":
        return _automatic_recordings(places)
    named = {path: _RECORDINGS[rule](place) for path, place in places.items()}
    bare = sorted(path for path, name in named.items() if not name)
    if bare:
        wanted = "expected each clip in a folder of its recording inside the class"
        raise DataError(f"{wanted}, got {some(bare)}; use data.recording_from=file")
    return named, []


def _automatic_recordings(places: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Return recordings by folders, by prefixes with a digit, or by whole names."""
    names: dict[Path, str] = {}
    prefixes: dict[Path, str] = {}
    for path, place in places.items():
        folder = _recording_folder(place)
        names[path] = folder or recording_of(place).removeprefix(f"{place.parts[0]}/")
        prefixes[path] = folder or _identity(place) or names[path]
    # Prefixes count only if they give every class enough recordings to split.
    pairs = {(places[path].parts[0], name) for path, name in prefixes.items()}
    counts = Counter(label for label, _ in pairs)
    named = prefixes if min(counts.values()) >= _FEWEST_RECORDINGS else names
    if any(name != _whole_name(places[path]) for path, name in named.items()):
        return named, []
    return named, ["each file counts as a recording, since no name or folder says more"]


def _recording_folder(place: Path) -> str:
    """Return the first folder inside the class, or an empty text."""
    return place.parts[1] if len(place.parts) > 2 else ""


def _prefix(place: Path) -> str:
    return place.stem.partition("_")[0] or place.stem


def _whole_name(place: Path) -> str:
    """Return the path within the class, without its ending."""
    return Path(*place.parts[1:]).with_suffix("").as_posix()


_RECORDINGS: Mapping[str, Callable[[Path], str]] = {
    "folder": _recording_folder,
    "prefix": _prefix,
    "file": _whole_name,
}
"""How each rule but ``auto`` names the recording of a file, whose place begins with its class."""


def _identity(place: Path) -> str:
    """Return the begin of a name up to the first ``_`` if it holds a digit, as in ``a001_happy``.

    The text is empty where there is none.
    """
    first, underscore, _ = place.stem.partition("_")
    return first if underscore and any(character.isdigit() for character in first) else ""


def _apart(
    recordings: Mapping[Path, str], places: Mapping[Path, Path], splits: Mapping[Path, str]
) -> dict[Path, str]:
    """Keep files apart that have one name in two splits by chance, such as ``1.wav``.

    A name says nothing of a recording where it is the whole name of every file that has it.
    """
    keys = {path: (places[path].parts[0], name) for path, name in recordings.items()}
    telling = {
        keys[path] for path, name in recordings.items() if name != _whole_name(places[path])
    }
    apart = {}
    for path, name in recordings.items():
        apart[path] = name if keys[path] in telling else f"{splits[path]}/{name}"
    return apart


def _refuse_few(root: Path, classes: Sequence[str]) -> None:
    if len(classes) >= 2:
        return
    inner = next((entry for entry in sorted(root.iterdir()) if _folders_in(entry) >= 2), None)
    remedy = f"point to {inner}" if inner else "make one folder for each class"
    found = f"{', '.join(classes) or 'none'} ({root} holds {listing(root)})"
    raise DataError(
        f"expected at least 2 folders named after classes below {root}, found {found}; {remedy}"
    )


def _folders_in(place: Path) -> int:
    return sum(each.is_dir() for each in place.iterdir()) if place.is_dir() else 0
