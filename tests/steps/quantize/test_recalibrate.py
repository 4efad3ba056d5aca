"""Running statistics measured again: their formula, their row, and what is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import MyNet, config, open_run, rows
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.experiment.run import Run
from audioprune.steps import Prune, Recalibrate, Train
from audioprune.steps.quantize.recalibrate import _batches
from audioprune.training.batch_norm import running_norms


class Normed(MyNet):
    """Normalises its inner units, and drops some of them in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, momentum=0.3)
        self.loose = nn.BatchNorm1d(6, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.inner(x).mT).mT
        inner = nn.functional.dropout(inner, 0.5, self.training)
        return torch.sigmoid(self.outer(torch.relu(inner)))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    model = {"name": "own", "_target_": f"{__name__}.Normed"}
    run = open_run(
        tmp_path / "r", config({}, tmp_path / "c", model=model, task={"frame_batch": None})
    )
    Train(epochs=1).run(run, "train")
    return run


def test_statistics_are_means_over_batches(run: Run) -> None:
    norm, before = run.model.norm, {k: v.clone() for k, v in run.model.state_dict().items()}
    Recalibrate(batches=6).run(run, "recalibrate")
    assert (norm.momentum, int(norm.num_batches_tracked)) == (0.3, 6)
    assert not any(each.training for each in run.model.modules())
    # the layer before the normalisation does not depend on it: its outputs give the formula
    seen: list[Tensor] = []
    run.model.inner.register_forward_hook(
        lambda _module, _given, made: seen.append(made.detach().reshape(-1, 6).double())
    )
    source = _batches(run)
    with torch.no_grad():
        for _ in range(6):
            run.task.step(run.model, next(source), lambda value, *_, **__: value.detach())
    mean = torch.stack([each.mean(0) for each in seen]).mean(0)
    variance = torch.stack([each.var(0, unbiased=True) for each in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-5, atol=1e-6)
    changed = {k for k, v in run.model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed <= {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_the_row_says_what_it_gained(run: Run) -> None:
    Prune(0.6).run(run, "prune")
    run.model.norm.running_mean += 3.0  # far from what the layer passes on
    Recalibrate(batches=4, metrics=["loss", "si_sdr"]).run(run, "recalibrate")
    row = rows(run.folder)[-1]
    assert (row["kind"], row["layers"], row["batches"]) == ("recalibration", 1, 4)
    assert row["after"]["loss"] < row["before"]["loss"]
    assert row["gained"]["loss"] == pytest.approx(row["before"]["loss"] - row["after"]["loss"])
    gained = row["after"]["si_sdr"] - row["before"]["si_sdr"]
    assert row["gained"]["si_sdr"] == pytest.approx(gained)
    loss = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, None).base()
    assert row["after"]["loss"] == pytest.approx(loss)


def test_more_batches_than_an_epoch_has_go_on_with_the_next(run: Run) -> None:
    Recalibrate(batches=9).run(run, "recalibrate")  # an epoch has four
    assert int(run.model.norm.num_batches_tracked) == 9
    again = {k: v.clone() for k, v in run.model.state_dict().items()}
    Recalibrate(batches=9).run(run, "recalibrate")
    assert all(torch.equal(v, again[k]) for k, v in run.model.state_dict().items())


def test_nothing_is_done_without_batches_or_without_statistics(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    Recalibrate(batches=0).run(run, "recalibrate")
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
    assert list(running_norms(run.model)) == ["norm"]
    plain = open_run(tmp_path / "plain", config({}, tmp_path / "c"))
    Recalibrate().check(plain)
    Recalibrate().run(plain, "recalibrate")
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "FDNN has no batch normalisation with running" in told
    assert rows(plain.folder)[-1]["layers"] == 0 and Recalibrate().work(plain) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [({"batches": -1}, "batches"), ({"batches": 2.5}, "batches"), ({"items": 0}, "items")],
)
def test_wrong_numbers_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=f"{match}: expected a whole number"):
        Recalibrate(**options)


def test_an_unknown_metric_is_refused_before_the_run(run: Run) -> None:
    with pytest.raises(ConfigError, match="closest: stoi"):
        Recalibrate(metrics=["stoy"]).check(run)
