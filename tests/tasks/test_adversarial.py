"""The adversarial task: losses by hand, order of updates, masks, exact resume, gains."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shown import Shown
from tiny_runs import TinySet, TinySpeech
from torch import Tensor, nn

from audioprune import interrupts
from audioprune.compress.masks import Mask
from audioprune.errors import ConfigError, DataError, InterruptedRun
from audioprune.metrics.scorer import Scorer
from audioprune.models.dcae import DCAE
from audioprune.tasks import adversarial, signal_scores
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.spectral_loss import SpectralLoss
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = Settings(
    epochs=3,
    batch_size=3,
    optimizer="rmsprop",
    learning_rate=1e-3,
    schedule="constant",
    clip_norm=None,
)
JUDGE = {"channels": [4, 4, 4], "kernel_size": 5}


class Coded(TinySpeech):
    """Short items at the level of files, in two lengths."""

    def train(self) -> TinySet:
        return _Quiet(6, 0, 10.0)

    def valid(self) -> TinySet:
        return _Quiet(3, 1, 10.0)

    def tests(self) -> dict[str, TinySet]:
        return {"aac-24k": _Quiet(3, 2, 10.0)}


class _Quiet(TinySet):
    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        cut = 900 + 300 * (index % 2)
        return {
            **item,
            "noise": "aac-24k",
            "snr_db": None,
            "noisy": 0.1 * item["noisy"][:cut],
            "clean": 0.1 * item["clean"][:cut],
        }


class Copy(nn.Module):
    """Returns its input times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, frames: Tensor) -> Tensor:
        return self.factor * frames


def _task(**options: Any) -> Adversarial:
    return Adversarial(
        **{
            "frame_length": 256,
            "hop_length": 128,
            "discriminator": JUDGE,
            "frames_per_call": 4,
            **options,
        }
    )


def _model(seed: int = 0) -> DCAE:
    torch.manual_seed(seed)
    return DCAE(channels=(6, 8, 4), kernel_size=5)


def _batch(count: int = 3) -> dict[str, Any]:
    return Coded().collate([Coded().train()[index] for index in range(count)])


def _step(
    task: Adversarial, model: nn.Module, batch: dict[str, Any] | None = None
) -> tuple[list[tuple[str, float]], dict[str, float]]:
    seen: list[tuple[str, float]] = []

    def update(loss: Tensor, which: str = "model", **unused: Any) -> float:
        seen.append((which, float(loss.detach())))
        loss.backward()
        return seen[-1][1]

    logged = task.step(model, batch or _batch(), update)
    return seen, {name: float(value) for name, value in logged.items()}


def test_a_step_updates_the_discriminator_then_the_generator() -> None:
    task, model = _task(discriminator={**JUDGE, "phase_shift": 0, "norm": "none"}), _model()
    torch.manual_seed(1)
    seen, logged = _step(task, model)
    assert [which for which, _ in seen] == ["discriminator", "model"]
    torch.manual_seed(1)
    coded, clean, inside = task._frames(_batch(), 128, going_on=True)
    enhanced, judge = model(coded).detach(), task.discriminator.requires_grad_(False)
    real, fake = (judge(torch.cat((each, coded), 1)) for each in (clean, enhanced))
    assert logged["discriminator"] == pytest.approx(
        float(((real - 1) ** 2).mean() + (fake**2).mean()), rel=1e-5
    )
    assert logged["adversarial"] == pytest.approx(float(((fake - 1) ** 2).mean()), rel=1e-5)
    assert logged["l1"] == pytest.approx(
        float(((enhanced - clean).abs() * inside).sum() / inside.sum()), rel=1e-5
    )
    assert (
        logged["loss"]
        == seen[1][1]
        == pytest.approx(logged["adversarial"] + 100 * logged["l1"], rel=1e-5)
    )
    half = _step(_task_like(task, gan_factor=0.5, gan_weight=2.0, l1_weight=0.0), model)[1]
    assert half["loss"] == pytest.approx(2 * half["adversarial"]) and half[
        "adversarial"
    ] == pytest.approx(0.5 * logged["adversarial"], rel=0.2)


def _task_like(task: Adversarial, **options: Any) -> Adversarial:
    other = _task(discriminator={**JUDGE, "phase_shift": 0, "norm": "none"}, **options)
    other.load_state_dict(task.state_dict())
    return other


