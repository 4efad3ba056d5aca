"""How clean speech gets its coded partner: by a codec, or from a folder of decoded files.

``build_coding`` returns the one that a configuration asks for; its ``pair`` turns clean sources
into pairs of equal length. How items are cut from the pairs is in corpus.py and segments.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from audioprune.data.coded.alignment import Lag, aligned_within, measure_lag
from audioprune.data.coded.cache import CachedSignal, SignalCache
from audioprune.data.coded.codec import Codec, libavcodec_version
from audioprune.data.files.audio import SEEKABLE_FORMATS, AudioStore, Samples, read_info
from audioprune.data.files.checks import Finding
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import listing
from audioprune.data.files.parallel import in_threads
from audioprune.data.speech.paired_items import PairSource
from audioprune.data.speech.pairing import by_name, place_key
from audioprune.data.splits.sources import Source
from audioprune.errors import ConfigError, DataError
from audioprune.files import check_writable, drop_leftovers, sha256
from audioprune.paths import cache_folder

_PROBED = 8
"""How many files of a folder are tested for a delay."""
_LEAST_CORRELATION = 0.3
"""Below this, a decoded file holds other audio than its clean file."""
_MISSING_S = 0.1
"""A decoded file may be this much shorter than its clean file; the rest is silence."""
_KBPS_SLACK = 0.15
"""Share by which the real bitrate may differ from the wanted one without a note."""


@dataclass
class Coded:
    """What became of the clean speech.

    Attributes:
        pairs: Clean and coded files of one length, mono, at the corpus's rate, that can be read in
            parts.
        facts: What a description of the corpus says about the codec.
        notes: What the user should know, one line each.
        problems: Files without a usable partner.
    """

    pairs: list[PairSource]
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)


class Coding(Protocol):
    """Gives clean speech its coded partner."""

    @property
    def label(self) -> str:
        """Name of the codec in tables, such as ``"aac-24k"``."""
        ...

    def pair(self, sources: Sequence[Source]) -> Coded:
        """Return the pairs of all sources that have a usable partner."""
        ...


@dataclass(frozen=True)
class CleanSignals:
    """Clean files, mono at one rate: the files themselves where they are so, else cached copies.

    Attributes:
        sample_rate: In Hz.
        cache_dir: Cache folder; empty for the user's.
        peak: Largest sample that every utterance is scaled to; None keeps the level on disk.
    """

    sample_rate: int
    cache_dir: str = ""
    peak: float | None = None

    @property
    def scaling(self) -> str:
        """The level, as a part of a folder's name."""
        return "" if self.peak is None else f"-peak{self.peak:g}"

    def ready(self, source: Source) -> Source:
        """Return a source whose file has the rate and the level of the corpus."""
        if self.peak is None and _is_direct(source.path, self.sample_rate):
            return source
        folder = cache_folder(self.cache_dir) / "coded" / f"clean-{self.sample_rate}{self.scaling}"
        kept = SignalCache(folder, self.sample_rate).get(
            source.sha256, lambda: (self._convert(source.path), 0)
        )
        return replace(source, path=kept.path, level=kept.level)

    def _convert(self, path: Path) -> Samples:
        samples = AudioStore(self.sample_rate, 0).whole(path)
        if self.peak is None:
            return samples
        return samples * np.float32(self.peak / np.abs(samples).max())


