"""What a file name says of a note, its pitch and how loud it was played: ``read_name``.

Which part of a path is read is decided by the readers of the corpora.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from audioprune.data.notes.note import PITCHES

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "s": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
_SCIENTIFIC = re.compile(r"([A-Ga-g])(#|♯|sharp|s|♭|flat|b)?(-?\d)")
_TOKEN = re.compile(r"(?<![^\W_])([A-Ga-g](?:#|♯|sharp|s|♭|flat|b)?-?\d)(?![^\W_])")
_MARKED = re.compile(r"(?<![^\W_])(?:p|n|midi|note|pitch)_?(\d{1,3})(?![^\W_])", re.IGNORECASE)
_PITCH_VELOCITY = re.compile(r"(?<![^\W_])(\d{3})[-_](\d{3})$")
_BARE = re.compile(r"(?<![^\W_])(\d{2,3})(?![^\W_])")
_VELOCITY = re.compile(r"(?<![^\W_])(?:v|vel|velocity)_?(\d{1,3})(?![^\W_])", re.IGNORECASE)

DYNAMICS = {
    "ppp": 12, "pp": 25, "p": 50, "mp": 62, "mf": 75, "f": 100, "ff": 127, "fff": 127,
    "pianissimo": 25, "piano": 50, "mezzo-piano": 62,
    "mezzo-forte": 75, "forte": 100, "fortissimo": 127,
}  # fmt: skip
"""Velocity of each dynamic marking; pp, p, mf, f and ff are the five velocities of NSynth."""
DEFAULT_VELOCITY = 100


def pitch_of_name(name: str, middle_c: int = 4) -> int | None:
    """Return the MIDI pitch of a name such as ``C#4``, ``Bb3`` or ``As-1``.

    It is None where the name is none, or of a pitch outside 0..127.

    Args:
        name: Letter, accidental (``#``, ``s`` or ``sharp``; ``b`` or ``flat``) and octave.
        middle_c: Octave of the pitch 60, 4 in scientific notation, 3 at some makers.
    """
    match = _SCIENTIFIC.fullmatch(name)
    if not match:
        return None
    letter, accidental, octave = match.groups()
    step = _STEPS[letter.upper()] + _ACCIDENTALS[accidental or ""]
    pitch = 60 + 12 * (int(octave) - middle_c) + step
    return pitch if 0 <= pitch < PITCHES else None


@dataclass(frozen=True)
class NameReading:
    """What the name of a file says.

    Attributes:
        pitch: MIDI pitch, or None where the name says none or several.
        velocity: MIDI velocity, or None where it says none.
        before: The text before the pitch, without the separator.
        reason: Why there is no pitch; empty if there is one.
    """

    pitch: int | None
    velocity: int | None = None
    before: str = ""
    reason: str = ""


def read_name(stem: str, middle_c: int = 4) -> NameReading:
    """Read pitch and velocity from the name of a file.

    The first rule that finds something decides: a pitch and a velocity of three digits each at the
    end, as in ``organ_000-060-100``; a number marked by p, n, midi, note or pitch, as in ``p060``;
    a note name in capitals, as in ``C#4`` or ``Bb3``; one in small letters; a number of two or
    three digits. Words and numbers stand between characters that are neither letters nor digits.
    Where a rule finds several pitches, the name says none. Velocity: ``v100`` or ``vel100``, or a
    dynamic marking such as ``mf`` or ``forte`` after the pitch.

    Args:
        stem: Name without its ending.
        middle_c: Octave of the pitch 60 in note names.
    """
    pair = _PITCH_VELOCITY.search(stem)
    if pair and max(int(pair[1]), int(pair[2])) < PITCHES:
        return NameReading(int(pair[1]), int(pair[2]), _before(stem, pair.start()))
    for found in _pitches_by_rule(stem, middle_c):
        if len({pitch for _, pitch in found}) > 1:
            listed = ", ".join(match[0] for match, _ in found)
            return NameReading(None, reason=f"names several pitches ({listed})")
        if found:
            match, pitch = found[0]
            velocity = _velocity(stem, stem[match.end() :])
            return NameReading(pitch, velocity, _before(stem, match.start()))
    return NameReading(None, reason="names no pitch")


def _pitches_by_rule(stem: str, middle_c: int) -> Iterator[list[tuple[re.Match[str], int]]]:
    """Yield what each rule finds, in the order in which the rules decide."""
    names = list(_TOKEN.finditer(stem))
    capital = [match for match in names if match[1][0].isupper()]
    small = [match for match in names if match[1][0].islower()]
    yield _usable([(match, int(match[1])) for match in _MARKED.finditer(stem)])
    yield _usable([(match, pitch_of_name(match[1], middle_c)) for match in capital])
    yield _usable([(match, pitch_of_name(match[1], middle_c)) for match in small])
    yield _usable([(match, int(match[1])) for match in _BARE.finditer(stem)])


def _usable(
    found: list[tuple[re.Match[str], int | None]],
) -> list[tuple[re.Match[str], int]]:
    return [(match, pitch) for match, pitch in found if pitch is not None and pitch < PITCHES]


def _velocity(stem: str, after: str) -> int | None:
    """Return the marked velocity of a name, or that of a dynamic marking after its pitch."""
    marked = _VELOCITY.search(stem)
    if marked:
        return int(marked[1]) if int(marked[1]) < PITCHES else None
    words = re.split(r"[\s_.]|(?<!mezzo)-", after.lower())
    return next((DYNAMICS[word] for word in words if word in DYNAMICS), None)


def _before(stem: str, end: int) -> str:
    return stem[:end].rstrip(" _-.")
