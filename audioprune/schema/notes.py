"""Which keys the groups of note synthesis have: generative models, their task, corpora of notes, and Esling et al.'s pipelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from audioprune.schema.core import PipelineConfig
from audioprune.schema.values import choice, number


@dataclass
class WavenetConfig:
    """See audioprune.models.wavenet.WaveNet."""

    name: str = "wavenet"
    _target_: str = "audioprune.models.wavenet.WaveNet"
    layers: int = number(20, least=1, most=200)
    cycles: int = number(2, least=1, most=200)
    residual: int = number(128, least=1, most=4096)
    gate: int = number(128, least=1, most=4096)
    skip: int = number(256, least=1, most=4096)
    end: int = number(256, least=1, most=4096)
    classes: int = number(256, least=2, most=65_536)
    conditioning: int | None = number(None, least=0, most=4096)
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class SingConfig:
    """See audioprune.models.sing.SING."""

    name: str = "sing"
    _target_: str = "audioprune.models.sing.SING"
    channels: int = number(4096, least=1, most=8192)
    stride: int = number(256, least=1, most=8192)
    kernel_size: int = number(1024, least=1, most=16384)
    dimension: int = number(128, least=1, most=4096)
    context: int = number(9, least=1, most=64)
    rewrite_layers: int = number(2, least=0, most=16)
    init: str = choice("torch", "torch", "kaiming")
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class DdspConfig:
    """See audioprune.models.ddsp.DDSP."""

    name: str = "ddsp"
    _target_: str = "audioprune.models.ddsp.DDSP"
    hidden: int = number(512, least=1, most=4096)
    depth: int = number(3, least=1, most=8)
    latent: int = number(16, least=0, most=1024)
    latent_kind: str = choice("gaussian", "gaussian", "deterministic")
    encoder_width: int = number(128, least=1, most=4096)
    partials: int = number(100, least=1, most=1024)
    filter_size: int = number(160, least=2, most=4096)
    reverb_length: int = number(32_000, least=1, most=480_000)
    seed: int = number(0, least=0, most=2**31 - 1)
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class NextSampleConfig:
    """See audioprune.tasks.generation.NextSample."""

    name: str = "next_sample"
    _target_: str = "audioprune.tasks.generation.NextSample"
    conditioning: str = choice("none", "none", "mel", "note")
    mels: int = number(80, least=1, most=1024)
    pitches: list[int] | None = number(None, least=0, most=127)
    families: int | None = number(0, least=0, most=100_000)
    instruments: int | None = number(0, least=0, most=100_000)
    example_s: float = number(1.0, least=0, most=60)
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class ReconstructionConfig:
    """See audioprune.tasks.generation.Reconstruction."""

    name: str = MISSING
    _target_: str = "audioprune.tasks.generation.Reconstruction"
    inputs: str = choice("audio", "audio", "controls")
    spectral: str = choice("log_power", "log_power", "linear_log")
    stft_windows: list[int] = number([32, 128, 256, 512, 1024], least=4, most=65536)
    eps: float = number(5e-3, above=0)
    base: str = choice("l1", "l1", "mse")
    loudness: str = choice("rms", "rms", "a_weighted")
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class NoteDataConfig:
    """Keys that every corpus of notes shares; see audioprune.data.notes.corpus.NoteCorpus."""

    name: str = MISSING
    _target_: str = MISSING
    sample_rate: int = number(16000, least=1000, most=192000)
    duration_s: float = number(4.0, least=0.01, most=600)
    segment_s: float | None = number(None, least=0.001, most=600)
    lead_in_s: float = number(0.0, least=0)
    notes_per_instrument: int | None = number(None, least=1)
    split: str = choice("random", "random", "by_pitch", "by_instrument", "official")
    fractions: list[float] = number([0.8, 0.1, 0.1], above=0, below=1)
    seed: int = number(0, least=0)
    resplit_seed: int | None = number(None, least=0)
    on_bad_file: str = choice("stop", "stop", "skip")
    cache_dir: str = ""
    memory_mb: float = number(2048.0, least=0)


@dataclass
class NsynthConfig(NoteDataConfig):
    """See audioprune.data.notes.nsynth.nsynth."""

    name: str = "nsynth"
    _target_: str = "audioprune.data.notes.nsynth.nsynth"
    root: str = MISSING
    families: list[str] | None = None
    sources: list[str] | None = None
    notes_per_instrument: int | None = number(10, least=1)


@dataclass
class TinysolConfig(NoteDataConfig):
    """See audioprune.data.notes.studio_online.tinysol."""

    name: str = "tinysol"
    _target_: str = "audioprune.data.notes.studio_online.tinysol"
    root: str = MISSING
    techniques: list[str] | None = None


@dataclass
class NoteFolderConfig(NoteDataConfig):
    """See audioprune.data.notes.folder.note_folder."""

    name: str = "note_folder"
    _target_: str = "audioprune.data.notes.folder.note_folder"
    root: str = MISSING
    middle_c: int = number(4, least=3, most=5)


@dataclass
class SyntheticNotesConfig(NoteDataConfig):
    """See audioprune.data.notes.synthetic.synthetic_notes."""

    name: str = "synthetic_notes"
    _target_: str = "audioprune.data.notes.synthetic.synthetic_notes"
    root: str = ""
    families: list[str] = field(default_factory=lambda: ["organ", "mallet", "guitar", "flute"])
    instruments: int = number(6, least=1, most=1000)
    notes_per_instrument: int | None = number(10, least=1)
    duration_s: float = number(2.0, least=0.25, most=60)
    pitches: list[int] = number([40, 84], least=21, most=108)


@dataclass
class P3PipelineConfig(PipelineConfig):
    """Knobs of conf/pipeline/p3_*.yaml; see audioprune.steps.LotteryPrune, LotteryTrain and Rewind."""

    mode: str = choice("trim", "trim", "mask")
    criterion: str = choice(
        "information", "magnitude", "gradient", "activation", "normalization", "information"
    )
    scope: str = choice("global", "local", "global")
    scaling: str = choice("max", "max", "dimension", "none")
    budget: str = choice("weights", "weights", "units")
    fraction: float = number(0.3, above=0, below=1)
    rounds: int = number(15, least=1, most=100)
    min_units: int = number(3, least=1)
    rewind: str = "1ep"
    reset: str = choice("rewind", "rewind", "reinit", "rescale")
    evidence_items: int | None = number(None, least=1)
    samples: int = number(2000, least=20, most=100_000)
    noise_rel: float = number(0.05, least=0)
    audio_rounds: list[int] = number([0, 3, 6, 9], least=0)


GROUPS: dict[str, dict[str, Any]] = {
    "model": {"wavenet": WavenetConfig, "sing": SingConfig, "ddsp": DdspConfig},
    "task": {"next_sample": NextSampleConfig, "reconstruction": ReconstructionConfig},
    "data": {
        "nsynth": NsynthConfig,
        "tinysol": TinysolConfig,
        "note_folder": NoteFolderConfig,
        "synthetic_notes": SyntheticNotesConfig,
    },
    "pipeline": {"p3": P3PipelineConfig},
}
