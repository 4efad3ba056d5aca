"""A program enhances a signal as the verb does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_enhancers import TASK, enhancer_file

import audioprune
from audioprune.errors import ConfigError, DataError
from audioprune.inference.enhancer import load_enhancer


def test_a_signal_is_enhanced(tmp_path: Path) -> None:
    path = enhancer_file(tmp_path / "m.apz")
    model = audioprune.load(path)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    made = audioprune.enhance(model, noise, 16000)
    whole = load_enhancer(str(path)).task.enhance(model, torch.from_numpy(noise)).numpy()
    assert np.abs(made - whole).max() <= 1e-5 * np.abs(whole).max()
    one = audioprune.enhance(model, torch.from_numpy(noise[0]), 16000)
    assert one.shape == (3000,) and np.allclose(one, made[0], atol=1e-6)
    named = audioprune.enhance(torch.nn.Identity(), noise, 16000, task={**TASK, "dry": 0.0})
    assert named.shape == noise.shape


def test_what_cannot_be_enhanced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Identity: expected a model whose file says its task"):
        audioprune.enhance(torch.nn.Identity(), np.ones(9), 16000)
    with pytest.raises(DataError, match="got shape"):
        audioprune.enhance(torch.nn.Identity(), np.ones((1, 2, 3)), 16000, task=TASK)
