"""Which keys the groups of coded-speech enhancement have: generator, adversarial task, coded corpora, and Plain & Biswas's pipelines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from audioprune.schema.core import PipelineConfig
from audioprune.schema.values import choice, number


@dataclass
class DcaeConfig:
    """See audioprune.models.dcae.DCAE."""

    name: str = "dcae"
    _target_: str = "audioprune.models.dcae.DCAE"
    channels: list[int] = number(
        [16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 64], least=1, most=65536
    )
    width: float = number(1.0, least=0.0625, most=4)
    kernel_size: int = number(31, least=3, most=255)
    stride: int = number(2, least=2, most=4)
    z: bool = True
    bias: bool = True
    output: str = choice("tanh", "tanh", "linear")
    residual: bool = False
    init: str = choice("segan", "segan", "kaiming")
    sample_rate: int | None = number(None, least=1000, most=192000)


@dataclass
class DiscriminatorConfig:
    """See audioprune.models.discriminator.Discriminator."""

    channels: list[int] = number(
        [16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024], least=1, most=65536
    )
    width: float = number(1.0, least=0.0625, most=4)
    kernel_size: int = number(31, least=3, most=255)
    stride: int = number(2, least=2, most=4)
    norm: str = choice("batch", "batch", "virtual", "spectral", "none")
    phase_shift: int = number(5, least=0, most=1024)
    reference_items: int = number(16, least=1, most=1024)
    learning_rate: float | None = number(None, above=0)


@dataclass
class AdversarialConfig:
    """See audioprune.tasks.adversarial.Adversarial."""

    name: str = "adversarial"
    _target_: str = "audioprune.tasks.adversarial.Adversarial"
    sample_rate: int | None = number(None, least=1000, most=192000)
    frame_length: int | None = number(None, least=1)
    hop_length: int | None = number(None, least=1)
    pre_emphasis: float = number(0.95, least=0, below=1)
    level: float | None = number(None, above=0)
    gan_weight: float = number(1.0, least=0)
    gan_factor: float = number(1.0, least=0)
    l1_weight: float = number(100.0, least=0)
    l1_decay: float = number(0.0, least=0)
    l1_decay_from: int = number(100, least=0)
    overlap: int = number(0, least=0)
    z_seeds: int = number(3, least=1)
    frames_per_call: int = number(32, least=1)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)


@dataclass
class CodedConfig:
    """Keys that every corpus of coded speech shares; see audioprune.data.coded.corpora and audioprune.data.coded.segments.CodedRules."""

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
    _target_: str = "audioprune.data.coded.corpora.vctk"
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
    _target_: str = "audioprune.data.coded.corpora.coded_folder"
    root: str = MISSING
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    speaker_from: str = "auto"
    speaker: str | None = None
    speaker_csv: str | None = None
    coded_root: str | None = None
    coded_delay: int = 0
    label: str | None = None


@dataclass
class CodedSyntheticConfig(CodedConfig):
    """Keys of conf/data/coded_synthetic.yaml."""

    name: str = "coded_synthetic"
    _target_: str = "audioprune.data.coded.corpora.coded_synthetic"
    root: str | None = None
    minutes: float = number(4.0, above=0, most=6000)
    valid_minutes: float = number(0.5, above=0, most=6000)
    test_minutes: float = number(1.0, above=0, most=6000)
    speakers: int = number(12, least=1, most=1000)
    valid_speakers: int = number(2, least=1, most=1000)
    test_speakers: int = number(4, least=1, most=1000)
    utterance_s: list[float] = number([3.0, 4.0], least=1, most=60)


@dataclass
class CalibrateConfig:
    """See audioprune.steps.scheduled.Calibration."""

    total_sparsity: float | None = number(None, above=0, below=1)
    mode: str = choice("one_shot", "one_shot", "final")


@dataclass
class ScheduledPipelineConfig(PipelineConfig):
    """Knobs that every pipeline with a schedule file has; ``schedule`` is a file, the name of a shipped one, or its values."""

    schedule: Any = None
    strict: bool = True
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)


@dataclass
class DistillerPipelineConfig(ScheduledPipelineConfig):
    """Knobs of conf/pipeline/distiller.yaml and p1_sensitivity.yaml; see audioprune.steps.scheduled.TrainScheduled."""

    starting_epoch: int | None = number(None, least=0)
    ending_epoch: int | None = number(None, least=1)
    frequency: int | None = number(None, least=1)


@dataclass
class PostPruningPipelineConfig(ScheduledPipelineConfig):
    """Knobs of conf/pipeline/p1_post.yaml."""

    finetune_epochs: int = number(0, least=0)
    finetune_learning_rate: float | None = number(None, above=0)


GROUPS: dict[str, dict[str, Any]] = {
    "model": {"dcae": DcaeConfig},
    "task": {"adversarial": AdversarialConfig},
    "data": {
        "vctk": VctkConfig,
        "coded_folder": CodedFolderConfig,
        "coded_synthetic": CodedSyntheticConfig,
    },
    "pipeline": {"distiller": DistillerPipelineConfig, "p1_post": PostPruningPipelineConfig},
}
