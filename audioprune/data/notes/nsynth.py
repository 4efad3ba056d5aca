"""The notes of NSynth as it is unpacked: ``nsynth``, ``list_nsynth``.

The folders nsynth-train, nsynth-valid and nsynth-test hold audio and examples.json. How notes are
drawn, split and cut is decided in splits.py and corpus.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.files.audio import AUDIO_SUFFIXES, find_audio
from audioprune.data.files.checks import Finding
from audioprune.data.files.messages import listing
from audioprune.data.notes.corpus import NoteCorpus
from audioprune.data.notes.note import PITCHES, Note, NoteList, listed_remarks
from audioprune.data.splits.folders import split_of_folder
from audioprune.errors import DataError, unknown_name
from audioprune.plain.sealing import refuse_deep
from audioprune.ranges import NoKey, PassedTo, Range

FAMILIES = (
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
)
"""The families of NSynth; a place here is the number in the field ``instrument_family``."""
SOURCES = ("acoustic", "electronic", "synthetic")
METADATA = "examples.json"
_NAME = re.compile(r"(?P<instrument>.+)-(?P<pitch>\d{3})-(?P<velocity>\d{3})")


def nsynth(
    root: str | Path,
    *,
    families: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    notes_per_instrument: Annotated[int | None, Range(1)] = 10,
    title: Annotated[str, NoKey()] = "nsynth",
    **options: Annotated[Any, PassedTo(NoteCorpus)],
) -> NoteCorpus:
    """Return the corpus of the NSynth notes below a folder.

    The parts that are there are pooled: the training part alone lacks the instruments of the two
    others.

    Args:
        root: Folder that holds ``nsynth-train``, ``nsynth-valid`` and ``nsynth-test``, or some of
            them.
        families: Families to use, such as ``["flute"]``; None for all.
        sources: Of ``acoustic``, ``electronic`` and ``synthetic``; None for all.
        notes_per_instrument: Notes drawn of each instrument; None for all.
        title: Name in tables.
        **options: Any other argument of NoteCorpus.

    Source: Engel et al. (2017), NSynth; Esling et al., Sec. 5: ten notes of each of 1,006
    instruments.
    """
    place = Path(root).expanduser()

    def list_notes() -> NoteList:
        return list_nsynth(place, families, sources)

    return NoteCorpus(
        list_notes, notes_per_instrument=notes_per_instrument, title=title, **options
    )


@dataclass
class _Reading:
    """What the metadata of all parts gave.

    Attributes:
        notes: The usable notes by name.
        findings: Notes that the metadata names but that cannot be used.
        left_over: Files that the metadata does not name.
        repeated: Names of notes that are there twice.
        contradictory: Notes whose name says something else than their metadata.
    """

    notes: dict[str, Note] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)


def list_nsynth(
    root: Path, families: Sequence[str] | None = None, sources: Sequence[str] | None = None
) -> NoteList:
    """Read the metadata of all parts and find their files.

    A note without a file, or with values that are no pitch, velocity or name, is a bad note. Files
    that the metadata does not name are not used. Where name and metadata of a note differ, the
    metadata counts; where two parts name the same note, the first.

    Raises:
        DataError: There is no part, or the metadata of one cannot be read.
    """
    reading = _Reading()
    parts = _parts(root)
    for part in parts:
        _read_part(part, reading, sources)
    notes = sorted(reading.notes.values(), key=lambda note: note.id)
    known = (*FAMILIES, *sorted({note.family for note in notes} - set(FAMILIES)))
    for family in families or ():
        if family not in known:
            raise DataError(f"{root}: {unknown_name('family', family, known)}")
    chosen = tuple(note for note in notes if not families or note.family in families)
    if not chosen and not reading.findings:
        raise DataError(
            f"{root}: expected notes of {', '.join(families or sources or ['any family'])}, "
            f"found none; choose others"
        )
    facts = {
        "parts": [part.name for part in parts],
        "listed": len(chosen),
        "files_without_metadata": len(reading.left_over),
    }
    remarks = tuple(_remarks(root, parts, reading))
    return NoteList(root, chosen, known, tuple(reading.findings), remarks, facts)


def _parts(root: Path) -> list[Path]:
    """Return the folders with metadata, in alphabetical order; the root itself may be one."""
    layout = "folders nsynth-train, nsynth-valid and nsynth-test with audio/ and examples.json"
    if not root.is_dir():
        raise DataError(f"expected {layout} in {root}, found no such folder; check the path")
    if (root / METADATA).is_file():
        return [root]
    found = sorted(path.parent for path in root.glob(f"*/{METADATA}"))
    if not found:
        raise DataError(
            f"expected {layout} in {root}, found {listing(root)}; unpack the corpus there or "
            f"correct the path"
        )
    return found


def _read_part(part: Path, reading: _Reading, sources: Sequence[str] | None) -> None:
    records, repeated = _records(part / METADATA)
    reading.repeated += repeated
    folder = part / "audio" if (part / "audio").is_dir() else part
    files = {path.stem: path for path in find_audio(folder, AUDIO_SUFFIXES)}
    reading.left_over += [path.name for name, path in files.items() if name not in records]
    split = split_of_folder(part.name.removeprefix("nsynth-"))
    for name, record in records.items():
        if sources and not _is_from(record, sources):
            continue
        path = files.get(name)
        reason = f"named in {part.name}/{METADATA}, without an audio file"
        if path:
            reason = _fault(record)
        if path is None or reason:
            place = path or folder / f"{name}.wav"
            reading.findings.append(Finding(place, "error", "metadata", reason))
        elif name in reading.notes:
            reading.repeated.append(name)
        else:
            reading.notes[name] = _note(path, name, record, split)
            if _contradicts(name, record):
                reading.contradictory.append(name)


def _is_from(record: Any, sources: Sequence[str]) -> bool:
    """Tell whether a note is of one of the sources; records that are none at all are kept."""
    return not isinstance(record, dict) or record.get("instrument_source_str") in sources


def _contradicts(name: str, record: Mapping[str, Any]) -> bool:
    """Tell whether a name says another pitch or velocity than the metadata."""
    match = _NAME.fullmatch(name)
    if not match:
        return False
    said = (int(match["pitch"]), int(match["velocity"]))
    return said != (record["pitch"], record["velocity"])


def _records(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the records of a metadata file and the names that it holds more than once."""
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in items:
            if isinstance(value, dict) and name in found:
                repeated.append(name)
            found[name] = value
        return found

    try:
        records = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs)
        refuse_deep(records)
    except (OSError, ValueError, RecursionError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(
            f"{path}: expected the metadata of NSynth as JSON, got {reason}; unpack the corpus "
            f"again"
        ) from error
    if not isinstance(records, dict):
        raise DataError(
            f"{path}: expected a JSON object of notes by name, got {type(records).__name__}; "
            f"unpack the corpus again"
        )
    return records, repeated


def _fault(record: Any) -> str:
    """Say what is wrong with the record of a note; empty when nothing is."""
    if not isinstance(record, dict):
        return f"metadata that is no object but {type(record).__name__}"
    for key in ("pitch", "velocity"):
        value = record.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < PITCHES:
            return f"metadata with {key} {value!r}, expected 0..127"
    for key in ("instrument_str", "instrument_family_str"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"metadata with {key} {record.get(key)!r}, expected a name"
    return ""


def _note(path: Path, name: str, record: dict[str, Any], part: str) -> Note:
    return Note(
        path,
        name,
        record["pitch"],
        record["velocity"],
        record["instrument_str"],
        record["instrument_family_str"],
        part,
    )


def _remarks(root: Path, parts: Sequence[Path], reading: _Reading) -> list[str]:
    remarks = listed_remarks(
        {
            "audio files are not in the metadata and are not used": reading.left_over,
            "notes are named twice; the first counts": reading.repeated,
            "notes have another pitch or velocity in their name than in the metadata, which "
            "counts": reading.contradictory,
        }
    )
    whole = {"nsynth-train", "nsynth-valid", "nsynth-test"}
    missing = sorted(whole - {part.name for part in parts})
    if missing and parts != [root]:
        remarks.append(f"a part of NSynth only: {', '.join(missing)} not in {root}")
    return remarks
