"""A whole experiment small enough for a test: made signals, a tiny FDNN, every kind of step."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune.experiment.build import build, run_job
from audioprune.experiment.run import Run
from audioprune.files import read_lines

RATE = 16000
STEPS = "audioprune.steps."
CHANGING = ("seconds", "latency_ms_per_s")
"""What two equal runs may measure differently."""


class TinySet(Dataset):
    """A swelling tone and the same with noise; item i of epoch e is a function of both."""

    def __init__(self, count: int, seed: int, snr_db: float) -> None:
        self.count, self.seed, self.snr_db, self.epoch = count, seed, snr_db, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1000 * self.seed + 10 * index + self.epoch % 3)
        time = torch.arange(3200 + 160 * (index % 3)) / RATE
        pitch = 200 + 100 * float(torch.rand(1, generator=generator))
        clean = torch.sin(6.2832 * pitch * time) * (0.6 + 0.4 * torch.sin(20 * time))
        noise = torch.randn(len(time), generator=generator)
        noisy = clean + noise * clean.square().mean().sqrt() * 10 ** (-self.snr_db / 20)
        gain = noisy.square().mean().rsqrt()
        return {
            "noisy": gain * noisy,
            "clean": gain * clean,
            "id": f"{self.seed}_{index}",
            "noise": "white",
            "snr_db": self.snr_db,
        }


class TinySpeech:
    """A corpus of made signals; what ``file`` holds is part of its fingerprint."""

    def __init__(self, *, items: int = 12, file: str | None = None) -> None:
        self.sample_rate, self.items, self.file = RATE, items, file

    def prepare(self) -> None:
        """Nothing is needed."""

    def train(self) -> TinySet:
        return TinySet(self.items, 0, 0.0)

    def valid(self) -> TinySet:
        return TinySet(3, 1, 0.0)

    def tests(self) -> dict[str, TinySet]:
        return {"white_-5dB": TinySet(2, 2, -5.0), "white_0dB": TinySet(2, 3, 0.0)}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
        batch["lengths"] = torch.tensor([len(signal) for signal in batch["noisy"]])
        for key in ("noisy", "clean"):
            batch[key] = nn.utils.rnn.pad_sequence(batch[key], batch_first=True)
        return batch

    def fingerprint(self) -> str:
        return f"tiny {self.items} {Path(self.file).read_text() if self.file else ''}"

    def describe(self) -> dict[str, Any]:
        return {"items": self.items}

    def scale(self) -> str:
        return f"{self.items} tiny items"


class MyNet(nn.Module):
    """A user's model that knows nothing of units."""

    frames_per_second = 1000.0
    time_dim = 1

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width = width
        self.inner = nn.Linear(17, width)
        self.outer = nn.Linear(width, 17)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.outer(torch.relu(self.inner(x))))

    def example_input(self, frames: int = 10) -> Tensor:
        return torch.zeros(1, frames, 17)


class MyBranches(MyNet):
    """A user's model of which every unit is tied to the input or the output."""

    def __init__(self, width: int = 17) -> None:
        super().__init__(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.outer(torch.relu(self.inner(x)) + x))


def step(name: str, **arguments: Any) -> dict[str, Any]:
    """Return the configuration of a step."""
    return {"_target_": STEPS + name, **arguments}


def whole_pipeline(most: int = 4) -> dict[str, Any]:
    """Return a sensitivity pipeline: train, score, {prune, tune, score}, quantise, score."""
    return {
        "train": step("Train", only_from_scratch=True),
        "uncompressed": step("Evaluate", variant="uncompressed", file="uncompressed.safetensors"),
        "compress": step(
            "Repeat",
            most=most,
            steps={
                "prune": step("SensitivityPrune", alpha_1_relative=0.02, min_removed=0.1),
                "finetune": step("Train", epochs=1, learning_rate=0.001),
                "score": step(
                    "Evaluate",
                    variant="pruned",
                    file="iteration.safetensors",
                    conditions=["*_-5dB"],
                    audio=False,
                ),
            },
        ),
        "quantize": step("Quantize", alpha_2_relative=0.05),
        "compressed": step("Evaluate", variant="compressed", file="model.apz"),
    }


