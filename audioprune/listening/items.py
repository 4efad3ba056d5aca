"""Which recordings a listening test holds: ``choose_items``.

They are drawn by seed from the test sets of a corpus, in turn from all genders, speakers and
conditions. What is done to them is in stimuli.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from audioprune.errors import ConfigError, DataError
from audioprune.protocols import Corpus, Items

_MOST_INSPECTED = 400
"""Recordings that are opened to know length and speaker; of a larger corpus, a draw of them."""
_NUMBERED = re.compile(r"^\d{6}_")
_SPEAKER = re.compile(r"^([A-Za-z]+\d+|\d+[A-Za-z]*|[A-Za-z]+)[-_]")


@dataclass(frozen=True)
class Item:
    """One recording of a listening test.

    Attributes:
        name: Unique name, fit for files and for a page's ids.
        clean: Reference samples, shape (T,).
        unprocessed: The same before any system: coded or noisy samples, shape (T,).
        condition: Test condition of the corpus.
        speaker: Speaker, empty where unknown.
        gender: ``F`` or ``M``, empty where the corpus does not tell.
        duration_s: Length in seconds.
    """

    name: str
    clean: np.ndarray
    unprocessed: np.ndarray
    condition: str
    speaker: str
    gender: str
    duration_s: float


def choose_items(
    corpus: Corpus,
    count: int,
    seed: int,
    duration_s: Sequence[float] = (3.0, 10.0),
    conditions: Sequence[str] = ("*",),
) -> list[Item]:
    """Draw recordings from the test sets of a corpus.

    They are balanced over genders, then speakers, then test conditions.

    Args:
        corpus: ``tests()`` returns data sets whose items hold ``noisy``, ``clean`` and ``id``;
            ``speaker`` and ``gender`` where known.
        count: Number of recordings.
        seed: Decides the draw.
        duration_s: Shortest and longest recording in seconds.
        conditions: Patterns of test conditions, such as ``*_0dB``.

    Raises:
        ConfigError: A number or pattern is wrong, or the corpus holds no pairs of signals.
        DataError: Too few recordings have the wanted length.
    """
    if len(duration_s) != 2 or not 0 < duration_s[0] <= duration_s[1]:
        raise ConfigError(
            f"expected duration_s as [shortest, longest] above 0, got {list(duration_s)}; use "
            f"[3, 10]"
        )
    sets = _wanted_sets(corpus, conditions)
    candidates = list(_candidates(sets, seed, corpus.sample_rate))
    fitting = [item for item in candidates if duration_s[0] <= item.duration_s <= duration_s[1]]
    if len(fitting) < count:
        found = [item.duration_s for item in candidates]
        raise DataError(
            f"expected {count} test items of {duration_s[0]:g} to {duration_s[1]:g} s, found "
            f"{len(fitting)} of {len(candidates)} "
            f"(lengths {min(found):.2f} to {max(found):.2f} s); choose fewer items or another "
            f"duration_s"
        )
    return _balanced(fitting, count)


def speaker_of(identity: str) -> str:
    """Return the speaker that an item's id names, such as ``p232`` in ``000004_p232_001``.

    The text is empty where the id names none.
    """
    match = _SPEAKER.match(_NUMBERED.sub("", identity))
    return match[1] if match else ""


def _wanted_sets(corpus: Corpus, patterns: Sequence[str]) -> dict[str, Items]:
    sets = corpus.tests()
    wanted = {}
    for name, items in sets.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            wanted[name] = items
    if not wanted:
        raise ConfigError(
            f"expected conditions that match one of {', '.join(sets)}, got "
            f"{', '.join(patterns)}; correct the patterns"
        )
    return wanted


def _candidates(sets: Mapping[str, Items], seed: int, sample_rate: int) -> Iterator[Item]:
    """Open items in an order drawn by seed.

    A recording that is in several conditions comes from one of them only.
    """
    places = [(name, index) for name, items in sets.items() for index in range(len(items))]
    order = np.random.default_rng([seed, 0]).permutation(len(places))[:_MOST_INSPECTED]
    seen: set[str] = set()
    for name, index in (places[place] for place in order):
        item = sets[name][index]
        missing = [key for key in ("noisy", "clean", "id") if key not in item]
        if missing:
            raise ConfigError(
                f"expected a corpus of noisy and clean signals, got items without "
                f"{', '.join(missing)}; choose another data="
            )
        made = _item(item, name, sample_rate)
        recording = made.name.removeprefix(f"{_slug(name)}_")
        if recording not in seen:
            seen.add(recording)
            yield made


def _item(item: Mapping[str, Any], condition: str, sample_rate: int) -> Item:
    identity = str(item["id"])
    clean = np.asarray(item["clean"], np.float64)
    return Item(
        name=f"{_slug(condition)}_{_slug(identity)}",
        clean=clean,
        unprocessed=np.asarray(item["noisy"], np.float64),
        condition=condition,
        speaker=str(item.get("speaker") or speaker_of(identity)),
        gender=str(item.get("gender") or ""),
        duration_s=len(clean) / sample_rate,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "item"


def _balanced(items: Sequence[Item], count: int) -> list[Item]:
    """Take items one by one, each of the gender, speaker and condition that were taken least.

    Ties go to the place in the draw.
    """
    genders: Counter[str] = Counter()
    speakers: Counter[str] = Counter()
    conditions: Counter[str] = Counter()

    def uses(item: Item) -> tuple[int, int, int]:
        return genders[item.gender], speakers[item.speaker], conditions[item.condition]

    taken: list[Item] = []
    left = list(items)
    while len(taken) < count:
        best = min(left, key=uses)
        left.remove(best)
        taken.append(best)
        genders[best.gender] += 1
        speakers[best.speaker] += 1
        conditions[best.condition] += 1
    return taken
