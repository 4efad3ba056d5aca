"""Lotteries as pipelines: what every round records, rewinds, resumes and refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lottery_toys import Net
from tiny_runs import config, in_child, open_run, rows, signal_at_write, start, step

from audioprune import checkpoint
from audioprune.errors import ConfigError, DivergedError
from audioprune.experiment import model_io
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.pipeline import build_steps, execute
from audioprune.experiment.run import Run
from audioprune.steps import LotteryEvaluate, LotteryPrune, LotteryTrain, Rewind
from audioprune.steps.lottery.train import REWIND_FILE, Moment
from audioprune.training.settings import Settings

MEASURED = ("seconds", "seconds_scoring", "rtf")


def _config(
    folder: Path,
    rounds: int = 3,
    task: dict[str, Any] | None = None,
    save_every_s: float = 60.0,
    **knobs: Any,
) -> dict[str, Any]:
    knobs = {
        "mode": "trim",
        "criterion": "magnitude",
        "scope": "global",
        "rewind": "2it",
        "reset": "rewind",
        **knobs,
    }
    prune = {key: value for key, value in knobs.items() if key not in ("rewind", "reset")}
    loop = {"prune": step("LotteryPrune", **prune), "reset": step("Rewind", reset=knobs["reset"])}
    steps = {
        "train": step("LotteryTrain", rewind=knobs["rewind"]),
        "score": step("LotteryEvaluate", audio_rounds=[0, 2]),
    }
    steps["lottery"] = step("Repeat", most=rounds, steps={**loop, **steps})
    return config(
        steps,
        folder / "cache",
        model={"name": "net", "_target_": "lottery_toys.Net"},
        task={
            "_target_": "lottery_toys.Task",
            "frame_length": None,
            "hop_length": None,
            "name": "toy",
            **(task or {}),
        },
        data={"_target_": "lottery_toys.Data", "name": "sums"},
        runtime={"save_every_s": save_every_s},
        training={"epochs": 3, "batch_size": 8, "weight_decay": 0.01},
        pipeline={"name": "lottery", "steps": steps, **knobs},
    )


@pytest.fixture(autouse=True)
def files_may_name_the_task_of_the_toys(monkeypatch) -> None:
    monkeypatch.setattr(model_io, "_package_task", lambda task, known=None: task)


@pytest.fixture
def make(tmp_path: Path):
    def made(name: str = "run", **knobs: Any) -> tuple[Path, dict[str, Any]]:
        plain = _config(tmp_path, **knobs)
        plain["task"] = {key: value for key, value in plain["task"].items() if value is not None}
        return tmp_path / name, plain

    return made


def _lottery_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for row in rows(folder) if row["kind"] == "lottery"]


def _initial(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.under(checkpoint.read(folder / REWIND_FILE)[0], "model/")


def test_a_model_that_declares_no_units_is_trimmed_alike(make) -> None:
    found = []
    for name in ("Net", "Undeclared"):
        folder, plain = make(name, rounds=2)
        # Without the norm: found units take it along exactly, these declared ones do not.
        plain["model"] = {**plain["model"], "_target_": f"lottery_toys.{name}", "norm": False}
        assert start(folder, plain) == "finished"
        for row in _lottery_rows(folder):
            same = ("params", "units_per_set", "test", "disk")
            found.append({key: row[key] for key in same})
    assert found[:3] == found[3:] and found[2]["params"] < found[0]["params"]


def test_a_trimming_lottery_records_every_round(make) -> None:
    folder, plain = make()
    assert start(folder, plain) == "finished"
    found = _lottery_rows(folder)
    full = sum(parameter.numel() for parameter in Net().parameters())
    assert (
        [row["iteration"] for row in found] == [0, 1, 2, 3]
        and found[0]["multiplier"] == 1.0
        and found[0]["params"] == full
    )
    for row in found:
        assert row["params"] <= math.ceil(0.7 ** row["iteration"] * full)
        assert (
            row["multiplier"] == row["test"] / found[0]["test"]
            and row["disk"] == 4 * row["params"]
        )
        model = load_model_file(folder / row["file"], plain["model"]).model
        assert (
            sum(parameter.numel() for parameter in model.parameters())
            == row["params"]
            == row["params_nonzero"]
        )
        assert row["units"] == sum(row["units_per_set"].values()) and row["mi_samples"] is None
        assert row["epochs"] == (3 if row["iteration"] == 0 else 2)
        assert (row["mode"], row["scope"], row["criterion"], row["reset"], row["seed"]) == (
            "trim",
            "global",
            "magnitude",
            "rewind",
            0,
        )
        assert {
            "flops_s",
            "rw_r",
            "rw_w",
            "rtf",
            "val",
            "dataset",
            "model",
            "scaling",
            "counted",
        } <= set(row)
    assert [row["steps"] for row in found] == [
        6,
        4,
        4,
        4,
    ]  # the first training in full, later ones without the two steps before W_k
    assert sorted(path.name for path in (folder / "audio" / "test").iterdir()) == [
        "item_round-02.txt",
        "item_uncompressed.txt",
    ]
    assert not list((folder / "training").rglob("*.safetensors*"))


def test_surviving_weights_are_those_of_the_early_moment_bit_for_bit(make) -> None:
    folder, plain = make()
    run = open_run(folder, plain)
    steps = build_steps(plain["pipeline"])
    loop = steps["lottery"].steps
    execute(run, {"train": steps["train"]})
    trained, early = (
        {name: value.clone() for name, value in run.model.state_dict().items()},
        _initial(folder),
    )
    for number in range(2):
        execute(run, {"prune": loop["prune"], "reset": loop["reset"]}, f"{number}/")
        kept = run.findings.lottery.kept
        gates = [gate * 9 + unit for gate in range(3) for unit in kept["gru"]]
        state = run.model.state_dict()
        assert torch.equal(state["inner.weight"], early["inner.weight"][kept["inner"]])
        assert torch.equal(
            state["gru.weight_ih_l0"], early["gru.weight_ih_l0"][gates][:, kept["inner"]]
        )
        assert torch.equal(
            state["gru.weight_hh_l0"], early["gru.weight_hh_l0"][gates][:, kept["gru"]]
        )
        assert torch.equal(state["head.weight"], early["head.weight"][:, kept["gru"]])
        assert torch.equal(state["norm.bias"], early["norm.bias"][kept["inner"]])
    assert not torch.equal(trained["inner.weight"], early["inner.weight"])


def test_rescaled_tickets_make_up_for_lost_inputs(make) -> None:
    folder, plain = make(reset="rescale", rounds=1)
    run = open_run(folder, plain)
    steps = build_steps(plain["pipeline"])
    loop = steps["lottery"].steps
    execute(run, {"train": steps["train"]})
    execute(run, {"prune": loop["prune"], "reset": loop["reset"]})
    kept, state, early = run.findings.lottery.kept, run.model.state_dict(), _initial(folder)
    factor = (9 / len(kept["gru"])) ** 0.5
    assert factor > 1 and torch.equal(state["inner.weight"], early["inner.weight"][kept["inner"]])
    torch.testing.assert_close(state["head.weight"], factor * early["head.weight"][:, kept["gru"]])


def test_masks_are_not_rescaled(make) -> None:
    folder, plain = make(mode="mask", scope="local", reset="rescale")
    with pytest.raises(ConfigError, match="expected pipeline.mode=trim, got mask"):
        start(folder, plain)
    assert not (folder / "training").exists()


@pytest.mark.parametrize("mode", ["trim", "mask"])
def test_rows_say_what_the_steps_did_whatever_the_pipeline_is_called(make, mode: str) -> None:
    knobs = {
        "mode": mode,
        "scope": "local",
        "fraction": 0.2,
        "rewind": "1ep",
        "reset": "reinit",
        "rounds": 1,
    }
    folder, plain = make(**knobs)
    plain["pipeline"] = {"name": "mine", "steps": plain["pipeline"]["steps"]}
    start(folder, plain)
    found = _lottery_rows(folder)
    drawn = {
        "criterion": "magnitude",
        "scaling": "max",
        "counted": "weights",
        "min_units": 3,
        "noise_rel": 0.05,
        "evidence_items": None,
    }
    wanted = {**{key: value for key, value in knobs.items() if key != "rounds"}, **drawn}
    assert len(found) == 2
    for row in found:
        assert {key: row[key] for key in wanted} == wanted
        assert (folder / row["file"]).stat().st_size == row["bytes_file"]


def test_a_wrong_reset_is_refused_inside_the_repetition_whatever_the_pipeline_says(make) -> None:
    folder, plain = make(mode="mask", scope="local", reset="rescale")
    plain["pipeline"] = {"name": "mine", "mode": "trim", "steps": plain["pipeline"]["steps"]}
    with pytest.raises(ConfigError, match="expected pipeline.mode=trim, got mask"):
        start(folder, plain)
    assert not (folder / "training").exists()


def test_the_value_of_a_row_is_that_of_the_weights_it_measures(make) -> None:
    folder, plain = make(rounds=1)
    plain["training"] |= {"keep": "last", "learning_rate": 0.5}
    start(folder, plain)
    trained = [row for row in rows(folder) if row["kind"] == "train"]
    for row, training in zip(_lottery_rows(folder), trained, strict=True):
        assert (
            row["val"] == training["kept"]
            and row["kept_epoch"] == training["kept_epoch"] == training["epochs"]
        )
        assert training["keep"] == "last" and training["best"] <= training["kept"]


def test_a_fresh_draw_replaces_every_module(make) -> None:
    folder, plain = make(reset="reinit", rewind="1ep")
    run = open_run(folder, plain)
    steps = build_steps(plain["pipeline"])
    execute(run, {"train": steps["train"]})
    trained = {name: value.clone() for name, value in run.model.state_dict().items()}
    Rewind("reinit").run(run, "reset")
    for name, value in run.model.state_dict().items():
        assert not torch.equal(value, trained[name]), name
        assert not torch.equal(value, _initial(folder)[name]), name
    first = {name: value.clone() for name, value in run.model.state_dict().items()}
    Rewind("reinit").run(run, "reset")
    assert all(
        torch.equal(value, first[name]) for name, value in run.model.state_dict().items()
    )  # of seed and round alone
    run.findings.lottery.round = 1
    Rewind("reinit").run(run, "reset")
    assert not torch.equal(run.model.inner.weight, first["inner.weight"])


def test_masks_hold_through_training_and_densities_follow(make) -> None:
    folder, plain = make(mode="mask", scope="local")
    start(folder, plain)
    found = _lottery_rows(folder)
    assert [row["mask_sparsity"] for row in found] == pytest.approx(
        [0, 0.3, 0.51, 0.657], abs=0.01
    )
    loaded = load_model_file(folder / found[-1]["file"], plain["model"])
    weights = dict(loaded.model.named_parameters())
    assert set(loaded.mask) == {"inner.weight", "gru.weight_ih_l0", "gru.weight_hh_l0"}
    assert all(bool((weights[name][~keep] == 0).all()) for name, keep in loaded.mask.items())
    assert (
        found[-1]["params"] == found[0]["params"] > found[-1]["params_nonzero"]
        and found[-1]["units_masked"] >= 0
    )
    assert found[-1]["params_nonzero"] == found[0]["params"] - (
        loaded.mask.total() - loaded.mask.kept()
    )


def test_masks_keep_the_early_weights(make) -> None:
    folder, plain = make(mode="mask")
    run = open_run(folder, plain)
    steps = build_steps(plain["pipeline"])
    execute(
        run,
        {
            "train": steps["train"],
            "prune": steps["lottery"].steps["prune"],
            "reset": steps["lottery"].steps["reset"],
        },
    )
    early = _initial(folder)
    for name, value in run.model.state_dict().items():
        wanted = early[name] * run.mask[name] if name in run.mask else early[name]
        assert torch.equal(value, wanted)


@pytest.mark.parametrize("criterion", ["gradient", "activation", "normalization", "information"])
def test_every_criterion_draws_tickets(make, criterion: str) -> None:
    folder, plain = make(criterion=criterion, rounds=1, samples=40, evidence_items=6)
    start(folder, plain)
    last = _lottery_rows(folder)[-1]
    assert last["iteration"] == 1 and last["params"] < _lottery_rows(folder)[0]["params"]
    assert last["trivial"] is None  # the task of the toys knows none
    assert last["mi_samples"] == (30 if criterion == "information" else None)


def test_the_loss_stands_in_for_an_error_that_the_task_has_not(make) -> None:
    folder, plain = make(rounds=1, task={"scores": False})
    start(folder, plain)
    other, with_error = make("other", rounds=1)
    start(other, with_error)
    assert [row["test"] for row in _lottery_rows(folder)] == pytest.approx(
        [row["test"] ** 2 for row in _lottery_rows(other)]
    )


def test_a_first_network_without_error_is_told(make, monkeypatch) -> None:
    folder, plain = make(rounds=1)
    monkeypatch.setattr(LotteryEvaluate, "_error", lambda *_: math.nan)
    with pytest.raises(DivergedError, match="the first network has the test error nan"):
        start(folder, plain)


def test_it_ends_when_nothing_can_go(make) -> None:
    folder, plain = make(rounds=9, min_units=7, rewind="0ep")
    start(folder, plain)
    states = checkpoint.read(folder / "state.safetensors")[1]["states"]
    found = _lottery_rows(folder)
    assert "can remove nothing more" in states["lottery"]["ended"]
    assert found[-1]["units_per_set"] == {"inner": 7, "gru": 7} and len(found) < 9


@pytest.mark.parametrize(
    ("mode", "kills"), [("trim", (9, 22)), pytest.param("mask", (30,), marks=pytest.mark.slow)]
)
def test_a_killed_lottery_ends_in_the_same_bits(make, mode: str, kills: tuple[int, ...]) -> None:
    whole, plain = make("whole", rounds=2, mode=mode)
    start(whole, plain)
    folder, plain = make("killed", rounds=2, mode=mode, save_every_s=1e-9)
    for count in kills:
        assert in_child(lambda count=count: (signal_at_write(count), start(folder, plain))) == -9
    start(folder, plain)
    first, second = (
        [{key: value for key, value in row.items() if key not in MEASURED} for row in rows(each)]
        for each in (whole, folder)
    )
    assert first == second
    last = _lottery_rows(whole)[-1]["file"]
    for name in (last, REWIND_FILE):
        (first, facts), (second, others) = (
            checkpoint.read(each / name) for each in (whole, folder)
        )
        assert facts == others and all(
            torch.equal(value, second[key]) for key, value in first.items()
        )


def test_moments() -> None:
    settings = Settings(epochs=10, batch_size=4)
    assert Moment.parse("0ep").after(settings, 5) == settings
    assert Moment.parse("7ep").after(settings, 5).epochs == 3
    rest = Moment.parse("12it").after(settings, 5)
    assert (rest.epochs, rest.steps) == (8, 38)
    rest = Moment.parse("2ep").after(Settings(epochs=10, steps=33), 5)
    assert (rest.epochs, rest.steps) == (5, 23)
    for text in ("12", "ep", "-1ep", "1.5ep", "3 it"):
        with pytest.raises(ConfigError, match="expected steps or epochs such as 500it"):
            Moment.parse(text)
    with pytest.raises(ConfigError, match="a moment before the last of 50 steps, got 50 steps"):
        Moment.parse("50it").after(settings, 5)


@pytest.mark.parametrize(
    ("make_step", "message"),
    [
        (lambda: LotteryPrune(mode="trimm"), "closest: trim"),
        (lambda: LotteryPrune(criterion="norm"), "unknown unit criterion"),
        (lambda: Rewind("rewinding"), "closest: rewind"),
    ],
)
def test_unknown_names_are_refused(make_step, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_step()


def test_models_without_units_can_be_masked_only(make) -> None:
    folder, plain = make()
    run: Run = open_run(folder, plain)
    run.model = torch.nn.Linear(3, 2)
    with pytest.raises(
        ConfigError, match="expected a method unit_sets.* or set pipeline.mode=mask"
    ):
        LotteryPrune(criterion="magnitude").run(run, "prune")
    assert LotteryEvaluate().audio_rounds == [0] and LotteryTrain().rewind == "0ep"


def test_training_that_ends_before_the_moment_is_told(make) -> None:
    folder, plain = make(rewind="2ep")
    plain["training"] |= {"early_stop": 1, "learning_rate": 1e-12}
    with pytest.raises(
        ConfigError, match="training ended after 4 steps, before pipeline.rewind=2ep"
    ):
        start(folder, plain)


def test_the_first_training_is_shared_with_its_early_weights(make, tmp_path: Path) -> None:
    for name in ("a", "b", "alone"):
        folder, plain = make(name, rounds=1, scope="global" if name == "a" else "local")
        plain["runtime"] |= {"share": name != "alone", "folder": str(tmp_path / "runs")}
        plain["runtime"]["shared_folder"] = ""
        start(folder, plain)
    found = [_without_times(tmp_path / name) for name in ("a", "b", "alone")]
    assert found[0][0]["shared"] == found[1][0].pop("shared")
    assert found[1] == found[2] and found[0] != found[2]
    files = [(tmp_path / name / REWIND_FILE).read_bytes() for name in ("b", "alone")]
    assert files[0] == files[1]
    assert len(list((tmp_path / "runs" / "shared").iterdir())) == 1


def _without_times(folder: Path) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in MEASURED} for row in rows(folder)]
