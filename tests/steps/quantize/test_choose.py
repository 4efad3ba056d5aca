"""Quantisation: zeros stay, few levels are left, the file and the table say so."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run

from audioprune import interrupts
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.search import cluster_counts as levels
from audioprune.errors import InterruptedRun
from audioprune.experiment.run import Run
from audioprune.steps import Prune, Quantize, Train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Return the weights of a run that was trained once."""
    folder = tmp_path_factory.mktemp("trained")
    run = open_run(folder / "r", config({}, folder / "c"))
    Train().run(run, "train")
    return run.model.state_dict()


@pytest.fixture
def run(tmp_path: Path, trained: dict[str, torch.Tensor]) -> Run:
    run = open_run(tmp_path / "r", config({}, tmp_path / "c"))
    run.model.load_state_dict(trained)
    return run


def _table(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.folder / "quantization.csv").open()))


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("levels", [1, 4, 65536, None])
def test_pruned_weights_stay_zero_and_kept_ones_take_few_values(
    run: Run, pruned: bool, levels: int | None
) -> None:
    if pruned:
        Prune(0.6).run(run, "prune")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    Quantize(levels=levels).run(run, "quantize")
    for name, row in zip(
        prunable(run.model), [row for row in _table(run) if row["chosen"] == "True"], strict=True
    ):
        value, kept = run.model.state_dict()[name], before[name] != 0
        assert row["tensor"] == name and (value[~kept] == 0).all()
        assert len(value[kept].unique()) <= int(row["levels"]) <= (levels or 65536)
        if levels == 65536:
            assert torch.equal(value, before[name])
    for name, value in run.model.state_dict().items():
        if name not in prunable(run.model):
            assert torch.equal(value, before[name])


def test_a_mask_may_leave_tensors_out(run: Run) -> None:
    first, last = prunable(run.model)[0], prunable(run.model)[-1]
    run.mask = Mask({first: torch.rand(run.model.get_parameter(first).shape) < 0.5})
    run.mask.apply_(run.model)
    Quantize(alpha_2_relative=0.5).run(run, "quantize")
    assert run.codebooks[first].codes.numel() == run.mask[first].sum()
    assert run.codebooks[last].codes.numel() == run.model.get_parameter(last).numel()


def test_the_chosen_levels_keep_the_tolerance_and_are_powers_of_two(run: Run) -> None:
    Quantize(alpha_2_relative=0.02).run(run, "quantize")
    coarse = [row for row in _table(run) if row["chosen"] == "True"]
    assert [row["tensor"] for row in coarse] == prunable(run.model)
    assert all(float(row["bits"]).is_integer() for row in coarse)


def test_an_interrupted_choice_goes_on(run: Run, tmp_path: Path) -> None:
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    interrupts._requested.set()
    try:
        with pytest.raises(InterruptedRun):
            Quantize().run(run, "quantize")
    finally:
        interrupts._requested.clear()
    assert run.codebooks is None
    run.model.load_state_dict(weights)
    Quantize().run(run, "quantize")
    mine, table = (
        {name: value.clone() for name, value in run.model.state_dict().items()},
        _table(run),
    )
    run.model.load_state_dict(weights)
    (run.folder / "training" / "quantize.jsonl").unlink()
    Quantize().run(run, "quantize")
    assert _table(run) == table and all(
        torch.equal(mine[name], value) for name, value in run.model.state_dict().items()
    )


@pytest.mark.parametrize(
    "options", [{"alpha_2_relative": 0.3}, {}, {"alpha_2": 0.07, "alpha_2_relative": 0.3}]
)
def test_a_relative_tolerance_is_a_share_of_the_loss(
    run: Run, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, None).base()
    seen = []
    true = levels.choose_levels
    monkeypatch.setattr(
        levels, "choose_levels", lambda *args, **more: seen.append(args[3]) or true(*args, **more)
    )
    Quantize(**options).run(run, "quantize")
    assert seen == [
        pytest.approx(options.get("alpha_2", options.get("alpha_2_relative", 0.005) * loss))
    ]
    assert loss != pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("levels", [8, None])
def test_the_table_says_what_the_codebooks_hold(run: Run, levels: int | None) -> None:
    names = prunable(run.model)
    mask = Mask.ones(run.model, names)
    few = torch.zeros_like(mask[names[1]])
    few.flatten()[:3] = True
    run.mask = Mask(
        {name: torch.zeros_like(keep) if name == names[0] else keep for name, keep in mask.items()}
        | {names[1]: few}
    )
    run.mask.apply_(run.model)
    Quantize(levels=levels).run(run, "quantize")
    chosen = {row["tensor"]: row for row in _table(run) if row["chosen"] == "True"}
    for name, book in run.codebooks.items():
        row, values = (
            chosen[name],
            dict(run.model.named_parameters())[name][run.mask[name]].unique(),
        )
        assert (
            (int(row["levels"]), int(row["kept"]))
            == (len(values), int(run.mask[name].sum()))
            == (book.levels, book.codes.numel())
        )
        assert float(row["bits"]) == (math.log2(len(values)) if len(values) else 0.0)
        assert int(row["asked"]) == (levels or int(row["asked"])) >= int(row["levels"])
    gone = [row for row in _table(run) if row["tensor"] == names[0]]
    assert (
        all((row["levels"], row["bits"], row["kept"]) == ("0", "0.0", "0") for row in gone)
        and gone
    )
    assert all(int(row["levels"]) <= 3 for row in _table(run) if row["tensor"] == names[1])


def test_bits_of_a_uniform_grid_are_chosen_by_the_tolerance(run: Run) -> None:
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    Quantize(quantizer="uniform", per="channel", alpha_2_relative=0.02).run(run, "quantize")
    table = _table(run)
    names = prunable(run.model)
    assert run.codebooks is not None and list(run.codebooks) == names
    for name in names:
        own = [row for row in table if row["tensor"] == name]
        assert [int(row["asked"]) for row in own] == list(range(2, 2 + len(own)))
        assert [row["chosen"] for row in own] == ["False"] * (len(own) - 1) + ["True"]
        assert [int(row["levels"]) for row in own] == [2 ** int(row["asked"]) - 1 for row in own]
        assert run.codebooks[name].levels == int(own[-1]["levels"])
        assert int(own[-1]["kept"]) == before[name].numel()
        assert len(run.codebooks[name].tensors()["scales"]) == before[name].shape[0]
    tight = {row["tensor"]: row["asked"] for row in table if row["chosen"] == "True"}
    run.model.load_state_dict(before)
    (run.folder / "training" / "quantize.jsonl").unlink()
    Quantize(quantizer="uniform", alpha_2_relative=10.0).run(run, "quantize")
    loose = {row["tensor"]: row["asked"] for row in _table(run) if row["chosen"] == "True"}
    assert set(loose.values()) == {"2"} and any(int(bits) > 2 for bits in tight.values())
