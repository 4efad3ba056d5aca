"""A user's own folder of single notes, with the pitch of each in its file name: ``note_folder``.

How names are read is in names.py, how notes are split and cut in splits.py and corpus.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from audioprune.data.notes.corpus import NoteCorpus
from audioprune.data.notes.names import DEFAULT_VELOCITY, NameReading, read_name
from audioprune.data.notes.note import Note, NoteList
from audioprune.data.splits.corpus_folder import audio_below
from audioprune.data.splits.folders import has_split_folders, split_of_folder
from audioprune.errors import ConfigError, DataError
from audioprune.ranges import NoKey, PassedTo, Range

_LISTED = 20


def note_folder(
    root: str | Path,
    *,
    middle_c: Annotated[int, Range(3, 5)] = 4,
    title: Annotated[str, NoKey()] = "note_folder",
    **options: Annotated[Any, PassedTo(NoteCorpus)],
) -> NoteCorpus:
    """Return the corpus of the notes in any folder.

    Layouts: ``<root>/<instrument>/...``, ``<root>/<family>/<instrument>/...`` or notes in one
    folder, with or without train, valid and test folders above, which ``split="official"`` takes.
    Without a folder the text before the pitch names the instrument. Names are read as
    ``names.read_name`` says; notes without a pitch in their names are listed and not used.

    Args:
        root: The folder.
        middle_c: Octave of the MIDI pitch 60 in note names: 4, or 3 at some makers.
        title: Name in tables.
        **options: Any other argument of NoteCorpus.

    Raises:
        ConfigError: A value is out of its range.
    """
    if not isinstance(middle_c, int) or not 3 <= middle_c <= 5:
        raise ConfigError(
            f"expected middle_c as 3, 4 or 5, got {middle_c}; use 4 where A4 is 440 Hz"
        )
    place = Path(root).expanduser()

    def list_notes() -> NoteList:
        return list_folder(place, middle_c)

    return NoteCorpus(list_notes, title=title, **options)


def list_folder(root: Path, middle_c: int = 4) -> NoteList:
    """List the notes in a folder.

    Raises:
        DataError: The folder or its audio is missing, or no name says a pitch.
    """
    paths = audio_below(root, "note")
    official = has_split_folders([path.relative_to(root) for path in paths])
    notes, unreadable, loud = [], [], 0
    for path in paths:
        found = read_name(path.stem, middle_c)
        if found.pitch is None:
            unreadable.append(f"{path.relative_to(root)} {found.reason}")
        else:
            notes.append(_note(root, path, found, official))
            loud += found.velocity is None
    if not notes:
        raise DataError(
            f"{root}: expected pitches in file names, such as C#4, p060 or 060, found none; the "
            f"first {unreadable[0]}"
        )
    remarks = []
    if unreadable:
        more = f"; and {len(unreadable) - _LISTED} more" if len(unreadable) > _LISTED else ""
        remarks.append(
            f"{len(unreadable)} of {len(paths)} files say no pitch and are not used: "
            f"{'; '.join(unreadable[:_LISTED])}{more}"
        )
    if loud:
        remarks.append(
            f"{loud} of {len(notes)} notes say no velocity and count as {DEFAULT_VELOCITY}"
        )
    families = tuple(sorted({note.family for note in notes}))
    facts = {"listed": len(notes), "without_pitch": len(unreadable), "without_velocity": loud}
    return NoteList(root, tuple(notes), families, (), tuple(remarks), facts)


def _note(root: Path, path: Path, found: NameReading, official: bool) -> Note:
    relative = path.relative_to(root)
    folders = relative.parts[:-1]
    part = ""
    if official and folders:
        part, folders = split_of_folder(folders[0]), folders[1:]
    instrument = folders[-1] if folders else found.before or "unknown"
    family = folders[-2] if len(folders) >= 2 else instrument
    velocity = DEFAULT_VELOCITY if found.velocity is None else found.velocity
    name = "__".join(relative.with_suffix("").parts)
    return Note(path, name, found.pitch or 0, velocity, instrument, family, part)
