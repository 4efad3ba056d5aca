"""The corpora of coded speech that configurations name: VCTK, any folder, synthetic voices.

Each turns flat options into speech, a codec and rules; what the corpus does is in corpus.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from audioprune.data.coded.corpus import CodedSpeech
from audioprune.data.coded.pairs import CleanSignals, build_coding
from audioprune.data.coded.segments import CodedRules
from audioprune.data.coded.vctk import Vctk
from audioprune.data.speech.clean_files import CleanSpeech, SpeechFolder, SyntheticVoices
from audioprune.data.speech.synthetic_speech import Recipe
from audioprune.data.splits.speakers import SpeakerRule
from audioprune.errors import ConfigError
from audioprune.ranges import OneOf, PassedTo, Range


@dataclass(frozen=True)
class _Coding:
    """The options of every corpus about its codec; see ``pairs.build_coding``."""

    codec: str
    kbps: float
    peak: float | None
    coded_root: str | Path | None = None
    coded_delay: int = 0
    label: str | None = None


def vctk(
    root: str | Path,
    *,
    mic: Annotated[str, OneOf("mic1", "mic2")] = "mic1",
    split: str | Path | Mapping[str, Sequence[str]] = "valentini",
    codec: Annotated[str, OneOf("aac", "mp3", "opus")] = "aac",
    kbps: Annotated[float, Range(6, 512)] = 24.0,
    coded_root: str | Path | None = None,
    coded_delay: int = 0,
    label: str | None = None,
    peak: Annotated[float | None, Range(above=0, most=1)] = None,
    seed: Annotated[int, Range(0)] = 0,
    **options: Annotated[Any, PassedTo(CodedRules, CodedSpeech)],
) -> CodedSpeech:
    """Return the corpus of VCTK's coded speech.

    Args:
        root: Folder of VCTK; see Vctk.
        mic: As in Vctk.
        split: As in Vctk.
        codec: ``"aac"``, ``"mp3"`` or ``"opus"``; see Codec.
        kbps: Wanted bitrate in kbit/s.
        coded_root: Folder of files that were coded and decoded elsewhere, named like the clean
            ones; see FolderCoding.
        coded_delay: Samples that those files are late.
        label: Name of their codec.
        peak: Largest sample that every clean utterance is scaled to before coding; None keeps the
            level on disk.
        seed: Decides the order of items.
        **options: Fields of CodedRules, and ``on_bad_file``, ``cache_dir``, ``memory_mb`` of
            CodedSpeech.
    """
    coding = _Coding(codec, kbps, peak, coded_root, coded_delay, label)
    voices = Vctk(Path(root).expanduser(), mic, split, seed)
    return _corpus(voices, coding, seed, options)


def coded_folder(
    root: str | Path,
    *,
    split: str | Path | Mapping[str, Sequence[str]] | None = None,
    fractions: Annotated[Sequence[float], Range(0, 1)] = (0.8, 0.1, 0.1),
    speaker_from: str = "auto",
    speaker: str | None = None,
    speaker_csv: str | None = None,
    codec: Annotated[str, OneOf("aac", "mp3", "opus")] = "aac",
    kbps: Annotated[float, Range(6, 512)] = 24.0,
    coded_root: str | Path | None = None,
    coded_delay: int = 0,
    label: str | None = None,
    peak: Annotated[float | None, Range(above=0, most=1)] = None,
    seed: Annotated[int, Range(0)] = 0,
    **options: Annotated[Any, PassedTo(CodedRules, CodedSpeech)],
) -> CodedSpeech:
    """Return the corpus of any folder of speech, coded here or by the user.

    Args:
        root: Folder of clean speech; see SpeechFolder.
        split: As in SpeechFolder.
        fractions: As in SpeechFolder.
        speaker_from: As in SpeechFolder.
        speaker: Regular expression with a group ``speaker``, in place of ``speaker_from``; see
            ``speakers.SpeakerRule``.
        speaker_csv: Table of paths and speakers, in place of ``speaker_from``.
        codec: As in ``vctk``, and so are the other arguments.
        kbps: Wanted bitrate in kbit/s.
        coded_root: Folder of decoded files.
        coded_delay: Samples that those files are late.
        label: Name of their codec.
        peak: Largest sample of every clean utterance.
        seed: Decides shares of speakers and the order of items.
        **options: As in ``vctk``.
    """
    coding = _Coding(codec, kbps, peak, coded_root, coded_delay, label)
    rule = SpeakerRule(speaker_from, speaker, speaker_csv)
    voices = SpeechFolder(Path(root).expanduser(), split, tuple(fractions), rule, seed)
    return _corpus(voices, coding, seed, options)


def coded_synthetic(
    root: str | Path | None = None,
    *,
    minutes: Annotated[float, Range(above=0, most=6000)] = 4.0,
    valid_minutes: Annotated[float, Range(above=0, most=6000)] = 0.5,
    test_minutes: Annotated[float, Range(above=0, most=6000)] = 1.0,
    speakers: Annotated[int, Range(1, 1000)] = 12,
    valid_speakers: Annotated[int, Range(1, 1000)] = 2,
    test_speakers: Annotated[int, Range(1, 1000)] = 4,
    utterance_s: Annotated[Sequence[float], Range(1, 60)] = (3.0, 4.0),
    codec: Annotated[str, OneOf("aac", "mp3", "opus")] = "aac",
    kbps: Annotated[float, Range(6, 512)] = 24.0,
    peak: Annotated[float | None, Range(above=0, most=1)] = None,
    seed: Annotated[int, Range(0)] = 0,
    **options: Annotated[Any, PassedTo(CodedRules, CodedSpeech)],
) -> CodedSpeech:
    """Return the corpus of synthetic voices after a codec; it needs no download.

    Args:
        root: Folder to write or read; None for one in the cache folder.
        minutes: Training speech in minutes.
        valid_minutes: Validation speech in minutes.
        test_minutes: Test speech in minutes.
        speakers: Number of training speakers.
        valid_speakers: Number of validation speakers.
        test_speakers: Number of test speakers.
        utterance_s: Shortest and longest utterance in seconds.
        codec: As in ``vctk``, and so are the other arguments.
        kbps: Wanted bitrate in kbit/s.
        peak: Largest sample of every clean utterance.
        seed: Decides the voices and the order of items.
        **options: As in ``vctk``.
    """
    if len(utterance_s) != 2:
        raise ConfigError(
            f"expected utterance_s as [shortest, longest], got {list(utterance_s)}; give two "
            f"values"
        )
    recipe = Recipe(
        seed=seed,
        minutes=(float(minutes), float(valid_minutes), float(test_minutes)),
        speakers=(speakers, valid_speakers, test_speakers),
        utterance_s=(float(utterance_s[0]), float(utterance_s[1])),
        noise_s=1.0,
    )
    place = Path(root).expanduser() if root else None
    voices = SyntheticVoices(recipe, place, options.get("cache_dir") or "")
    return _corpus(voices, _Coding(codec, kbps, peak), seed, options)


def _corpus(
    voices: CleanSpeech, coding: _Coding, seed: int, options: Mapping[str, Any]
) -> CodedSpeech:
    """Return the corpus of some voices; ``options`` are for CodedRules or for CodedSpeech."""
    own = {name: options[name] for name in ("on_bad_file", "memory_mb") if name in options}
    others = {name: value for name, value in options.items() if name not in own}
    cache_dir = others.pop("cache_dir", None) or ""
    rules = CodedRules(seed=seed, **others)
    built = build_coding(
        CleanSignals(rules.sample_rate, cache_dir, coding.peak),
        coding.codec,
        coding.kbps,
        coding.coded_root,
        coding.coded_delay,
        coding.label,
    )
    return CodedSpeech(voices, built, rules, cache_dir=cache_dir, **own)
