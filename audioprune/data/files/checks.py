"""Whether an audio file can be trusted: cut, broken, silent, clipped and doubled files are named.

``inspect_file`` decodes a file to its end and returns its ``FileFacts`` with every ``Finding``.
Whether a bad file stops a corpus or is left out is decided by the corpus that owns it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from audioprune.data.files.audio import (
    DECODE_ERRORS,
    AudioInfo,
    decode_error,
    open_sound,
    read_info,
    why_not_a_file,
)
from audioprune.data.files.headers import is_shortened_sphere, missing_bytes
from audioprune.data.files.likeness import likeness_of
from audioprune.dsp import mixdown
from audioprune.errors import DataError
from audioprune.files import sha256_file

SILENT_PEAK = 1e-4
"""A file whose mono peak is below this, -80 dB, is silent."""
ABSURD_PEAK = 1e6
"""A file with a larger peak is no audio."""
CLIPPED_LEVEL = 0.9999
CLIPPED_SHARE = 0.001
"""A file with more samples at the clipped level, as a share, is clipped."""
OFFSET_MEAN = 0.01
OFFSET_SHARE = 0.1
"""An offset is told when it is larger than both: in full scale, and as a share of the level."""
ANTIPHASE_SHARE = 0.1
"""Channels cancel when their mean has less than this share of their level."""
SHORTEST_S = 0.1
_BLOCK_FRAMES = 1 << 20
_LOSSY_SUBTYPES = ("MPEG", "VORBIS", "OPUS")

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one file.

    Attributes:
        path: The file.
        severity: ``"error"``: the file must not be used. ``"warning"``: it can be used, or is left
            out without harm.
        code: One word for the kind of fault, such as ``"truncated"``.
        reason: What was found, for a reader.
    """

    path: Path
    severity: Severity
    code: str
    reason: str

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{self.severity:8} {self.path}: {self.reason}"


@dataclass(frozen=True)
class FileFacts:
    """What is known of one audio file after it was decoded to its end.

    Attributes:
        path: The file.
        disk_bytes: Its size.
        sha256: Hash of its bytes; empty when it cannot be opened.
        audio_sha256: Hash of its sample rate and mono samples, the same for the same audio in
            another lossless format.
        sample_rate: Samples per second; 0 when it cannot be opened.
        channels: Number of channels.
        frames: Decoded samples per channel.
        level: Root mean square of the mono samples.
        likeness: Its fingerprint by ear, see likeness.py.
        findings: Everything wrong with it.
    """

    path: Path
    disk_bytes: int = 0
    sha256: str = ""
    audio_sha256: str = ""
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    level: float = 0.0
    likeness: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds, 0 when it cannot be opened."""
        return self.frames / self.sample_rate if self.sample_rate else 0.0

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that forbid the use of the file."""
        if not self.findings:
            return ()
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def has(self, code: str) -> bool:
        """Tell whether a kind of fault was found."""
        return bool(self.findings) and any(finding.code == code for finding in self.findings)


def check_header(path: Path) -> list[Finding]:
    """Check what can be known without decoding.

    The file must open, hold samples and be as long as its header says.
    """
    reason = why_not_a_file(path)
    if reason:
        return [Finding(path, "error", "unreadable", reason)]
    if is_shortened_sphere(path):
        remedy = (
            "a NIST SPHERE file packed with shorten, which cannot be decoded here; convert it: "
            "sph2pipe -f wav in.wv1 out.wav"
        )
        return [Finding(path, "error", "unreadable", remedy)]
    missing = missing_bytes(path)
    if missing:
        return [Finding(path, "error", "truncated", missing)]
    try:
        info = read_info(path)
    except DataError as error:
        return [Finding(path, "error", "unreadable", decode_error(error))]
    if info.frames == 0:
        return [Finding(path, "error", "no_samples", "a header without samples")]
    return []


def inspect_file(path: Path) -> FileFacts:
    """Decode a file to its end and note everything that holds for any use of it."""
    found = check_header(path)
    if any(finding.code != "truncated" for finding in found):
        size = path.stat().st_size if path.exists() else 0
        return FileFacts(path, disk_bytes=size, findings=tuple(found))
    try:
        info = read_info(path)
    except DataError:  # cut inside its header
        return FileFacts(path, disk_bytes=path.stat().st_size, findings=tuple(found))
    facts = FileFacts(
        path,
        path.stat().st_size,
        sha256_file(path),
        "",
        info.sample_rate,
        info.channels,
        findings=tuple(found),
    )
    tally = _Tally(info)
    try:
        with open_sound(path) as stream:
            for block in stream.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
                tally.add(block)
    except DECODE_ERRORS as error:
        reason = f"{decode_error(error)} after {tally.frames} of {info.frames} samples"
        found.append(Finding(path, "error", "cut", reason))
        return replace(facts, frames=tally.frames, findings=tuple(found))
    if not found:  # what is odd about the rest of a cut file follows from the cut
        found = [Finding(path, *fault) for fault in tally.faults()]
    return replace(
        facts,
        frames=tally.frames,
        level=tally.level(),
        likeness=tally.likeness,
        audio_sha256=tally.digest(),
        findings=tuple(found),
    )