@dataclass(frozen=True)
class CodecCoding:
    """Codes every clean file and keeps what comes back in the cache.

    Attributes:
        codec: Codec, bitrate and sample rate.
        clean: The clean side.
    """

    codec: Codec
    clean: CleanSignals

    @property
    def label(self) -> str:
        """Name of the codec in tables."""
        return self.codec.label

    def pair(self, sources: Sequence[Source]) -> Coded:
        """Return all sources with what came back from the codec.

        Raises:
            ConfigError: PyAV is not installed.
            OutputError: The cache cannot be written.
        """
        cache = self._open_cache(sources)
        unique = list({source.sha256: source for source in sources}.values())

        def code(source: Source) -> tuple[Source, CachedSignal]:
            clean = self.clean.ready(source)
            return clean, cache.get(source.sha256, lambda: self._round_trip(clean.path))

        results = in_threads(code, unique, f"coding by {self.label}")
        made = {source.sha256: result for source, result in zip(unique, results, strict=True)}
        pairs = []
        for source in sources:
            # Files of the same content are coded once and keep their own places.
            clean, coded = made[source.sha256]
            clean = replace(
                clean, relative=source.relative, split=source.split, group=source.group
            )
            pairs.append(PairSource(_coded_source(clean, coded), clean, self.label))
        return self._report(pairs, [coded for _, coded in made.values()])

    def _open_cache(self, sources: Sequence[Source]) -> SignalCache:
        rate, version = self.codec.sample_rate, libavcodec_version()
        name = f"{self.label}-{rate}{self.clean.scaling}-{version}"
        cache = SignalCache(cache_folder(self.clean.cache_dir) / "coded" / name, rate)
        missing = [source for source in sources if source.sha256 not in cache]
        if missing:
            # Twice the 4 bytes of a float32 sample, to be on the safe side.
            need = 8 * rate * sum(source.duration_s for source in missing)
            check_writable(cache.folder, round(need))
            drop_leftovers(cache.folder.parent)
        return cache

    def _round_trip(self, clean: Path) -> tuple[Samples, int]:
        coded = self.codec.round_trip(AudioStore(self.codec.sample_rate, 0).whole(clean))
        return coded.samples, coded.payload_bytes

    def _report(self, pairs: list[PairSource], coded: Sequence[CachedSignal]) -> Coded:
        """Return the pairs with the real bitrate and the delay of one of them."""
        seconds = sum(signal.frames for signal in coded) / self.codec.sample_rate
        kbps = sum(signal.payload_bytes for signal in coded) * 8 / seconds / 1000
        probe = next((pair for pair in pairs if pair.clean.split == "test"), pairs[0])
        lag = _lag_of(probe, self.codec.sample_rate)
        facts = {
            "label": self.label,
            "encoder": self.codec.encoder,
            "libavcodec": libavcodec_version(),
            "kbps": self.codec.kbps,
            "payload_kbps": round(kbps, 2),
            "lag": lag.samples,
        }
        notes = [
            f"coded by {self.label} ({self.codec.encoder}, libavcodec {facts['libavcodec']}): "
            f"{kbps:.2f} kbit/s of payload"
        ]
        if abs(kbps / self.codec.kbps - 1) > _KBPS_SLACK:
            notes.append(
                f"{self.label} spends {kbps:.1f} kbit/s on this audio, not {self.codec.kbps:g}; "
                f"choose kbps with that in mind"
            )
        if abs(lag.samples) > aligned_within(self.codec.sample_rate):
            notes.append(
                f"{self.label}: {probe.clean.relative} comes back {lag.samples} samples late; "
                f"use another libavcodec"
            )
        loud = [signal.peak for signal in coded if signal.peak > 1]
        if loud:
            notes.append(
                f"{len(loud)} of {len(coded)} coded files exceed full scale (up to "
                f"{max(loud):.3g}) and are kept so"
            )
        return Coded(pairs, facts, notes)


