"""Artificial scenes: determinism, levels; time tells them apart, not the mean spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from audioprune.data.scenes.features import SceneFeatures
from audioprune.data.scenes.synthesis import SAMPLE_RATE, SCENES, Scene, synthesise


def _scene(name: str) -> Scene:
    return next(scene for scene in SCENES if scene.name == name)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_clips_are_stereo_below_full_scale_and_follow_from_the_seed(scene: Scene) -> None:
    clips = [synthesise(scene, np.random.default_rng(seed), 1.0) for seed in (0, 0, 1)]
    assert clips[0].shape == (2, SAMPLE_RATE) and clips[0].dtype == np.float32
    assert np.array_equal(clips[0], clips[1]) and not np.array_equal(clips[0], clips[2])
    for clip in clips:
        assert np.abs(clip).max() <= 0.951 and np.sqrt(np.square(clip).mean()) > 0.005
        assert np.abs(clip.mean(axis=1)).max() < 1e-3 and not np.array_equal(clip[0], clip[1])


def _envelope_peaks(name: str, seed: int) -> float:
    """Return how strongly the loudness of a clip repeats itself at the beat of a railway, 0..1."""
    clip = synthesise(_scene(name), np.random.default_rng(seed), 3.0).mean(axis=0)
    loudness = np.log(np.square(clip[: len(clip) // 441 * 441].reshape(-1, 441)).mean(axis=1))
    loudness -= loudness.mean()
    correlation = (
        np.correlate(loudness, loudness, "full")[len(loudness) - 1 :] / np.square(loudness).sum()
    )
    return float(correlation[10:21].max())  # 0.2 to 0.4 s


def test_a_railway_keeps_its_beat_and_a_workshop_does_not() -> None:
    railway, workshop = (
        np.median([_envelope_peaks(name, seed) for seed in range(12)])
        for name in ("railway", "workshop")
    )
    assert railway > workshop + 0.15


def _features(clips: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    features = SceneFeatures(mels=64, duration_s=3.0)
    made = [
        (
            features.compute(
                synthesise(scene, np.random.default_rng([0, place, first + number]), 3.0)
            ),
            place,
        )
        for place, scene in enumerate(SCENES)
        for number in range(clips)
    ]
    return np.stack([values for values, _ in made]), np.array([place for _, place in made])


def _ridge_accuracy(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, wanted: np.ndarray
) -> float:
    mean, std = train.mean(axis=0), train.std(axis=0)
    train, test = (np.c_[(values - mean) / std, np.ones(len(values))] for values in (train, test))
    weights = np.linalg.solve(
        train.T @ train + 30 * np.eye(train.shape[1]), train.T @ np.eye(10)[labels]
    )
    return float(((test @ weights).argmax(axis=1) == wanted).mean())


def _small_network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in (
        (2, 12, (2, 1)),
        (12, 16, 2),
        (16, 24, 2),
        (24, 32, 2),
        (32, 24, 1),
    ):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


@pytest.mark.slow
def test_a_linear_model_on_mean_spectra_stays_far_below_a_small_network() -> None:
    (train, labels), (test, wanted) = _features(60, 0), _features(25, 1000)
    linear = _ridge_accuracy(train.mean(axis=(1, 3)), labels, test.mean(axis=(1, 3)), wanted)
    mean, std = train.mean(axis=(0, 1, 3), keepdims=True), train.std(axis=(0, 1, 3), keepdims=True)
    x, y, held = (
        torch.from_numpy((train - mean) / std),
        torch.from_numpy(labels),
        torch.from_numpy((test - mean) / std),
    )
    torch.manual_seed(0)
    model = _small_network()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=40 * 19)
    for _ in range(40):
        for chosen in torch.randperm(600).split(32):
            loss = nn.functional.cross_entropy(
                model(x[chosen].roll(int(torch.randint(130, ())), -1)), y[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        network = float((model.eval()(held).argmax(dim=1).numpy() == wanted).mean())
    assert linear < 0.35 < 0.7 < network
