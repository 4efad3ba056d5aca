"""Which clips the TUT corpora of acoustic scenes hold, by their published lists: ``list_tut``.

Lists are read as they are on disk, whatever their line ends, header or suffix. A part of a corpus
is accepted, with a note. No audio is opened here.
"""

from __future__ import annotations

from collections import Counter
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
            "beach", "bus", "cafe/restaurant", "car", "city_center", "forest_path",
            "grocery_store", "home", "library", "metro_station", "office", "park",
            "residential_area", "train", "tram",
        ),
        {0: (4680, 1620), 1: (3510, 1170), 2: (3507, 1173), 3: (3507, 1173), 4: (3510, 1170)},
    ),
    2018: TutCorpus(
        "TUT 2018",
        "TUT-urban-acoustic-scenes-2018-development",
        "",
        (
            "airport", "bus", "metro", "metro_station", "park", "public_square",
            "shopping_mall", "street_pedestrian", "street_traffic", "tram",
        ),
        {1: (6122, 2518)},
    ),
}  # fmt: skip
"""The corpora of Chen, Tables 3 and 4.

2017: the development set against the evaluation set; 2018: fold 1 of the development set.
"""


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

    A part of the corpus is accepted, with a note. The recording of a 2017 clip is its name up to
    the first ``_`` (for renamed evaluation clips, of the name in ``map.txt``), of a 2018 clip its
    city and location. Passages with errors are not left out.

    Args:
        root: Folder that holds the corpus's own folders.
        corpus: Which corpus.
        fold: 0 for development against evaluation, else the number of a fold.
        links: Files of the same audio, whose recordings are kept together.

    Raises:
        DataError: Folders or lists are missing, a label is unknown, or a file has two labels or is
            in training and test.
    """
    places = _lists(root, corpus, fold)
    known = _recordings(_folder(root, corpus.development))
    clips: list[SceneClip] = []
    notes: list[str] = []
    for place in places:
        found, said = _listed_clips(root, place, corpus, known)
        clips += found
        notes += said
    audio = {path for place in places for path in find_audio(place.folder / "audio")}
    unlisted = sorted(audio - {clip.path for clip in clips})
    if unlisted:
        notes.append(f"{len(unlisted)} audio files are in no list and not used: {some(unlisted)}")
    missing = _missing(clips, corpus.clips[fold])
    if missing:
        notes.append(f"not the whole published corpus: {missing}")
    together = joined({clip.path: clip.recording for clip in clips}, links)
    kept = tuple(replace(clip, recording=together[clip.path]) for clip in clips)
    rule = (
        "recordings (2017) or city and location (2018) as the corpus names them; its lists give "
        "training and test"
    )
    return SceneList(root, corpus.classes, kept, tuple(notes), missing, rule)


@dataclass(frozen=True)
class _List:
    """A list of clips: the corpus folder that holds it, its name there without ending, its use."""

    folder: Path
    name: str
    split: str


def _lists(root: Path, corpus: TutCorpus, fold: int) -> list[_List]:
    """Return the lists of training and test clips."""
    development = _folder(root, corpus.development)
    if fold:
        setup = f"evaluation_setup/fold{fold}"
        train, test = f"{setup}_train", f"{setup}_evaluate"
        return [_List(development, train, "train"), _List(development, test, "test")]
    hint = "; without it, cross-validate with data.fold=1"
    evaluation = _folder(root, corpus.evaluation, hint)
    setup = "evaluation_setup/evaluate"
    test = setup if _list_at(evaluation, setup) else "meta"
    return [_List(development, "meta", "train"), _List(evaluation, test, "test")]


def _missing(clips: Sequence[SceneClip], wanted: tuple[int, int]) -> str:
    """Say how many of the published clips there are; empty if it is all of them."""
    counts = Counter(clip.split for clip in clips)
    train, test = counts["train"], counts["test"]
    if (train, test) == wanted:
        return ""
    return f"{train} of {wanted[0]} training and {test} of {wanted[1]} test clips"


@dataclass(frozen=True)
class Row:
    """One line of a list; label and recording are empty where it has none."""

    number: int
    file: str
    label: str
    recording: str


def read_rows(path: Path) -> list[Row]:
    """Read a list of a TUT corpus.

    Columns are parted by tabs, semicolons or commas; a header, any line ends and a byte-order mark
    are accepted.

    Raises:
        DataError: The list is not text, or a row does not begin with the name of an audio file
            inside the corpus.
    """
    columns: Mapping[str, int] = {name: place for place, name in enumerate(_COLUMNS)}
    rows: list[Row] = []
    for line in read_cells(path, "a list of clips"):
        cells, number = line.cells, line.number
        header = None if rows else _header(cells)
        if header:
            columns = header
            continue
        values = {name: _cell(cells, columns.get(name)) for name in _COLUMNS}
        file = PurePosixPath(values["file"].replace("\\", "/"))
        if file.suffix.lower() not in AUDIO_SUFFIXES or file.is_absolute() or ".." in file.parts:
            raise DataError(
                f"{path}, row {number}: expected the name of an audio file of the corpus, got "
                f"'{values['file']}'; correct it"
            )
        rows.append(Row(number, file.as_posix(), values["label"], values["recording"]))
    return rows


def _cell(cells: Sequence[str], place: int | None) -> str:
    return cells[place] if place is not None and place < len(cells) else ""


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    """Return where the columns are, or None for a line that is no header."""
    names = [cell.lower() for cell in cells]
    found = {}
    for key, known in _COLUMNS.items():
        here = [name for name in known if name in names]
        if here:
            found[key] = names.index(here[-1])
    return found if "file" in found else None


def _listed_clips(
    root: Path, listed: _List, corpus: TutCorpus, known: Mapping[Path, Row]
) -> tuple[list[SceneClip], list[str]]:
    """Return the clips of one list that are on disk, and notes on what is doubled or missing."""
    folder = listed.folder
    place = _list_at(folder, listed.name)
    if place is None:
        raise DataError(
            f"expected {folder / listed.name}.txt or .csv, found {listing(folder)}; restore the "
            f"lists of the corpus"
        )
    renamed = _renamed(folder)
    clips: dict[Path, SceneClip] = {}
    doubled, absent = 0, []
    for row in read_rows(place):
        path = folder / row.file
        before = [clips[path].label] if path in clips else []
        _check_row(place, row, corpus.classes, before, known.get(path))
        if path in clips:
            doubled += 1
        elif not path.is_file():
            absent.append(row.file)
        else:
            named = row.recording or (known[path].recording if path in known else "")
            recording = named or recording_of(PurePosixPath(renamed.get(path.name, path.name)))
            relative = path.relative_to(root).as_posix()
            clips[path] = SceneClip(path, relative, row.label, recording, listed.split)
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
    earlier = (*before, meta.label if meta else "")
    other = [label for label in earlier if label and label != row.label]
    if other:
        raise DataError(
            f"{place}, row {row.number}: expected one label for {row.file}, got {other[0]} and "
            f"{row.label}; correct the lists"
        )


def _recordings(development: Path) -> dict[Path, Row]:
    """Return the rows of the development set's list by file, if there is such a list."""
    place = _list_at(development, "meta")
    return {development / row.file: row for row in read_rows(place)} if place else {}


def _renamed(folder: Path) -> dict[str, str]:
    """Return the names that renamed evaluation files had before, as ``map.txt`` gives them."""
    place = _list_at(folder, "evaluation_setup/map")
    if place is None:
        return {}
    return {
        PurePosixPath(row.file).name: PurePosixPath(row.label).name for row in read_rows(place)
    }


def _folder(root: Path, name: str, hint: str = "") -> Path:
    if (root / name).is_dir():
        return root / name
    near = [root.parent, root.parent.parent]
    found = "no such folder"
    if root.is_dir():
        near += root.iterdir()
        found = listing(root)
    right = next((place for place in near if (place / name).is_dir()), None)
    remedy = hint or "; check the path, or unpack the corpus there"
    if right:
        remedy = f"; point to {right}"
    raise DataError(f"expected the folder {name} in {root}, found {found}{remedy}")


def _list_at(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}{suffix}" for suffix in (".txt", ".csv"))
    return next((place for place in places if place.is_file()), None)
