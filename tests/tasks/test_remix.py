"""A remixed batch has the same speech, SNRs and levels, and other noises."""

from __future__ import annotations

import torch

from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.remix import remixed


def _batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([4000, 3000, 4000, 2500])
    inside = (torch.arange(4000) < lengths[:, None]).float()
    clean = torch.randn(4, 4000, generator=generator) * inside
    noise = torch.randn(4, 4000, generator=generator) * inside
    noise *= torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None]
    return {"noisy": clean + noise, "clean": clean, "lengths": lengths}


def _rms(batch: dict[str, torch.Tensor], signal: torch.Tensor) -> torch.Tensor:
    return (signal.square().sum(1) / batch["lengths"]).sqrt()


def test_snr_level_and_speech_stay() -> None:
    batch = _batch()
    torch.manual_seed(1)
    other = remixed(batch)
    torch.testing.assert_close(_rms(batch, other["noisy"]), _rms(batch, batch["noisy"]))
    ratios = [
        _rms(batch, each["clean"]) / _rms(batch, each["noisy"] - each["clean"])
        for each in (batch, other)
    ]
    torch.testing.assert_close(ratios[0], ratios[1], rtol=1e-4, atol=0)
    correlation = torch.nn.functional.cosine_similarity(other["clean"], batch["clean"])
    torch.testing.assert_close(correlation, torch.ones(4))
    assert other["noisy"][3, 2500:].abs().max() == 0


def test_noises_come_from_other_items() -> None:
    batch = _batch()
    torch.manual_seed(1)
    other = remixed(batch)
    torch.manual_seed(1)
    order = torch.randperm(4)
    assert (order != torch.arange(4)).any()
    for item, source in enumerate(order.tolist()):
        count = min(int(batch["lengths"][item]), int(batch["lengths"][source]))
        given = (batch["noisy"] - batch["clean"])[source, :count]
        got = (other["noisy"] - other["clean"])[item, :count]
        assert torch.nn.functional.cosine_similarity(got, given, dim=0) > 0.999


def test_only_training_steps_remix() -> None:
    batch = _batch()
    plain, mixing = Enhancement(), Enhancement(remix=True)
    model = torch.nn.Linear(161, 161)
    losses: list[float] = []

    def update(loss: torch.Tensor, **unused: object) -> torch.Tensor:
        losses.append(float(loss.detach()))
        return loss.detach()

    torch.manual_seed(1)
    for task in (plain, mixing):
        task.step(model, batch, update)
    assert losses[0] != losses[1]
    found = [task.validate(model, iter([batch]), "loss")["loss"] for task in (plain, mixing)]
    assert found[0] == found[1]
