"""What a list of labelled clips is, how folders named after classes become one, and which clips validate.

The lists of the TUT corpora are read in tut_lists.py; no audio is opened here, see
scene_corpus.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audioprune.data.files.audio import find_audio
from audioprune.data.files.lists import name_key
from audioprune.data.files.messages import listing
from audioprune.data.splits.assign import share_out
from audioprune.data.splits.folders import has_split_folders, split_of_folder
from audioprune.data.splits.recordings import Links, joined, recording_of
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
    """List the clips in folders named after classes, ``<class>/...`` or ``{train,valid,test}/<class>/...``.

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
    known_as = {path: Path(name_key(place.as_posix())) for path, place in inside.items()}
    places = {path: ("", place) for path, place in known_as.items()}
    if by_folder:
        places = {
            path: (split_of_folder(place.parts[0]), Path(*place.parts[1:]))
            for path, place in known_as.items()
        }
    used = {
        path: place
        for path, (name, place) in places.items()
        if len(place.parts) > 1 and bool(name) == by_folder
    }
    left = sorted(set(paths) - set(used))
    notes = (
        [f"{len(left)} audio files are in no folder of a class and not used: {some(left)}"]
        if left
        else []
    )
    classes = tuple(sorted({place.parts[0] for place in used.values()}))
    _refuse_few(root, classes)
    shared = not by_folder or split == "fraction"
    recordings, said = _class_recordings(used, recording_from)
    if not shared and recording_from == "auto":
        recordings = _apart(recordings, used, {path: name for path, (name, _) in places.items()})
    together = joined(
        {path: f"{place.parts[0]}/{recordings[path]}" for path, place in used.items()}, links
    )
    clips = [
        SceneClip(path, inside[path].as_posix(), place.parts[0], together[path], places[path][0])
        for path, place in used.items()
    ]
    if shared:
        clips = share_clips(clips, fractions, seed)
    refuse_unknown_classes(root, clips)
    how = (
        f"shares of each class's recordings by seed {seed}"
        if shared
        else "folders give the splits"
    )
    return SceneList(
        root,
        classes,
        tuple(clips),
        (*notes, *(said if shared else ())),
        rule=f"recordings by {recording_from}; {how}",
    )


def with_validation(scenes: SceneList, fraction: float, hold_out: bool, seed: int) -> SceneList:
    """Use training recordings for validation, a share of each class, unless there are validation clips already.

    In a class with a single recording single clips are used, which makes validation optimistic
    there.

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
        recordings = sorted({clip.recording for clip in own})
        units = recordings if len(recordings) > 1 else sorted(clip.relative for clip in own)
        single += [label] if len(recordings) == 1 else []
        if len(units) > 1 or (units and not hold_out):
            count = min(max(1, round(fraction * len(units))), len(units) - hold_out)
            chosen |= {
                units[i]
                for i in np.random.default_rng([seed, 4, place]).permutation(len(units))[:count]
            }
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
    notes = [
        f"{len(valid)} of {len(training)} training clips are used for validation"
        + ("" if hold_out else " and for training too")
    ]
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
    siblings = {
        split_of_folder(entry.name) for entry in root.resolve().parent.iterdir() if entry.is_dir()
    }
    if split_of_folder(root.resolve().name) and {"train", "test"} <= siblings:
        raise DataError(
            f"expected {layout}, found one split of a corpus; point to {root.resolve().parent}"
        )
    return paths


def _class_recordings(places: Mapping[Path, Path], rule: str) -> tuple[dict[Path, str], list[str]]:
    """Return the recording of each file, whose place begins with its class."""
    rules: dict[str, Callable[[Path], str]] = {
        "folder": lambda place: place.parts[1] if len(place.parts) > 2 else "",
        "prefix": lambda place: re.split("_", place.stem, maxsplit=1)[0] or place.stem,
        "file": lambda place: Path(*place.parts[1:]).with_suffix("").as_posix(),
        "identity": _identity,
        "name": lambda place: recording_of(place).removeprefix(f"{place.parts[0]}/"),
    }
    if rule != "auto":
        named = {path: rules[rule](place) for path, place in places.items()}
        bare = sorted(path for path, name in named.items() if not name)
        if bare:
            wanted = "expected each clip in a folder of its recording inside the class"
            raise DataError(f"{wanted}, got {some(bare)}; use data.recording_from=file")
        return named, []
    names = {
        path: rules["folder"](place) or rules["name"](place) for path, place in places.items()
    }
    named = {
        path: rules["folder"](place) or rules["identity"](place) or names[path]
        for path, place in places.items()
    }
    found = Counter(
        label for label, _ in {(places[path].parts[0], name) for path, name in named.items()}
    )
    if min(found.values()) < _FEWEST_RECORDINGS:
        named = names
    if any(name != rules["file"](places[path]) for path, name in named.items()):
        return named, []
    return named, ["each file counts as a recording, since no name or folder says more"]


def _identity(place: Path) -> str:
    """Return the begin of a name up to the first ``_`` if it holds a digit, as in ``a001_happy``; else an empty text."""
    first, underscore, _ = place.stem.partition("_")
    return first if underscore and any(character.isdigit() for character in first) else ""


def _apart(
    recordings: Mapping[Path, str], places: Mapping[Path, Path], splits: Mapping[Path, str]
) -> dict[Path, str]:
    """Keep files apart that have one name in two splits by chance, such as ``1.wav``: their names say nothing of a recording."""
    whole = {
        path: Path(*place.parts[1:]).with_suffix("").as_posix() for path, place in places.items()
    }
    telling = {
        (places[path].parts[0], name) for path, name in recordings.items() if name != whole[path]
    }
    chance = {
        path for path, name in recordings.items() if (places[path].parts[0], name) not in telling
    }
    return {
        path: f"{splits[path]}/{name}" if path in chance else name
        for path, name in recordings.items()
    }


def _refuse_few(root: Path, classes: Sequence[str]) -> None:
    if len(classes) >= 2:
        return
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir()]
    inner = next(
        (entry for entry in folders if sum(each.is_dir() for each in entry.iterdir()) >= 2), None
    )
    remedy = f"point to {inner}" if inner else "make one folder for each class"
    found = f"{', '.join(classes) or 'none'} ({root} holds {listing(root)})"
    raise DataError(
        f"expected at least 2 folders named after classes below {root}, found {found}; {remedy}"
    )