def use_findings(facts: FileFacts, sample_rate: int | None, shortest_s: float) -> list[Finding]:
    """Return what is wrong with a good file for one use: its rate and its length.

    Args:
        facts: What is known of the file.
        sample_rate: Wanted rate in Hz; another one is a warning. None accepts any.
        shortest_s: A shorter file is a warning, in seconds.
    """
    if facts.errors:
        return []
    found = []
    if sample_rate and facts.sample_rate != sample_rate:
        reason = f"{facts.sample_rate} Hz in place of {sample_rate} Hz"
        if facts.sample_rate < sample_rate:
            reason += f", nothing above {facts.sample_rate / 2:g} Hz"
        found.append(Finding(facts.path, "warning", "rate", reason))
    if facts.duration_s < shortest_s:
        reason = f"{facts.duration_s:.3g} s, shorter than {shortest_s:g} s"
        found.append(Finding(facts.path, "warning", "short", reason))
    return found


def doubled(facts: Iterable[FileFacts], splits: Mapping[Path, str]) -> Iterator[Finding]:
    """Yield a finding for every file whose audio another file before it already holds.

    Args:
        facts: Inspected files.
        splits: Split of each file, or an empty text; the same audio in two of them is an error.
    """
    first: dict[str, list[Path]] = {}
    for fact in facts:
        if not fact.audio_sha256 or fact.has("silent") or fact.errors:
            continue
        earlier = first.setdefault(fact.audio_sha256, [])
        split = splits.get(fact.path, "")
        elsewhere = [path for path in earlier if splits.get(path, "") not in ("", split)]
        if split and elsewhere:
            leak = elsewhere[0]
            reason = (
                f"in {split}, holds the same audio as {leak} in {splits[leak]}; remove one of them"
            )
            yield Finding(fact.path, "error", "leak", reason)
        elif earlier:
            yield Finding(fact.path, "warning", "doubled", f"the same audio as {earlier[0]}")
        earlier.append(fact.path)


class _Tally:
    """Sums over the blocks of one file, and the faults that follow from them."""

    def __init__(self, info: AudioInfo) -> None:
        self.info = info
        self.frames = self.bad = self.clipped = 0
        self.peak = self.mono_peak = self.mono_energy = 0.0
        self.sums = np.zeros(info.channels)
        self.energies = np.zeros(info.channels)
        self.likeness = ""
        self._hash = hashlib.sha256(f"{info.sample_rate}:".encode())

    def add(self, block: np.ndarray) -> None:
        """Count one block of samples, shape (T, C)."""
        self.frames += len(block)
        mono = np.ascontiguousarray(mixdown(block.T), dtype="<f4")
        self._hash.update(mono.tobytes())
        bad = int(block.size - np.isfinite(block).sum())
        self.bad += bad
        if bad or not block.size:
            return
        if self.frames == len(block):  # the first block holds all that a fingerprint looks at
            self.likeness = likeness_of(mono, self.info.sample_rate)
        level = np.abs(block)
        self.peak = max(self.peak, float(level.max()))
        self.clipped += int((level >= CLIPPED_LEVEL).sum())
        self.mono_peak = max(self.mono_peak, float(np.abs(mono).max()))
        self.mono_energy += float(np.square(mono, dtype=np.float64).sum())
        self.sums += block.sum(axis=0, dtype=np.float64)
        self.energies += np.square(block, dtype=np.float64).sum(axis=0)

    def digest(self) -> str:
        """Return the hash of the decoded mono audio."""
        return self._hash.hexdigest()

    def level(self) -> float:
        """Return the root mean square of the mono samples."""
        return float(np.sqrt(self.mono_energy / max(1, self.frames)))

    def faults(self) -> Iterator[tuple[Severity, str, str]]:
        """Yield severity, code and reason of each fault of the whole file."""
        lossy = self.info.subtype.startswith(_LOSSY_SUBTYPES)
        if self.frames < self.info.frames and not lossy:
            yield "error", "truncated", f"{self.frames} of {self.info.frames} samples"
        if self.bad:
            yield "error", "not_finite", f"{self.bad} samples are NaN or infinite"
        elif self.peak > ABSURD_PEAK:
            yield "error", "absurd", f"a peak of {self.peak:.3g}, which is no audio"
        elif self.frames and self.peak < SILENT_PEAK:
            yield "warning", "silent", "silent"
        elif self.frames:
            yield from self._levels()

    def _levels(self) -> Iterator[tuple[Severity, str, str]]:
        level = float(np.sqrt(self.energies.mean() / self.frames))
        if self.info.channels > 1 and self.level() < ANTIPHASE_SHARE * level:
            yield "warning", "antiphase", "its channels cancel when they are averaged to mono"
            if self.mono_peak < SILENT_PEAK:
                yield "warning", "silent", "silent after averaging the channels"
        if self.peak > 1 + 1e-6:
            yield "warning", "over_full_scale", f"a peak of {self.peak:.3g}, above full scale 1"
        share = self.clipped / (self.frames * self.info.channels)
        if share > CLIPPED_SHARE:
            yield "warning", "clipped", f"{100 * share:.2g} % of the samples are clipped"
        offset = float(np.abs(self.sums).max()) / self.frames
        if offset > OFFSET_MEAN and offset > OFFSET_SHARE * level:
            yield "warning", "offset", f"a constant offset of {offset:.3g}"
