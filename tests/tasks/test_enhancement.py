"""The enhancement task: losses without padding, levels that come back, scores with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from shown import Shown
from tiny_runs import TinySpeech
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.metrics.scorer import Scorer
from audioprune.models.fdnn import FDNN
from audioprune.tasks import signal_scores
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
    wanted = sum(
        float(task.loss(model, each)) * count for each, count in zip(alone, frames, strict=True)
    ) / sum(frames)
    assert len({int(length) for length in batch["lengths"]}) > 1
    assert float(task.loss(model, batch)) == pytest.approx(wanted, rel=0.02)


def test_a_mask_is_trained_by_the_error_of_its_product() -> None:
    task, batch = _task("magnitude", output="mask"), DATA.collate([DATA.train()[0]])
    noisy, clean = (task.target.stft.analysis(batch[key]).abs() for key in ("noisy", "clean"))
    assert float(task.loss(Constant(0.25), batch)) == pytest.approx(
        float((0.25 * noisy - clean).square().mean()), rel=1e-5
    )


def test_a_dry_share_of_the_noisy_signal_comes_back_at_its_level() -> None:
    noisy, model = 7 * DATA.train()[0]["noisy"][None], _model()
    wet, mixed = _task().enhance(model, noisy), _task(dry=0.25).enhance(model, noisy)
    assert torch.allclose(mixed, 0.75 * wet + 0.25 * noisy, atol=1e-5)
    with pytest.raises(ConfigError, match="task.dry: expected a share from 0 to below 1, got 1"):
        _task(dry=1)


def test_the_loss_is_the_mean_squared_error() -> None:
    task, batch = _task(), DATA.collate([DATA.train()[0]])
    wanted = task.target.wanted(batch["noisy"], batch["clean"])
    assert float(task.loss(Constant(0.25), batch)) == pytest.approx(
        float((wanted - 0.25).square().mean()), rel=1e-5
    )


def test_a_step_updates_once_or_once_per_frame_batch() -> None:
    batch, losses = _batch(), []

    def update(loss: Tensor, **unused: Any) -> float:
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
    assert torch.allclose(
        task.enhance(model, level * noisy),
        level * task.enhance(model, noisy),
        rtol=1e-3,
        atol=1e-5 * level,
    )


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
        whole = task.validate(
            model, iter([DATA.collate([DATA.valid()[index] for index in range(3)])]), "loss"
        )
    assert split["loss"] == pytest.approx(whole["loss"], rel=0.02) and set(split) == {
        "loss",
        "si_sdr",
    }
    assert (
        task.better("loss", 1.0, 2.0)
        and not task.better("loss", 2.0, 1.0)
        and task.better("si_sdr", 2.0, 1.0)
    )


def test_the_oracle_of_a_search_agrees_with_the_loss() -> None:
    task, model = _task(), _model()
    with torch.no_grad():
        expected = task.validate(
            model, iter([DATA.collate([DATA.valid()[index] for index in range(3)])]), "loss"
        )["loss"]
    assert task.validation_loss(model, DATA.valid(), DATA.collate, None).base() == pytest.approx(
        expected, rel=1e-4
    )
    assert task.validation_loss(model, DATA.valid(), DATA.collate, 1).base() != pytest.approx(
        expected, rel=1e-4
    )


def test_scores_of_the_mixture_and_the_model(tmp_path: Path) -> None:
    with Scorer(["si_sdr"], 16000, 0, tmp_path / "c") as scorer:
        found = _task().score(
            Constant(1.0),
            DATA.tests()["white_0dB"],
            scorer,
            condition="white_0dB",
            variant="mine",
            audio=tmp_path / "a",
            keep=1,
        )
    assert (
        set(found) == {"mixture", "mine"}
        and found["mine"]["n"] == 2
        and found["mine"]["snr_db"] == 0.0
    )
    assert found["mixture"]["metrics"]["si_sdr"] == pytest.approx(0.0, abs=1.0)
    assert found["mine"]["metrics"]["si_sdr"] == pytest.approx(
        found["mixture"]["metrics"]["si_sdr"], abs=0.1
    )
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_an_output_that_is_not_finite_is_a_failed_item_with_a_reason(tmp_path: Path) -> None:
    with Scorer(["si_sdr", "stoi"], 16000, 0, tmp_path / "c") as scorer:
        found = _task().score(
            Constant(float("nan")),
            DATA.tests()["white_0dB"],
            scorer,
            condition="white_0dB",
            variant="mine",
        )
    assert found["mine"]["n_valid"]["si_sdr"] == 0 and found["mine"]["metrics"]["si_sdr"] is None
    assert len(found["mine"]["failures"]) >= 2 and found["mixture"]["n_valid"]["si_sdr"] == 2


def test_what_is_not_given_is_that_of_the_paper() -> None:
    task = Enhancement()
    assert (task.sample_rate, task.frame_length, task.hop_length, task.frame_batch, task.dry) == (
        16000,
        320,
        160,
        None,
        0.0,
    )
    assert task.waveform is False and type(task.target).__name__ == "RatioMask"
    assert (task.target.stft.n_fft, task.target.stft.hop_length) == (320, 160)
    assert (task.target.ola_norm, task.target.feature) == ("window", "magnitude")
    assert [Enhancement(target=target).target.output for target in ("magnitude", "complex")] == [
        "mapping",
        "mapping",
    ]


@pytest.mark.parametrize("target", ["irm", "magnitude", "complex"])
def test_every_setting_reaches_the_target(target: str) -> None:
    options = {} if target == "irm" else {"output": "mask"}
    task = _task(
        target,
        ola_norm="window_squared",
        feature="cube_root",
        sample_rate=8000,
        dry=0.5,
        **options,
    )
    assert (task.target.ola_norm, task.target.feature, task.sample_rate, task.dry) == (
        "window_squared",
        "cube_root",
        8000,
        0.5,
    )
    assert (task.target.stft.n_fft, task.target.stft.hop_length) == (32, 16)
    assert target == "irm" or task.target.output == "mask"
    assert task.shared() == {"bins": 17, "frames_per_second": 500.0}


def test_waveform_models_share_the_length_of_frames() -> None:
    task = _task("waveform")
    assert task.waveform is True and task.shared() == {
        "frame_length": 32,
        "frames_per_second": 1000.0,
    }
    assert (task.target.frame_length, task.target.hop_length) == (32, 16)


@pytest.mark.parametrize("target", TARGETS)
def test_the_shape_of_an_output_is_that_of_what_is_wanted(target: str) -> None:
    task, batch = _task(target), _batch()
    wanted = task.target.wanted(batch["noisy"], batch["clean"])
    assert task.output_shape(batch) == tuple(wanted.shape)
    valid, counts = task._valid_frames(batch, wanted), task._frame_counts(batch)
    shape = [1] * wanted.ndim
    shape[0], shape[task.target.frame_dim] = wanted.shape[0], wanted.shape[task.target.frame_dim]
    assert list(valid.shape) == shape and valid.dtype == wanted.dtype
    assert valid.flatten(1).tolist() == [
        [1.0] * int(n) + [0.0] * (valid.flatten(1).shape[1] - int(n)) for n in counts
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "mask"}, "unknown target 'mask' (known: complex, irm, magnitude, waveform)"),
        ({"ola_norm": "none"}, "unknown ola_norm 'none' (known: window, window_squared)"),
        (
            {"feature": "xyz"},
            "unknown feature of the target irm 'xyz' (known: cube_root, log, magnitude)",
        ),
        (
            {"target": "complex", "feature": "log"},
            "unknown feature of the target complex 'log' (known: cube_root, magnitude)",
        ),
        ({"output": "mask"}, "unknown output of the target irm 'mask' (known: mapping)"),
        (
            {"target": "magnitude", "output": "mask", "frame_batch": 4},
            "task.frame_batch: expected null where the output is a mask, got 4; change one of "
            "the two",
        ),
        (
            {"dry": 1},
            "task.dry: expected a share from 0 to below 1, got 1; 0 returns the estimate alone",
        ),
        (
            {"dry": -0.1},
            "task.dry: expected a share from 0 to below 1, got -0.1; 0 returns the estimate alone",
        ),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Enhancement(**options)
    assert str(caught.value) == message


def test_progress_names_the_variant_and_counts_every_item(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    monkeypatch.setattr(signal_scores, "progress", shown)
    with Scorer(["l1"], 16000, 0) as scorer:
        _task().score(
            Constant(1.0), DATA.tests()["white_0dB"], scorer, condition="white_0dB", variant="mine"
        )
    assert shown.calls == [("mine on white_0dB", 2, [1, 1])]
