"""The enhancement task: losses without padding, levels that come back, scores with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TinySpeech
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.metrics.pool import Scorer
from audioprune.models.fdnn import FDNN
from audioprune.tasks.enhancement import TARGETS, Enhancement

DATA = TinySpeech()


class Constant(nn.Module):
    """Answers one value of the input's shape."""

    frame_wise = True

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


def _task(target: str = "irm", **options: Any) -> Enhancement:
    return Enhancement(target=target, frame_length=32, hop_length=16, **options)


def _model() -> FDNN:
    torch.manual_seed(0)
    return FDNN(bins=17, width=6, depth=2).eval()


def _batch(count: int = 3) -> dict[str, Any]:
    return DATA.collate([DATA.train()[index] for index in range(count)])


@pytest.mark.parametrize("target", TARGETS)
def test_padding_does_not_enter_the_loss(target: str) -> None:
    task, model, batch = _task(target), Constant(0.3), _batch()
    alone = [DATA.collate([DATA.train()[index]]) for index in range(3)]
    frames = [float(task._frame_counts(each)) for each in alone]
    wanted = sum(float(task.loss(model, each)) * count for each, count in zip(alone, frames, strict=True)) / sum(frames)
    assert len({int(length) for length in batch["lengths"]}) > 1
    assert float(task.loss(model, batch)) == pytest.approx(wanted, rel=0.02)


def test_a_mask_is_trained_by_the_error_of_its_product() -> None:
    task, batch = _task("magnitude", output="mask"), DATA.collate([DATA.train()[0]])
    noisy, clean = (task.target.stft.analysis(batch[key]).abs() for key in ("noisy", "clean"))
    assert float(task.loss(Constant(0.25), batch)) == pytest.approx(float((0.25 * noisy - clean).square().mean()), rel=1e-5)


def test_a_dry_share_of_the_noisy_signal_comes_back_at_its_level() -> None:
    noisy, model = 7 * DATA.train()[0]["noisy"][None], _model()
    wet, mixed = _task().enhance(model, noisy), _task(dry=0.25).enhance(model, noisy)
    assert torch.allclose(mixed, 0.75 * wet + 0.25 * noisy, atol=1e-5)
    with pytest.raises(ConfigError, match="task.dry: expected a share from 0 to below 1, got 1"):
        _task(dry=1)


def test_the_loss_is_the_mean_squared_error() -> None:
    task, batch = _task(), DATA.collate([DATA.train()[0]])
    wanted = task.target.wanted(batch["noisy"], batch["clean"])
    assert float(task.loss(Constant(0.25), batch)) == pytest.approx(float((wanted - 0.25).square().mean()), rel=1e-5)


def test_a_step_updates_once_or_once_per_frame_batch() -> None:
    batch, losses = _batch(), []

    def update(loss: Tensor) -> float:
        losses.append(float(loss))
        return losses[-1]

    whole = _task().step(Constant(0.5), batch, update)["loss"]
    assert len(losses) == 1
    losses.clear()
    frames = int(_task()._frame_counts(batch).sum())
    parts = _task(frame_batch=100).step(Constant(0.5), batch, update)["loss"]
    assert len(losses) == -(-frames // 100) and parts == pytest.approx(whole, rel=1e-4)
    with pytest.raises(ConfigError, match="maps each frame alone, got Linear"):
        _task(frame_batch=4).step(nn.Linear(17, 17), batch, update)


@pytest.mark.parametrize("level", [1e-4, 1.0, 50.0])
def test_the_level_of_the_input_comes_back(level: float) -> None:
    noisy = DATA.train()[0]["noisy"][None]
    task, model = _task(), _model()
    assert torch.allclose(task.enhance(model, level * noisy), level * task.enhance(model, noisy), rtol=1e-3, atol=1e-5 * level)


def test_silence_gives_silence_without_nan() -> None:
    assert torch.equal(_task().enhance(_model(), torch.zeros(1, 1600)), torch.zeros(1, 1600))


def test_padding_does_not_change_the_level() -> None:
    item = DATA.train()[0]["noisy"]
    padded = torch.cat([item, torch.zeros(4000)])[None]
    task, model = _task(), _model()
    with_length = task.enhance(model, padded, torch.tensor([len(item)]))[0, : len(item) - 64]
    assert torch.allclose(with_length, task.enhance(model, item[None])[0, :-64], atol=1e-5)


def test_validation_is_weighted_by_frames_and_finds_metrics() -> None:
    task, model = _task(), _model()
    batches = [DATA.collate([DATA.valid()[0], DATA.valid()[1]]), DATA.collate([DATA.valid()[2]])]
    with torch.no_grad():
        split = task.validate(model, iter(batches), "si_sdr")
        whole = task.validate(model, iter([DATA.collate([DATA.valid()[index] for index in range(3)])]), "loss")
    assert split["loss"] == pytest.approx(whole["loss"], rel=0.02) and set(split) == {"loss", "si_sdr"}
    assert task.better("loss", 1.0, 2.0) and not task.better("loss", 2.0, 1.0) and task.better("si_sdr", 2.0, 1.0)


def test_the_oracle_of_a_search_agrees_with_the_loss() -> None:
    task, model = _task(), _model()
    with torch.no_grad():
        expected = task.validate(model, iter([DATA.collate([DATA.valid()[index] for index in range(3)])]), "loss")["loss"]
    assert task.validation_loss(model, DATA.valid(), DATA.collate, None).base() == pytest.approx(expected, rel=1e-4)
    assert task.validation_loss(model, DATA.valid(), DATA.collate, 1).base() != pytest.approx(expected, rel=1e-4)


def test_scores_of_the_mixture_and_the_model(tmp_path: Path) -> None:
    with Scorer(["si_sdr"], 16000, 0, tmp_path / "c") as scorer:
        found = _task().score(
            Constant(1.0), DATA.tests()["white_0dB"], scorer, condition="white_0dB", variant="mine", audio=tmp_path / "a", keep=1
        )
    assert set(found) == {"mixture", "mine"} and found["mine"]["n"] == 2 and found["mine"]["snr_db"] == 0.0
    assert found["mixture"]["metrics"]["si_sdr"] == pytest.approx(0.0, abs=1.0)
    assert found["mine"]["metrics"]["si_sdr"] == pytest.approx(found["mixture"]["metrics"]["si_sdr"], abs=0.1)
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_an_output_that_is_not_finite_is_a_failed_item_with_a_reason(tmp_path: Path) -> None:
    with Scorer(["si_sdr", "stoi"], 16000, 0, tmp_path / "c") as scorer:
        found = _task().score(Constant(float("nan")), DATA.tests()["white_0dB"], scorer, condition="white_0dB", variant="mine")
    assert found["mine"]["n_valid"]["si_sdr"] == 0 and found["mine"]["metrics"]["si_sdr"] is None
    assert len(found["mine"]["failures"]) >= 2 and found["mixture"]["n_valid"]["si_sdr"] == 2