def test_each_network_gets_the_gradients_of_its_own_loss() -> None:
    task, model = _task(discriminator={**JUDGE, "phase_shift": 0}), _model()
    seen: list[tuple[bool, bool]] = []

    def update(loss: Tensor, which: str = "model", **unused: Any) -> float:
        loss.backward()
        seen.append(
            tuple(
                any(p.grad is not None for p in each.parameters())
                for each in (task.discriminator, model)
            )
        )
        task.discriminator.zero_grad(), model.zero_grad()
        return float(loss.detach())

    task.step(model, _batch(), update)
    assert seen == [(True, False), (False, True)]


def test_frames_hold_every_sample_that_is_no_padding() -> None:
    task = _task(pre_emphasis=0.0)
    batch = _batch()
    coded, clean, inside = task._frames(batch, 256)
    assert coded.shape == clean.shape == inside.shape == (4 + 5 + 4, 1, 256) and int(
        inside.sum()
    ) == int(batch["lengths"].sum())
    assert torch.equal(
        coded.flatten()[inside.flatten() == 1],
        torch.cat([row[:n] for row, n in zip(batch["noisy"], batch["lengths"], strict=True)]),
    )


def test_without_adversarial_loss_there_is_no_discriminator() -> None:
    task = _task(gan_weight=0.0)
    seen, logged = _step(task, _model())
    assert [which for which, _ in seen] == ["model"] and logged["loss"] == pytest.approx(
        100 * logged["l1"], rel=1e-5
    )
    assert (
        task.optimizers(SETTINGS) == {}
        and set(task.modules()) == {"l1"}
        and set(task.state_dict()) == {"l1.fallen"}
    )


def test_the_spectra_of_enhanced_frames_count_where_asked() -> None:
    task, model = _task(gan_weight=0.0, spectral_weight=2.0), _model()
    torch.manual_seed(1)
    logged = _step(task, model)[1]
    torch.manual_seed(1)
    coded, clean, inside = task._frames(_batch(), 128, going_on=True)
    distance = SpectralLoss("linear_log", (256, 512, 1024, 2048), 1e-3)
    expected = float(distance(clean[:, 0], (model(coded) * inside)[:, 0]).detach())
    assert logged["spectral"] == pytest.approx(expected, rel=1e-4)
    assert logged["loss"] == pytest.approx(100 * logged["l1"] + 2 * expected, rel=1e-4)
    with pytest.raises(ConfigError, match="expected spectral_weight as a finite number"):
        _task(spectral_weight=-1.0)


def test_weight_of_l1_falls_from_an_epoch_on() -> None:
    task, weights = _task(gan_weight=0.0, l1_weight=10.0, l1_decay=4.0, l1_decay_from=1), []
    for epoch in (0, 0, 1, 1, 2, 2):
        task.set_epoch(epoch)
        logged = _step(task, _model())[1]
        weights.append(logged["loss"] / logged["l1"])
    assert weights == pytest.approx([10, 10, 6, 2, 0, 0], abs=1e-4)


def test_the_discriminator_has_its_own_learning_rate() -> None:
    optimizer = _task(discriminator={**JUDGE, "learning_rate": 0.5}).optimizers(SETTINGS)[
        "discriminator"
    ]
    assert type(optimizer) is torch.optim.RMSprop and optimizer.param_groups[0]["lr"] == 0.5
    assert (
        _task().optimizers(SETTINGS)["discriminator"].param_groups[0]["lr"]
        == SETTINGS.learning_rate
    )


@pytest.mark.parametrize(
    ("norm", "stop_at"),
    [("batch", 4), ("virtual", 3), pytest.param("spectral", 3, marks=pytest.mark.slow)],
)
def test_interrupted_training_ends_in_the_same_bits_and_masks_hold(
    tmp_path: Path, norm: str, stop_at: int
) -> None:
    options = {
        "discriminator": {**JUDGE, "norm": norm, "reference_items": 2},
        "l1_decay": 1.0,
        "l1_decay_from": 1,
    }
    keep = torch.arange(8 * 6 * 5).reshape(8, 6, 5) % 3 > 0
    mask = Mask({"enc_blocks.1.conv.weight": keep})

    def fit(folder: str, task: Adversarial) -> Fit:
        return Fit(
            _model(), task, Coded(), SETTINGS, folder=tmp_path / folder, device="cpu", mask=mask
        )

    straight = fit("a", _task(**options))
    expected = straight.run()
    broken = _Stopping(_task(**options), stop_at)
    with pytest.raises(InterruptedRun):
        fit("b", broken).run()
    interrupts._requested.clear()
    resumed = fit("b", _task(**options))
    outcome = resumed.run()
    assert outcome.history == expected.history
    for one, other in (
        (straight.model, resumed.model),
        (straight.task.discriminator, resumed.task.discriminator),
    ):
        assert all(
            torch.equal(a, b)
            for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )
    assert (resumed.model.enc_blocks[1].conv.weight[~keep] == 0).all() and (
        resumed.state.kept.weights["enc_blocks.1.conv.weight"][~keep] == 0
    ).all()
    assert int(resumed.task.l1.fallen) == 4 and {"discriminator", "adversarial", "l1"} <= set(
        outcome.history[0]
    )


