"""The notes of Studio-On-Line: TinySOL, OrchideaSOL and folders like them: ``tinysol``.

Files are named Abbr-technique-Pitch-dynamics-..., in folders of instruments. A table of metadata
counts where there is one, else names and folders. Any other folder is read by folder.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.files.audio import find_audio
from audioprune.data.files.checks import Finding
from audioprune.data.files.lists import Places, read_table
from audioprune.data.files.messages import listing
from audioprune.data.notes.corpus import NoteCorpus
from audioprune.data.notes.names import DEFAULT_VELOCITY, DYNAMICS, pitch_of_name
from audioprune.data.notes.note import PITCHES, Note, NoteList, listed_remarks
from audioprune.errors import DataError, unknown_name
from audioprune.ranges import NoKey, PassedTo, Range

_COLUMNS = (
    "Path",
    "Family",
    "Instrument (in full)",
    "Technique (in full)",
    "Pitch",
    "Pitch ID",
    "Dynamics",
)
_TRANSPOSED = re.compile(r"-R(?P<cents>\d+)(?P<to>[ud])$")
_FOLD_SPLITS = {"0": "test", "1": "valid"}


def tinysol(
    root: str | Path,
    *,
    techniques: Sequence[str] | None = None,
    notes_per_instrument: Annotated[int | None, Range(1)] = None,
    title: Annotated[str, NoKey()] = "tinysol",
    **options: Annotated[Any, PassedTo(NoteCorpus)],
) -> NoteCorpus:
    """Return the corpus of TinySOL notes below a folder.

    Args:
        root: Folder that holds
            ``audio/<Family>/<Instrument>/<technique>/<Abbr>-<tech>-<Pitch>-<dyn>-....wav`` and
            ``annotation/*metadata.csv``, or such folders without a table.
        techniques: Techniques to use, such as ``["ordinario"]``; None for all.
        notes_per_instrument: Notes drawn of each instrument; None for all.
        title: Name in tables.
        **options: Any other argument of NoteCorpus. ``split="official"`` tests on fold 0,
            validates on fold 1.

    Source: Cella et al. (2020), TinySOL, the open part of the Studio-On-Line that Esling et al.
    use.
    """
    place = Path(root).expanduser()

    def list_notes() -> NoteList:
        return list_sol(place, techniques)

    return NoteCorpus(
        list_notes, notes_per_instrument=notes_per_instrument, title=title, **options
    )


@dataclass(frozen=True)
class _Row:
    """What is known of one file."""

    path: Path
    family: str
    instrument: str
    technique: str
    pitch: int | None
    dynamics: str
    fold: str = ""
    named_pitch: int | None = None


def list_sol(root: Path, techniques: Sequence[str] | None = None) -> NoteList:
    """List the notes of a folder in the layout of Studio-On-Line.

    A row of the table without its file, or without a pitch, is a bad note; files that the table
    does not name are not used.

    Raises:
        DataError: The folder or its audio is missing, or a technique is unknown.
    """
    if not root.is_dir():
        raise DataError(
            f"expected audio/<Family>/<Instrument>/<technique>/ in {root}, found no such "
            f"folder; check the path"
        )
    table = _table(root)
    rows = list(_from_table(root, table) if table else _from_names(root))
    known = sorted({row.technique for row in rows})
    for technique in techniques or ():
        if technique not in known:
            raise DataError(f"{root}: {unknown_name('technique', technique, known)}")
    rows = [row for row in rows if not techniques or row.technique in techniques]
    good, bad = [], []
    for row in rows:
        reason = _fault(row)
        if reason:
            bad.append(Finding(row.path, "error", "metadata", reason))
        else:
            good.append(row)
    notes = sorted((_note(row, root) for row in good), key=lambda note: note.id)
    if not notes and not bad:
        raise DataError(f"expected notes in {root}, found {listing(root)}; check the path")
    remarks = _remarks(root, rows, table)
    facts = {
        "listed": len(notes),
        "techniques": sorted({row.technique for row in good}),
        "table": table.name if table else None,
    }
    families = tuple(sorted({note.family for note in notes}))
    return NoteList(root, tuple(notes), families, tuple(bad), tuple(remarks), facts)


def _table(root: Path) -> Path | None:
    """Return the table of metadata, if there is one."""
    tables = sorted(root.glob("annotation/*.csv")) + sorted(root.glob("*.csv"))
    return next((path for path in tables if _has_columns(path)), None)


def _has_columns(path: Path) -> bool:
    return set(_COLUMNS) <= set(read_table(path, "a CSV table of notes", errors="replace").header)


def _from_table(root: Path, table: Path) -> Iterator[_Row]:
    audio = root / "audio" if (root / "audio").is_dir() else root
    places = Places((audio,))
    for line in read_table(table, "a CSV table of notes").records():
        values = {key: (line.get(key) or "").strip() for key in (*_COLUMNS, "Fold")}
        number, named_pitch = values["Pitch ID"], pitch_of_name(values["Pitch"])
        yield _Row(
            path=places.find(values["Path"]) or audio / values["Path"],
            family=values["Family"],
            instrument=values["Instrument (in full)"],
            technique=values["Technique (in full)"],
            pitch=int(number) if number.isdigit() else named_pitch,
            dynamics=values["Dynamics"],
            fold=values["Fold"],
            named_pitch=named_pitch,
        )


def _from_names(root: Path) -> Iterator[_Row]:
    """Read family, instrument and technique from three folders, if there are, else from names."""
    audio = root / "audio" if (root / "audio").is_dir() else root
    for path in find_audio(audio):
        # Abbr-technique-Pitch-dynamics-...: the last token that is a pitch parts the name.
        tokens = path.stem.split("-")
        pitches = [pitch_of_name(token) for token in tokens]
        places = [place for place in range(1, len(tokens)) if pitches[place] is not None]
        place = places[-1] if places else len(tokens)
        folders = path.relative_to(audio).parts[:-1]
        if len(folders) >= 3:
            family, instrument, technique = folders[-3:]
        else:
            family = folders[0] if folders else "unknown"
            instrument, technique = tokens[0], "-".join(tokens[1:place])
        pitch = pitches[place] if places else None
        yield _Row(path, family, instrument, technique, pitch, "-".join(tokens[place + 1 :]))


def _fault(row: _Row) -> str:
    if row.pitch is None or not 0 <= row.pitch < PITCHES:
        return f"no pitch within 0..{PITCHES - 1} in its name or in the table"
    if not row.path.is_file():
        return "named in the table, without an audio file"
    return "" if row.instrument and row.family else "no instrument or family in the table"


def _note(row: _Row, root: Path) -> Note:
    place = row.path.relative_to(root).with_suffix("").as_posix()
    pitch = row.pitch or 0
    return Note(
        row.path,
        place.removeprefix("audio/").replace("/", "__"),
        pitch,
        _velocity(row.dynamics) or DEFAULT_VELOCITY,
        row.instrument,
        row.family,
        part=_FOLD_SPLITS.get(row.fold, "train") if row.fold else "",
        made_from=_made_from(row.path.stem, pitch),
    )


def _made_from(name: str, pitch: int) -> int | None:
    """Return the pitch that a note was transposed from; ``-R100u`` is made from 100 cents below.

    It is None where the name does not end so.
    """
    match = _TRANSPOSED.search(name)
    if not match:
        return None
    steps = round(int(match["cents"]) / 100)
    return pitch - steps if match["to"] == "u" else pitch + steps


def _velocity(dynamics: str) -> int | None:
    """Return the velocity of a marking, or of a marking at the begin of ``ff-N-N``."""
    text = dynamics.lower()
    for mark in sorted(DYNAMICS, key=len, reverse=True):
        if text == mark or text.startswith(f"{mark}-"):
            return DYNAMICS[mark]
    return None


def _remarks(root: Path, rows: Sequence[_Row], table: Path | None) -> list[str]:
    odd = [row.path.name for row in rows if row.named_pitch not in (None, row.pitch)]
    vague = [row.path.name for row in rows if _velocity(row.dynamics) is None]
    unlisted: list[str] = []
    if table:
        named = {row.path for row in rows}
        unlisted = [path.name for path in find_audio(root) if path not in named]
    return listed_remarks(
        {
            "notes have another pitch name than number in the table; the number counts": odd,
            f"notes have no known dynamic marking and count as velocity {DEFAULT_VELOCITY}": vague,
            "audio files are not in the table, or of another technique, and are not "
            "used": unlisted,
        }
    )