def config(steps: dict[str, Any], cache: Path, **changes: Any) -> dict[str, Any]:
    """Return a configuration; ``changes`` replaces or adds keys, one level deep in groups."""
    plain: dict[str, Any] = {
        "seed": 0,
        "checkpoint": None,
        "scale": "toy",
        "verb": "prune",
        "model": {
            "name": "fdnn",
            "_target_": "audioprune.models.fdnn.FDNN",
            "bins": 17,
            "width": 6,
            "depth": 2,
        },
        "task": {
            "name": "irm",
            "_target_": "audioprune.tasks.enhancement.Enhancement",
            "frame_length": 32,
            "hop_length": 16,
        },
        "data": {"name": "tiny", "_target_": "tiny_runs.TinySpeech"},
        "training": {
            "epochs": 4,
            "batch_size": 3,
            "betas": [0.9, 0.999],
            "learning_rate": 0.05,
            "finetune_epochs": 1,
        },
        "scoring": {"metrics": ["si_sdr"], "audio_items": 1, "latency_repeats": 0},
        "runtime": {
            "device": "cpu",
            "threads": 1,
            "workers": 0,
            "metric_workers": 0,
            "save_every_s": 1e-9,
            "tensorboard": False,
            "cache": str(cache),
            "force": False,
        },
        "pipeline": {"name": "toy", "steps": steps},
    }
    for key, value in changes.items():
        plain[key] = (
            {**plain.get(key, {}), **value}
            if isinstance(value, dict) and key not in ("model", "pipeline")
            else value
        )
    return plain


def start(folder: Path, plain: dict[str, Any], overrides: tuple[str, ...] = ()) -> str:
    """Run a configuration in a folder as the command line does."""
    return run_job(OmegaConf.create(plain), folder, list(overrides))


def open_run(folder: Path, plain: dict[str, Any], overrides: tuple[str, ...] = ()) -> Run:
    """Build a run without carrying out its steps."""
    folder.mkdir(parents=True, exist_ok=True)
    return build(plain, folder, list(overrides))


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the results of a run folder without what two equal runs may measure differently."""
    return [
        {key: value for key, value in row.items() if key not in CHANGING}
        for row in read_lines(folder / "results.jsonl")
    ]


def completed(folder: Path) -> set[str]:
    """Return the steps that a folder says are done."""
    from audioprune import checkpoint

    stored = checkpoint.read_newest(folder / "state.safetensors")
    return {row["path"] for row in read_lines(folder / "progress.jsonl")} | set(
        stored[1]["completed"] if stored else []
    )


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked process and return its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            work()
            code = 0
        except BaseException as error:
            code = getattr(error, "exit_code", 98)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def signal_at_write(count: int, number: int = signal.SIGKILL, after: bool = False) -> None:
    """Send this process a signal at its count-th atomic write, before or after its rename."""
    true_replace, seen = os.replace, [0]

    def replace(source: Any, target: Any) -> None:
        seen[0] += 1
        if seen[0] == count and not after:
            os.kill(os.getpid(), number)
        true_replace(source, target)
        if seen[0] == count and after:
            os.kill(os.getpid(), number)

    os.replace = replace


def status(folder: Path) -> dict[str, Any]:
    """Return status.json."""
    return json.loads((folder / "status.json").read_text())


MYNET = """
import torch
from torch import nn

class MyNet(nn.Module):
    frames_per_second = 100.0
    time_dim = 1

    def __init__(self, width=4):
        super().__init__()
        self.inner, self.outer = nn.Linear(161, width), nn.Linear(width, 161)

    def forward(self, x):
        return torch.sigmoid(self.outer(torch.relu(self.inner(x))))

    def example_input(self, frames=10):
        return torch.zeros(1, frames, 161)
"""
