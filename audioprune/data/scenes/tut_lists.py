"""Which clips the TUT corpora of acoustic scenes hold, as their published lists say.

Lists are read as they lie on disk, whatever their line ends, header or suffix; a part of a corpus
is accepted and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from audioprune.data.files.audio import AUDIO_SUFFIXES, find_audio
from audioprune.data.files.lists import read_cells
from audioprune.data.files.messages import listing
from audioprune.data.scenes.lists import SceneClip, SceneList, some
from audioprune.data.splits.recordings import Links, joined, recording_of
from audioprune.errors import ConfigError, DataError, unknown_name

_COLUMNS = {
    "file": ("filename", "file"),
    "label": ("scene_label", "label", "scene"),
    "recording": ("identifier", "recording"),
}


@dataclass(frozen=True)
class TutCorpus:
    """One of the published TUT corpora.

    Attributes:
        title: Name in tables.
        development: Its folder.
        evaluation: Folder of the labelled evaluation set; empty where there is none.
        classes: Its classes.
        clips: Training and test clips of each fold; fold 0 is development against evaluation.
    """

    title: str
    development: str
    evaluation: str
    classes: tuple[str, ...]
    clips: Mapping[int, tuple[int, int]]


TUT = {
    2017: TutCorpus(
        "TUT 2017",
        "TUT-acoustic-scenes-2017-development",
        "TUT-acoustic-scenes-2017-evaluation",
        (
            "beach", "bus", "cafe/restaurant", "car", "city_center", "forest_path", "grocery_store", "home", "library", "metro_station",
            "office", "park", "residential_area", "train", "tram",
        ),
        {0: (4680, 1620), 1: (3510, 1170), 2: (3507, 1173), 3: (3507, 1173), 4: (3510, 1170)},
    ),
    2018: TutCorpus(
        "TUT 2018",
        "TUT-urban-acoustic-scenes-2018-development",
        "",
        (
            "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian", "street_traffic",
            "tram",
        ),
        {1: (6122, 2518)},
    ),
}  # fmt: skip
"""The corpora of Chen, Tables 3 and 4: development against evaluation (2017), fold 1 of the development set (2018)."""


def tut_corpus(year: int, fold: int | None) -> tuple[TutCorpus, int]:
    """Return a published corpus and the number of its fold, the paper's for None.

    Raises:
        ConfigError: There is no such year or fold.
    """
    if year not in TUT:
        raise ConfigError(f"expected year 2017 or 2018, got {year}; choose one of them")
    corpus = TUT[year]
    chosen = min(corpus.clips) if fold is None else fold
    if chosen not in corpus.clips or fold == 0:
        known = [each for each in corpus.clips if each]
        raise ConfigError(
            f"expected fold {', '.join(map(str, known))} or null for the paper's split, got "
            f"{fold}; choose one of them"
        )
    return corpus, chosen


def list_tut(root: Path, corpus: TutCorpus, fold: int, links: Links = ()) -> SceneList:
    """List the training and test clips of a TUT corpus.

    A part of the corpus is accepted and said. The recording of a 2017 clip is its name up to the
    first ``_`` (for renamed evaluation clips, of the name in ``map.txt``), of a 2018 clip its city
    and location. Passages with errors are not left out.

    Args:
        root: Folder that holds the corpus's own folders.
        corpus: Which corpus.
        fold: 0 for development against evaluation, else the number of a fold.
        links: Files of the same audio, whose recordings are kept together.

    Raises:
        DataError: Folders or lists are missing, a label is unknown, or a file has two labels or is
            in training and test.
    """
    development = _folder(root, corpus.development)
    if fold:
        setup = f"evaluation_setup/fold{fold}"
        places = [
            (development, f"{setup}_train", "train"),
            (development, f"{setup}_evaluate", "test"),
        ]
    else:
        evaluation = _folder(
            root, corpus.evaluation, "; without it, cross-validate with data.fold=1"
        )
        setup = (
            "evaluation_setup/evaluate"
            if _list_at(evaluation, "evaluation_setup/evaluate")
            else "meta"
        )
        places = [(development, "meta", "train"), (evaluation, setup, "test")]
    known = _recordings(development)
    clips: list[SceneClip] = []
    notes: list[str] = []
    for folder, name, split in places:
        found, said = _listed_clips(root, folder, name, split, corpus, known)
        clips, notes = clips + found, notes + said
    unlisted = [
        path
        for folder in dict.fromkeys(folder for folder, _, _ in places)
        for path in find_audio(folder / "audio")
    ]
    unlisted = sorted(set(unlisted) - {clip.path for clip in clips})
    notes += (
        [f"{len(unlisted)} audio files are in no list and not used: {some(unlisted)}"]
        if unlisted
        else []
    )
    counts = tuple(sum(clip.split == split for clip in clips) for split in ("train", "test"))
    wanted = corpus.clips[fold]
    missing = (
        f"{counts[0]} of {wanted[0]} training and {counts[1]} of {wanted[1]} test clips"
        if counts != wanted
        else ""
    )
    notes += [f"not the whole published corpus: {missing}"] if missing else []
    together = joined({clip.path: clip.recording for clip in clips}, links)
    kept = tuple(replace(clip, recording=together[clip.path]) for clip in clips)
    rule = (
        "recordings (2017) or city and location (2018) as the corpus names them; its lists give "
        "training and test"
    )
    return SceneList(root, corpus.classes, kept, tuple(notes), missing, rule)


@dataclass(frozen=True)
class Row:
    """One line of a list: its number, file, label (or an empty text) and recording (or an empty text)."""

    number: int
    file: str
    label: str
    recording: str


def read_rows(path: Path) -> list[Row]:
    """Read a list of a TUT corpus: tabs, semicolons or commas, with or without a header, any line ends, with or without a byte-order mark.

    Raises:
        DataError: The list is not text, or a row does not begin with the name of an audio file
            inside the corpus.
    """
    columns: Mapping[str, int] = {name: place for place, name in enumerate(_COLUMNS)}
    rows: list[Row] = []
    for line in read_cells(path, "a list of clips"):
        cells, number = line.cells, line.number
        if not rows and _header(cells) is not None:
            columns = _header(cells) or columns
            continue
        values = {
            name: cells[columns[name]] if columns.get(name, len(cells)) < len(cells) else ""
            for name in _COLUMNS
        }
        file = PurePosixPath(values["file"].replace("\\", "/"))
        if file.suffix.lower() not in AUDIO_SUFFIXES or file.is_absolute() or ".." in file.parts:
            raise DataError(
                f"{path}, row {number}: expected the name of an audio file of the corpus, got "
                f"'{values['file']}'; correct it"
            )
        rows.append(Row(number, file.as_posix(), values["label"], values["recording"]))
    return rows


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    names = [cell.lower() for cell in cells]
    found = {
        key: names.index(name)
        for key, known in _COLUMNS.items()
        for name in known
        if name in names
    }
    return found if "file" in found else None


def _listed_clips(
    root: Path, folder: Path, name: str, split: str, corpus: TutCorpus, known: Mapping[Path, Row]
) -> tuple[list[SceneClip], list[str]]:
    """Return the clips of one list that are on disk, and notes on what is doubled or missing."""
    place = _list_at(folder, name)
    if place is None:
        raise DataError(
            f"expected {folder / name}.txt or .csv, found {listing(folder)}; restore the lists "
            f"of the corpus"
        )
    renamed = _renamed(folder)
    clips: dict[Path, SceneClip] = {}
    doubled, absent = 0, []
    for row in read_rows(place):
        path = folder / row.file
        _check_row(
            place,
            row,
            corpus.classes,
            [clips[path].label] if path in clips else [],
            known.get(path),
        )
        if path in clips:
            doubled += 1
        elif not path.is_file():
            absent.append(row.file)
        else:
            listed = row.recording or (known[path].recording if path in known else "")
            recording = listed or recording_of(PurePosixPath(renamed.get(path.name, path.name)))
            clips[path] = SceneClip(
                path, path.relative_to(root).as_posix(), row.label, recording, split
            )
    if not clips:
        raise DataError(
            f"{place}: expected its files in {folder}, found none of {len(absent)} "
            f"({some(absent)}); unpack the audio there"
        )
    notes = [f"{place}: {doubled} rows are doubled"] if doubled else []
    notes += [f"{place}: {len(absent)} files are not there: {some(absent)}"] if absent else []
    return list(clips.values()), notes


def _check_row(
    place: Path, row: Row, classes: Sequence[str], before: Sequence[str], meta: Row | None
) -> None:
    if not row.label:
        raise DataError(
            f"{place}, row {row.number}: expected a label after {row.file}, got none; use a "
            f"list with labels"
        )
    if row.label not in classes:
        raise DataError(
            f"{place}, row {row.number}: {unknown_name('scene', row.label, classes)}; correct "
            f"the label or the data.year"
        )
    other = [
        label for label in (*before, meta.label if meta else "") if label and label != row.label
    ]
    if other:
        raise DataError(
            f"{place}, row {row.number}: expected one label for {row.file}, got {other[0]} and "
            f"{row.label}; correct the lists"
        )


def _recordings(development: Path) -> dict[Path, Row]:
    """Return the rows of the development set's list by file; nothing where there is no such list."""
    place = _list_at(development, "meta")
    return {development / row.file: row for row in read_rows(place)} if place else {}


def _renamed(folder: Path) -> dict[str, str]:
    """Return the names that renamed evaluation files had before, as ``map.txt`` gives them."""
    place = _list_at(folder, "evaluation_setup/map")
    return (
        {PurePosixPath(row.file).name: PurePosixPath(row.label).name for row in read_rows(place)}
        if place
        else {}
    )


def _folder(root: Path, name: str, hint: str = "") -> Path:
    if (root / name).is_dir():
        return root / name
    right = next(
        (parent for parent in (root.parent, root.parent.parent) if (parent / name).is_dir()), None
    )
    inner = [entry for entry in root.iterdir() if (entry / name).is_dir()] if root.is_dir() else []
    point = right or (inner[0] if inner else None)
    found = listing(root) if root.is_dir() else "no such folder"
    remedy = (
        f"; point to {point}" if point else hint or "; check the path, or unpack the corpus there"
    )
    raise DataError(f"expected the folder {name} in {root}, found {found}{remedy}")


def _list_at(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}{suffix}" for suffix in (".txt", ".csv"))
    return next((place for place in places if place.is_file()), None)
