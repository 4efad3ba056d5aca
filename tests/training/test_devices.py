"""Devices: every name, those that are missing, and settings that the environment cannot change."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tiny_runs import config, open_run, start
from toys import ToyData, ToyModel, ToyTask

from audioprune.commands.on_audio import generate
from audioprune.errors import ConfigError
from audioprune.experiment.config_hash import VARIABLES, config_hash
from audioprune.experiment.run_folder import environment
from audioprune.training import devices
from audioprune.training.devices import chosen_device, open_accelerator, placed_device, precise
from audioprune.training.loop import Fit
from audioprune.training.settings import Settings

OWNED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_USE_CPU": "true",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_GRADIENT_CLIPPING": "0.001",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_FP8_BACKEND": "TE",
    "ACCELERATE_DEBUG_MODE": "1",
    "ACCELERATE_SPLIT_BATCHES": "true",
}


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_names_of_this_machine(no_cuda: None) -> None:
    assert chosen_device("cpu") == chosen_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_a_missing_device_is_refused_before_work(tmp_path: Path, no_cuda: None, name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"runtime.device={name}: expected a .*device, this machine has none"
    ) as caught:
        start(tmp_path / "r", config({}, tmp_path / "c", runtime={"device": name}))
    assert caught.value.exit_code == 2 and not (tmp_path / "r").exists()
    with pytest.raises(ConfigError, match="has none"):
        Fit(
            ToyModel(), ToyTask(), ToyData(), Settings(epochs=1), tmp_path / "f", device=name
        ).run()
    run = open_run(tmp_path / "o", config({}, tmp_path / "c"))
    run.config["runtime"]["device"] = name
    with pytest.raises(ConfigError, match="has none"):
        _ = run.device


@pytest.mark.parametrize("name", ["gpu", "cud", "cuda:x", "cuda:-1", "cpu:0", "", "meta"])
def test_an_unknown_name_is_answered_by_the_list(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"runtime.device: unknown device .*known: auto, cpu, cuda, cuda:N\)"
    ):
        chosen_device(name)


def test_numbers_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda:1") == torch.device("cuda", 1) and chosen_device(
        "auto"
    ) == torch.device("cuda")
    for name in ("cuda:2", "cuda:N"):
        with pytest.raises(ConfigError, match="expected cuda:0 to cuda:1"):
            chosen_device(name)
    launched = {"WORLD_SIZE": "3", "RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in {**launched, "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert chosen_device("cuda") == chosen_device("auto") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="one device for each process"):
        open_accelerator("cuda:1", "fp32")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="CUDA device for each of the 3 processes .* got 2"):
        chosen_device("auto")


def test_the_chosen_device_is_the_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", ("cpu", "meta"))
    assert open_accelerator("meta", "fp32").device == torch.device("meta")
    assert open_accelerator("cpu", "fp32").device == torch.device(
        "cpu"
    )  # an earlier training of this process chose another


def _history(folder: Path) -> list[dict[str, float]]:
    torch.manual_seed(3)
    settings = Settings(epochs=2, batch_size=8, learning_rate=0.02)
    return Fit(ToyModel(), ToyTask(), ToyData(), settings, folder, device="cpu").run().history


def test_accelerates_variables_change_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    expected = _history(tmp_path / "plain")
    for name, value in OWNED.items():
        monkeypatch.setenv(name, value)
        assert _history(tmp_path / name) == expected, name
        assert os.environ[name] == value
        monkeypatch.delenv(name)
    for name, value in OWNED.items():
        monkeypatch.setenv(name, value)
    assert _history(tmp_path / "all") == expected


@pytest.mark.parametrize("name", VARIABLES)
def test_other_variables_give_another_hash_and_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    plain = config({}, tmp_path)
    known = config_hash(plain)
    assert environment()["variables"] == {}
    monkeypatch.setenv(name, "1")
    assert config_hash(plain) != known and environment()["variables"] == {name: "1"}


def test_a_folder_belongs_to_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = config({"score": {"_target_": "audioprune.steps.SummarizeWeights"}}, tmp_path / "c")
    start(tmp_path / "r", plain)
    monkeypatch.setenv(
        "NVIDIA_TF32_OVERRIDE", "0" if os.environ.get("NVIDIA_TF32_OVERRIDE") != "0" else "1"
    )
    with pytest.raises(Exception, match="differs in variables of the environment"):
        start(tmp_path / "r", plain)


def test_precision_is_that_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    settings = Settings(epochs=1, batch_size=8)
    half = Fit(
        ToyModel(),
        ToyTask(),
        ToyData(),
        replace(settings, precision="bf16"),
        tmp_path / "a",
        device="cpu",
    )
    half.run()
    assert half.accelerator.mixed_precision == "bf16"
    whole = Fit(ToyModel(), ToyTask(), ToyData(), settings, tmp_path / "b", device="cpu")
    whole.run()
    assert (
        whole.accelerator.mixed_precision == "no"
        and whole.accelerator.gradient_accumulation_steps == 1
    )


def test_a_note_is_made_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = OmegaConf.create(
        {"checkpoint": "model.apz", "runtime": {"device": "cuda", "threads": 1}}
    )
    for available, message in (
        (False, "this machine has none"),
        (True, "expected runtime.device=cpu or auto"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        with pytest.raises(ConfigError, match=message):
            generate.run(plain)


@pytest.mark.parametrize("name", ["mps", "mps:0"])
def test_metal_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="runtime.device=mps: .*float64.*device=cpu"):
        chosen_device(name)


def test_each_of_several_processes_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placed_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert placed_device("auto") == torch.device("cuda", 1)
    assert (
        placed_device("cuda:0") == torch.device("cuda", 0) and placed_device("cpu").type == "cpu"
    )


def test_products_are_rounded_in_trainings_alone_that_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = flags()
    try:
        with precise("tf32"):
            assert flags() == (True, True)
        assert flags() == (False, False)
        with precise("bf16"):
            assert flags() == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_channels_last_trains_the_same_and_ends_in_the_usual_order(tmp_path: Path) -> None:
    seen = []

    class Pictures(ToyModel):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.conv.weight.is_contiguous(memory_format=torch.channels_last))
            wide = self.conv(x[:, None, None, :].expand(-1, 2, 3, -1))
            return super().forward(x) + wide.mean()

    ends = []
    for last in (False, True):
        torch.manual_seed(0)
        model = Pictures()
        settings = Settings(epochs=1, channels_last=last)
        Fit(model, ToyTask(), ToyData(), settings, tmp_path / str(last), device="cpu").run()
        ends.append(model)
        assert all(seen) == last and model.conv.weight.is_contiguous()
        seen.clear()
    for one, other in zip(ends[0].parameters(), ends[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_compiled_training_trains_the_models_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def through(model: torch.nn.Module) -> torch.nn.Module:
        asked.append(model)
        return model

    monkeypatch.setattr(torch, "compile", through)
    model = ToyModel()
    Fit(
        model, ToyTask(), ToyData(), Settings(epochs=1, compile=True), tmp_path, device="cpu"
    ).run()
    assert asked == [model]
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"training.compile=true: expected a C\+\+ compiler"):
        devices.compiled(model)
