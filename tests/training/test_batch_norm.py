"""A last batch of one item under a batch normalisation of single values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import MyNet, config, open_run, start, step
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.training.batch_norm import lone_norm, planned_sizes


class Pooled(MyNet):
    """Weighs the bins of a whole item by normalised means: one value per item and channel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(17)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.sigmoid(self.norm(x.mean(1)))[:, None]


class Spatial(Pooled):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.mT).mT


def test_only_a_normalisation_of_single_values_needs_two_items() -> None:
    model = Pooled()
    assert lone_norm(model) == "norm" and lone_norm(Spatial()) == lone_norm(MyNet()) == ""
    assert model.norm.num_batches_tracked == 0 and model.training
    assert planned_sizes(model, 7, 3) == [3, 4] and planned_sizes(model, 8, 3) == [3, 3, 2]
    assert planned_sizes(Spatial(), 7, 3) == planned_sizes(MyNet(), 7, 3) == [3, 3, 1]


@pytest.mark.parametrize(
    ("items", "size", "what"), [(5, 1, "training.batch_size"), (1, 3, "number of training items")]
)
def test_one_item_alone_is_refused(items: int, size: int, what: str) -> None:
    with pytest.raises(ConfigError, match=f"{what}: expected at least 2, for norm normalises"):
        planned_sizes(Pooled(), items, size)


def test_a_training_with_one_item_left_runs(tmp_path: Path) -> None:
    model = {"name": "own", "_target_": f"{__name__}.Pooled"}
    steps = {"train": step("Train", epochs=1)}
    data = {"items": 7}
    task = {"frame_batch": None}
    plain = config(steps, tmp_path / "c", model=model, data=data, task=task)
    start(tmp_path / "r", plain)
    run = open_run(tmp_path / "r", plain)
    assert run.results.rows["train"]["steps"] == 2
