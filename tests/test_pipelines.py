"""Every shipped pipeline, tiny: every file that a row names is there and was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from distiller_toys import one
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from tiny_runs import config, rows, start, step
from torch.utils.data import Dataset

from audioprune import schema
from audioprune.data.scenes.corpus import collate
from audioprune.experiment import model_io
from audioprune.experiment.model_io import load_model_file

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


@pytest.fixture(scope="module")
def composed() -> Iterator[dict[str, Any]]:
    schema.register()
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: "name", replace=True)
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
        yield {}
    GlobalHydra.instance().clear()


@pytest.fixture(autouse=True)
def own_task(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(model_io, "_package_task", lambda task, known=None: task)


def _pipeline(name: str) -> dict[str, Any]:
    whole = compose("prune", overrides=[f"pipeline={name}"])
    whole.verb = "prune"
    for key, value in KNOBS.get(name, {}).items():
        OmegaConf.update(whole.pipeline, key, value)
    return OmegaConf.to_container(whole, resolve=True)["pipeline"]


def _plain(name: str, folder: Path) -> dict[str, Any]:
    """Return a tiny experiment of the pipeline's paper."""
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
        plain |= {"model": vgg, "data": {"_target_": "test_pipelines.Scenes", "name": "bands"}}
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


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_row_names_is_the_one_that_was_measured(
    tmp_path: Path, composed: dict[str, Any], name: str
) -> None:
    plain = _plain(name, tmp_path)
    assert start(tmp_path / "run", plain) == "finished"
    named = [row for row in rows(tmp_path / "run") if row.get("file")]
    files = [row["file"] for row in named]
    assert named and len(set(files)) == len(files), "two rows name one file"
    for row in named:
        file = (tmp_path / ("made" if name == "evaluate" else "run")) / row["file"]
        loaded = load_model_file(file, plain["model"])
        assert file.stat().st_size == row["bytes_file"]
        if "nonzero" in row or "params_nonzero" in row:
            nonzero = sum(
                int(parameter.count_nonzero()) for parameter in loaded.model.parameters()
            )
            assert nonzero == row.get("nonzero", row.get("params_nonzero"))
