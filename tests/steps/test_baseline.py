"""The comparison model: the size of what pruning left, trained and scored beside the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run, rows

from audioprune.compress.masks import prunable
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.run import Run
from audioprune.steps import Prune, SameSizeBaseline
from audioprune.steps.baseline import remaining_parameters


@pytest.fixture
def run(tmp_path: Path) -> Run:
    model = {
        "name": "fdnn",
        "_target_": "audioprune.models.fdnn.FDNN",
        "bins": 17,
        "width": 24,
        "depth": 2,
    }
    return open_run(
        tmp_path / "r", config({}, tmp_path / "c", model=model, training={"epochs": 1})
    )


def test_what_is_left_is_counted(run: Run) -> None:
    params = sum(parameter.numel() for parameter in run.model.parameters())
    assert remaining_parameters(run) == params
    weights = sum(dict(run.model.named_parameters())[name].numel() for name in prunable(run.model))
    Prune(0.75).run(run, "prune")
    assert remaining_parameters(run) == params - round(0.75 * weights)


def test_the_baseline_has_the_size_and_leaves_the_run_alone(run: Run) -> None:
    Prune(0.6).run(run, "prune")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    wanted, mask = remaining_parameters(run), run.mask
    SameSizeBaseline().run(run, "baseline")
    small = load_model_file(run.folder / "baseline.safetensors")
    params = sum(parameter.numel() for parameter in small.model.parameters())
    assert abs(params - wanted) <= 40 and small.mask is None
    assert (
        all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())
        and run.mask is mask
    )
    found = {row["key"] for row in rows(run.folder)}
    assert {"prune", "baseline", "baseline/size", "baseline/white_0dB"} <= found
    assert any(row["kind"] == "train" for row in rows(run.folder))
    scale = next(row["scale"] for row in rows(run.folder) if row["key"] == "baseline/size")
    assert scale.endswith(f"width {small.model.width}")


def test_a_width_can_be_given(run: Run) -> None:
    SameSizeBaseline(width=5).run(run, "baseline")
    assert load_model_file(run.folder / "baseline.safetensors").model_config["width"] == 5


def test_two_baselines_keep_a_file_each(run: Run) -> None:
    SameSizeBaseline(width=5).run(run, "small")
    SameSizeBaseline(width=7).run(run, "large")
    files = {row["key"]: row["file"] for row in rows(run.folder) if row["kind"] == "size"}
    assert files == {"small/size": "small.safetensors", "large/size": "large.safetensors"}
    widths = [load_model_file(run.folder / file).model_config["width"] for file in files.values()]
    assert widths == [5, 7]


def test_a_model_that_cannot_choose_a_width_is_answered(tmp_path: Path) -> None:
    plain = config({}, tmp_path / "c", model={"name": "mine", "_target_": "tiny_runs.MyNet"})
    with pytest.raises(ConfigError, match="width_for"):
        SameSizeBaseline().run(open_run(tmp_path / "r", plain), "baseline")


def test_every_argument_that_decides_the_size_is_handed_on() -> None:
    from audioprune.models.dcae import DCAE
    from audioprune.steps.baseline import _arguments

    config = {
        "name": "dcae",
        "_target_": "x",
        "channels": [16, 32],
        "width": 0.5,
        "kernel_size": 5,
        "z": False,
        "output": "tanh",
    }
    model = DCAE(channels=(16, 32), kernel_size=5, z=False)
    found = _arguments(model, config)
    assert found == {"channels": [16, 32], "kernel_size": 5, "z": False}
    assert DCAE.width_for(sum(p.numel() for p in model.parameters()), **found) == 1.0
