"""A flipped bit, a cut or moved rows in every file that a run reads back: found, or no matter."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from faults.record import record
from faults.stored_files import STORED, outcome

FEW, MANY = 24, 10_000
FAST = [kind for kind in STORED if kind not in ("generated WAV", "generated text")]
NUMBER = {"packed": "C18", "dense": "C18", "training": "C18", "weights": "C18", "generated": "C26"}
NUMBER |= {"results": "C29", "record": "C29", "scores": "C29", "table": "C29", "log": "C29"}


def _number(kind: str) -> str:
    return NUMBER.get(kind.split()[0], "C26")


def _flipped(kind: str, folder: Path, count: int) -> Counter[str]:
    """Flip one random bit at a time and count what came of it."""
    stored = STORED[kind]
    path = stored.make(folder)
    data, wanted = path.read_bytes(), stored.read(path)
    pick, found = random.Random(f"{kind} {count}"), Counter[str]()
    for _ in range(count):
        bit = pick.randrange(8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        came = outcome(stored, path, bytes(changed), wanted)
        assert came != "silent", f"{kind}: bit {bit % 8} of byte {bit // 8} of {len(data)}"
        found[came] += 1
    path.write_bytes(data)
    assert outcome(stored, path, data, wanted) == "harmless"
    return found


@pytest.mark.faults("C18", "C26", "C29")
@pytest.mark.parametrize("kind", FAST)
def test_a_flipped_bit_is_found_or_cannot_matter(kind: str, tmp_path: Path) -> None:
    assert _flipped(kind, tmp_path, FEW)["found"] > FEW // 2


@pytest.mark.slow
@pytest.mark.faults("C18", "C26", "C29")
@pytest.mark.parametrize("kind", STORED)
def test_ten_thousand_flipped_bits(kind: str, place: Path) -> None:
    # a generated corpus has four kinds of file
    count = MANY // 4 if "generated" in kind else MANY
    found = _flipped(kind, place, count)
    told = f"{kind}: {count} flips, {found['found']} found, {found['harmless']} without effect"
    record(_number(kind), f"{told}, 0 silent")


def _cuts(length: int, most: int) -> list[int]:
    """Return lengths of every class: none, a few bytes, evenly spread, all but a few."""
    spread = [length * part // most for part in range(most)]
    ends = min(most, 12)
    return sorted({*range(min(ends, length)), *spread, *range(max(0, length - ends), length)})


def _cut(kind: str, folder: Path, most: int) -> int:
    stored = STORED[kind]
    path = stored.make(folder)
    data, wanted = path.read_bytes(), stored.read(path)
    cuts = _cuts(len(data), most)
    for length in cuts:
        came = outcome(stored, path, data[:length], wanted)
        # a file without its last line end, or with less white space, says the same
        assert came == "found" or (came == "harmless" and length >= len(data) - 2), (kind, length)
    return len(cuts)


@pytest.mark.faults("C18", "C26", "C29")
@pytest.mark.parametrize("kind", FAST)
def test_a_cut_file_is_found_at_every_length(kind: str, tmp_path: Path) -> None:
    _cut(kind, tmp_path, 4)


@pytest.mark.slow
@pytest.mark.faults("C18", "C26", "C29")
@pytest.mark.parametrize("kind", STORED)
def test_five_hundred_cuts(kind: str, place: Path) -> None:
    record(_number(kind), f"{kind}: cut at {_cut(kind, place, 500)} lengths, 0 silent")


@pytest.mark.faults("C29")
@pytest.mark.parametrize("kind", ["results", "table of a step", "scores of items"])
@pytest.mark.parametrize("how", ["swapped", "doubled", "lost", "moved"])
def test_moved_rows_are_found(kind: str, how: str, tmp_path: Path) -> None:
    stored = STORED[kind]
    path = stored.make(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    first = len(lines) - 2  # the header of a table stays where it is
    other = {
        "swapped": [*lines[:first], lines[-1], lines[-2]],
        "doubled": [*lines, lines[-1]],
        "lost": lines[:-1],
        "moved": [*lines[:first], *reversed(lines[first:])],
    }[how]
    assert outcome(stored, path, b"".join(other), stored.read(path)) == "found"
