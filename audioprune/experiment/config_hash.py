"""Which run a configuration is: the hash and the folder name that the same experiment always gets.

Only what can change a result enters the hash; no torch is imported here, because help and
completion pass through it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

from audioprune.files import sha256_file
from audioprune.paths import model_file

_NOT_RESULTS = ("runtime", "hydra", "verb", "objective", "tune")
_LATER: dict[str, dict[str, Any]] = {
    "model": {
        "activation": "relu",
        "cell": "lstm",
        "context": 0,
        "normalise": False,
        "tables": "drawn",
    },
    "data": {
        "augment_equaliser_db": 0.0,
        "augment_level_db": 0.0,
        "augment_second_noise": 0.0,
        "augment_speed": [1.0, 1.0],
        "variety": "plain",
        "voices": "made",
    },
    "pipeline": {
        "bits": None,
        "per": "tensor",
        "quantizer": "kmeans",
        "ramp_begin": 0.0,
        "ramp_end": 0.0,
        "scale": "least_squares",
        "symmetric": True,
        "whole_units": False,
    },
    "task": {
        "harmonics": 0,
        "remix": False,
        "spectral_weight": 0.0,
        "waveform_first_epochs": 0,
        "waveform_weight": 0.0,
    },
    "training": {
        "channels_last": False,
        "compile": False,
        "fused": False,
        "ramp_begin": 0.0,
        "ramp_end": 0.0,
    },
}
"""Keys that were added to a group, and the value that stands for what was done without them.

With that value a key is left out of the hash, so that runs of before keep their names.
"""
VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "CUDNN_DETERMINISTIC",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_DISABLE_JIT",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_LINALG_PREFER_CUSOLVER",
)
"""What torch, its libraries and numba read on their own, and what changes the bits of a result."""


def plain_values(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain dictionaries, lists and values, all resolved."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    if not isinstance(plain, dict):
        raise TypeError(f"expected a mapping, got {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def result_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a plain configuration that can change results."""
    return {key: value for key, value in config.items() if key not in _NOT_RESULTS}


def _hashed(config: dict[str, Any]) -> dict[str, Any]:
    """Return what can change results, without keys of ``_LATER`` that change nothing."""
    known = result_config(config)
    return {key: known_before(key, value) for key, value in known.items()}


def known_before(group: str, value: Any) -> Any:
    """Return a group of a configuration without added keys that change nothing."""
    return _without_later(value, _LATER.get(group, {}))


def added_key(key: str) -> tuple[bool, Any]:
    """Tell whether a dotted key was added later, and the value that stands for what was before.

    A step of a pipeline that has the same argument as the pipeline counts as it.
    """
    group, _, rest = key.partition(".")
    name = rest.rpartition(".")[2]
    later = _LATER.get(group, {})
    return name in later, later.get(name)


def _without_later(value: Any, later: dict[str, Any]) -> Any:
    """Return a part of a configuration without added keys that change nothing, at any depth."""
    if not isinstance(value, dict) or not later:
        return value
    kept = {key: each for key, each in value.items() if key not in later or each != later[key]}
    return {key: _without_later(each, later) for key, each in kept.items()}


def config_hash(config: dict[str, Any]) -> str:
    """Return ten hexadecimal digits that stand for a plain configuration."""
    facts = [
        _hashed(config),
        _content(config.get("checkpoint")),
        *foreign_code(config.get("model")),
        *foreign_code(config.get("task")),
        *_schedule(config),
    ]
    facts += [_content(teacher)] if (teacher := (config.get("task") or {}).get("teacher")) else []
    facts += [found] if (found := variables()) else []
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:10]


def variables() -> dict[str, str]:
    """Return those of `VARIABLES` that are set, by name."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


def _content(checkpoint: str | None) -> str | None:
    """Return a digest of a checkpoint: another file under the same name is another run."""
    if not checkpoint or not model_file(checkpoint).is_file():
        return None
    return sha256_file(model_file(checkpoint))


def _schedule(config: dict[str, Any]) -> list[str]:
    """Return a digest of a pipeline's schedule file: an edited schedule is another run."""
    named = (config.get("pipeline") or {}).get("schedule")
    return [sha256_file(Path(named))] if isinstance(named, str) and Path(named).is_file() else []


def foreign_code(part: Any) -> list[str]:
    """Return a digest of the file of a user's model or task: another definition is another run."""
    target = str(part.get("_target_", "")) if isinstance(part, dict) else ""
    if not target or target.startswith("audioprune."):
        return []
    try:
        found = importlib.util.find_spec(target.rpartition(".")[0])
    except (ImportError, ValueError):
        return []
    return (
        [sha256_file(Path(found.origin))]
        if found and found.origin and Path(found.origin).is_file()
        else []
    )


def run_name(config: dict[str, Any]) -> str:
    """Return the name of a run folder, such as ``fdnn-p2_unstructured-0123456789``."""
    names = [
        str((config.get(group) or {}).get("name") or "custom") for group in ("model", "pipeline")
    ]
    return "-".join(
        [*(re.sub(r"[^A-Za-z0-9_.]", "_", name) for name in names), config_hash(config)]
    )
