"""Whether a training measures its inputs once, and whether everything afterwards keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import TinySpeech
from toys import ToyTask

from audioprune import packing
from audioprune.compress.masks import Mask
from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trim import trim_
from audioprune.compress.units.verify import verify_units
from audioprune.errors import ConfigError
from audioprune.experiment.model_io import load_model_file
from audioprune.models.fdnn import FDNN
from audioprune.models.lstm import LSTM
from audioprune.tasks.enhancement import Enhancement
from audioprune.training.input_statistics import measure_inputs
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

TASK = Enhancement(target="irm", feature="log")
WIDTH = 8


def _measured(model: torch.nn.Module) -> torch.nn.Module:
    data = TinySpeech()
    measure_inputs(model, TASK, data, data.train())
    return model


def test_mean_and_deviation_are_those_of_the_frames_with_signal() -> None:
    model, data = _measured(FDNN(width=WIDTH, normalise=True)), TinySpeech()
    items = data.train()
    frames = torch.cat([TASK.target.inputs(items[i]["noisy"][None])[0] for i in range(12)])
    norm = model.input_norm()
    torch.testing.assert_close(norm.mean, frames.mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm.std, frames.std(0, correction=0), atol=1e-5, rtol=1e-5)


def test_what_is_measured_stays_and_no_random_number_is_used() -> None:
    model = _measured(LSTM(width=WIDTH, depth=1, normalise=True))
    before, drawn = model.inputs.mean.clone(), torch.random.get_rng_state()
    data = TinySpeech(items=4)
    measure_inputs(model, TASK, data, data.train())
    assert torch.equal(model.inputs.mean, before)
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_task_without_frames_is_refused() -> None:
    data = TinySpeech()
    with pytest.raises(ConfigError, match="expected a task that feeds frames of bins, got ToyT"):
        measure_inputs(FDNN(width=WIDTH, normalise=True), ToyTask(), data, data.train())
    measure_inputs(FDNN(width=WIDTH), ToyTask(), data, data.train())


def test_a_training_measures_before_its_first_step(tmp_path: Path) -> None:
    model = FDNN(width=WIDTH, normalise=True)
    wanted = _measured(FDNN(width=WIDTH, normalise=True)).inputs.mean
    settings = Settings(epochs=2, batch_size=6)
    Fit(model, TASK, TinySpeech(), settings, folder=tmp_path, device="cpu").run()
    assert torch.equal(model.inputs.mean, wanted)


@pytest.mark.parametrize("build", [FDNN, LSTM])
def test_trimming_and_packing_keep_them(build: type, tmp_path: Path) -> None:
    model = _measured(build(width=WIDTH, depth=2, normalise=True)).eval()
    example = model.example_input(6)
    sets = model.unit_sets()
    assert verify_units(model, sets, example) <= 1e-5
    keep = {each.name: torch.arange(WIDTH) % 2 == 0 for each in sets}
    trim_(model, sets, keep)
    wanted = model(example)
    config = {
        "model": {
            "_target_": f"{build.__module__}.{build.__name__}",
            "width": WIDTH,
            "depth": 2,
            "normalise": True,
        }
    }
    file = tmp_path / "model.apz"
    packing.pack(file, model.state_dict(), mask=Mask({}), codebooks={}, config=config)
    loaded = load_model_file(file).model.eval()
    assert torch.equal(loaded.inputs.std, model.inputs.std)
    torch.testing.assert_close(loaded(example), wanted)


def test_units_are_derived_through_the_normalisation() -> None:
    model = _measured(FDNN(width=WIDTH, depth=2, normalise=True))
    derived, _ = derive_units(model, model.example_input(6))
    assert sorted(each.name for each in derived) == ["layers.0", "layers.1"]
