"""Signals of any rate and number of channels come back as long as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from made_enhancers import TASK, enhancer_file

from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.inference.blocks import BlockPlan
from audioprune.inference.enhancer import Enhancer, enhancer_of, load_enhancer
from audioprune.models.lstm import LSTM


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    return load_enhancer(str(enhancer_file(tmp_path_factory.mktemp("model") / "model.apz")))


def _noise(samples: int, channels: int) -> np.ndarray:
    found = 0.1 * np.random.default_rng(0).standard_normal((samples, channels))
    return found.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_another_rate_is_resampled_in_and_out(enhancer: Enhancer, rate: int) -> None:
    noise = _noise(rate // 2 + 3, 2)
    levels = enhancer.level_of([noise], rate)
    stream = enhancer.stream(2, rate, levels)
    made = np.concatenate([stream.push(each) for each in np.array_split(noise, 7)])
    made = np.concatenate([made, stream.push(noise[:0], last=True)])
    inward = soxr.resample(noise, rate, 16000, quality="VHQ").T.copy()
    whole = enhancer.task.enhance(enhancer.model, torch.from_numpy(inward)).numpy().T
    back = soxr.resample(np.ascontiguousarray(whole), 16000, rate, quality="VHQ")
    assert made.shape == noise.shape
    both = min(len(back), len(made))
    assert np.abs(made[:both] - back[:both]).max() <= 1e-5 * np.abs(back).max()


def test_a_level_is_that_of_each_channel(enhancer: Enhancer) -> None:
    noise = _noise(4000, 2) * np.array([1, 0.1], np.float32)
    found = enhancer.level_of(np.array_split(noise, 3), 16000)
    assert np.allclose(found, np.sqrt(np.square(noise, dtype=float).mean(0)), rtol=1e-9)


def test_the_delay_is_that_of_a_frame(enhancer: Enhancer) -> None:
    assert enhancer.latency_s(16000, 160) == 0.02


def test_the_share_of_the_input_is_that_of_the_command_line(tmp_path: Path) -> None:
    path = enhancer_file(tmp_path / "model.apz")
    wet, half = load_enhancer(str(path)), load_enhancer(str(path), dry=0.5)
    noise = _noise(2000, 1)
    made = [each.stream(1, 16000, np.ones(1)).push(noise, last=True) for each in (wet, half)]
    assert np.allclose(made[1], (made[0] + noise) / 2, atol=1e-7)


def test_samples_that_are_not_finite_are_refused(enhancer: Enhancer) -> None:
    noise = _noise(500, 1)
    stream = enhancer.stream(1, 16000)
    stream.push(noise)
    noise[70] = np.nan
    with pytest.raises(DataError, match="at sample 570"):
        stream.push(noise)
    broken = LSTM(width=4, depth=1)
    broken.output.bias.data[0] = float("nan")
    with pytest.raises((DivergedError, ConfigError)):
        enhancer_of(broken, TASK, "x").stream(1, 16000).push(_noise(2000, 1), last=True)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "says its task, got none"),
        ({"_target_": "audioprune.tasks.scenes.SceneClassification"}, "use audioprune apply"),
        ({"_target_": "audioprune.tasks.generation.NextSample"}, "use audioprune generate"),
    ],
)
def test_a_model_that_does_not_enhance_is_refused(
    task: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        enhancer_of(LSTM(width=4, depth=1), task, "model.apz")


def test_a_model_that_must_see_the_whole_runs_on_no_pipe(enhancer: Enhancer) -> None:
    whole = Enhancer(enhancer.model, enhancer.task, BlockPlan("whole", why="it looks ahead"))
    with pytest.raises(ConfigError, match="runs as a whole, it looks ahead; give files"):
        whole.latency_s(16000, 160)
