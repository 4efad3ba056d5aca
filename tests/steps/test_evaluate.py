"""Evaluation: the file that was written is what is scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import config, open_run, rows

from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError
from audioprune.experiment import model_size
from audioprune.experiment.results import read_items
from audioprune.experiment.run import Run
from audioprune.steps import Evaluate, Prune, Quantize, evaluate


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "r", config({}, tmp_path / "c"))


def _scores(run: Run, variant: str) -> dict[str, float]:
    return {
        row["condition"]: row["metrics"]["si_sdr"]
        for row in rows(run.folder)
        if row["kind"] == "score" and row["variant"] == variant
    }


def test_scores_and_sizes_belong_to_the_written_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens to the model in memory after writing, the scores are those of the file."""
    Evaluate("a", file="a.safetensors").run(run, "a")

    def save_and_spoil(run: Run, target: Path) -> None:
        model_size.save_model(run, target)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.fill_(-9.0)

    monkeypatch.setattr(evaluate, "save_model", save_and_spoil)
    Evaluate("b", file="b.safetensors").run(run, "b")
    assert _scores(run, "b") == _scores(run, "a") and len(_scores(run, "a")) == 2
    monkeypatch.undo()
    Evaluate("c", file="c.safetensors").run(run, "c")
    assert _scores(run, "c") != _scores(run, "a")
    sizes = {row["variant"]: row for row in rows(run.folder) if row["kind"] == "size"}
    assert (
        sizes["a"]["bytes_file"] == (run.folder / "a.safetensors").stat().st_size
        and sizes["a"]["file"] == "a.safetensors"
    )


def test_a_repeated_evaluation_replaces_its_rows(run: Run) -> None:
    for _ in range(2):
        Evaluate("x", file="x.apz").run(run, "x")
    keys = [row["key"] for row in rows(run.folder)]
    assert sorted(keys) == sorted(
        ["mixture/white_-5dB", "mixture/white_0dB", "x/white_-5dB", "x/white_0dB", "x/size"]
    )
    assert {row["split"] for row in rows(run.folder) if row["kind"] == "score"} == {"test"}


def test_conditions_and_metrics_can_be_chosen(run: Run) -> None:
    Evaluate("x", file="x.apz", conditions=["*_-5dB"], metrics=["stoi"]).run(run, "x")
    scored = [row for row in rows(run.folder) if row["kind"] == "score"]
    assert {row["condition"] for row in scored} == {"white_-5dB"} and all(
        set(row["metrics"]) == {"stoi"} for row in scored
    )
    with pytest.raises(ConfigError, match=r"unknown test condition '\*_9dB'.*white_0dB"):
        Evaluate("x", file="x.apz", conditions=["*_9dB"]).run(run, "x")
    Evaluate("y", file="x.apz", conditions=["*_9dB"], or_all=True, metrics=["stoi"]).run(run, "y")
    assert {
        row["condition"]
        for row in rows(run.folder)
        if row["key"].startswith("y/") and row["kind"] == "score"
    } == set(run.data.tests())


def test_the_score_of_every_item_stands_beside_the_means(run: Run) -> None:
    Evaluate("x", file="x.apz").run(run, "some/0/x")
    assert [path.name for path in run.folder.glob("items-*.csv")] == ["items-some-0-x.csv"]
    items = read_items(run.folder)
    scored = [row for row in rows(run.folder) if row["kind"] == "score"]
    assert {row["key"] for row in scored} == set(items) and len(items) == 4
    for row in scored:
        kept = items[row["key"]]
        assert "items" not in row and len(kept["id"]) == row["n"] == len(set(kept["id"]))
        mean = sum(kept["si_sdr"]) / row["n"]
        assert mean == pytest.approx(row["metrics"]["si_sdr"], rel=1e-5)


def test_audio_is_kept_on_request_only(run: Run) -> None:
    Evaluate("x", file="x.apz", audio=False).run(run, "x")
    assert not (run.folder / "audio").exists()
    Evaluate("x", file="x.apz").run(run, "x")
    kept = {path.name for path in (run.folder / "audio" / "white_0dB").iterdir()}
    assert kept == {"3_0_noisy.flac", "3_0_x.flac", "3_0_clean.flac"}


def _compressed(run: Run, how: str) -> None:
    if "trim" in how:
        sets = run.model.unit_sets()
        trim_(
            run.model,
            sets,
            {each.name: torch.arange(each.size) > 0 for each in sets if each.removable},
        )
    if "prune" in how:
        Prune(0.5).run(run, "prune")
    if "quantize" in how:
        Quantize(levels=4).run(run, "quantize")


GIVEN = [
    ("", "", False),
    ("", "", True),
    ("prune", "pruned", False),
    ("prune", "pruned", True),
    ("quantize", "quantized", False),
    ("trim", "trimmed", False),
    ("trim prune quantize", "pruned and trimmed and quantized", False),
]


@pytest.mark.parametrize(("how", "told", "plain_weights"), GIVEN)
def test_a_model_that_was_given_compressed_is_not_called_uncompressed(
    run: Run, tmp_path: Path, how: str, told: str, plain_weights: bool
) -> None:
    _compressed(run, how)
    file = tmp_path / "given.apz"
    model_size.save_model(run, file)
    if plain_weights:
        torch.save(run.model.state_dict(), file := tmp_path / "given.pt")
    again = open_run(tmp_path / "again", config({}, tmp_path / "c", checkpoint=str(file)))
    Evaluate("uncompressed", file="x.safetensors", metrics=["si_sdr"]).run(again, "x")
    Evaluate("file", file="y.safetensors", metrics=["si_sdr"]).run(again, "y")
    shown = {
        (row["label"], row["variant"]) for row in rows(again.folder) if row["key"].startswith("x/")
    }
    assert shown == {(f"FDNN, {told}" if told else "FDNN", "as given" if told else "uncompressed")}
    assert {
        (row["label"], row["variant"]) for row in rows(again.folder) if row["key"].startswith("y/")
    } == {("FDNN", "file")}


def test_every_pass_of_a_repetition_has_a_file_of_its_own(run: Run) -> None:
    for index in range(2):
        Evaluate("pruned", file="iteration.safetensors", metrics=["si_sdr"]).run(
            run, f"compress/{index}/score"
        )
        with torch.no_grad():
            next(run.model.parameters()).zero_()
    files = {row["key"]: row["file"] for row in rows(run.folder) if row["kind"] == "size"}
    assert files == {
        "compress/0/score/size": "iteration-01.safetensors",
        "compress/1/score/size": "iteration-02.safetensors",
    }
    assert (run.folder / "iteration-01.safetensors").read_bytes() != (
        run.folder / "iteration-02.safetensors"
    ).read_bytes()


def test_without_a_file_a_checkpoint_is_needed(run: Run) -> None:
    with pytest.raises(ConfigError, match="expected checkpoint="):
        Evaluate("file").run(run, "evaluate")