class _Stopping(Adversarial):
    """Asks for a stop after some steps.

    It tells whether the generator that the discriminator saw obeyed its mask.
    """

    def __init__(self, task: Adversarial, stop_at: int) -> None:
        self.__dict__.update(task.__dict__)
        self.stop_at, self.done = stop_at, 0

    def step(self, model: nn.Module, batch: dict[str, Any], update: Any) -> dict[str, float]:
        def watched(loss: Tensor, which: str = "model", **unused: Any) -> float:
            removed = model.enc_blocks[1].conv.weight[torch.arange(240).reshape(8, 6, 5) % 3 == 0]
            assert which == "model" or (removed == 0).all()
            return update(loss, which, **unused)

        logged = super().step(model, batch, watched)
        self.done += 1
        if self.done == self.stop_at:
            interrupts._requested.set()
        return logged


def test_a_second_training_goes_on_with_the_same_discriminator(tmp_path: Path) -> None:
    first, settings = _task(), replace(SETTINGS, epochs=1)
    Fit(_model(), first, Coded(), settings, folder=tmp_path / "a", device="cpu").run()
    assert len(first.state_dict()) > 10
    second = _task()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    later = [
        Fit(_model(), task, Coded(), settings, folder=tmp_path / name, device="cpu").run().history
        for task, name in ((first, "b"), (second, "c"))
    ]
    assert later[0] == later[1] and _task().state_dict().keys() == {"l1.fallen"}


