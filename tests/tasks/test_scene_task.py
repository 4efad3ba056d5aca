"""The task of scenes: losses, augmentation, validation, scores, exact resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shown import Shown
from torch import Tensor, nn
from torch.utils.data import Dataset

from audioprune import interrupts
from audioprune.errors import ConfigError, InterruptedRun
from audioprune.tasks import scenes
from audioprune.tasks.scenes import SceneClassification
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings


class Clips(Dataset):
    """Noise whose first band is louder in class 0 than in class 1 and than in class 2."""

    classes = ("bus", "cafe/restaurant", "park")

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 3
        self.features = torch.randn(count, 2, 4, 12, generator=generator)
        self.features[:, :, 0] += 2.0 * (1 - self.labels.float())[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "features": self.features[index],
            "label": int(self.labels[index]),
            "id": f"clip{index}",
        }


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "features": torch.stack([item["features"] for item in items]),
        "label": torch.tensor([item["label"] for item in items]),
        "id": [item["id"] for item in items],
    }


class Corpus:
    """Training and validation clips."""

    collate = staticmethod(_collate)

    def train(self) -> Clips:
        return Clips(30, 0)

    def valid(self) -> Clips:
        return Clips(15, 1)


class Net(nn.Module):
    """A convolution with dropout, and a mean over time."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(2, 6, (4, 3))
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(6, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.last(self.drop(self.conv(features).relu()).mean(dim=(2, 3)))


@pytest.fixture
def batch() -> dict[str, Any]:
    """Six clips."""
    data = Clips(6, 2)
    return _collate([data[index] for index in range(6)])


class Recorder(nn.Module):
    """Remembers its input and answers with fixed logits."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.logits = torch.randn(64, classes, generator=torch.Generator().manual_seed(1))

    def forward(self, features: Tensor) -> Tensor:
        self.seen = features
        return self.logits[: len(features)]


def _step(
    task: SceneClassification, model: nn.Module, batch: dict[str, Any], seed: int = 0
) -> float:
    torch.manual_seed(seed)
    return task.step(model, batch, float)["loss"]


def test_the_loss_is_the_cross_entropy_of_the_batch_as_it_is(batch: dict[str, Any]) -> None:
    model = Recorder()
    loss = SceneClassification(classes=3).loss(model, batch)
    expected = torch.stack(
        [-model.logits[i].log_softmax(0)[label] for i, label in enumerate(batch["label"])]
    ).mean()
    assert loss == pytest.approx(float(expected), rel=1e-6) and torch.equal(
        model.seen, batch["features"]
    )


def test_a_step_without_augmentation_is_the_loss(batch: dict[str, Any]) -> None:
    task, model = SceneClassification(classes=3, mixup=0, roll_frames=0), Recorder()
    state = torch.get_rng_state()
    assert task.step(model, batch, float)["loss"] == float(task.loss(model, batch))
    assert torch.equal(torch.get_rng_state(), state)


def test_shifts_move_whole_clips_within_their_limit(batch: dict[str, Any]) -> None:
    task, model = SceneClassification(classes=3, mixup=0, roll_frames=2), Recorder()
    found = set()
    for seed in range(20):
        _step(task, model, batch, seed)
        for clip, moved in zip(batch["features"], model.seen, strict=True):
            (shift,) = [s for s in range(-6, 6) if torch.equal(clip.roll(s, -1), moved)]
            found.add(shift)
    assert found == {-2, -1, 0, 1, 2}


def test_mixing_weighs_inputs_and_losses_alike(batch: dict[str, Any]) -> None:
    task, model = SceneClassification(classes=3, mixup=0.3, roll_frames=0), Recorder()
    loss = _step(task, model, batch)
    features, labels = batch["features"], batch["label"]
    expected = 0.0
    for place, mixed in enumerate(model.seen):
        fits = []
        for partner in range(6):
            other = features[partner] - features[place]
            share = (
                float(((mixed - features[place]) * other).sum() / other.square().sum())
                if other.any()
                else 0.0
            )
            fits.append(
                (float((features[place] + share * other - mixed).abs().max()), share, partner)
            )
        error, share, partner = min(fits)
        assert error < 1e-5 and -1e-6 <= share <= 0.5
        losses = [
            float(F.cross_entropy(model.logits[place], labels[each])) for each in (place, partner)
        ]
        expected += ((1 - share) * losses[0] + share * losses[1]) / 6
    assert loss == pytest.approx(expected, rel=1e-5)


def test_mixing_weights_follow_the_beta_distribution() -> None:
    data = Clips(60, 0)
    batch = _collate([data[index] for index in range(60)])
    batch["features"] = torch.eye(60, 96).reshape(
        60, 2, 4, 12
    )  # each clip alone has one value, so that a mixture shows its weight
    task, model = SceneClassification(classes=3, mixup=0.3, roll_frames=0), Recorder()
    torch.manual_seed(0)
    shares = []
    for _ in range(100):
        task.step(model, batch, float)
        shares.append(model.seen.flatten(1).diagonal())
    found = torch.cat(shares).numpy()
    drawn = np.random.default_rng(0).beta(0.3, 0.3, 100_000)
    expected = np.append(
        np.maximum(drawn, 1 - drawn), np.ones(100_000 // 59)
    )  # a clip may meet itself
    assert found.min() >= 0.5 and found.max() <= 1
    assert np.allclose(
        np.quantile(found, [0.1, 0.25, 0.5, 0.75]),
        np.quantile(expected, [0.1, 0.25, 0.5, 0.75]),
        atol=0.02,
    )


@pytest.mark.parametrize("stop_after", [3, 7])
def test_training_with_augmentation_resumes_to_the_same_bits(
    tmp_path: Path, stop_after: int
) -> None:
    torch.set_num_threads(1)
    settings = Settings(epochs=3, batch_size=8, learning_rate=0.01, monitor="accuracy_macro")

    class Stopping(SceneClassification):
        steps = 0

        def step(self, model: nn.Module, batch: dict[str, Any], update: Any) -> dict[str, float]:
            found = super().step(model, batch, update)
            self.steps += 1
            if self.steps == stop_after:
                interrupts._requested.set()
            return found

    def fit(folder: str, task: SceneClassification) -> Fit:
        return Fit(Net(), task, Corpus(), settings, folder=tmp_path / folder, device="cpu")

    options = {"classes": 3, "roll_frames": 5}
    straight = fit("straight", SceneClassification(**options))
    expected = straight.run()
    with pytest.raises(InterruptedRun):
        fit("stopped", Stopping(**options)).run()
    interrupts._requested.clear()
    resumed = fit("stopped", SceneClassification(**options))
    assert resumed.run().history == expected.history
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            straight.model.state_dict().values(), resumed.model.state_dict().values(), strict=True
        )
    )


def test_training_learns(tmp_path: Path) -> None:
    settings = Settings(epochs=25, batch_size=10, learning_rate=0.02, monitor="accuracy")
    outcome = Fit(
        Net(),
        SceneClassification(classes=3, roll_frames=3),
        Corpus(),
        settings,
        folder=tmp_path,
        device="cpu",
    ).run()
    assert outcome.best > 0.8


def test_validation_weighs_clips_alike() -> None:
    data, task, model = Clips(7, 3), SceneClassification(classes=3), Net().eval()
    batches = [_collate([data[i] for i in part]) for part in ([0, 1, 2, 3, 4], [5, 6])]
    with torch.no_grad():
        values = task.validate(model, iter(batches), "loss")
        logits = model(data.features)
    assert values["loss"] == pytest.approx(float(F.cross_entropy(logits, data.labels)), rel=1e-5)
    assert values["accuracy"] == pytest.approx(
        float((logits.argmax(1) == data.labels).float().mean())
    )
    assert 0 <= values["accuracy_macro"] <= 1
    with pytest.raises(ConfigError, match="unknown monitor 'acuracy'; closest: accuracy"):
        task.validate(model, iter(batches), "acuracy")
    assert (
        task.better("loss", 0.1, 0.2)
        and task.better("accuracy", 0.2, 0.1)
        and not task.better("accuracy", 0.1, 0.1)
    )


def test_the_oracle_is_the_validation_loss() -> None:
    data, task, model = Clips(40, 4), SceneClassification(classes=3), Net()
    with torch.no_grad():
        expected = float(F.cross_entropy(model.eval()(data.features), data.labels))
    assert task.validation_loss(model, data, _collate, None).base() == pytest.approx(
        expected, rel=1e-5
    )
    sorted_set = Clips(40, 4)
    sorted_set.labels, order = sorted_set.labels.sort()
    sorted_set.features = sorted_set.features[order]
    chosen = task.validation_loss(model, sorted_set, _collate, 10)
    picked = torch.arange(10) * 4
    with torch.no_grad():
        few = float(F.cross_entropy(model(sorted_set.features[picked]), sorted_set.labels[picked]))
    assert chosen.base() == pytest.approx(few, rel=1e-5)


def test_scores_count_every_clip() -> None:
    data, task, model = Clips(35, 6), SceneClassification(classes=3), Net().eval()
    (row,) = task.score(model, data, None, condition="test", variant="pruned").values()
    with torch.no_grad():
        predicted = model(data.features).argmax(1)
    json.dumps(row, allow_nan=False)
    right = row["items"]["accuracy"]
    assert right == (predicted == data.labels).int().tolist() and len(row["items"]["id"]) == 35
    assert row["metrics"]["accuracy"] == pytest.approx(
        float((predicted == data.labels).float().mean())
    )
    assert (
        row["n"] == 35
        and row["n_valid"] == {"accuracy": 35, "accuracy_macro": 35}
        and row["failures"] == []
    )
    assert [sum(counts) for counts in row["confusion"]] == [12, 12, 11] and row["classes"] == list(
        Clips.classes
    )
    assert (
        row["noise"] is None
        and row["snr_db"] is None
        and row["std"] == {}
        and row["chance"] == 1 / 3
    )
    recalls = [counts[place] / sum(counts) for place, counts in enumerate(row["confusion"])]
    assert row["accuracy_per_class"] == recalls and row["metrics"][
        "accuracy_macro"
    ] == pytest.approx(sum(recalls) / 3)


def test_outputs_that_are_not_finite_are_failures_not_guesses() -> None:
    class Broken(Recorder):
        def forward(self, features: Tensor) -> Tensor:
            logits = super().forward(features).clone()
            logits[0] = math.nan
            return logits

    row = SceneClassification(classes=3).score(
        Broken(), Clips(20, 0), condition="test", variant="v"
    )["v"]
    assert (
        row["n_valid"]["accuracy"] == 18
        and row["failures"][0] == "clip0: accuracy: the model's output is not finite"
    )
    assert sum(map(sum, row["confusion"])) == 18
    assert row["items"]["accuracy"][0] == 0 and len(row["items"]["accuracy"]) == 20


def test_probabilities_add_up_to_one(batch: dict[str, Any]) -> None:
    found = SceneClassification(classes=3).classify(Net().eval(), batch["features"])
    assert found.shape == (6, 3) and torch.allclose(found.sum(dim=1), torch.ones(6))


def test_different_numbers_of_classes_are_refused(batch: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected a model with output \(6, 10\), got \(6, 3\); set model.classes=10",
    ):
        SceneClassification(classes=10).loss(Net(), batch)
    with pytest.raises(ConfigError, match="expected labels below 2, got 2"):
        SceneClassification(classes=2).loss(Net(2), batch)
    with pytest.raises(ConfigError, match="expected data of 4 classes, got 3; set task.classes=3"):
        SceneClassification(classes=4).score(Net(4), Clips(6, 0), condition="test", variant="v")


def test_values_out_of_range_are_refused() -> None:
    for options in (
        {"classes": 1},
        {"mixup": -0.1},
        {"mixup": math.nan},
        {"mixup": math.inf},
        {"roll_frames": -1},
        {"roll_frames": 1.5},
    ):
        with pytest.raises(ConfigError, match=next(iter(options))):
            SceneClassification(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classes": 1},
            "expected at least 2 classes, got 1; give the number of classes of the corpus",
        ),
        (
            {"classes": 3.0},
            "expected at least 2 classes, got 3.0; give the number of classes of the corpus",
        ),
        (
            {"mixup": -0.1},
            "expected mixup of at least 0, got -0.1; use for instance 0.3, or 0 for none",
        ),
        (
            {"roll_frames": -1},
            "expected roll_frames of at least 0, got -1; use for instance 50, or 0 for none",
        ),
    ],
)
def test_refusals_say_what_was_got(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SceneClassification(**options)
    assert str(caught.value) == message


def test_other_classes_say_how_to_go_on(batch: dict[str, Any]) -> None:
    cases = (
        (
            lambda: SceneClassification().loss(Net(), batch),
            "expected a model with output (6, 10), got (6, 3); set model.classes=10",
        ),
        (
            lambda: SceneClassification(classes=2).loss(Net(2), batch),
            "expected labels below 2, got 2; set task.classes to those of the corpus",
        ),
        (
            lambda: SceneClassification(classes=4).score(
                Net(4), Clips(6, 0), condition="test", variant="v"
            ),
            "expected data of 4 classes, got 3; set task.classes=3 and train anew",
        ),
    )
    for call, message in cases:
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == message


def test_what_is_not_given_is_that_of_the_source() -> None:
    task = SceneClassification()
    assert (task.classes, task.mixup, task.roll_frames, task.sample_rate) == (10, 0.3, 50, 22050)
    smallest = SceneClassification(classes=2, mixup=0, roll_frames=0, sample_rate=8000)
    assert (smallest.classes, smallest.mixup, smallest.roll_frames, smallest.sample_rate) == (
        2,
        0,
        0,
        8000,
    )
    assert smallest.shared() == {"classes": 2} and task.scores_audio is False


def test_progress_names_the_variant_and_counts_every_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    monkeypatch.setattr(scenes, "progress", shown)
    SceneClassification(classes=3).score(
        Recorder(), Clips(35, 0), condition="test", variant="pruned"
    )
    assert shown.calls == [("pruned on test", 35, [1] * 35)]


def test_classes_without_names_are_numbers() -> None:
    data = Clips(6, 0)
    items = [data[index] for index in range(6)]
    row = SceneClassification(classes=3).score(Recorder(), items, condition="test", variant="v")[
        "v"
    ]
    assert row["classes"] == ["0", "1", "2"] and row["n"] == 6
