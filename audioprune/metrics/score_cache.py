"""How a score is computed once only: a file of scores by the content of both signals.

``ScoreCache`` reads and appends, ``pair_digests`` name a pair. Several processes may share one
file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from audioprune.errors import OutputError
from audioprune.files import append_lines, sha256
from audioprune.plain.sealing import parse

CACHE_FILE = "scores.jsonl"
_LINES_AT_ONCE = 64


class ScoreCache:
    """Scores by the content of the signals, one JSON line for each recording.

    Lines that are cut, damaged or unknown count as absent. Each line carries a checksum, since a
    flipped bit in a number is still a number.

    Args:
        folder: Where ``scores.jsonl`` is; None keeps nothing beyond this process.

    Raises:
        OutputError: The file exists and cannot be read.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.path = path = None if folder is None else Path(folder) / CACHE_FILE
        self._scores: dict[tuple[str, str], float] = {}
        self._unwritten: list[dict[str, Any]] = []
        if path is not None and path.exists():
            try:
                lines = path.read_bytes().split(b"\n")
            except OSError as error:
                raise OutputError(
                    f"cannot read {path}: {error.strerror}; remove it or choose another folder"
                ) from error
            for line in lines:
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = parse(line)
            pair, scores, check = record["pair"], record["scores"], record["check"]
            if check == _checksum(pair, scores):
                self._scores.update({(pair, tag): float(value) for tag, value in scores.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def get(self, pair: str, tag: str) -> float | None:
        """Return a score by pair of signals and tag of the metric, or None."""
        return self._scores.get((pair, tag))

    def put(self, pair: str, scores: dict[str, float]) -> None:
        """Keep scores of one pair of signals, by the tags of the metrics; see ``write``."""
        if self.path is None or not scores:
            return
        self._scores.update({(pair, tag): value for tag, value in scores.items()})
        self._unwritten.append({"pair": pair, "scores": scores, "check": _checksum(pair, scores)})
        if len(self._unwritten) >= _LINES_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write what is not on disk yet.

        Raises:
            OutputError: The file cannot be written.
        """
        if self.path is not None and self._unwritten:
            append_lines(self.path, self._unwritten, seal=False)
            self._unwritten = []


def pair_digests(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> tuple[str, str]:
    """Return the SHA-256 of the reference and of both signals, with their shapes and the rate.

    Args:
        reference: Clean samples, float32.
        estimate: Samples to score, float32.
        sample_rate: Of both in Hz.
    """
    digest = hashlib.sha256(repr((sample_rate, reference.shape, estimate.shape)).encode())
    digest.update(np.ascontiguousarray(reference).data)
    clean = digest.hexdigest()
    digest.update(np.ascontiguousarray(estimate).data)
    return clean, digest.hexdigest()


def _checksum(pair: str, scores: dict[str, float]) -> str:
    return sha256(json.dumps([pair, scores], sort_keys=True).encode())[:16]
