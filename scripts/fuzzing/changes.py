"""How an input becomes the next one: ``changed`` for bytes, ``changed_json`` for parsed values."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

_NUMBERS = (0, 1, 2, 7, 8, 16, 31, 32, 33, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536)
_WIDE = (1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 32, 1 << 47, 1 << 62, (1 << 63) - 1, 1 << 63)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 255, 65536, 1 << 31, 1 << 47, 1 << 62, 1 << 64, 10**30),
    *(0.5, -0.0, 1e308, 5e-324, 1e-5, "", "a", "x" * 300, "../../x", "/etc/passwd", "${a}"),
    *("_target_", "os.system", "<script>", "=1+1", "\x1b[31m", "é漢", "\udce9", "1e5", "nan"),
    *([], {}, [[]], [None], {"": 0}, {"a": {"a": 1}}, [0, 1, 2], "audioprune.models.fdnn.FDNN"),
)


def changed(data: bytes, pick: random.Random, others: Sequence[bytes], words: Sequence[bytes]):
    """Return data with one to eight changes.

    Args:
        data: What is changed.
        pick: Source of the choices.
        others: Inputs to take pieces of.
        words: Texts that the format knows.
    """
    bytes_now = bytearray(data)
    for _ in range(1 << pick.randrange(4)):
        _change(bytes_now, pick, others, words)
        del bytes_now[1 << 16 :]
    return bytes(bytes_now)


def _change(
    data: bytearray, pick: random.Random, others: Sequence[bytes], words: Sequence[bytes]
) -> None:
    kind = pick.randrange(10)
    at = pick.randrange(len(data) + 1)
    span = min(len(data) - at, 1 << pick.randrange(10))
    if kind == 0 and data:
        data[at - 1] ^= 1 << pick.randrange(8)
    elif kind == 1 and data:
        data[at - 1] = pick.choice((*_NUMBERS[:15], pick.randrange(256))) & 255
    elif kind == 2:
        width = pick.choice((1, 2, 4, 8))
        number = pick.choice((*_NUMBERS, *_WIDE)) & ((1 << 8 * width) - 1)
        data[at : at + width] = number.to_bytes(width, pick.choice(("little", "big")))
    elif kind == 3:
        del data[at : at + span]
    elif kind == 4:
        data[at:at] = data[at : at + span] * pick.choice((1, 1, 2, 30))
    elif kind == 5:
        other = pick.choice(others)
        begin = pick.randrange(len(other) + 1)
        data[at : at + pick.choice((0, span))] = other[begin : begin + span]
    elif kind == 6 and words:
        data[at : at + pick.choice((0, 0, span))] = pick.choice(words)
    elif kind == 7 and pick.random() < 0.3:
        del data[at:]
    elif kind == 8:
        data[at:at] = pick.randbytes(1 + pick.randrange(4))
    else:
        end = min(len(data), at + 8)
        digits = [place for place in range(at, end) if chr(data[place]).isdigit()]
        for place in digits:
            data[place] = pick.choice(b"0123456789")


def changed_json(value: Any, pick: random.Random, depth: int = 0) -> Any:
    """Return a value in which one place, at any depth, is another one."""
    if isinstance(value, dict) and value and pick.random() < 0.85:
        key = pick.choice(list(value))
        copy = dict(value)
        how = pick.randrange(8)
        if how == 0:
            del copy[key]
        elif how == 1:
            copy[str(pick.choice(VALUES))] = copy.pop(key)
        elif how == 2:
            copy[str(pick.choice(VALUES))] = pick.choice(VALUES)
        else:
            copy[key] = changed_json(value[key], pick, depth + 1)
        return copy
    if isinstance(value, list) and value and pick.random() < 0.85:
        at = pick.randrange(len(value))
        copy = list(value)
        how = pick.randrange(8)
        if how == 0:
            del copy[at]
        elif how == 1:
            copy.insert(pick.randrange(len(copy) + 1), copy[at])
        elif how == 2:
            copy.insert(at, pick.choice(VALUES))
        else:
            copy[at] = changed_json(value[at], pick, depth + 1)
        return copy
    if isinstance(value, int | float) and not isinstance(value, bool) and pick.random() < 0.5:
        return pick.choice((value + 1, value - 1, -value, value * 2, value * 1000, float(value)))
    if pick.random() < 0.02:
        return _nested(pick.choice((50, 200, 400)), pick.random() < 0.5)
    return pick.choice(VALUES)


def _nested(depth: int, lists: bool) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value
