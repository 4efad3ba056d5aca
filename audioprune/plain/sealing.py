"""How JSON is parsed, and how a record tells whether it was changed after it was written.

``parse`` reads JSON of any origin, ``sealed`` gives a record a checksum, ``opened`` takes it away
again or finds the record damaged, ``opened_lines`` does so for many. A flipped bit in a number is
still a number: without a checksum nobody would see it. Records without one, as older versions
wrote them, are believed. No file is opened here, see files.py and records.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

CHECK = "check"
"""Key and column of the checksum."""
_DIGITS = 16
_DEEPEST = 64


def parse(text: str | bytes | bytearray) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, or nested deeper than anything that this package writes.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    signs = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, signs)) > _DEEPEST:  # type: ignore[arg-type]  # of the text's own type
        refuse_deep(value)
    return value


def refuse_deep(value: Any, deepest: int = _DEEPEST) -> None:
    """Refuse a value that is nested deeper than anything that this package writes.

    Raises:
        ValueError: It is.
    """
    level = [value]
    for _ in range(deepest):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [part for part in each.values() if isinstance(part, dict | list)]
            elif isinstance(each, list):
                inner += [part for part in each if isinstance(part, dict | list)]
        if not inner:
            return
        level = inner
    raise ValueError(f"nested deeper than {deepest} levels")


def checksum(record: Any, place: Sequence[int] = ()) -> str:
    """Return sixteen hexadecimal digits over a record and, where given, its place among others."""
    text = json.dumps([record, *place], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def sealed(record: Mapping[str, Any], place: Sequence[int] = ()) -> dict[str, Any]:
    """Return a record with its checksum as the last key.

    Args:
        record: What JSON can hold, with texts as keys.
        place: Its index among the records of its file and their number, where the file is always
            written as a whole: so that a lost record is missed.
    """
    return {**record, CHECK: checksum(dict(record), place)}


def opened(record: dict[str, Any], place: Sequence[int] = ()) -> dict[str, Any] | None:
    """Return a record without its checksum; None where it does not fit.

    Args:
        record: As it was read; one without a checksum is returned as it is.
        place: As in ``sealed``; a checksum over the record alone is accepted too.
    """
    if CHECK not in record:
        return None if any(map(was_check, record)) else record
    bare = {key: value for key, value in record.items() if key != CHECK}
    return bare if record[CHECK] in (checksum(bare), checksum(bare, place)) else None


def was_check(name: str) -> bool:
    """Tell whether a key or column is that of the checksum but for one sign."""
    return len(name) == len(CHECK) and sum(map(str.__ne__, name, CHECK)) == 1


def opened_lines(text: str) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the good records of JSON lines, and the numbers of the damaged lines."""
    lines = text.split("\n")
    lines = lines if lines[-1] else lines[:-1]
    found = [_record(line, (place, len(lines))) for place, line in enumerate(lines)]
    records: list[dict[str, Any]] = []
    damaged: list[int] = []
    checked = False  # after a line with a checksum, one without has lost it
    for number, (record, seal) in enumerate(found, 1):
        if record is None or seal < checked:
            damaged.append(number)
        else:
            records.append(record)
        checked |= seal
    return records, damaged


def _record(line: str, place: tuple[int, int]) -> tuple[dict[str, Any] | None, bool]:
    """Return the record of a line, or None, and whether it had a checksum."""
    try:
        value = parse(line)
    except ValueError:
        return None, False
    if not isinstance(value, dict):
        return None, False
    return opened(value, place), CHECK in value
