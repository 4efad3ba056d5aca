"""Whole waveforms: losses against values by hand, levels, outputs, scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_runs import TinySpeech
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.metrics.scorer import Scorer
from audioprune.protocols import EnhancesItems, Task
from audioprune.tasks.foreign.waveform_model import WaveformModel, si_sdr_db
from audioprune.tasks.spectral_loss import SpectralLoss

CORPUS = TinySpeech()
BATCH = CORPUS.collate([CORPUS.train()[index] for index in range(3)])  # of three lengths


class Gain(nn.Module):
    """A waveform times a factor, as (B, T) or (B, 1, T), alone or in a mapping."""

    def __init__(self, gain: float = 0.5, named: bool = False) -> None:
        super().__init__()
        self.gain, self.named = nn.Parameter(torch.tensor(gain)), named

    def forward(self, signal: Tensor) -> Tensor | dict[str, Tensor]:
        self.seen = signal
        made = self.gain * signal
        return {"mask": made[..., :1], "audio": made} if self.named else made


def test_the_ratio_is_that_of_the_metric(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 800, generator=generator)
    found = si_sdr_db(clean, clean + 0.3 * noise)
    with Scorer(["si_sdr"], 16000, 0, tmp_path) as scorer:
        signals = [(str(i), clean[i].numpy(), (clean + 0.3 * noise)[i].numpy()) for i in range(4)]
        wanted = [each.values["si_sdr"] for each in scorer.score(signals)]
    assert np.allclose(found.numpy(), wanted, atol=0.05)  # the metric takes the mean away
    assert torch.allclose(si_sdr_db(clean, 7 * (clean + 0.3 * noise)), found, atol=1e-3)


def test_losses_leave_padding_out() -> None:
    model, lengths = Gain(), BATCH["lengths"].tolist()
    clean, noisy = BATCH["clean"], BATCH["noisy"]
    parts = [(clean[i, :n], 0.5 * noisy[i, :n]) for i, n in enumerate(lengths)]
    by_hand = -sum(si_sdr_db(c[None], e[None]).item() for c, e in parts) / 3
    assert WaveformModel().loss(model, BATCH).item() == pytest.approx(by_hand, rel=1e-4)
    error = sum((c - e).abs().sum().item() for c, e in parts) / sum(lengths)
    one = WaveformModel(si_sdr=0, l1=2.0).loss(model, BATCH)
    assert one.item() == pytest.approx(2 * error, rel=1e-4)
    spoilt = {**BATCH, "noisy": noisy.clone(), "clean": clean.clone()}
    for row, length in enumerate(lengths):
        spoilt["noisy"][row, length:] = 9.0
        spoilt["clean"][row, length:] = -9.0
    task = WaveformModel(stft=1.0, l1=1.0)
    assert task.loss(model, spoilt).item() == pytest.approx(task.loss(model, BATCH).item())
    spectra = WaveformModel(si_sdr=0, stft=1.0).loss(model, BATCH)
    distance = SpectralLoss("linear_log", (256, 512, 1024))(clean, 0.5 * noisy)
    assert spectra.item() == pytest.approx(distance.item(), rel=1e-4)
    task.loss(model, BATCH).backward()
    assert model.gain.grad is not None and isinstance(task, Task | EnhancesItems)


def test_levels_and_outputs() -> None:
    task = WaveformModel(input="channel", output="audio", level=0.1)
    model = Gain(named=True)
    enhanced = task.enhance(model, BATCH["noisy"], BATCH["lengths"])
    assert model.seen.ndim == 3
    assert model.seen.square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-4)
    assert torch.allclose(enhanced, 0.5 * BATCH["noisy"], atol=1e-6)  # back at its own level
    short = int(BATCH["lengths"].min())
    assert (enhanced[:, short:].abs().sum(1) > 0).tolist() == (BATCH["lengths"] > short).tolist()


def test_scores_and_searches(tmp_path) -> None:
    task, model = WaveformModel(si_sdr=0, l1=1.0), Gain(1.0)
    searched = task.validation_loss(model, CORPUS.valid(), CORPUS.collate, None).base()
    batch = CORPUS.collate([CORPUS.valid()[index] for index in range(3)])
    found = task.validate(model, iter([batch]), "si_sdr")
    assert found["loss"] == pytest.approx(searched, rel=1e-5) and found["si_sdr"] < 5
    assert task.better("si_sdr", 2.0, 1.0) and task.better("loss", 1.0, 2.0)
    with Scorer(["si_sdr"], 16000, 0, tmp_path / "c") as scorer:
        rows = task.score(
            model,
            CORPUS.tests()["white_0dB"],
            scorer,
            condition="c",
            variant="v",
            keep=1,
            audio=tmp_path / "audio",
        )
    assert rows["v"]["metrics"]["si_sdr"] == pytest.approx(rows["mixture"]["metrics"]["si_sdr"])
    assert len(list((tmp_path / "audio").iterdir())) == 3
    assert task.score_batch is None and task.shared() == {"sample_rate": 16000}


def test_what_is_wrong_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match="expected a weight above 0"):
        WaveformModel(si_sdr=0)
    with pytest.raises(ConfigError, match="expected one of mask, audio, got sound"):
        WaveformModel(output="sound").loss(Gain(named=True), BATCH)
    with pytest.raises(ConfigError, match=r"returns waveforms \(3, 3520\), got \(3, 1\)"):
        WaveformModel().loss(Gain(named=True), BATCH)


def test_what_feeds_a_shape_is_named() -> None:
    task = WaveformModel()
    assert task.settings_for((1, 1, 16000)) == ("task.input=channel",)
    assert task.settings_for((1, 16000)) == ("task.input=waveform",)
    assert task.settings_for((1, 20, 161)) == ()
