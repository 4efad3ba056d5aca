"""Which models a listening test compares, and how each enhances a recording: ``load_system``.

``TESTS`` names the models of the paper's three tests. How their outputs become stimuli is decided
in stimuli.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.model_io import instantiate, load_model_file
from audioprune.files import sha256_file
from audioprune.listening.items import Item
from audioprune.paths import model_file
from audioprune.protocols import Enhances, SeedsNoise

CUSTOM = "custom"
TESTS: dict[str, tuple[str, ...]] = {
    "pre_pruning": ("DCAE",),
    "pruned": ("DCAE", "DCAE_pr"),
    "smaller": ("DCAE", "DCAE_pr", "DCAE_10"),
}
"""Systems of each test of Plain & Biswas.

Every test also holds the unprocessed signal, the hidden reference and two anchors.
"""


@dataclass(frozen=True)
class System:
    """A named model as it is on disk.

    Attributes:
        name: Name of the condition.
        file: The model file.
        sha256: Its content.
        model: In evaluation mode.
        task: What the file says its inputs and outputs mean.
    """

    name: str
    file: Path
    sha256: str
    model: torch.nn.Module
    task: Enhances

    def enhance(self, item: Item) -> np.ndarray:
        """Return the enhanced recording, shape (T,)."""
        noisy = torch.from_numpy(item.unprocessed.astype(np.float32))[None]
        enhanced = self.task.enhance(self.model, noisy)[0]
        return enhanced.numpy().astype(np.float64)

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says of the system.

        That is its file and hash, the class of the model, and its parameters, all and not zero.
        """
        values = [parameter.detach() for parameter in self.model.parameters()]
        seed = self.model.z_seed if isinstance(self.model, SeedsNoise) else None
        return {
            "name": self.name,
            "file": str(self.file),
            "sha256": self.sha256,
            "model": type(self.model).__name__,
            "params": sum(value.numel() for value in values),
            "nonzero": sum(int(torch.count_nonzero(value)) for value in values),
            "z_seed": seed,
        }


def check_systems(test: str, systems: Mapping[str, str]) -> None:
    """Compare the named systems with those of the test.

    Raises:
        ConfigError: The test is unknown, a system is missing, one too many or not nameable; the
            message says which.
    """
    if test != CUSTOM and test not in TESTS:
        raise ConfigError(unknown_name("test", test, [*TESTS, CUSTOM]))
    wanted = TESTS.get(test, tuple(systems))
    given = ", ".join(systems) or "none"
    missing = [name for name in wanted if name not in systems]
    if missing or not systems:
        keys = " ".join(f"systems.{name}=..." for name in missing or ["A"])
        raise ConfigError(
            f"expected {keys} for test={test}, got systems {given}; give a run folder or model "
            f"file for each"
        )
    extra = [name for name in systems if name not in wanted]
    if extra:
        raise ConfigError(
            f"expected the systems {', '.join(wanted)} for test={test}, got also "
            f"{', '.join(extra)}; use test={CUSTOM}"
        )
    odd = [name for name in systems if not re.fullmatch(r"\w{1,40}", name, re.ASCII)]
    if odd:
        raise ConfigError(
            f"expected names of systems of letters, digits and _, got {odd[0]!r}; rename it"
        )


def load_system(
    name: str, path: str, sample_rate: int, seed: int, own_model: Mapping[str, Any] | None = None
) -> System:
    """Read a model for a listening test.

    Args:
        name: Name of the condition.
        path: A run folder, ``.apz`` or ``.safetensors``.
        sample_rate: Of the corpus, in Hz.
        seed: Of the noise that a generator adds, where it adds any.
        own_model: ``_target_`` of the user's own class, which a file may name then.

    Raises:
        CheckpointError: The file is missing, damaged or hostile.
        ConfigError: The file says no task that enhances, or one of another sample rate.
    """
    loaded = load_model_file(path, dict(own_model) if own_model else None)
    if loaded.task_config is None:
        raise ConfigError(
            f"systems.{name}: expected a file that says its task, got {path}; give a run "
            f"folder, .apz or .safetensors"
        )
    task = instantiate(loaded.task_config)
    if not isinstance(task, Enhances):
        raise ConfigError(
            f"systems.{name}: expected a model that enhances signals, got the task "
            f"{type(task).__name__}; choose another"
        )
    if task.sample_rate != sample_rate:
        raise ConfigError(
            f"systems.{name}: expected a model for {sample_rate} Hz as the corpus, got one for "
            f"{task.sample_rate} Hz; set data.sample_rate={task.sample_rate}"
        )
    file, model = model_file(path), loaded.model.eval()
    if isinstance(model, SeedsNoise):
        model.z_seed = seed
    return System(name, file, sha256_file(file), model, task)