@dataclass(frozen=True)
class FolderCoding:
    """Takes files that were coded and decoded elsewhere.

    They have the names of the clean files, in folders of the same names.

    Attributes:
        root: Folder of decoded files.
        clean: The clean side.
        label: Name of the codec in tables.
        delay: Samples, at the corpus's rate, that all decoded files are late; they are cut off.
    """

    root: Path
    clean: CleanSignals
    label: str = "coded"
    delay: int = 0

    def pair(self, sources: Sequence[Source]) -> Coded:
        """Return all sources with a decoded file of the same name.

        Raises:
            DataError: The folder is missing, or its files are late or hold other audio than the
                clean ones.
        """
        if not self.root.is_dir():
            raise DataError(
                f"expected a folder of decoded audio at coded_root, got {self.root}; check the "
                f"path"
            )
        partners, problems = self._partners(sources)
        if not partners:
            raise DataError(
                f"expected files named like the clean ones in {self.root}, found "
                f"{listing(self.root)}; keep folders and names when decoding"
            )
        self._refuse_late(partners)
        filled: list[int] = []

        def fit(partner: tuple[Source, Source]) -> PairSource:
            return self._fit(*partner, filled)

        pairs = list(in_threads(fit, partners, f"reading {self.root.name}"))
        notes = []
        if filled:
            notes.append(
                f"{len(filled)} decoded files end up to {max(filled)} samples early; silence is "
                f"added"
            )
        unused = len(by_name(self.root)) - len(partners)
        if unused:
            notes.append(f"{self.root}: {unused} files belong to no clean file in use")
        facts = {"label": self.label, "coded_root": str(self.root), "delay": self.delay}
        return Coded(pairs, facts, notes, problems)

    def _partners(
        self, sources: Sequence[Source]
    ) -> tuple[list[tuple[Source, Source]], list[Finding]]:
        """Return clean sources with their decoded sources, and what is missing or bad."""
        names = by_name(self.root)
        found = [(source, names.get(place_key(Path(source.relative)))) for source in sources]
        problems = [
            Finding(source.path, "error", "partner", f"no file of that name in {self.root}")
            for source, path in found
            if not path
        ]
        paths = [path for _, path in found if path]
        facts = {fact.path: fact for fact in inspect_files(self.root, paths, self.clean.cache_dir)}
        problems += [finding for fact in facts.values() for finding in fact.errors]
        partners = []
        for source, path in found:
            if path is None or facts[path].errors:
                continue
            fact = facts[path]
            early = source.duration_s - fact.duration_s + self.delay / self.clean.sample_rate
            if early > _MISSING_S:
                reason = (
                    f"{early:.3g} s shorter than its clean file {source.path}, more than "
                    f"{_MISSING_S:g} s"
                )
                problems.append(Finding(path, "error", "length", reason))
                continue
            coded = replace(
                source,
                path=path,
                sha256=fact.sha256,
                duration_s=fact.duration_s,
                level=fact.level,
            )
            partners.append((source, coded))
        return partners, problems

    def _refuse_late(self, partners: Sequence[tuple[Source, Source]]) -> None:
        """Raise a DataError when decoded files are late or hold something else."""
        rate = self.clean.sample_rate
        audible = [(clean, coded) for clean, coded in partners if coded.level > 0]
        distance = max(1, len(audible) // _PROBED)
        for clean, coded in audible[::distance][:_PROBED]:
            lag = _lag_of(PairSource(coded, clean), rate)
            late = lag.samples - self.delay
            if lag.correlation < _LEAST_CORRELATION:
                raise DataError(
                    f"{coded.path}: expected the audio of {clean.path}, got other audio "
                    f"(correlation {lag.correlation:.2f}); check names"
                )
            if abs(late) > aligned_within(rate):
                raise DataError(
                    f"{coded.path}: expected decoded audio in step with {clean.path}, got it "
                    f"{late} samples late at {rate} Hz; "
                    f"decode without the codec's delay or give data.coded_delay={lag.samples}"
                )

    def _fit(self, clean: Source, coded: Source, filled: list[int]) -> PairSource:
        """Return a pair of one length; decoded files that already fit are used as they are."""
        rate = self.clean.sample_rate
        store = AudioStore(rate, 0)
        clean = self.clean.ready(clean)
        frames = store.length(clean.path)
        if not self.delay and _is_direct(coded.path, rate) and store.length(coded.path) == frames:
            return PairSource(coded, clean, self.label)
        folder = cache_folder(self.clean.cache_dir) / "coded" / f"decoded-{rate}"
        key = sha256(f"{coded.sha256} {frames} {self.delay}".encode())

        def make() -> tuple[Samples, int]:
            return self._in_step(store.whole(coded.path), frames), 0

        kept = SignalCache(folder, rate).get(key, make)
        missing = frames + self.delay - round(coded.duration_s * rate)
        if missing > 0:
            filled.append(missing)
        return PairSource(_coded_source(clean, kept), clean, self.label)

    def _in_step(self, samples: Samples, frames: int) -> Samples:
        """Return decoded samples without their delay, cut or filled to ``frames``."""
        early = np.pad(samples, (max(0, -self.delay), 0))
        fitting = early[max(0, self.delay) :]
        return np.pad(fitting[:frames], (0, max(0, frames - len(fitting))))


def build_coding(
    clean: CleanSignals,
    codec: str,
    kbps: float,
    coded_root: str | Path | None = None,
    coded_delay: int = 0,
    label: str | None = None,
) -> Coding:
    """Return the coding that a configuration asks for: decoded files if there are, else the codec.

    Args:
        clean: The clean side.
        codec: Name of the codec.
        kbps: Wanted bitrate in kbit/s.
        coded_root: Folder of decoded files.
        coded_delay: Samples that those files are late.
        label: Name of their codec.

    Raises:
        ConfigError: A value is out of its range, or a level is asked for that decoded files cannot
            have.
    """
    if coded_root is None:
        if coded_delay or label:
            raise ConfigError(
                "expected coded_delay and label together with coded_root, got them alone; give "
                "coded_root or leave them out"
            )
        return CodecCoding(Codec(codec, kbps, clean.sample_rate), clean)
    if clean.peak is not None:
        raise ConfigError(
            "expected peak without coded_root, got both; decoded files keep the level that they "
            "have"
        )
    return FolderCoding(Path(coded_root).expanduser(), clean, label or "coded", coded_delay)


def _coded_source(clean: Source, signal: CachedSignal) -> Source:
    return replace(clean, path=signal.path, sha256=signal.sha256, level=signal.level)


def _is_direct(path: Path, sample_rate: int) -> bool:
    """Tell whether parts of a file can be read as they are."""
    header = read_info(path)
    return (
        header.sample_rate == sample_rate
        and header.channels == 1
        and header.format in SEEKABLE_FORMATS
    )


def _lag_of(pair: PairSource, sample_rate: int) -> Lag:
    store = AudioStore(sample_rate, 0)
    return measure_lag(store.whole(pair.clean.path), store.whole(pair.noisy.path), sample_rate)
