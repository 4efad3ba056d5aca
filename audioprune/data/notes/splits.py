"""Which notes of a corpus are used, ``choose``, and which split each gets, ``split_notes``.

Corpora are read elsewhere; here notes have names and hashes only.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from audioprune.data.notes.note import Note
from audioprune.data.splits.folders import SPLITS
from audioprune.data.splits.recordings import Links, joined
from audioprune.data.splits.shares import check_fractions, share_out
from audioprune.errors import ConfigError, DataError, unknown_name

RULES = {
    "random": "takes of one instrument, pitch and velocity stay together, and notes of the same "
    "audio",
    "by_pitch": "notes of one instrument and pitch stay together, and notes of the same audio",
    "by_instrument": "notes of one instrument stay together, and instruments with the same audio",
    "official": "the corpus names the split of each note",
}
"""How notes are split, and what each rule keeps together."""
_SHARED = {
    "random": "notes",
    "by_pitch": "pitches of instruments",
    "by_instrument": "instruments",
}
"""What each rule shares out."""


def check_rule(split: str, fractions: Sequence[float]) -> None:
    """Refuse an unknown rule or fractions that are no shares.

    Raises:
        ConfigError: They are.
    """
    if split not in RULES:
        raise ConfigError(unknown_name("split", split, list(RULES)))
    check_fractions(fractions)


def choose(
    notes: Sequence[Note], per_instrument: int | None, seed: int
) -> tuple[list[Note], list[str]]:
    """Draw some notes of each instrument; an instrument with fewer gives all of them.

    Args:
        notes: All notes.
        per_instrument: Number of notes, or None for all.
        seed: Decides which; an instrument's notes do not depend on the other instruments.

    Returns:
        The notes, in their order, and a note to the user on instruments that have fewer.

    Source: Esling et al., Sec. 5: ten notes of each instrument.
    """
    if per_instrument is None:
        return list(notes), []
    by_instrument: dict[str, list[int]] = defaultdict(list)
    for place, note in enumerate(notes):
        by_instrument[note.instrument].append(place)
    chosen: list[int] = []
    few = []
    for instrument, places in sorted(by_instrument.items()):
        if len(places) < per_instrument:
            few.append(f"{instrument} ({len(places)})")
        # The draw does not depend on the order in which the reader found the notes.
        ordered = sorted(places, key=lambda place: notes[place].id)
        name = instrument.encode(errors="surrogateescape")
        drawn = np.random.default_rng([seed, zlib.crc32(name)]).permutation(len(ordered))
        chosen += [ordered[int(index)] for index in drawn[:per_instrument]]
    remarks = []
    if few:
        listed = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        remarks.append(
            f"{len(few)} of {len(by_instrument)} instruments have fewer than {per_instrument} "
            f"notes: {listed}"
        )
    return [notes[place] for place in sorted(chosen)], remarks


def split_notes(
    notes: Sequence[Note],
    rule: str,
    fractions: Sequence[float],
    seed: int,
    audio: Mapping[Path, str],
    root: Path,
    links: Links = (),
    groups: Mapping[Note, str] | None = None,
) -> dict[str, list[Note]]:
    """Give every note a split.

    Args:
        notes: The notes.
        rule: ``"random"`` shares out notes, of which the takes of one instrument, pitch and
            velocity stay together; ``"by_pitch"`` shares out pairs of instrument and pitch, so
            that no pitch of an instrument is in two splits in different loudness;
            ``"by_instrument"`` shares out instruments; ``"official"`` takes the split of the
            corpus. All but the last keep notes of the same audio together.
        fractions: Shares of train, valid and test.
        seed: Decides them.
        audio: Hash of each file's samples.
        root: Folder of the corpus, for messages.
        links: Files that are copies of one another.
        groups: What ``groups_of`` says of the notes, where it is known.

    Raises:
        DataError: There are too few notes, pitches or instruments, or the corpus has no split of
            its own.
    """
    if rule == "official":
        chosen = {note: note.part for note in notes}
        if not all(chosen.values()):
            raise DataError(
                f"{root}: expected a corpus with its own split, found notes without one; use "
                f"data.split=random"
            )
    else:
        keys = groups or groups_of(notes, rule, audio, links)
        names = sorted(set(keys.values()))
        if len(names) < len(SPLITS):
            raise DataError(
                f"{root}: expected at least 3 {_SHARED[rule]} to split them, found "
                f"{len(names)}; add notes or use another split"
            )
        shares = share_out(names, fractions, seed, "notes")
        chosen = {note: shares[keys[note]] for note in notes}
    pools: dict[str, list[Note]] = {split: [] for split in SPLITS}
    for note in notes:
        pools[chosen[note]].append(note)
    return pools


def groups_of(
    notes: Sequence[Note], rule: str, audio: Mapping[Path, str], links: Links = ()
) -> dict[Note, str]:
    """Return what each note is kept with by a rule; see ``split_notes``."""
    keys = {note: _key(note, rule, audio) for note in notes}
    # Each note is linked to the first one of the same audio, and to the first take of its note.
    first: dict[str, Note] = {}
    pairs = []
    for note in notes:
        if audio[note.path]:
            pairs.append((first.setdefault(audio[note.path], note), note))
    if rule == "random":
        pairs += [(first.setdefault(f"take {note.take}", note), note) for note in notes]
    by_path = {note.path: note for note in notes}
    for one, other in links:
        if one in by_path and other in by_path:
            pairs.append((by_path[one], by_path[other]))
    return joined(keys, pairs)


def _key(note: Note, rule: str, audio: Mapping[Path, str]) -> str:
    if rule == "random":
        return audio[note.path] or note.id
    return note.instrument if rule == "by_instrument" else f"{note.instrument} {note.pitch:03d}"
