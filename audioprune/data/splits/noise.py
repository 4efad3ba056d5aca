"""Which noise a file holds, and which of train and test it gets.

``assign_noise`` keeps the files of one recording together, so that no recording of the test set
also trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from audioprune.data.files.lists import name_key
from audioprune.data.files.messages import first_names
from audioprune.data.splits.assign import Assigned, inside_splits
from audioprune.data.splits.folders import below_splits, has_split_folders, split_of_folder
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.errors import DataError

NOISE_RULES = ("auto", "file")


def noise_of(relative: Path) -> str:
    """Return the name of a noise.

    It is the file name before its first ``_``, else the folder's name, else the whole file name.
    """
    relative = Path(name_key(relative.as_posix()))
    head, underscore, _ = relative.stem.partition("_")
    if underscore and head:
        return head
    folder = relative.parent.name
    return folder if folder and not split_of_folder(folder) else relative.stem


def assign_noise(
    root: Path,
    relative: Mapping[Path, Path],
    fractions: Sequence[float],
    seed: int,
    links: Links = (),
    noise_from: str = "auto",
) -> tuple[list[Assigned], list[str]]:
    """Give every noise file a name and a split; no test recording is used in training.

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

    Returns:
        The files with their places, and notes for the user.

    Raises:
        DataError: There are no split folders and fewer than two recordings.
    """
    by_file = noise_from == "file"
    keys = {}
    for path, place in relative.items():
        keys[path] = place.as_posix() if by_file else recording_of(below_splits(place), True)
    together = joined(keys, links)
    words = "noise files are recordings by their names"
    if by_file:
        words = "each noise file is a recording"
    if has_split_folders(list(relative.values())):
        used, notes = inside_splits(relative)
        said = f"{words}; folders give the splits"
        assigned = []
        for path, split in used.items():
            name = noise_of(Path(*relative[path].parts[1:]))
            assigned.append(Assigned(path, split, name, together[path], said))
        return assigned, notes
    groups = list(dict.fromkeys(together.values()))
    if len(groups) < 2:
        _refuse_one_recording(root, groups, len(relative), by_file)
    count = min(len(groups) - 1, max(1, round(fractions[2] * len(groups))))
    order = np.random.default_rng([seed, 2]).permutation(len(groups))
    test = {groups[int(index)] for index in order[:count]}
    said = f"{words}; shares of the recordings by seed {seed}"
    assigned = []
    for path, place in relative.items():
        split = "test" if together[path] in test else "train"
        assigned.append(Assigned(path, split, noise_of(place), together[path], said))
    return assigned, []


def _refuse_one_recording(root: Path, groups: Sequence[str], files: int, by_file: bool) -> None:
    found = str(len(groups))
    if files > 1:
        # Files of one sound stay together whatever they are called, so that parting files by name
        # helps only where the names joined them.
        apart = "data.noise_from=file parts those that sound different"
        if by_file:
            apart = "they hold the same audio"
        found += f" recording, {first_names(groups)}, in {files} files ({apart})"
    raise DataError(
        f"expected at least 2 noise files below {root} to keep one recording for the test, "
        f"found {found}; add files"
    )