def test_validation_counts_samples_and_finds_metrics() -> None:
    task, model, valid = _task(), _model().eval(), Coded().valid()
    batches = [Coded().collate([valid[0], valid[1]]), Coded().collate([valid[2]])]
    with torch.no_grad():
        split = task.validate(model, iter(batches), "si_sdr")
        whole = task.validate(
            model, iter([Coded().collate([valid[index] for index in range(3)])]), "l1"
        )
    assert (
        split["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        and set(split) == {"loss", "si_sdr"}
        and set(whole) == {"loss", "l1"}
    )
    assert task.validation_loss(model, valid, Coded().collate, None).base() == pytest.approx(
        split["loss"], rel=1e-5
    )
    assert task.validation_loss(model, valid, Coded().collate, 1).base() != pytest.approx(
        split["loss"], rel=1e-5
    )
    assert task.better("lsd", 1.0, 2.0) and task.better("stoi", 0.9, 0.8)


@pytest.mark.parametrize("level", [None, 0.05])
@pytest.mark.parametrize("overlap", [0, 32])
def test_a_model_that_copies_gives_the_recording_back(level: float | None, overlap: int) -> None:
    task, batch = _task(level=level, overlap=overlap), _batch()
    enhanced = task.enhance(Copy(), batch["noisy"], batch["lengths"])
    torch.testing.assert_close(enhanced, batch["noisy"], atol=1e-5, rtol=1e-4)


def test_a_recording_is_enhanced_the_same_in_any_batch_and_at_any_level() -> None:
    model, batch = _model().eval(), _batch()
    task = _task(level=0.05, frames_per_call=3)
    both = task.enhance(model, batch["noisy"], batch["lengths"])
    for row, length in enumerate(batch["lengths"].tolist()):
        alone = _task(level=0.05).enhance(model, 7 * batch["noisy"][row : row + 1, :length])[0] / 7
        torch.testing.assert_close(both[row, : length - 4], alone[:-4], atol=1e-5, rtol=1e-3)
    assert torch.equal(task.enhance(Copy(), torch.zeros(1, 700)), torch.zeros(1, 700))


def test_levels_that_the_output_cannot_reach_are_refused() -> None:
    loud = {
        key: 30 * value if key in ("noisy", "clean") else value for key, value in _batch().items()
    }
    with pytest.raises(DataError, match="peak of .*set task.level, for instance 0.1"):
        _task().check_batch(_model(), loud)
    _step(_task(level=0.1), _model(), loud)


def test_scores_have_intervals_seeds_and_gains_over_the_coded_input(tmp_path: Path) -> None:
    options = {"condition": "aac-24k", "variant": "mine", "audio": tmp_path / "a", "keep": 1}
    with Scorer(["si_sdr", "l1"], 16000, 0, tmp_path / "c") as scorer:
        found = _task().score(_model().eval(), Coded().tests()["aac-24k"], scorer, **options)
        same = _task().score(
            Copy(), Coded().tests()["aac-24k"], scorer, condition="aac-24k", variant="mine"
        )
    coded, mine = found["mixture"], found["mine"]
    assert (
        mine["z_seeds"] == 3
        and mine["z_std"]["si_sdr"] > 0
        and mine["snr_db"] is None
        and mine["noise"] == "aac-24k"
    )
    assert mine["gain"]["si_sdr"] == pytest.approx(
        mine["metrics"]["si_sdr"] - coded["metrics"]["si_sdr"]
    )
    assert (
        mine["gain"]["l1"] == pytest.approx(coded["metrics"]["l1"] - mine["metrics"]["l1"])
        and mine["gain"]["l1"] < 0
    )
    assert (
        set(coded["ci95"]) == {"si_sdr", "l1"} and mine["gain_ci95"]["l1"] > 0 and mine["n"] == 3
    )
    assert same["mine"]["z_seeds"] == 1 and same["mine"]["gain"]["si_sdr"] == pytest.approx(
        0.0, abs=1e-3
    )
    assert sorted(path.name.rpartition("_")[2] for path in (tmp_path / "a").iterdir()) == [
        "clean.flac",
        "mine.flac",
        "noisy.flac",
    ]


def test_scoring_leaves_the_seed_of_the_model() -> None:
    model = _model().eval()
    model.z_seed = 7
    with Scorer(["l1"], 16000, 0) as scorer:
        _task(z_seeds=2).score(
            model, Coded().tests()["aac-24k"], scorer, condition="c", variant="mine"
        )
    assert model.z_seed == 7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hop_length": 0}, "hop_length"),
        ({"hop_length": 257}, "hop_length"),
        ({"gan_weight": -1.0}, "gan_weight"),
        ({"l1_weight": float("nan")}, "l1_weight"),
        ({"gan_weight": 0.0, "l1_weight": 0.0}, "expected a loss"),
        ({"z_seeds": 0}, "z_seeds"),
        ({"l1_decay_from": -1}, "l1_decay_from"),
        ({"pre_emphasis": 1.0}, "pre_emphasis"),
        ({"discriminator": {**JUDGE, "norm": "batsh"}}, "closest: batch"),
        ({"frame_length": 260}, "multiple of 8"),
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _task(**wrong)


def test_the_best_weights_of_a_masked_training_obey_the_mask_of_their_epoch(
    tmp_path: Path,
) -> None:
    mask = Mask({"dec_blocks.0.deconv.weight": torch.arange(320).reshape(8, 8, 5) % 3 > 0})
    fit = Fit(
        _model(),
        _task(),
        Coded(),
        replace(SETTINGS, monitor="si_sdr"),
        folder=tmp_path,
        device="cpu",
        mask=mask,
    )
    outcome = fit.run()
    assert "valid_si_sdr" in outcome.history[0]
    assert (fit.model.dec_blocks[0].deconv.weight[~mask["dec_blocks.0.deconv.weight"]] == 0).all()


class _Scores(nn.Module):
    """Judges a pair by the mean of its first channel."""

    def observe(self, real: Tensor) -> None:
        assert (real[:, 0] == 3).all()

    def forward(self, pair: Tensor) -> Tensor:
        return pair[:, 0].mean(1)


def test_clean_is_judged_against_one_and_enhanced_against_zero() -> None:
    """Source: Mao et al., least-squares GAN with labels 1 for real and 0 for fake.

    The generator wants 1.
    """
    task = _task(gan_factor=2.0)
    task._discriminator = _Scores()
    coded, clean, enhanced = (
        torch.zeros(2, 1, 8),
        torch.full((2, 1, 8), 3.0),
        torch.full((2, 1, 8), 0.5),
    )
    assert float(task._discriminator_loss(coded, clean, enhanced)) == 2 * ((3 - 1) ** 2 + 0.5**2)
    assert float(task._generator_loss(coded, enhanced)) == 2 * (0.5 - 1) ** 2


def test_what_is_not_given_is_that_of_the_source() -> None:
    task = Adversarial()
    assert (task.sample_rate, task.hop_length, task.z_seeds, task.frames_per_call) == (
        16000,
        8192,
        3,
        32,
    )
    frames = task.frames
    assert (frames.length, frames.pre_emphasis, frames.level, frames.overlap) == (
        16384,
        0.95,
        None,
        0,
    )
    assert (task.gan_weight, task.gan_factor) == (1.0, 1.0)
    assert (
        task.l1.initial,
        task.l1.decay,
        task.l1.first_epoch,
        task.l1.epoch,
        int(task.l1.fallen),
    ) == (100.0, 0.0, 100, 0, 0)
    assert task.shared() == {"sample_rate": 16000} and set(task.modules()) == {
        "l1",
        "discriminator",
    }


def test_every_setting_reaches_its_place() -> None:
    task = _task(
        level=0.1,
        overlap=16,
        pre_emphasis=0.5,
        gan_weight=2.0,
        gan_factor=0.5,
        l1_weight=7.0,
        l1_decay=0.1,
        l1_decay_from=3,
    )
    assert task.frames == adversarial.Frames(256, 0.5, 0.1, 16)
    assert (task.hop_length, task.gan_weight, task.gan_factor, task.frames_per_call) == (
        128,
        2.0,
        0.5,
        4,
    )
    assert (task.l1.initial, task.l1.decay, task.l1.first_epoch) == (7.0, 0.1, 3)
    assert (
        _task(hop_length=None).hop_length == 128
        and _task(hop_length=256).hop_length == 256
        and _task(hop_length=1).hop_length == 1
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"hop_length": 0},
            "expected hop_length from 1 to frame_length 256, got 0; change task.hop_length",
        ),
        (
            {"hop_length": 257},
            "expected hop_length from 1 to frame_length 256, got 257; change task.hop_length",
        ),
        (
            {"gan_weight": -1.0},
            "expected gan_weight as a finite number from 0 on, got -1.0; change task.gan_weight",
        ),
        (
            {"gan_factor": float("inf")},
            "expected gan_factor as a finite number from 0 on, got inf; change task.gan_factor",
        ),
        (
            {"l1_weight": -0.5},
            "expected l1_weight as a finite number from 0 on, got -0.5; change task.l1_weight",
        ),
        (
            {"l1_decay": -0.5},
            "expected l1_decay as a finite number from 0 on, got -0.5; change task.l1_decay",
        ),
        (
            {"gan_factor": 0.0, "l1_weight": 0.0},
            "expected a loss, got l1_weight=0 without an adversarial one; change task.l1_weight "
            "or task.gan_weight",
        ),
        ({"z_seeds": 0}, "expected z_seeds of at least 1, got 0; change task.z_seeds"),
        (
            {"frames_per_call": 0},
            "expected frames_per_call of at least 1, got 0; change task.frames_per_call",
        ),
        (
            {"l1_decay_from": -1},
            "expected l1_decay_from of at least 0, got -1; change task.l1_decay_from",
        ),
    ],
)
def test_refusals_say_what_was_got(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _task(**wrong)
    assert str(caught.value) == message


def test_the_refused_level_is_named() -> None:
    batch = _batch()
    batch["clean"] = batch["clean"] * (2.5 / batch["clean"].abs().max())
    with pytest.raises(DataError) as caught:
        _task().check_batch(_model(), batch)
    assert str(caught.value) == (
        "expected samples within -1..1, got a peak of 2.5, which the model's output cannot "
        "reach; set task.level, for instance 0.1, "
        "or data.rms_normalise=false"
    )
    batch["clean"] = batch["clean"] * (2.0 / batch["clean"].abs().max())
    _task().check_batch(_model(), batch)


def test_progress_names_the_variant_and_counts_every_item(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    monkeypatch.setattr(signal_scores, "progress", shown)
    with Scorer(["l1"], 16000, 0) as scorer:
        found = _task().score(
            Copy(), Coded().tests()["aac-24k"], scorer, condition="aac-24k", variant="mine"
        )
    assert (
        shown.calls == [("mine on aac-24k", 3, [1, 1, 1])] and found["mixture"]["label"] == "Coded"
    )
