"""Whether all ways to draw the samples of a WaveNet draw the same ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError, DataError
from audioprune.models.parts import wavenet_generation as generation
from audioprune.models.parts import wavenet_kernels as kernels
from audioprune.models.parts import wavenet_tiles as tiling
from audioprune.models.wavenet import WaveNet

TINY = {"residual": 8, "gate": 8, "skip": 16, "end": 16, "classes": 64, "layers": 6}


def _lively(**arguments: int) -> WaveNet:
    """Build a model whose random weights keep signals alive, so that the classes it draws vary."""
    torch.manual_seed(0)
    model = WaveNet(**{**TINY, **arguments}).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 1.6 * parameter[0].numel() ** -0.5)
    return model


@torch.no_grad()
def _naive(
    model: WaveNet, start: Tensor, cond: Tensor | None, draws: Tensor, temperature: float
) -> Tensor:
    tokens = start
    for t in range(draws.shape[1]):
        logits = model(tokens, None if cond is None else cond[:, :, : tokens.shape[1]])[..., -1]
        tokens = torch.cat(
            (tokens, generation.choose(logits, draws[:, t], temperature)[:, None]), 1
        )
    return tokens[:, start.shape[1] :]


@pytest.mark.parametrize("temperature", [0, 1.0, 0.7])
@pytest.mark.parametrize("conditioning", [0, 3])
def test_all_ways_draw_the_same_samples(temperature, conditioning):
    model = _lively(conditioning=conditioning)
    cond = torch.randn(2, 3, 49) if conditioning else None
    start = torch.randint(64, (2, 10))
    arguments = generation.prepare(model, 40, cond, 5, temperature, start)
    expected = _naive(model, arguments[0], cond, arguments[1], temperature)
    assert expected.unique().numel() > 4
    assert torch.equal(
        generation.run_eagerly(model, arguments[0], cond, arguments[1], temperature), expected
    )
    assert torch.equal(
        generation.run_compiled(model, arguments[0], cond, arguments[1], temperature), expected
    )
    assert torch.equal(model.generate(40, cond, 5, temperature, start), expected)


def test_a_trimmed_model_draws_the_same_in_both_ways():
    model = _lively(residual=19, gate=21, skip=35, end=18, conditioning=2)
    generator = torch.Generator().manual_seed(1)
    keep = {
        each.name: torch.rand(each.size, generator=generator) > 0.3 for each in model.unit_sets()
    }
    trim_(model, model.unit_sets(), keep)
    assert len({block.skip.in_channels for block in model.blocks}) > 1
    cond = torch.randn(1, 2, 60)
    arguments = generation.prepare(model, 60, cond, 0, 1.0, None)
    eager = generation.run_eagerly(model, arguments[0], cond, arguments[1], 1.0)
    assert torch.equal(
        generation.run_compiled(model, arguments[0], cond, arguments[1], 1.0), eager
    )


def test_a_row_depends_on_its_start_and_place_alone():
    model, start = _lively(), torch.randint(64, (3, 4))
    together = model.generate(20, seed=2, start=start)
    assert torch.equal(model.generate(20, seed=2, start=start[:1]), together[:1])
    assert torch.equal(model.generate(12, seed=2, start=start), together[:, :12])
    assert not torch.equal(model.generate(20, seed=3, start=start), together)


def test_generation_leaves_random_states_alone():
    model, before, numpy_before = (
        _lively(),
        torch.random.get_rng_state(),
        np.random.get_state()[1].copy(),
    )
    model.generate(5)
    assert (
        torch.equal(torch.random.get_rng_state(), before)
        and (np.random.get_state()[1] == numpy_before).all()
    )


def test_other_types_run_eagerly():
    model = _lively()
    found = model.double().generate(20, temperature=0)
    assert found.dtype == torch.long and torch.equal(
        found, model.float().generate(20, temperature=0)
    )


def test_the_default_start_is_silence():
    model = _lively()
    assert torch.equal(model.generate(8), model.generate(8, start=torch.full((1, 1), 32)))
    assert _lively(conditioning=3).generate(8, torch.randn(2, 3, 8)).shape == (2, 8)


def test_draws_follow_the_distribution():
    logits = torch.log(torch.tensor([0.1, 0.2, 0.0, 0.7]))
    draws = (torch.arange(1000) + 0.5) / 1000
    chosen = generation.choose(logits.expand(1000, -1), draws, 1.0)
    assert torch.bincount(chosen, minlength=4).tolist() == [100, 200, 0, 700]
    sharper = generation.choose(logits.expand(1000, -1), draws, 0.5)
    expected = torch.tensor([0.01, 0.04, 0.0, 0.49]) / 0.54
    torch.testing.assert_close(
        torch.bincount(sharper, minlength=4) / 1000, expected, rtol=0, atol=2e-3
    )


def test_the_compiled_choice_equals_the_eager_one():
    generator = torch.Generator().manual_seed(0)
    logits, draws = (
        3 * torch.randn(200, 70, generator=generator),
        torch.rand(200, generator=generator, dtype=torch.float64),
    )
    for temperature in (0.0, 0.3, 1.0):
        expected = generation.choose(logits, draws, temperature)
        scratch = np.empty(70)
        found = [
            kernels.choose(row.numpy(), 70, float(draw), temperature, scratch)
            for row, draw in zip(logits, draws, strict=True)
        ]
        assert found == expected.tolist()
    assert (
        kernels.choose(np.array([1, 3, 3, 0], np.float32), 4, 0.5, 0.0, np.empty(4)) == 1
    )  # the first of equal ones


def test_exponentials_are_exact_to_single_precision():
    values = np.linspace(-85, 85, 20_001, dtype=np.float32)
    found = values.copy()
    kernels.exponentiate(found, found.view(np.int32), np.zeros(found.size, np.int32), found.size)
    np.testing.assert_allclose(found, np.exp(values.astype(np.float64)), rtol=3e-7)


def test_gates_are_exact_to_single_precision():
    generator = np.random.default_rng(0)
    content, gate = (
        generator.normal(0, 8, 4096).astype(np.float32),
        generator.normal(0, 20, 4096).astype(np.float32),
    )
    content[:4], gate[:4] = [0, 1e4, -1e4, 1e-4], [0, 1e4, -1e4, 0]
    both = np.concatenate((content, gate))
    kernels.gate_(both, both.view(np.int32), np.zeros(both.size, np.int32), 4096)
    expected = np.tanh(content.astype(np.float64)) / (
        1 + np.exp(-gate.astype(np.float64).clip(-700))
    )
    np.testing.assert_allclose(both[:4096], expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("half", [False, True])
def test_tiled_products_are_matrix_products_and_rows_do_not_matter(half):
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(20, 37)).astype(np.float32)
    tiles = tiling._tiled(matrix)
    assert tiles.shape == (6, 16, 16)
    words = tiling._pairs(tiles) if half else tiles.reshape(6, -1)
    known = torch.from_numpy(matrix).bfloat16().float().numpy() if half else matrix
    inputs = np.zeros((15, 32), np.float32)
    inputs[:, :20] = generator.normal(size=(15, 20))
    outputs, alone = np.ones((15, 48), np.float32), np.ones((15, 48), np.float32)
    flat = inputs.reshape(-1)
    tiling.add_products(words, 0, 2, 3, flat, 0, 32, outputs.reshape(-1), 0, 48, 15)
    for row in range(15):
        here = row * 32, 32, alone.reshape(-1), row * 48
        tiling.add_products(words, 0, 2, 3, flat, *here, 48, 1)
    np.testing.assert_allclose(outputs[:, :37], 1 + inputs[:, :20] @ known, rtol=1e-5, atol=1e-5)
    assert (outputs[:, 37:] == 1).all() and np.array_equal(outputs, alone)


def test_two_cores_and_many_rows_draw_the_same():
    model = _lively(conditioning=3)
    cond, start = torch.randn(19, 3, 30), torch.randint(64, (19, 3))
    start, draws = generation.prepare(model, 28, cond, 0, 1.0, start)
    rows = [
        generation.run_compiled(model, start[i : i + 1], cond[i : i + 1], draws[i : i + 1], 1.0)
        for i in range(19)
    ]
    for cores in (1, 3):
        found = generation.run_compiled(model, start, cond, draws, 1.0, cores=cores)
        assert torch.equal(found, torch.cat(rows))
    assert torch.equal(
        generation.run_compiled(model, start[:1], cond[:1], draws[:1], 1.0, cores=2), rows[0]
    )


@pytest.mark.slow
def test_half_draws_what_a_model_with_rounded_weights_draws():
    model = _lively()
    found = model.generate(60, half=True)
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and not name.startswith("first"):
            weight.data = weight.data.bfloat16().float()
    assert torch.equal(found, model.generate(60))
    with pytest.raises(ConfigError, match="expected a float32 model on the CPU for half, got "):
        model.double().generate(2, half=True)


def test_cores_that_others_use_are_left_alone(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(generation.os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(generation.os, "cpu_count", lambda: 3)
    for load, cores in ((1.0, 2), (2.4, 2), (2.6, 1)):
        monkeypatch.setattr(generation.os, "getloadavg", lambda load=load: (load, 0, 0))
        assert generation.free_cores() == cores


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps as a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed as a whole number of at least 0"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_wrong_numbers_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        _lively().generate(**{"steps": 4, **arguments})


@pytest.mark.parametrize(
    "start",
    [
        torch.zeros(1, 0, dtype=torch.long),
        torch.full((1, 2), 64),
        torch.zeros(3, dtype=torch.long),
        torch.zeros(1, 2),
    ],
)
def test_wrong_starts_are_refused(start):
    with pytest.raises(DataError, match="expected a start of int64 classes"):
        _lively().generate(4, start=start)


def test_short_conditioning_is_refused():
    with pytest.raises(DataError, match=r"shape \(1, 3, 13\), got \(1, 3, 12\)"):
        _lively(conditioning=3).generate(
            10, torch.zeros(1, 3, 12), start=torch.zeros(1, 4, dtype=torch.long)
        )
