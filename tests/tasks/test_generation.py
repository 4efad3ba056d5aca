"""The tasks of notes: losses by hand, long items in parts, scores, kept audio, exact resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from shown import Shown
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune import interrupts
from audioprune.data.notes.note import collate
from audioprune.dsp import mu_law_encode
from audioprune.errors import ConfigError, DataError, InterruptedRun
from audioprune.tasks import next_sample
from audioprune.tasks.generation import NextSample, Reconstruction
from audioprune.tasks.notes import note_scoring
from audioprune.tasks.reconstruction import relative_error
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings


class Notes(Dataset):
    """Decaying sines of rising pitch."""

    def __init__(self, count: int = 6, length: int = 640) -> None:
        self.count, self.length = count, length

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        times = torch.arange(self.length) / 16000
        pitch = 60 + index
        audio = (
            (0.2 + 0.1 * (index % 5))
            * torch.sin(2 * math.pi * 440 * 2 ** ((pitch - 69) / 12) * times)
            * torch.exp(-20 * times)
        )
        tags = {
            "pitch": pitch,
            "velocity": 100,
            "instrument": index % 2,
            "family": 0,
            "length": self.length,
        }
        return {"audio": audio, "id": f"note{index}", **tags}


class Corpus:
    """Training and validation notes."""

    collate = staticmethod(collate)

    def train(self) -> Notes:
        return Notes(8)

    def valid(self) -> Notes:
        return Notes(3)


class Ahead(nn.Module):
    """A causal convolution over three classes.

    That adds one feature to all logits of a class where it is conditioned.
    """

    receptive_field = 3

    def __init__(self, classes: int = 16, conditioning: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classes, self.conditioning = classes, conditioning
        self.conv = nn.Conv1d(classes, classes, 3)
        self.cond = nn.Conv1d(conditioning, classes, 1) if conditioning else None

    def forward(self, tokens: Tensor, cond: Tensor | None = None) -> Tensor:
        logits = self.conv(F.pad(F.one_hot(tokens, self.classes).float().transpose(1, 2), (2, 0)))
        return logits if self.cond is None else logits + self.cond(cond)

    def generate(
        self, steps: int, cond: Tensor | None, seed: int, temperature: float, start: Tensor
    ) -> Tensor:
        self.start, self.features = start, cond
        return torch.randint(
            self.classes, (len(start), steps), generator=torch.Generator().manual_seed(seed)
        )


class Halves(nn.Module):
    """An autoencoder that pads by 3 and strips 2, and plays the note at half its level."""

    pad, strip = 3, 2

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def target(self, audio: Tensor) -> Tensor:
        return audio[..., 2:-2]

    def forward(self, audio: Tensor) -> Tensor:
        return self.gain * self.target(audio)


class Curves(nn.Module):
    """A synthesizer of a sine at its pitch and loudness."""

    def __init__(self, latent: int = 0) -> None:
        super().__init__()
        self.latent = latent
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, controls: Tensor, audio: Tensor | None = None) -> Tensor:
        self.seen = audio
        f0, loudness = controls.repeat_interleave(160, 1).unbind(-1)
        return (
            self.gain
            * loudness
            * math.sqrt(2)
            * torch.sin(2 * math.pi * torch.cumsum(f0 / 16000, 1))
        )


def _batch(count: int = 3, length: int = 640) -> dict[str, Any]:
    notes = Notes(count, length)
    return collate([notes[index] for index in range(count)])


def test_next_samples_are_scored_by_cross_entropy_behind_the_context() -> None:
    model, batch = Ahead(), _batch()
    tokens = mu_law_encode(batch["audio"], 16)
    logits = model(tokens).detach().log_softmax(1)
    wanted = [[-float(logits[b, tokens[b, t + 1], t]) for t in range(2, 639)] for b in range(3)]
    task = NextSample()
    assert task.errors(model, batch).tolist() == pytest.approx(
        [np.mean(each) for each in wanted], rel=1e-5
    )
    assert task.loss(model, batch).item() == pytest.approx(np.mean(wanted), rel=1e-5)
    assert task.step(model, batch, Tensor.item)["loss"] == task.loss(model, batch).item()
    assert task.validation_loss(model, Notes(3), collate, None).base() == pytest.approx(
        task.loss(model, batch).item(), rel=1e-6
    )


@pytest.mark.parametrize("kind", ["none", "note", "mel"])
def test_long_items_pass_in_parts_with_the_same_result(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = NextSample(conditioning=kind, mels=20, families=1, pitches=(50, 70))
    model, batch = Ahead(conditioning=task.conditioning.channels), _batch()
    whole, likely = task.errors(model, batch), task.one_step(model, batch)
    monkeypatch.setattr(next_sample, "_CHUNK", 100)
    assert task.errors(model, batch).tolist() == pytest.approx(whole.tolist(), rel=1e-5)
    assert torch.equal(task.one_step(model, batch), likely) and likely.shape == (3, 637)
    assert task.loss(model, batch).item() == pytest.approx(whole.mean().item(), rel=1e-5)
    oracle = task.validation_loss(model, Notes(3), collate, None)
    assert oracle.base() == pytest.approx(whole.mean().item(), rel=1e-5)


def test_a_uniform_model_has_the_entropy_of_its_classes() -> None:
    model = Ahead()
    nn.init.zeros_(model.conv.weight)
    nn.init.zeros_(model.conv.bias)
    row = NextSample(example_s=0).score(model, Notes(), condition="test", variant="dense")["dense"]
    assert row["metrics"]["error"] == pytest.approx(math.log(16), rel=1e-6) and row["metrics"][
        "bits_per_sample"
    ] == pytest.approx(4.0)
    assert (
        row["n"] == 6
        and row["n_valid"] == {"error": 6, "bits_per_sample": 6}
        and not row["failures"]
    )
    assert row["std"]["error"] == pytest.approx(0, abs=1e-6) and row["noise"] is None
    assert 0 < row["trivial"] < math.log(16) and row["trivial_name"] == "a constant"
    json.dumps(row)


def test_the_trivial_error_is_that_of_a_constant_prediction() -> None:
    model, batches = Ahead(), [_batch(2), _batch(3)]
    tokens = torch.cat([mu_law_encode(batch["audio"], 16)[:, 2:].reshape(-1) for batch in batches])
    shares = tokens.bincount(minlength=16) / len(tokens)
    constant = torch.where(shares > 0, shares, 1.0).double().log()
    wanted = float(nn.functional.nll_loss(constant.expand(len(tokens), -1), tokens))
    assert NextSample().trivial_error(model, iter(batches)) == pytest.approx(wanted, rel=1e-4)


def test_the_trivial_error_of_a_reconstruction_is_that_of_silence() -> None:
    class Mute(Halves):
        def forward(self, audio: Tensor) -> Tensor:
            return 0 * super().forward(audio)

    task, batch = Reconstruction(), _batch(3)
    assert task.trivial_error(Halves(), iter([batch])) == pytest.approx(
        task.errors(Mute(), batch).mean().item(), rel=1e-6
    )


def test_free_runs_begin_in_silence() -> None:
    task = NextSample(conditioning="note", families=1, pitches=(50, 70))
    model = Ahead(conditioning=task.conditioning.channels)
    audio = task.generate(model, _batch(2), 10, seed=3)
    assert (
        audio.shape == (2, 10)
        and model.start.tolist() == [[8] * 3] * 2
        and model.features.shape == (2, 23, 13)
    )
    assert torch.equal(audio, task.generate(model, _batch(2), 10, seed=3))
    mel = NextSample(conditioning="mel", mels=20)
    hearing = Ahead(conditioning=20)
    mel.generate(hearing, _batch(2), 10)
    assert hearing.features.shape == (2, 20, 13) and not hearing.features[..., :3].any()
    tuned = NextSample(conditioning="note", families=1, pitches=(50, 70), harmonics=2)
    assert tuned.conditioning.channels == model.features.shape[1] + 4
    hearing = Ahead(conditioning=27)
    tuned.generate(hearing, _batch(2), 10)
    assert torch.equal(hearing.features, tuned.conditioning.of(_batch(2), 13))
    with pytest.raises(ConfigError, match="expected a model with a method generate"):
        task.generate(Halves(), _batch(1), 10)


def test_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        DataError, match="expected items of more than 3 samples, the receptive field, got 3"
    ):
        NextSample().loss(Ahead(), _batch(1, 3))
    with pytest.raises(
        ConfigError,
        match="expected a model that reads 80 features, got 0; set model.conditioning=80",
    ):
        NextSample(conditioning="mel").loss(Ahead(), _batch(1))
    with pytest.raises(ConfigError, match="expected example_s"):
        NextSample(example_s=-1)
    with pytest.raises(ConfigError, match="unknown inputs 'audios'; closest: audio"):
        Reconstruction(inputs="audios")
    with pytest.raises(ConfigError, match="unknown monitor 'stoi'"):
        NextSample().validate(Ahead(), iter([_batch(1)]), "stoi")


def test_autoencoders_are_compared_with_the_stretch_that_they_return() -> None:
    task, model, batch = Reconstruction(stft_windows=[32, 64]), Halves(), _batch()
    padded = F.pad(batch["audio"], (1, 1))
    expected = task.distance.each(padded, 0.5 * padded)
    assert torch.allclose(task.errors(model, batch), expected) and task.loss(
        model, batch
    ).item() == pytest.approx(float(expected.mean()))
    assert torch.equal(task.reconstruct(model, batch), 0.5 * batch["audio"])
    assert task.validation_loss(model, Notes(3), collate, 2).base() == pytest.approx(
        float(expected[:2].mean()), rel=0.5
    )


def test_the_samples_count_alone_at_first_and_beside_the_spectra_then() -> None:
    options = {"stft_windows": [64], "waveform_weight": 3.0, "waveform_first_epochs": 2}
    task, model, batch = Reconstruction(**options), Halves(), _batch()
    spectral = float(task.errors(model, batch).mean().detach())
    losses = []
    for epoch in (0, 1, 2, 3):
        task.set_epoch(epoch)
        losses.append(float(task.loss(model, batch).detach()))
    # half of a signal is wrong by a quarter of its power
    assert losses == pytest.approx([0.25, 0.25, spectral + 0.75, spectral + 0.75], rel=1e-5)
    assert task.validate(model, iter([batch]), "loss")["loss"] == pytest.approx(spectral)
    for name in ("waveform_weight", "waveform_first_epochs"):
        with pytest.raises(ConfigError, match=f"expected {name} .*; change task.{name}"):
            Reconstruction(**{name: -1})


def test_silence_counts_as_very_soft() -> None:
    error = relative_error(torch.zeros(1, 4), torch.full((1, 4), 1e-3))
    assert error.tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("latent", [0, 2])
def test_synthesizers_are_told_pitch_and_loudness(latent: int) -> None:
    task, model, batch = (
        Reconstruction(inputs="controls", stft_windows=[64]),
        Curves(latent),
        _batch(length=700),
    )
    assert task.loss(model, batch).item() < 0.5 * float(
        task.distance(batch["audio"][:, :640], torch.zeros(3, 640))
    )
    assert (model.seen is None) == (latent == 0) and task.reconstruct(model, batch).shape == (
        3,
        640,
    )
    assert task.validation_loss(model, Notes(3, 700), collate, None).base() == pytest.approx(
        task.loss(model, batch).item(), rel=1e-5
    )


def test_scores_keep_audio_of_the_first_notes(tmp_path: Path) -> None:
    task, wanted = (
        Reconstruction(stft_windows=[64]),
        {"condition": "test", "variant": "dense", "audio": tmp_path, "keep": 2},
    )
    row = task.score(Halves(), Notes(), **wanted)["dense"]
    errors = task.errors(Halves(), _batch(6))
    assert row["metrics"] == {"error": pytest.approx(float(errors.mean()))} and row["std"][
        "error"
    ] == pytest.approx(float(errors.std()))
    assert (
        row["trivial"] == pytest.approx(task.trivial_error(Halves(), [_batch(6)]))
        and row["trivial_name"] == "silence"
    )
    assert {file.name for file in tmp_path.iterdir()} == {
        f"note{n}_{v}.flac" for n in range(2) for v in ("reference", "dense")
    }
    samples, rate = soundfile.read(tmp_path / "note1_reference.flac")
    assert rate == 16000 and np.allclose(samples, Notes()[1]["audio"].numpy(), atol=1e-4)
    NextSample(example_s=0.01).score(Ahead(), Notes(), **{**wanted, "audio": tmp_path / "next"})
    assert {file.name for file in (tmp_path / "next").iterdir()} == {
        f"note{n}_{v}.flac" for n in range(2) for v in ("reference", "dense", "dense_one_step")
    }
    assert len(soundfile.read(tmp_path / "next" / "note0_dense.flac")[0]) == 160


@pytest.mark.parametrize(
    ("task", "model"),
    [(Reconstruction(stft_windows=[64]), Halves()), (NextSample(example_s=0), Ahead())],
)
def test_notes_at_once_have_the_errors_of_each_alone(task: Any, model: nn.Module) -> None:
    rows, seen = [], []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    for task.score_batch in (None, 1e-9, 4 * 640 / 16000):
        rows.append(task.score(model, Notes(), condition="test", variant="dense")["dense"])
    assert seen == [1] * 12 + [4, 2]
    for row in rows[1:]:
        assert row["metrics"] == pytest.approx(rows[0]["metrics"], abs=1e-6)
        assert row["std"] == pytest.approx(rows[0]["std"], abs=1e-6)


def test_outputs_that_are_not_finite_are_failures() -> None:
    class Broken(Halves):
        def forward(self, audio: Tensor) -> Tensor:
            out = super().forward(audio)
            loud = audio.abs().amax(1, keepdim=True) > 0.52
            return torch.where(loud, float("nan"), out)

    row = Reconstruction(stft_windows=[64]).score(
        Broken(), Notes(), condition="test", variant="dense"
    )["dense"]
    assert (
        row["failures"] == ["note4: error: the model's output is not finite"]
        and row["n_valid"] == {"error": 5}
        and row["n"] == 6
    )
    assert math.isfinite(row["metrics"]["error"])


def test_what_criteria_compare_units_with() -> None:
    batch, model = _batch(), Ahead()
    target = NextSample().information_target(model, batch)
    assert target.shape == (3, 639, 1) and torch.equal(
        ((target[..., 0] + 1) / 2 * 15).round().long(), mu_law_encode(batch["audio"], 16)[:, 1:]
    )
    assert Reconstruction().information_target(Halves(), batch).shape == (3, 3, 25)


TASKS = {
    "next_sample": (NextSample, Ahead),
    "autoencoder": (lambda: Reconstruction(stft_windows=[64]), Halves),
}


def _fit(folder: Path, name: str, stop_after: int | None = None) -> nn.Module:
    make_task, make_model = TASKS[name]
    model, task = make_model(), make_task()
    if stop_after:
        taken = iter(range(stop_after))
        real = task.step

        def step(*arguments: Any) -> dict[str, float]:
            if next(taken, None) is None:
                interrupts._requested.set()
            return real(*arguments)

        task.step = step
    Fit(
        model,
        task,
        Corpus(),
        Settings(epochs=3, batch_size=3),
        folder,
        device="cpu",
        save_every_s=1e9,
    ).run()
    return model


@pytest.mark.parametrize("name", TASKS)
def test_training_lowers_the_loss_and_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = _fit(tmp_path / "whole", name)
    log = [
        json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    ]
    assert log[-1]["valid_loss"] < log[0]["valid_loss"]
    with pytest.raises(InterruptedRun):
        _fit(tmp_path / "parts", name, stop_after=4)
    interrupts._requested.clear()
    parts = _fit(tmp_path / "parts", name)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key])


def test_what_is_not_given_is_that_of_the_paper() -> None:
    task = Reconstruction()
    distance = task.distance
    assert (task.kind, task.loudness, task.sample_rate) == ("audio", "rms", 16000)
    assert (distance.form, distance.eps, distance.base) == ("log_power", 5e-3, "l1")
    assert [each.n_fft for each in distance.transforms] == [32, 128, 256, 512, 1024]
    follower = NextSample()
    told = follower.conditioning
    assert (follower.example_s, follower.sample_rate, told.kind) == (1.0, 16000, "none")
    assert (told.mels, told.pitches, told.families, told.instruments) == (80, (0, 127), 0, 0)


def test_every_setting_reaches_its_place() -> None:
    options = {
        "mels": 20,
        "pitches": (50, 70),
        "families": 3,
        "instruments": 4,
        "sample_rate": 8000,
    }
    told = NextSample(conditioning="note", example_s=60, **options).conditioning
    assert (
        told.kind,
        told.mels,
        told.pitches,
        told.families,
        told.instruments,
        told.sample_rate,
    ) == ("note", 20, (50, 70), 3, 4, 8000)
    task = Reconstruction(
        inputs="controls",
        stft_windows=[64],
        eps=0.1,
        base="mse",
        loudness="a_weighted",
        sample_rate=8000,
    )
    assert (task.kind, task.loudness, task.sample_rate) == ("controls", "a_weighted", 8000)
    assert (task.distance.eps, task.distance.base, task.distance.transforms[0].n_fft) == (
        0.1,
        "mse",
        64,
    )
    assert Reconstruction(spectral="linear_log").distance.form == "linear_log"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: NextSample(example_s=-0.1),
            "expected example_s from 0 to 60 s, got -0.1; use for instance 1",
        ),
        (
            lambda: NextSample(example_s=61),
            "expected example_s from 0 to 60 s, got 61; use for instance 1",
        ),
        (
            lambda: Reconstruction(inputs="notes"),
            "unknown inputs 'notes' (known: audio, controls)",
        ),
        (
            lambda: Reconstruction(loudness="lufs"),
            "unknown loudness 'lufs' (known: a_weighted, rms)",
        ),
        (
            lambda: NextSample().generate(Halves(), {}, 1),
            "expected a model with a method generate(), got Halves; add one or use another model",
        ),
    ],
)
def test_refusals_say_what_was_got(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_what_models_share_and_are_told() -> None:
    assert NextSample(conditioning="mel", sample_rate=8000).shared() == {
        "sample_rate": 8000,
        "conditioning": 80,
    }
    assert Reconstruction(sample_rate=8000).shared() == {"sample_rate": 8000}
    assert Reconstruction(inputs="controls").shared() == {"sample_rate": 16000, "block_size": 160}
    assert [
        NextSample(conditioning=kind).listens(Ahead()) for kind in ("none", "mel", "note")
    ] == [False, True, False]
    assert Reconstruction().listens(Halves())
    assert [Reconstruction(inputs="controls").listens(Curves(latent)) for latent in (0, 2)] == [
        False,
        True,
    ]
    assert (
        NextSample().tags()
        == NextSample(conditioning="mel").tags()
        == Reconstruction().tags()
        == ()
    )
    assert (
        NextSample(conditioning="note").tags()
        == Reconstruction(inputs="controls").tags()
        == ("pitch", "velocity")
    )
    assert NextSample(conditioning="note", families=1).tags() == ("pitch", "velocity", "family")
    assert NextSample(conditioning="note", families=1, instruments=2).tags() == (
        "pitch",
        "velocity",
        "family",
        "instrument",
    )
    for task in (NextSample(), Reconstruction()):
        assert task.better("loss", 1.0, 2.0) and not task.better("loss", 1.0, 1.0)
        assert task.monitors == ("loss",) and task.scores_audio is False


@pytest.mark.parametrize(
    ("task", "model"),
    [(NextSample(example_s=0), Ahead), (Reconstruction(stft_windows=[64]), Halves)],
)
def test_progress_names_the_variant_and_counts_every_note(
    task: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown()
    monkeypatch.setattr(note_scoring, "progress", shown)
    task.score(model(), Notes(), condition="test", variant="dense")
    assert shown.calls == [("dense on test", 6, [1] * 6)]
