"""Which keys every verb has, whatever the paper: seed, training numbers, runtime, and the tools' own keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from audioprune.schema.values import choice, number

SIGNAL_METRICS = (
    "stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr", "lsd", "lsd_below_4khz", "lsd_above_4khz", "seg_snr", "mr_stft", "l1",
)  # fmt: skip
"""Names of audioprune.metrics.METRICS."""


@dataclass
class RuntimeConfig:
    """What may change between two runs of the same experiment without changing its result."""

    device: str = "auto"  # see audioprune.training.devices.chosen_device
    threads: int = number(1, least=1, most=1024)
    workers: int = number(0, least=0, most=256)
    metric_workers: int = number(2, least=0, most=256)
    save_every_s: float = number(30.0, above=0)
    tensorboard: bool = False
    folder: str = "runs"
    cache: str = ""
    force: bool = False


@dataclass
class TrainingConfig:
    """The numbers of training; see audioprune.training.settings.Settings."""

    epochs: int = number(30, least=1)
    steps: int | None = number(None, least=1)
    batch_size: int = number(8, least=1)
    optimizer: str = choice("adam", "adam", "adamw", "sgd", "rmsprop")
    learning_rate: float = number(1e-3, above=0)
    weight_decay: float = number(0.0, least=0)
    momentum: float = number(0.0, least=0, below=1)
    betas: list[float] = number([0.9, 0.999], least=0, below=1)
    amsgrad: bool = False
    clip_norm: float | None = number(5.0, above=0)
    schedule: str = choice(
        "step",
        "constant",
        "step",
        "exponential",
        "plateau",
        "cosine",
        "linear",
        "warm_linear",
        "milestones",
    )
    decay: float = number(0.98, above=0, most=1)
    decay_every: int = number(2, least=1)
    validate_every: int = number(1, least=1)
    monitor: str = choice("loss", "loss", *SIGNAL_METRICS, "accuracy", "accuracy_macro")
    early_stop: int | None = number(None, least=1)
    keep: str = choice("best", "best", "last")
    keep_from_epoch: int = number(0, least=0)
    precision: str = choice("fp32", "fp32", "bf16")
    hold_epochs: int = number(50, least=0)
    decay_until: int = number(250, least=1)
    final_learning_rate: float = number(5e-6, least=0)
    milestones: list[float] = number([0.5, 0.8], least=0, most=1)
    finetune_epochs: int = number(10, least=1)
    finetune_learning_rate: float | None = number(None, above=0)


@dataclass
class ScoringConfig:
    """What evaluation measures and keeps."""

    metrics: list[str] = field(
        default_factory=lambda: ["stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr"]
    )
    audio_items: int = number(1, least=0)
    latency_repeats: int = number(5, least=0)


@dataclass
class Root:
    """All keys of every verb that runs an experiment."""

    seed: int = number(0, least=0, most=2**31 - 1)
    checkpoint: str | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    task: Any = MISSING
    data: Any = MISSING
    pipeline: Any = MISSING
    model: Any = MISSING
    scale: str = ""
    verb: str = ""


@dataclass
class ReportRoot:
    """Keys of ``audioprune report``."""

    runs: Any = "runs"
    out: str = "reports"
    report: Any = MISSING


@dataclass
class InfoRoot:
    """Keys of ``audioprune info``."""

    task: Any = None
    model: Any = MISSING
    checkpoint: str | None = None
    format: str = choice("table", "table", "json")


@dataclass
class DataRoot:
    """Keys of ``audioprune data``."""

    action: str = choice("check", "check", "prepare", "manifest")
    root: str | None = None
    out: str | None = None
    data: Any = MISSING
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


@dataclass
class ListenRoot:
    """Keys of ``audioprune listen``; see audioprune.listening.export.Plan."""

    action: str = choice("export", "export", "stats")
    test: str = choice("custom", "pre_pruning", "pruned", "smaller", "custom")
    systems: dict[str, str] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    items: int = number(8, least=1, most=100)
    seed: int = number(0, least=0, most=2**31 - 1)
    duration_s: list[float] = number([3.0, 10.0], above=0, most=12)
    conditions: list[str] = field(default_factory=lambda: ["*"])
    loudness_lufs: float = number(-23.0, least=-60, most=0)
    title: str = ""
    page: bool = True
    webmushra: bool = True
    results: Any = None
    out: str | None = None
    data: Any = MISSING
    threads: int = number(1, least=1, most=1024)


@dataclass
class GenerateRoot:
    """Keys of ``audioprune generate``; see audioprune.commands.make_note.Request."""

    checkpoint: str | None = None
    pitch: int | None = number(None, least=0, most=127)
    velocity: int | None = number(None, least=0, most=127)
    family: Any = None
    instrument: Any = None
    reference: str | None = None
    duration_s: float = number(2.0, least=0.05, most=600)
    seed: int = number(0, least=0, most=2**31 - 1)
    temperature: float = number(1.0, least=0, most=100)
    out: str = "note.wav"
    task: Any = None
    data: Any = None
    model: Any = None
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


@dataclass
class DoctorRoot:
    """Keys of ``audioprune doctor``."""

    format: str = choice("table", "table", "json")


@dataclass
class PipelineConfig:
    """Keys of every pipeline: its name and its ordered steps."""

    name: str = MISSING
    steps: dict[str, Any] = field(default_factory=dict)
