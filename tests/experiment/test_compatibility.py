"""Whether task, model and corpus fit is found before any work, and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import MyNet, TinySpeech, config, open_run, start, status, step
from torch import Tensor, nn

from audioprune.errors import ConfigError
from audioprune.experiment.compatibility import require_fit
from audioprune.experiment.model_io import instantiate
from audioprune.tasks.foreign.imitate import Imitate


class Returning(MyNet):
    """A network of 17 inputs in and any number out; the number 0 stands for a tuple."""

    def __init__(self, inputs: int = 17, out: int = 17) -> None:
        super().__init__()
        self.inputs, self.out = inputs, out
        self.inner, self.outer = nn.Linear(inputs, 6), nn.Linear(6, out or 17)

    def forward(self, x: Tensor) -> Any:
        found = super().forward(x)
        return found if self.out else (found, x)

    def example_input(self, frames: int = 10) -> Tensor:
        return torch.zeros(1, frames, self.inputs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"inputs": 12},
            r"Returning does not fit the task Enhancement: it is fed \(1, 201, 17\), its "
            r"example_input is \(1, 10, 12\)",
        ),
        (
            {"out": 5},
            r"fed \(1, 201, 17\) it returns \(1, 201, 5\), the task needs \(1, 201, 17\)",
        ),
        (
            {"out": 1},
            r"fed \(1, 201, 17\) it returns \(1, 201, 1\), the task needs \(1, 201, 17\)",
        ),  # fits by broadcasting
        (
            {"out": 0},
            r"it returns \[\(1, 201, 17\), \(1, 201, 17\)\], the task needs \(1, 201, 17\)",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_training(
    tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    plain = config(
        {"train": step("Train")},
        tmp_path / "c",
        model={"name": "own", "_target_": f"{__name__}.Returning", **model},
    )
    with pytest.raises(ConfigError, match=message) as caught:
        start(tmp_path / "r", plain)
    assert "\n" not in str(caught.value) and not (tmp_path / "r" / "training").exists()
    assert status(tmp_path / "r")["exit_code"] == 2


def test_a_corpus_of_another_kind_is_named(tmp_path: Path) -> None:
    task = {
        "name": "scenes",
        "_target_": "audioprune.tasks.scenes.SceneClassification",
        "classes": 3,
    }
    plain = config({"train": step("Train")}, tmp_path / "c")
    with pytest.raises(
        ConfigError,
        match="SceneClassification needs 'features' of every item, the corpus gives noisy, clean",
    ):
        start(tmp_path / "r", {**plain, "task": task})


def test_a_model_of_another_kind_is_named(tmp_path: Path) -> None:
    task = {"name": "next_sample", "_target_": "audioprune.tasks.generation.NextSample"}
    data = TinySpeech()
    true_collate = data.collate
    data.collate = lambda items: true_collate(items) | {"audio": true_collate(items)["clean"]}
    with pytest.raises(
        ConfigError,
        match=r"next_sample: expected PredictsSamples \(.*missing\), got MyNet; use model=wavenet",
    ):
        require_fit(MyNet(), instantiate(task), data)


def test_the_trial_changes_nothing(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    model = nn.Sequential(run.model, nn.Dropout(0.5), nn.BatchNorm1d(201)).train()
    model[2].eval()  # a layer that the user froze
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    require_fit(model, run.task, run.data)
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model] == [
        True,
        True,
        False,
    ] and not model._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Several(MyNet):
    """Returns its mask beside something else."""

    def forward(self, x: torch.Tensor) -> Any:
        return {"mask": super().forward(x), "level": x.mean()}


def test_one_of_several_outputs_is_to_be_picked(tmp_path: Path) -> None:
    several = {"name": "own", "_target_": f"{__name__}.Several"}
    with pytest.raises(ConfigError) as caught:
        open_run(tmp_path / "r", config({}, tmp_path / "c", model=several))
    told = str(caught.value)
    assert "'mask': (1, " in told and "pick one with model.output=..., or change model.*" in told
    picked = {**several, "output": "mask"}
    open_run(tmp_path / "s", config({}, tmp_path / "c", model=picked))


class Fed(nn.Module):
    """Takes what its example says, of any number of frames or of those of its example only."""

    def __init__(self, example: tuple[int, ...], fixed: bool = False) -> None:
        super().__init__()
        self.shape, self.fixed = example, fixed
        self.layer = nn.Linear(example[-1], example[-1])

    def example_input(self) -> Tensor:
        return torch.zeros(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out.view(-1, *self.shape[1:]) if self.fixed else out


class Framed(Fed):
    """Says where its frames are."""

    frames_per_second, time_dim = 100, 1


@pytest.mark.parametrize(
    ("kind", "model", "told"),
    [
        (
            "magnitude",
            Fed((1, 20, 80)),
            r"it is fed \(1, 201, 17\), its example_input is \(1, 20, 80\) \(.*\); change "
            r"task.input: task.input=magnitude task.frame_length=158 or task.input=mel "
            r"task.mels=80 or task.input=frames task.frame_length=80; or model.example where",
        ),
        (
            "waveform",
            Fed((1, 20, 17)),
            r"fed \(1, 3200\), .* is \(1, 20, 17\) .*; change task.input: task.input=magnitude "
            r"or task.input=mel task.mels=17 or task.input=frames task.frame_length=17 "
            r"task.hop_length=8; or",
        ),
        ("magnitude", Fed((1, 1, 99)), r"task.input: task.input=channel; or model.example"),
        ("magnitude", Fed((1, 99)), r"task.input: task.input=waveform; or model.example"),
        (
            "magnitude",
            Fed((1, 2, 20, 129)),
            r"task.input: task.input=complex task.frame_length=256; or",
        ),
        (
            "magnitude",
            Fed((1, 17, 20)),
            r"two axes are exchanged: transpose the input in forward, and say it with "
            r"model.example=\[1,20,17\]$",
        ),
        (
            "magnitude",
            Framed((1, 17, 20)),
            r"model.example=\[1,20,17\], and correct time_dim, .* \(its time_dim is 1\)$",
        ),
        ("magnitude", Fed((1, 7, 17), fixed=True), r"it takes only 7 along axis 1, that of time"),
    ],
)
def test_a_misfit_says_what_to_change(kind: str, model: Fed, told: str) -> None:
    task = Imitate(input=kind, frame_length=32, hop_length=16)
    task.teach(copy.deepcopy(model))
    with pytest.raises(ConfigError, match=f"Fed|Framed does not fit the task Imitate: .*{told}"):
        require_fit(model, task, TinySpeech())


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (lambda out: out.mT, r"two axes are exchanged: transpose the output in forward, and corr"),
        (lambda out: out[:, 1:], r"it returns 200 along axis 1, that of time, for 201: pad in"),
        (lambda out: out[..., 1:], r"change model.args.* \(the width of the output\), or"),
    ],
)
def test_a_wrong_output_says_what_to_change(
    tmp_path: Path, cut: Callable[[Tensor], Tensor], told: str
) -> None:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    run.model.register_forward_hook(lambda module, given, out: cut(out))
    with pytest.raises(ConfigError, match=told):
        require_fit(run.model, run.task, run.data)
