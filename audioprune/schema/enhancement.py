"""Which keys the groups of speech enhancement have: models, task, corpora, and the pipelines of Tan & Wang."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from audioprune.schema.core import SIGNAL_METRICS, PipelineConfig
from audioprune.schema.values import choice, number


@dataclass
class FdnnConfig:
    """See audioprune.models.fdnn.FDNN."""

    name: str = "fdnn"
    _target_: str = "audioprune.models.fdnn.FDNN"
    bins: int | None = number(None, least=2)
    width: int = number(2048, least=1)
    depth: int = number(3, least=1)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class LstmConfig:
    """See audioprune.models.lstm.LSTM."""

    name: str = "lstm"
    _target_: str = "audioprune.models.lstm.LSTM"
    bins: int | None = number(None, least=2)
    width: int = number(1024, least=1)
    depth: int = number(4, least=1)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class TcnnConfig:
    """See audioprune.models.tcnn.TCNN."""

    name: str = "tcnn"
    _target_: str = "audioprune.models.tcnn.TCNN"
    width: float = number(1.0, least=0.0625, most=4)
    dropout: float = number(0.3, least=0, below=1)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class GcrnConfig:
    """See audioprune.models.gcrn.GCRN."""

    name: str = "gcrn"
    _target_: str = "audioprune.models.gcrn.GCRN"
    groups: int = number(2, least=1, most=8)
    width: float = number(1.0, least=0.0625, most=4)
    frames_per_second: float | None = number(None, above=0)


@dataclass
class EnhancementConfig:
    """See audioprune.tasks.enhancement.Enhancement."""

    name: str = "irm"
    _target_: str = "audioprune.tasks.enhancement.Enhancement"
    target: str = choice("irm", "irm", "magnitude", "complex", "waveform")
    sample_rate: int | None = number(None, least=1000)
    frame_length: int = number(320, least=2)
    hop_length: int = number(160, least=1)
    ola_norm: str = choice("window", "window", "window_squared")
    feature: str = choice("magnitude", "magnitude", "cube_root", "log")
    output: str = choice("mapping", "mapping", "mask")
    dry: float = number(0.0, least=0, below=1)
    frame_batch: int | None = number(None, least=1)


@dataclass
class MixingConfig:
    """Keys that every corpus of noisy mixtures shares; see audioprune.data.speech.noisy_mixtures.NoisyMixtures."""

    name: str = MISSING
    _target_: str = MISSING
    sample_rate: int = number(16000, least=1000, most=192000)
    train_mixtures: int | None = number(None, least=1)
    valid_mixtures: int | None = number(None, least=1)
    test_mixtures: int | None = number(None, least=1)
    train_snr_db: list[float] = number([-5.0, 0.0], least=-60, most=100)
    train_snr_step_db: float | None = number(None, above=0)
    test_snr_db: list[float] = number([-5.0, 0.0, 5.0], least=-60, most=100)
    segment_s: float | None = number(None, above=0)
    max_test_s: float | None = number(None, above=0)
    valid_share: float = number(0.0, least=0, below=1)
    babble_share: float = number(0.0, least=0, most=1)
    babble_talkers: list[int] = number([4, 8], least=1)
    fresh_each_epoch: bool = True
    rms_normalise: bool = True
    seed: int = number(0, least=0)
    on_bad_file: str = choice("stop", "stop", "skip")
    cache_dir: str | None = None
    memory_mb: float = number(2048.0, least=0)


@dataclass
class NoisyMixturesConfig(MixingConfig):
    """Keys of conf/data/noisy_mixtures.yaml."""

    name: str = "noisy_mixtures"
    _target_: str = "audioprune.data.speech.noisy_mixtures.NoisyMixtures"
    speech_root: str = MISSING
    noise_root: str = MISSING
    test_noise_root: str | None = None
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    speaker_from: str = "auto"
    speaker: str | None = None
    speaker_csv: str | None = None
    noise_from: str = choice("auto", "auto", "file")


@dataclass
class Wsj0MixConfig(MixingConfig):
    """Keys of conf/data/wsj0_mix.yaml."""

    name: str = "wsj0_mix"
    _target_: str = "audioprune.data.speech.wsj0_mix.Wsj0Mix"
    wsj0_root: str = MISSING
    train_noise_root: str = MISSING
    test_noise_root: str = MISSING
    speakers: Any = None
    allow_partial: bool = False
    train_snr_step_db: float | None = number(1.0, above=0)
    fresh_each_epoch: bool = False


@dataclass
class SyntheticSpeechConfig(MixingConfig):
    """Keys of conf/data/synthetic_speech.yaml."""

    name: str = "synthetic_speech"
    _target_: str = "audioprune.data.speech.synthetic_speech.SyntheticSpeech"
    root: str | None = None
    minutes: float = number(14.0, above=0, most=6000)
    valid_minutes: float = number(1.0, above=0, most=6000)
    test_minutes: float = number(2.0, above=0, most=6000)
    speakers: int = number(24, least=1, most=1000)
    valid_speakers: int = number(3, least=1, most=1000)
    test_speakers: int = number(6, least=1, most=1000)
    utterance_s: list[float] = number([3.0, 4.0], least=1, most=60)
    noise_s: float = number(15.0, least=1, most=600)


@dataclass
class PairedFolderConfig:
    """Keys of conf/data/paired_folder.yaml."""

    name: str = "paired_folder"
    _target_: str = "audioprune.data.speech.paired_folder.PairedFolder"
    root: str | None = None
    noisy_root: str | None = None
    clean_root: str | None = None
    sample_rate: int = number(16000, least=1000, most=192000)
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    speaker_from: str = "auto"
    speaker: str | None = None
    speaker_csv: str | None = None
    valid_speakers: list[str] = field(default_factory=list)
    valid_share: float = number(0.0, least=0, below=1)
    conditions: str | None = None
    train_mixtures: int | None = number(None, least=1)
    valid_mixtures: int | None = number(None, least=1)
    test_mixtures: int | None = number(None, least=1)
    segment_s: float | None = number(None, above=0)
    max_test_s: float | None = number(None, above=0)
    fresh_each_epoch: bool = True
    rms_normalise: bool = True
    seed: int = number(0, least=0)
    lengths: str = choice("equal", "equal", "shortest")
    length_tolerance_s: float = number(0.05, least=0, most=10)
    on_bad_file: str = choice("stop", "stop", "skip")
    cache_dir: str | None = None
    memory_mb: float = number(2048.0, least=0)


@dataclass
class GroupsConfig:
    """Kind of weight group per kind of layer; see audioprune.compress.units.weight_groups.GroupKinds."""

    linear: str = choice("column", "row", "column")
    lstm: str = choice("column", "row", "column")
    conv1d: str = choice("kernel", "filter", "channel", "kernel")
    conv2d: str = choice("kernel", "filter", "channel", "kernel")
    pointwise: str = choice("column", "row", "column", "filter", "channel")


@dataclass
class TrainPipelineConfig(PipelineConfig):
    """Knobs of conf/pipeline/train.yaml."""

    lambda_1: float = number(0.0, least=0)


@dataclass
class QuantizePipelineConfig(PipelineConfig):
    """Knobs of conf/pipeline/quantize.yaml."""

    levels: int | None = number(None, least=1, most=65536)
    alpha_2: float | None = number(None, least=0)
    alpha_2_relative: float = number(0.005, least=0)
    sensitivity_items: int | None = number(None, least=1)


@dataclass
class P2PipelineConfig(QuantizePipelineConfig):
    """Knobs of conf/pipeline/p2_unstructured.yaml, p2_baseline.yaml and p2_structured.yaml; ``baseline_width`` is ``auto`` or a width."""

    lambda_1: float = number(1.0, least=0)
    alpha_1: float | None = number(None, least=0)
    alpha_1_relative: float = number(0.01, least=0)
    method: str = choice("first_violation", "first_violation", "bisection")
    min_removed: float = number(0.01, least=0, most=1)
    max_iterations: int = number(10, least=1)
    finetune_epochs: int = number(10, least=1)
    finetune_learning_rate: float | None = number(None, above=0)
    iteration_metrics: list[str] = field(default_factory=lambda: ["stoi", "pesq_raw_nb"])
    iteration_conditions: list[str] = field(default_factory=lambda: ["*_-5dB"])
    baseline_width: Any = "auto"


@dataclass
class P2StructuredPipelineConfig(P2PipelineConfig):
    """Knobs of conf/pipeline/p2_structured.yaml."""

    lambda_2: float = number(0.1, least=0)
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    unit_groups: bool = False


@dataclass
class MagnitudePipelineConfig(PipelineConfig):
    """Knobs of conf/pipeline/magnitude.yaml."""

    lambda_1: float = number(0.0, least=0)
    sparsity: float = number(0.8, least=0, most=1)
    scope: str = choice("global", "global", "local")
    rounds: int = number(1, least=1)
    finetune_epochs: int = number(10, least=1)
    finetune_learning_rate: float | None = number(None, above=0)
    levels: int | None = number(32, least=1, most=65536)


@dataclass
class AnalysisPipelineConfig(PipelineConfig):
    """Knobs that conf/pipeline/curves.yaml and budget.yaml share."""

    lambda_1: float = number(0.0, least=0)
    sensitivity_items: int | None = number(None, least=1)
    betas: list[float] | None = number(None, least=0, most=1)
    structured: bool = False
    groups: GroupsConfig = field(default_factory=GroupsConfig)


_VALIDATION_METRICS = ("loss", *SIGNAL_METRICS)


@dataclass
class CurvesPipelineConfig(AnalysisPipelineConfig):
    """Knobs of conf/pipeline/curves.yaml."""

    group: str | None = choice(None, "element", "filter", "channel")
    sense_range: list[float] | None = number(None, least=0, most=1)
    metrics: list[str] = field(
        default_factory=lambda: ["loss", "stoi", "pesq_raw_nb"],
        metadata={"options": _VALIDATION_METRICS},
    )


@dataclass
class BudgetPipelineConfig(AnalysisPipelineConfig):
    """Knobs of conf/pipeline/budget.yaml."""

    metric: str = choice("pesq_raw_nb", *_VALIDATION_METRICS)
    max_drop: float = number(0.05, least=0)
    candidates: int = number(10, least=1)
    levels: list[int] | None = number(None, least=1, most=65536)
    finetune_epochs: int = number(0, least=0)
    finetune_learning_rate: float | None = number(None, above=0)


GROUPS: dict[str, dict[str, type]] = {
    "model": {"fdnn": FdnnConfig, "lstm": LstmConfig, "tcnn": TcnnConfig, "gcrn": GcrnConfig},
    "task": {"enhancement": EnhancementConfig},
    "data": {
        "noisy_mixtures": NoisyMixturesConfig,
        "paired_folder": PairedFolderConfig,
        "synthetic_speech": SyntheticSpeechConfig,
        "wsj0_mix": Wsj0MixConfig,
    },
    "pipeline": {
        "train": TrainPipelineConfig,
        "quantize": QuantizePipelineConfig,
        "p2_unstructured": P2PipelineConfig,
        "p2_structured": P2StructuredPipelineConfig,
        "magnitude": MagnitudePipelineConfig,
        "evaluate": PipelineConfig,
        "curves": CurvesPipelineConfig,
        "budget": BudgetPipelineConfig,
    },
}
