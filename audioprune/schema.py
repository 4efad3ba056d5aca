"""Which keys a configuration may have, of which type and in which range.

The dataclasses are read by Hydra; `check` walks a composed configuration and answers the first wrong number or name before
any work starts. What the values mean is documented in the classes that receive them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from audioprune.errors import ConfigError, unknown_name


def number(
    default: Any, *, least: float | None = None, most: float | None = None, above: float | None = None, below: float | None = None
) -> Any:
    """Declare a number (or list of numbers) with its range; `above` and `below` are exclusive bounds."""
    limits = {"least": least, "most": most, "above": above, "below": below}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"limits": limits})
    return field(default=default, metadata={"limits": limits})


def choice(default: str, *options: str) -> Any:
    """Declare a name that must be one of the options."""
    return field(default=default, metadata={"options": options})


@dataclass
class RuntimeConfig:
    """What may change between two runs of the same experiment without changing its result."""

    device: str = choice("auto", "auto", "cpu", "cuda")
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
    """The numbers of training; see audioprune.settings.Settings."""

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
    schedule: str = choice("step", "constant", "step", "exponential", "plateau", "cosine", "linear")
    decay: float = number(0.98, above=0, most=1)
    decay_every: int = number(2, least=1)
    validate_every: int = number(1, least=1)
    monitor: str = choice("loss", "loss", "stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr", "accuracy")
    early_stop: int | None = number(None, least=1)
    precision: str = choice("fp32", "fp32", "bf16")


@dataclass
class ScoringConfig:
    """What evaluation measures and keeps."""

    metrics: list[str] = field(default_factory=lambda: ["stoi", "estoi", "pesq_raw_nb", "pesq_nb", "pesq_wb", "si_sdr"])
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
class DoctorRoot:
    """Keys of ``audioprune doctor``."""

    format: str = choice("table", "table", "json")


@dataclass
class FdnnConfig:
    """See audioprune.models.fdnn.FDNN."""

    name: str = "fdnn"
    _target_: str = "audioprune.models.fdnn.FDNN"
    bins: int = number(161, least=2)
    width: int = number(2048, least=1)
    depth: int = number(3, least=1)


@dataclass
class LstmConfig:
    """See audioprune.models.lstm.LSTM."""

    name: str = "lstm"
    _target_: str = "audioprune.models.lstm.LSTM"
    bins: int = number(161, least=2)
    width: int = number(1024, least=1)
    depth: int = number(4, least=1)


@dataclass
class TcnnConfig:
    """See audioprune.models.tcnn.TCNN."""

    name: str = "tcnn"
    _target_: str = "audioprune.models.tcnn.TCNN"
    width: float = number(1.0, least=0.0625, most=4)
    dropout: float = number(0.3, least=0, below=1)


@dataclass
class GcrnConfig:
    """See audioprune.models.gcrn.GCRN."""

    name: str = "gcrn"
    _target_: str = "audioprune.models.gcrn.GCRN"
    groups: int = number(2, least=1, most=8)
    width: float = number(1.0, least=0.0625, most=4)


@dataclass
class EnhancementConfig:
    """See audioprune.tasks.enhancement.Enhancement."""

    name: str = "irm"
    _target_: str = "audioprune.tasks.enhancement.Enhancement"
    target: str = choice("irm", "irm", "magnitude", "complex", "waveform")
    sample_rate: int = number(16000, least=1000)
    frame_length: int = number(320, least=2)
    hop_length: int = number(160, least=1)
    ola_norm: str = choice("window", "window", "window_squared")
    feature: str = choice("magnitude", "magnitude", "cube_root", "log")


@dataclass
class MixingConfig:
    """Keys that every corpus of noisy mixtures shares; see audioprune.data.noisy_mixtures.NoisyMixtures."""

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
    _target_: str = "audioprune.data.noisy_mixtures.NoisyMixtures"
    speech_root: str = MISSING
    noise_root: str = MISSING
    test_noise_root: str | None = None
    split: Any = None
    fractions: list[float] = number([0.8, 0.1, 0.1], least=0, most=1)
    speaker_from: str = "auto"


@dataclass
class Wsj0MixConfig(MixingConfig):
    """Keys of conf/data/wsj0_mix.yaml."""

    name: str = "wsj0_mix"
    _target_: str = "audioprune.data.wsj0_mix.Wsj0Mix"
    wsj0_root: str = MISSING
    train_noise_root: str = MISSING
    test_noise_root: str = MISSING
    speakers: Any = None
    allow_partial: bool = False
    train_snr_step_db: float | None = number(1.0, above=0)
    fresh_each_epoch: bool = False


@dataclass
class PipelineConfig:
    """Keys of every pipeline: its name and its ordered steps."""

    name: str = MISSING
    steps: dict[str, Any] = field(default_factory=dict)


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
    """Knobs of conf/pipeline/p2_unstructured.yaml."""

    lambda_1: float = number(1.0, least=0)
    alpha_1: float | None = number(None, least=0)
    alpha_1_relative: float = number(0.01, least=0)
    method: str = choice("first_violation", "first_violation", "bisection")
    min_removed: float = number(0.01, least=0, most=1)
    max_iterations: int = number(10, least=1)
    finetune_epochs: int = number(10, least=1)
    finetune_learning_rate: float | None = number(None, above=0)


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


def register() -> None:
    """Make the dataclasses known to Hydra; called once before composition."""
    store = ConfigStore.instance()
    for name, node in {"root": Root, "report": ReportRoot, "info": InfoRoot, "data": DataRoot, "doctor": DoctorRoot}.items():
        store.store(group="schema", name=name, node=node)
    for group, nodes in GROUPS.items():
        for name, node in nodes.items():
            store.store(group=f"schema/{group}", name=name, node=node)


def check(config: DictConfig) -> None:
    """Check every number and name of a composed configuration.

    Raises:
        ConfigError: The first wrong value, with its key, the value and what is accepted.
    """
    for key, value, limits, options in _declared(config, ""):
        for each in value if isinstance(value, ListConfig | list) else [value]:
            if limits:
                _check_number(key, each, limits)
            elif options and each is not None and str(each) not in options:
                raise ConfigError(f"{key}: {unknown_name('value', str(each), options)}")


def _declared(node: Any, prefix: str) -> Iterator[tuple[str, Any, dict[str, float | None] | None, tuple[str, ...] | None]]:
    kind = OmegaConf.get_type(node)
    metadata = {item.name: item.metadata for item in fields(kind)} if hasattr(kind, "__dataclass_fields__") else {}
    for key in node:
        if OmegaConf.is_missing(node, key):
            raise ConfigError(f"{prefix}{key}: expected a value, got none; give {prefix}{key}=...")
        value = node[key]
        if isinstance(value, DictConfig):
            yield from _declared(value, f"{prefix}{key}.")
        elif key in metadata:
            yield f"{prefix}{key}", value, metadata[key].get("limits"), metadata[key].get("options")


def _check_number(key: str, value: Any, limits: dict[str, float | None]) -> None:
    if value is None:
        return
    if not math.isfinite(value):
        raise ConfigError(f"{key}: expected a finite number {_range_text(limits)}, got {value}")
    least, most, above, below = limits["least"], limits["most"], limits["above"], limits["below"]
    wrong = (
        (least is not None and value < least)
        or (most is not None and value > most)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )
    if wrong:
        raise ConfigError(f"{key}: expected a number {_range_text(limits)}, got {value}")


def _range_text(limits: dict[str, float | None]) -> str:
    signs = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    parts = [f"{signs[name]} {limits[name]:g}" for name in ("least", "above", "most", "below") if limits[name] is not None]
    return " and ".join(parts) or "of any size"


GROUPS: dict[str, dict[str, type]] = {
    "model": {"fdnn": FdnnConfig, "lstm": LstmConfig, "tcnn": TcnnConfig, "gcrn": GcrnConfig},
    "task": {"enhancement": EnhancementConfig},
    "data": {"noisy_mixtures": NoisyMixturesConfig, "wsj0_mix": Wsj0MixConfig},
    "pipeline": {
        "train": TrainPipelineConfig,
        "quantize": QuantizePipelineConfig,
        "p2_unstructured": P2PipelineConfig,
        "magnitude": MagnitudePipelineConfig,
        "evaluate": PipelineConfig,
    },
}


def keys_of(type_name: str) -> list[str]:
    """Return the keys of the configuration class of that name; empty for an unknown class."""
    kinds = [Root, ReportRoot, InfoRoot, DataRoot, DoctorRoot, TrainingConfig, RuntimeConfig, ScoringConfig]
    kinds += [node for nodes in GROUPS.values() for node in nodes.values()]
    return [item.name for kind in kinds if kind.__name__ == type_name for item in fields(kind)]
