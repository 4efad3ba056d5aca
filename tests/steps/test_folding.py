"""Weight normalisation: the effective weight is pruned, rows stay finite, files read back."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tiny_runs import MyNet, config, open_run, rows, start, step
from torch import nn
from toys import ToyData, ToyModel, ToyTask

from audioprune.compress.masks import Mask
from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import save_model
from audioprune.steps import LotteryTrain, Prune, Quantize, Rewind, Train
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings


class NormedNet(MyNet):
    """A user's model with weight normalisation of the new kind, or of the old one."""

    def __init__(self, width: int = 6, old: bool = False) -> None:
        super().__init__(width)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            norm = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
            self.inner, self.outer = norm(self.inner), norm(self.outer)


def _config(tmp_path: Path, old: bool, steps: dict | None = None) -> dict:
    return config(
        steps or {},
        tmp_path / "c",
        model={"name": "normed", "_target_": f"{__name__}.NormedNet", "old": old},
    )


@pytest.mark.parametrize("old", [False, True])
def test_a_row_without_a_kept_weight_stays_finite(
    tmp_path: Path, old: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_run(tmp_path / "r", _config(tmp_path, old))
    with torch.no_grad():  # the smallest row in effect, though its direction is the longest
        name = "inner.weight_" if old else "inner.parametrizations.weight.original"
        parts = dict(run.model.named_parameters())
        parts[name + ("g" if old else "0")][0] = 1e-4
        parts[name + ("v" if old else "1")][0] *= 100
    x = torch.rand(1, 10, 17)
    before, weight = run.model(x), run.model.inner.weight.detach().clone()
    Prune(0.5).run(run, "prune")
    assert "folded into plain weights; outputs differ by" in capsys.readouterr().err
    folded = run.results.rows["prune/fold"]
    assert (
        folded["weights"] == ["inner.weight", "outer.weight"] and folded["max_difference"] < 1e-6
    )
    assert (
        list(run.mask) == ["inner.weight", "outer.weight"]
        and not run.mask["inner.weight"][0].any()
    )
    assert torch.equal(
        run.model.inner.weight, weight * run.mask["inner.weight"]
    )  # kept weights are as large as before
    assert torch.isfinite(run.model(x)).all() and not torch.equal(run.model(x), before)
    Train(epochs=1).run(run, "train")
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())
    assert (run.model.inner.weight[0] == 0).all()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["m.apz", "m.safetensors"])
def test_files_of_folded_and_of_normed_models_read_back(
    tmp_path: Path, old: bool, name: str
) -> None:
    run = open_run(tmp_path / "r", _config(tmp_path, old))
    x = torch.rand(1, 10, 17)
    for folded in (False, True):
        if folded:
            Quantize(levels=4).run(run, "quantize")
        save_model(run, tmp_path / name)
        loaded = load_model_file(tmp_path / name, run.model_config)
        assert is_normed(loaded.model) is not folded
        assert torch.equal(loaded.model.eval()(x), run.model.eval()(x))


def test_a_pipeline_trains_prunes_and_resumes(tmp_path: Path) -> None:
    steps = {
        "train": step("Train", epochs=1),
        "prune": step("Prune", sparsity=0.5),
        "finetune": step("Train", epochs=1),
        "score": step("Evaluate", variant="pruned", file="model.apz", audio=False),
    }
    start(tmp_path / "r", _config(tmp_path, False, steps))
    found = {row["key"]: row for row in rows(tmp_path / "r")}
    assert (
        found["score/size"]["sparsity"] == pytest.approx(0.5, abs=0.01)
        and found["prune/fold"]["max_difference"] < 1e-6
    )
    again = open_run(tmp_path / "r", _config(tmp_path, False, steps))
    assert not is_normed(again.model) and again.completed == set(steps)


def test_early_weights_have_the_names_of_the_pruned_ones(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", _config(tmp_path, False))
    LotteryTrain().run(run, "train")
    run.mask = Mask.ones(run.model, ["inner.weight"]).updated(
        {"inner.weight": torch.zeros(6, 17, dtype=torch.bool)}
    )
    for reset in ("rewind", "reinit"):
        Rewind(reset).run(run, "rewind")
        assert not is_normed(run.model) and (run.model.inner.weight == 0).all()


@pytest.mark.parametrize("old", [False, True])
def test_masks_of_the_parts_are_refused(tmp_path: Path, old: bool) -> None:
    model = ToyModel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        (nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm)(model.first)
    name = "first.weight_v" if old else "first.parametrizations.weight.original1"
    fit = Fit(
        model,
        ToyTask(),
        ToyData(),
        Settings(epochs=1),
        tmp_path,
        mask=Mask.ones(model, [name]),
        device="cpu",
    )
    with pytest.raises(
        ConfigError, match=rf"'{name}'.*'first.weight'.*fold_weight_norm_\(model\)"
    ):
        fit.run()


def test_folding_keeps_frozen_weights_frozen() -> None:
    for old in (False, True):
        model = NormedNet(old=old)
        model.inner.requires_grad_(False)
        assert fold_weight_norm_(model) == ["inner.weight", "outer.weight"]
        assert not model.inner.weight.requires_grad and model.outer.weight.requires_grad
