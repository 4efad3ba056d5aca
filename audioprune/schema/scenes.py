"""Which keys the groups of acoustic scene classification have: models, task, corpora, and the pipelines of Chen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from audioprune.schema.core import PipelineConfig
from audioprune.schema.values import choice, number


@dataclass
class VggConfig:
    """See audioprune.models.vgg.VGG."""

    name: str = "vgg"
    _target_: str = "audioprune.models.vgg.VGG"
    classes: int | None = number(None, least=2, most=10_000)
    channels: int = number(2, least=1, most=64)
    mels: int | None = number(None, least=47, most=4096)
    width: int = number(32, least=1, most=512)
    pool_dropout: float = number(0.3, least=0, below=1)
    head_dropout: float = number(0.5, least=0, below=1)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class ResnetConfig:
    """See audioprune.models.resnet.ResNet."""

    name: str = "resnet50"
    _target_: str = "audioprune.models.resnet.ResNet"
    classes: int | None = number(None, least=2, most=10_000)
    channels: int = number(2, least=1, most=64)
    mels: int | None = number(None, least=1, most=4096)
    width: int = number(64, least=1, most=512)
    depths: list[int] = number([3, 4, 6, 3], least=1, most=128)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class CpResnetConfig:
    """See audioprune.models.cp_resnet.CPResNet."""

    name: str = "cp_resnet"
    _target_: str = "audioprune.models.cp_resnet.CPResNet"
    classes: int | None = number(None, least=2, most=10_000)
    channels: int = number(2, least=1, most=64)
    mels: int | None = number(None, least=17, most=4096)
    rho: int = number(5, least=0, most=21)
    width: int = number(128, least=1, most=1024)
    init: str = choice("fixup", "fixup", "he")
    frames_per_second: float | None = number(None, above=0)


@dataclass
class DensenetConfig:
    """See audioprune.models.densenet.DenseNet."""

    name: str = "densenet121"
    _target_: str = "audioprune.models.densenet.DenseNet"
    classes: int | None = number(None, least=2, most=10_000)
    channels: int = number(2, least=1, most=64)
    mels: int | None = number(None, least=1, most=4096)
    width: int = number(64, least=1, most=1024)
    growth: int = number(32, least=1, most=256)
    depths: list[int] = number([6, 12, 24, 16], least=1, most=128)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class ScenesConfig:
    """See audioprune.tasks.scenes.SceneClassification."""

    name: str = "scenes"
    _target_: str = "audioprune.tasks.scenes.SceneClassification"
    classes: int | None = number(None, least=2, most=10_000)
    mixup: float = number(0.3, least=0)
    roll_frames: int = number(50, least=0)
    sample_rate: int | None = number(None, least=1000)


@dataclass
class SceneDataConfig:
    """Keys that every corpus of scenes shares; see audioprune.data.scenes.features.SceneFeatures."""

    name: str = MISSING
    _target_: str = MISSING
    sample_rate: int = number(22050, least=1000, most=192000)
    n_fft: int = number(2048, least=64)
    hop_length: int = number(512, least=1)
    mels: int = number(256, least=1, most=4096)
    duration_s: float = number(10.0, above=0, most=600)
    seed: int = number(0, least=0)
    on_bad_file: str = choice("stop", "stop", "skip")
    cache_dir: str = ""
    memory_mb: float = number(1024.0, least=0)


@dataclass
class TutConfig(SceneDataConfig):
    """See audioprune.data.scenes.corpora.TutScenes."""

    name: str = "tut2017"
    _target_: str = "audioprune.data.scenes.corpora.TutScenes"
    root: str = MISSING
    year: int = number(2017, least=2017, most=2018)
    fold: int | None = number(None, least=1, most=4)
    valid_fraction: float = number(0.1, above=0, below=1)
    hold_out: bool = True


@dataclass
class ClassFolderConfig(SceneDataConfig):
    """See audioprune.data.scenes.corpora.ClassFolder."""

    name: str = "class_folder"
    _target_: str = "audioprune.data.scenes.corpora.ClassFolder"
    root: str = MISSING
    table: str | None = None
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    recording_from: str = "auto"
    valid_fraction: float = number(0.1, above=0, below=1)
    hold_out: bool = True


@dataclass
class SyntheticScenesConfig(SceneDataConfig):
    """See audioprune.data.scenes.synthetic.SyntheticScenes."""

    name: str = "synthetic_scenes"
    _target_: str = "audioprune.data.scenes.synthetic.SyntheticScenes"
    root: str = ""
    mels: int = number(64, least=1, most=4096)
    duration_s: float = number(3.0, least=1, most=60)
    clips_per_class: int = number(60, least=1, most=10_000)
    valid_clips_per_class: int = number(15, least=1, most=10_000)
    test_clips_per_class: int = number(25, least=1, most=10_000)
    hold_out: bool = True


@dataclass
class P4PipelineConfig(PipelineConfig):
    """Knobs of conf/pipeline/p4_*.yaml; see audioprune.steps.TrainSparse."""

    method: str = choice("hspg", "hspg", "proxsg", "obproxsg", "admm", "sgd", "adam")
    lmbda: float | None = number(None, least=0)
    reach: float | None = number(None, least=0)
    epsilon: float = number(0.0, least=0, below=1)
    prox_epochs: float | None = number(None, least=0)
    orthant_epochs: float | None = number(None, above=0)
    first_stage: str = choice("prox", "prox", "subgradient")
    regularizer_inside_moments: bool = False
    target_group_sparsity: float | None = number(None, above=0, most=1)
    rho: float = number(0.01, above=0)
    inner_steps: int = number(10, least=1)
    groups: str = choice("units", "units", "filters")
    selection: str = choice("last", "last", "val")
    settings: dict[str, Any] = field(default_factory=dict)
    finetune_epochs: int = number(10, least=1)
    finetune_learning_rate: float | None = number(None, above=0)


GROUPS: dict[str, dict[str, type]] = {
    "model": {
        "vgg": VggConfig,
        "resnet50": ResnetConfig,
        "cp_resnet": CpResnetConfig,
        "densenet121": DensenetConfig,
    },
    "task": {"scenes": ScenesConfig},
    "data": {
        "tut2017": TutConfig,
        "tut2018": TutConfig,
        "class_folder": ClassFolderConfig,
        "synthetic_scenes": SyntheticScenesConfig,
    },
    "pipeline": {"p4": P4PipelineConfig},
}
