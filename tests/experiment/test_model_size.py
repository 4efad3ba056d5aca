"""Measured files: sizes and costs belong to the bytes on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run

from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.contract import quantize_with_
from audioprune.compress.quantize.kmeans import quantize_
from audioprune.compress.quantize.uniform import Uniform
from audioprune.experiment import cost, model_size
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import running_costs, save_model, size_row
from audioprune.experiment.run import Run
from audioprune.models.ddsp import DDSP
from audioprune.models.fdnn import FDNN
from audioprune.models.parts import wavenet_generation
from audioprune.models.wavenet import WaveNet
from audioprune.report.platforms import bounds, read_platforms


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    names = prunable(run.model)
    weights = dict(run.model.named_parameters())
    run.mask = Mask.ones(run.model, names).updated(
        {name: weights[name].detach().abs() > 0.1 for name in names}
    )
    run.mask.apply_(run.model)
    run.codebooks = quantize_(run.model, run.mask, dict.fromkeys(names, 4))
    return run


@pytest.mark.parametrize("name", ["model.apz", "model.safetensors"])
def test_a_written_model_is_read_back_bit_for_bit(run: Run, name: str) -> None:
    save_model(run, run.folder / name)
    loaded = load_model_file(run.folder / name)
    assert loaded.model_config == run.model_config and loaded.task_config == run.task_config
    for key, value in run.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key
    assert loaded.mask is not None and loaded.mask.kept() == run.mask.kept()


def test_the_order_of_the_configuration_does_not_change_the_bytes(run: Run) -> None:
    save_model(run, run.folder / "a.apz")
    run.model_config = dict(reversed(run.model_config.items()))
    save_model(run, run.folder / "b.apz")
    assert (run.folder / "a.apz").read_bytes() == (run.folder / "b.apz").read_bytes()


def test_the_row_names_the_quantizer_and_the_bits(run: Run) -> None:
    names = prunable(run.model)
    grid = Uniform(3, symmetric=False)
    for forms, told, bits in (
        ({}, None, None),
        (run.codebooks, "k-means", 2.0),
        (dict.fromkeys(names, grid), "uniform, 3 bits with zero point, per channel", 3.0),
        (dict.fromkeys(names, Uniform(5, per="tensor")), "uniform, 5 bits, per tensor", 5.0),
    ):
        if forms and forms is not run.codebooks:
            run.codebooks = quantize_with_(run.model, run.mask, forms)
        elif not forms:
            stored, run.codebooks = run.codebooks, None
        save_model(run, run.folder / "m.apz")
        if not forms:
            run.codebooks = stored
        row = size_row(
            run, "a", "compressed", load_model_file(run.folder / "m.apz"), run.folder / "m.apz"
        ).as_dict()
        assert (row.get("quantizer"), row.get("bits")) == (told, bits)


def test_sizes_agree_with_counting(run: Run) -> None:
    file = run.folder / "model.apz"
    save_model(run, file)
    row = size_row(run, "done", "compressed", load_model_file(file), file)
    params = sum(parameter.numel() for parameter in run.model.parameters())
    weights = sum(dict(run.model.named_parameters())[name].numel() for name in prunable(run.model))
    assert row.params == params and row.bytes_fp32 == 4 * params
    assert row.nonzero == sum(int((parameter != 0).sum()) for parameter in run.model.parameters())
    assert row.sparsity == pytest.approx(1 - run.mask.kept() / weights)
    assert (
        row.bytes_file == file.stat().st_size
        and row.file == "model.apz"
        and row.key == "done/size"
    )
    assert row.bytes_paper < row.bytes_fp32 and row.latency_ms_per_s is None


def test_a_run_folder_is_measured_by_its_model_file(run: Run) -> None:
    save_model(run, run.folder / "model.apz")
    row = size_row(run, "e", "file", load_model_file(run.folder), run.folder)
    assert row.file == "model.apz" and row.bytes_file == (run.folder / "model.apz").stat().st_size


def test_latency_is_measured_when_asked(run: Run) -> None:
    run.config["scoring"]["latency_repeats"] = 1
    save_model(run, run.folder / "m.safetensors")
    assert (
        size_row(
            run,
            "e",
            "x",
            load_model_file(run.folder / "m.safetensors"),
            run.folder / "m.safetensors",
        ).latency_ms_per_s
        > 0
    )


def test_the_full_wavenet_runs_in_real_time_on_no_small_machine() -> None:
    costs = running_costs(WaveNet(), 0)
    assert (
        costs.flops_s == 2 * 16_000 * 2_408_448
        and costs.disk == 4 * 2_486_784
        and costs.rtf is None
    )
    assert costs.rw_r == pytest.approx(1.1e7, rel=0.1) and costs.peak_bytes > costs.disk
    found = {
        each.name: bounds(each, costs.flops_s, costs.disk, costs.rw_r + costs.rw_w)
        for each in read_platforms()
    }
    assert not any(bound.real_time for bound in found.values())
    assert [name for name, bound in found.items() if bound.embeddable] == ["RPi 1B", "RPi 2B"]


def test_a_synthesizer_counts_and_models_are_timed_as_they_generate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = wavenet_generation.run_eagerly
    monkeypatch.setattr(wavenet_generation, "run_compiled", lambda *given: steps(*given[:5]))
    monkeypatch.setattr(model_size, "_GENERATED", 16)
    model = DDSP(hidden=8, latent=0, partials=4, filter_size=16, reverb_length=100)
    costs = running_costs(model, 1)
    assert costs.flops_s > model.synthesis_flops_per_second() > 0 and costs.rtf > 0
    drawn = running_costs(
        WaveNet(layers=2, residual=2, gate=2, skip=2, end=2, classes=4, conditioning=3), 1
    )
    assert drawn.rtf > 0 and drawn.rw_r > drawn.rw_w > 0


def test_paper_and_ideal_sizes_are_counted_by_hand(run: Run) -> None:
    file = run.folder / "model.apz"
    save_model(run, file)
    row = size_row(run, "done", "compressed", load_model_file(file), file)
    paper = ideal = 0.0
    for name, parameter in run.model.named_parameters():
        values = parameter.detach().flatten().tolist()
        kept = [value for value in values if name not in run.mask or value != 0]
        if name not in run.mask:
            paper, ideal = paper + 32 * len(values), ideal + 32 * len(values)
            continue
        codes = [kept.count(value) for value in set(kept)]
        paper += len(kept) * math.log2(len(codes)) + 32 * len(codes)
        ideal += _entropy(codes) + 32 * len(codes) + _entropy([len(kept), len(values) - len(kept)])
    assert row.bytes_paper == pytest.approx(paper / 8) and row.bytes_ideal == pytest.approx(
        ideal / 8
    )
    assert abs(paper - ideal) > 8


def _entropy(counts: list[int]) -> float:
    return sum(count * math.log2(sum(counts) / count) for count in counts if count)


@pytest.mark.parametrize("drawn", [True, False])
def test_the_real_time_factor_is_per_second_of_audio(
    drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose every run takes two seconds needs twice the time at twice the rate."""
    seen: dict[int, float] = {}
    monkeypatch.setattr(
        cost, "latency", lambda model, inputs, seconds, **more: 1000 * 2.0 / seconds
    )
    for rate in (8000, 16000):
        if drawn:
            widths = {"layers": 2, "residual": 2, "gate": 2, "skip": 2, "end": 2}
            model = WaveNet(**widths, classes=4, conditioning=3, sample_rate=rate)
            seconds = 1600 / rate
        else:
            model = FDNN(width=2, depth=1)
            model.frames_per_second = float(rate)
            seconds = model.example_input().shape[model.time_dim] / rate
        seen[rate] = running_costs(model, 1).rtf
        assert seen[rate] == pytest.approx(2.0 / seconds)
    assert seen[16000] == pytest.approx(2 * seen[8000])
