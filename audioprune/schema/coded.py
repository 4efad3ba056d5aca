"""Which keys the groups of coded-speech enhancement have: generator, adversarial task, coded corpora, and Plain & Biswas's pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from audioprune.schema.values import choice, number


@dataclass
class CodedConfig:
    """Keys that every corpus of coded speech shares; see audioprune.data.coded_corpora and audioprune.data.coded_segments.CodedRules."""

    name: str = MISSING
    _target_: str = MISSING
    codec: str = choice("aac", "aac", "mp3", "opus")
    kbps: float = number(24.0, least=6, most=512)
    peak: float | None = number(None, above=0, most=1)
    sample_rate: int = number(16000, least=1000, most=192000)
    segment: int = number(16384, least=1)
    stride: float = number(0.5, above=0, most=1)
    train_segments: int | None = number(None, least=1)
    valid_items: int | None = number(None, least=1)
    test_items: int | None = number(None, least=1)
    max_test_s: float | None = number(None, above=0)
    seed: int = number(0, least=0)
    on_bad_file: str = choice("stop", "stop", "skip")
    cache_dir: str | None = None
    memory_mb: float = number(4096.0, least=0)


@dataclass
class VctkConfig(CodedConfig):
    """Keys of conf/data/vctk.yaml."""

    name: str = "vctk"
    _target_: str = "audioprune.data.coded_corpora.vctk"
    root: str = MISSING
    mic: str = choice("mic1", "mic1", "mic2")
    split: Any = "valentini"
    coded_root: str | None = None
    coded_delay: int = 0
    label: str | None = None


@dataclass
class CodedFolderConfig(CodedConfig):
    """Keys of conf/data/coded_folder.yaml."""

    name: str = "coded_folder"
    _target_: str = "audioprune.data.coded_corpora.coded_folder"
    root: str = MISSING
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    speaker_from: str = "auto"
    coded_root: str | None = None
    coded_delay: int = 0
    label: str | None = None


@dataclass
class CodedSyntheticConfig(CodedConfig):
    """Keys of conf/data/coded_synthetic.yaml."""

    name: str = "coded_synthetic"
    _target_: str = "audioprune.data.coded_corpora.coded_synthetic"
    root: str | None = None
    minutes: float = number(4.0, above=0, most=6000)
    valid_minutes: float = number(0.5, above=0, most=6000)
    test_minutes: float = number(1.0, above=0, most=6000)
    speakers: int = number(12, least=1, most=1000)
    valid_speakers: int = number(2, least=1, most=1000)
    test_speakers: int = number(4, least=1, most=1000)
    utterance_s: list[float] = number([3.0, 4.0], least=1, most=60)


GROUPS: dict[str, dict[str, Any]] = {
    "model": {},
    "task": {},
    "data": {"vctk": VctkConfig, "coded_folder": CodedFolderConfig, "coded_synthetic": CodedSyntheticConfig},
    "pipeline": {},
}
