"""Every shipped pipeline on a tiny experiment of its paper: `tiny_pipeline`, and its corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from distiller_toys import one
from hydra import compose
from omegaconf import OmegaConf
from tiny_runs import config, start, step
from torch.utils.data import Dataset

from audioprune.data.scenes.corpus import collate

CONF = Path(__file__).resolve().parent.parent / "conf"
NAMES = sorted(path.stem for path in (CONF / "pipeline").glob("*.yaml"))
SCHEDULE = one(
    "SensitivityPruner", {"sensitivities": {"layers.0.weight": 0.5}}, end=2, frequency=1
)
KNOBS: dict[str, dict[str, Any]] = {
    "budget": {
        "metric": "loss",
        "max_drop": 10.0,
        "candidates": 2,
        "betas": [0.0, 0.5],
        "levels": [4],
    },
    "curves": {"metrics": ["loss"], "betas": [0.0, 0.5]},
    "distiller": {"schedule": SCHEDULE},
    "magnitude": {"rounds": 2, "finetune_epochs": 1},
    "p1_post": {"schedule": SCHEDULE, "finetune_epochs": 1},
    "p1_sensitivity": {"schedule": SCHEDULE},
    **dict.fromkeys(
        ("p2_baseline", "p2_structured", "p2_unstructured", "p2_unstructured_small"),
        {
            "lambda_1": 0.0,
            "max_iterations": 2,
            "min_removed": 0.0,
            "finetune_epochs": 1,
            "iteration_metrics": ["si_sdr"],
        },
    ),
    **dict.fromkeys(
        ("p3_mask", "p3_trim"), {"rounds": 2, "rewind": "1it", "samples": 20, "audio_rounds": []}
    ),
    **{
        name: {"prox_epochs": 1}
        for name in NAMES
        if name.startswith("p4") and name != "p4_baseline"
    },
    "p4_admm": {"finetune_epochs": 1},
}


class Bands(Dataset):
    """Loud bands tell two classes apart."""

    classes = ("low", "high")

    def __init__(self, count: int, seed: int) -> None:
        self.features = torch.randn(
            count, 2, 48, 48, generator=torch.Generator().manual_seed(seed)
        )
        self.labels = [place % 2 for place in range(count)]
        for features, label in zip(self.features, self.labels, strict=True):
            features[:, 24 * label : 24 * label + 24] += 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"features": self.features[index], "label": self.labels[index], "id": str(index)}


class Scenes:
    """A corpus of them."""

    sample_rate = 22050
    collate = staticmethod(collate)

    def __init__(self, *, items: int = 8) -> None:
        self.items = items

    def prepare(self) -> None:
        """Nothing is needed."""

    def train(self) -> Bands:
        return Bands(self.items, 0)

    def valid(self) -> Bands:
        return Bands(4, 1)

    def tests(self) -> dict[str, Bands]:
        return {"test": Bands(4, 2)}

    def fingerprint(self) -> str:
        return "bands"

    def describe(self) -> dict[str, Any]:
        return {}

    def scale(self) -> str:
        return "toy bands"


def _pipeline(name: str) -> dict[str, Any]:
    whole = compose("prune", overrides=[f"pipeline={name}"])
    whole.verb = "prune"
    for key, value in KNOBS.get(name, {}).items():
        OmegaConf.update(whole.pipeline, key, value)
    return OmegaConf.to_container(whole, resolve=True)["pipeline"]


def tiny_pipeline(name: str, folder: Path) -> dict[str, Any]:
    """Return a tiny experiment of the paper of a shipped pipeline, inside `hydra_started`."""
    plain = config(
        {},
        folder / "cache",
        training={"epochs": 2},
        pipeline=_pipeline(name),
        runtime={"save_every_s": 60.0},
    )
    if name.startswith("p3"):
        plain |= {
            "model": {"name": "net", "_target_": "lottery_toys.Net"},
            "data": {"_target_": "lottery_toys.Data", "name": "sums"},
        }
        plain["task"] = {"_target_": "lottery_toys.Task", "name": "toy"}
    if name.startswith("p4"):
        vgg = {
            "name": "vgg",
            "_target_": "audioprune.models.vgg.VGG",
            "classes": 2,
            "width": 2,
            "mels": 48,
        }
        plain |= {"model": vgg, "data": {"_target_": "tiny_pipelines.Scenes", "name": "bands"}}
        plain["task"] = {
            "_target_": "audioprune.tasks.scenes.SceneClassification",
            "name": "scenes",
            "classes": 2,
        }
    if name in ("evaluate", "quantize"):
        made = {"done": step("Evaluate", variant="uncompressed", file="model.safetensors")}
        start(folder / "made", config(made, folder / "cache"))
        plain["checkpoint"] = str(folder / "made")
    return plain
