"""How the facts of many files lie in one memory-mapped file: ``IndexFile``.

A head with a checksum, one record of fixed size for each file, and three texts: names,
fingerprints by ear, and findings. ``read`` maps the file and verifies it, ``write`` replaces it as
a whole. When a file must be inspected again is decided in file_index.py.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.errors import OutputError
from audioprune.files import write_atomic
from audioprune.plain.sealing import parse

Stamp = tuple[int, int]
"""Size and time of change of a file, in nanoseconds."""

_MAGIC = b"audioprune index 4\n".ljust(32, b"\0")
_HASH_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _HASH_BYTES
_NUMBERS = ("disk_bytes", "sample_rate", "channels", "frames", "level")
_TEXTS = ("name", "likeness", "findings")
_RECORD = np.dtype(
    [("size", "<i8"), ("changed", "<i8")]
    + [(name, "<f8" if name == "level" else "<i8") for name in _NUMBERS]
    + [("sha256", "u1", _HASH_BYTES), ("audio_sha256", "u1", _HASH_BYTES)]
    + [(f"{name}_end", "<i8") for name in _TEXTS]
)
_NO_HASH = bytes(_HASH_BYTES)


@dataclass
class IndexFile:
    """The stored facts of the files of one folder.

    Attributes:
        place: The index on disk.
    """

    place: Path
    _records: NDArray[Any] = field(default_factory=lambda: np.zeros(0, _RECORD))
    _texts: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(_TEXTS, b""))
    _rows: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Path) -> IndexFile:
        """Return the index at a place; empty when it is missing, damaged or of another version."""
        index = cls(place)
        try:
            with open(place, "rb") as stream:
                index._load(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError, LookupError):  # an empty file cannot be mapped
            return cls(place)
        return index

    def known(self, paths: Mapping[Path, tuple[bytes, Stamp]]) -> dict[Path, FileFacts]:
        """Return the facts of the files that are stored with the same stamp.

        Args:
            paths: Name and stamp of each file.
        """
        sizes, changed = (self._records[key].tolist() for key in ("size", "changed"))
        wanted = {}
        for path, (name, stamp) in paths.items():
            row = self._rows.get(name)
            if row is not None and (sizes[row], changed[row]) == stamp:
                wanted[path] = row
        try:
            return self._facts(wanted)
        except (ValueError, TypeError, LookupError):
            return {}  # whoever can write the folder can give anything a fitting checksum

    def write(self, fresh: Mapping[bytes, tuple[Stamp, FileFacts]]) -> None:
        """Add facts by name, in place of older ones, and write; a full disk costs time alone."""
        kept = np.array([row for name, row in self._rows.items() if name not in fresh], dtype=int)
        pieces = {name: _pieces(self._texts[name], self._ends(name), kept) for name in _TEXTS}
        stamps = [stamp for stamp, _ in fresh.values()]
        facts = [found for _, found in fresh.values()]
        added = np.zeros(len(fresh), _RECORD)
        added["size"], added["changed"] = ([stamp[side] for stamp in stamps] for side in (0, 1))
        for number in _NUMBERS:
            added[number] = [getattr(each, number) for each in facts]
        for key in ("sha256", "audio_sha256"):
            hashes = [bytes.fromhex(getattr(each, key)) or _NO_HASH for each in facts]
            added[key] = np.frombuffer(b"".join(hashes), "u1").reshape(-1, _HASH_BYTES)
        records = np.concatenate([self._records[kept], added])
        pieces["name"] += fresh
        pieces["likeness"] += [each.likeness.encode() for each in facts]
        pieces["findings"] += [_as_text(each.findings) for each in facts]
        for kind, parts in pieces.items():
            records[f"{kind}_end"] = np.cumsum([len(part) for part in parts])
            self._texts[kind] = b"".join(parts)
        self._records = records
        self._rows = {name: row for row, name in enumerate(pieces["name"])}
        sizes = [len(self._texts[name]) for name in _TEXTS]
        counts = np.array([len(records), *sizes], "<i8").tobytes()
        body = b"".join([counts, records.tobytes(), *self._texts.values()])
        try:
            write_atomic(self.place, b"".join([_MAGIC, hashlib.sha256(body).digest(), body]))
        except (OutputError, OSError):
            return  # a cache that cannot be written costs time, nothing else

    def _load(self, mapped: mmap.mmap) -> None:
        """Take records and texts from a mapped file if it is whole."""
        with memoryview(mapped) as view:
            body = view[_HEAD_BYTES:]
            stored = bytes(view[len(_MAGIC) : _HEAD_BYTES])
            whole = view[: len(_MAGIC)] == _MAGIC and hashlib.sha256(body).digest() == stored
            if whole:
                count, *sizes = np.frombuffer(body, "<i8", 1 + len(_TEXTS)).tolist()
                at = 8 * (1 + len(_TEXTS))
                self._records = np.frombuffer(body, _RECORD, count, at).copy()
                at += count * _RECORD.itemsize
                for name, size in zip(_TEXTS, sizes, strict=True):
                    self._texts[name] = bytes(body[at : at + size])
                    at += size
            body.release()
        mapped.close()
        names = _pieces(self._texts["name"], self._ends("name"), np.arange(len(self._records)))
        self._rows = {name: row for row, name in enumerate(names)}

    def _ends(self, name: str) -> list[int]:
        return [0, *self._records[f"{name}_end"].tolist()]

    def _facts(self, wanted: Mapping[Path, int]) -> dict[Path, FileFacts]:
        """Return the facts of some rows."""
        numbers = [self._records[name].tolist() for name in _NUMBERS]
        disk_bytes, rates, channels, frames, levels = numbers
        first, second = (self._records[key].tobytes().hex() for key in ("sha256", "audio_sha256"))
        likeness, findings = self._texts["likeness"].decode(), self._texts["findings"]
        like_ends, found_ends = self._ends("likeness"), self._ends("findings")
        no_hash, digits = _NO_HASH.hex(), 2 * _HASH_BYTES
        known = {}
        for path, row in wanted.items():
            of_bytes = first[digits * row : digits * (row + 1)]
            of_audio = second[digits * row : digits * (row + 1)]
            known[path] = FileFacts(
                path,
                disk_bytes[row],
                "" if of_bytes == no_hash else of_bytes,
                "" if of_audio == no_hash else of_audio,
                rates[row],
                channels[row],
                frames[row],
                levels[row],
                likeness[like_ends[row] : like_ends[row + 1]],
                _from_text(path, findings[found_ends[row] : found_ends[row + 1]]),
            )
        return known


def _pieces(text: bytes, ends: list[int], rows: NDArray[np.int64]) -> list[bytes]:
    return [text[ends[row] : ends[row + 1]] for row in rows.tolist()]


def _as_text(findings: tuple[Finding, ...]) -> bytes:
    if not findings:
        return b""
    return json.dumps([[each.severity, each.code, each.reason] for each in findings]).encode()


def _from_text(path: Path, text: bytes) -> tuple[Finding, ...]:
    return tuple(Finding(path, *each) for each in parse(text)) if text else ()
