"""Runs of two processes: the rows of one, and the same after any process was killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import config, in_child, rows, signal_at_write, start, status, whole_pipeline
from two_processes import in_two

from audioprune import interrupts
from audioprune.checkpoint import read_newest
from audioprune.errors import ConfigError, InterruptedRun, OutputError, ProcessError
from audioprune.experiment.run_folder import beside, drop_refused, empty, shared


def plain(cache: Path, **changes: Any) -> dict[str, Any]:
    steps = whole_pipeline(most=1)
    del steps["quantize"], steps["compressed"]
    return config(steps, cache, **changes)


def started(folder: Path, cache: Path) -> list[Any]:
    return in_two(lambda _: start(folder, plain(cache)), join=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    stored = read_newest(folder / "state.safetensors")
    assert stored is not None
    return stored[0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run folder of two processes."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    assert started(folder, cache) == ["finished", "finished"]
    assert started(folder, cache) == ["cached", "cached"]
    return folder


def test_a_pipeline_has_the_rows_and_masks_of_one_process(both: Path, cache: Path) -> None:
    one = both.with_name("one")
    assert in_child(lambda: start(one, plain(cache))) == 0
    for row, same in zip(rows(one), rows(both), strict=True):
        assert row.keys() == same.keys()
        for key, value in row.items():
            if isinstance(value, float):
                assert same[key] == pytest.approx(value, rel=1e-4), (row["key"], key)
            elif key == "metrics":
                assert same[key] == pytest.approx(value, rel=1e-4), row["key"]
    mine, theirs = weights(one), weights(both)
    masks = [name for name in mine if name.startswith("mask/")]
    assert masks and all(torch.equal(mine[name], theirs[name]) for name in masks)
    names = {path.name for path in both.iterdir()}
    assert names == {path.name for path in one.iterdir()}


def test_the_folder_of_another_process_begins_with_that_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "training" / "train").mkdir(parents=True)
    (run / "audio").mkdir()
    for name in ("state.safetensors", "progress.jsonl", "training/train/log.jsonl", "audio/a"):
        (run / name).write_text(name)
    with pytest.raises(OutputError, match="disk that they share"), beside(run, 1):
        pass
    (run / ".lock").touch()
    with beside(run, 1) as own:
        names = {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}
        assert names == {"state.safetensors", "progress.jsonl", "training/train/log.jsonl"}
        with open(own / "progress.jsonl", "a") as stream:
            stream.write("more")
        assert shared(own) == shared(run) == run
    assert (run / "progress.jsonl").read_text() == "progress.jsonl" and not own.exists()


def test_other_settings_or_seeds_are_refused(tmp_path: Path, cache: Path) -> None:
    def other(_: object) -> str:
        return start(tmp_path / "run", plain(cache, seed=int(os.environ["RANK"])))

    main, beside_it = in_two(other, join=False)
    assert isinstance(main, ConfigError) and isinstance(beside_it, ConfigError)
    assert "the same configuration in all 2 processes" in str(main)
    assert "differs in environment, seed" in str(main)


@pytest.mark.slow
@pytest.mark.parametrize(("index", "write"), [(0, 8), (0, 25), (1, 8)])
def test_a_killed_process_ends_all_and_the_run_resumes(
    both: Path, cache: Path, tmp_path: Path, index: int, write: int
) -> None:
    def killed(_: object) -> str:
        if int(os.environ["RANK"]) == index:
            signal_at_write(write)
        return start(tmp_path / "run", plain(cache))

    found = in_two(killed, join=False)
    assert found[index] is None and isinstance(found[1 - index], ProcessError)
    assert "ended without a word" in str(found[1 - index])
    assert started(tmp_path / "run", cache) == ["finished", "finished"]
    assert rows(tmp_path / "run") == rows(both)
    mine, theirs = weights(tmp_path / "run"), weights(both)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.slow
def test_a_stop_that_one_process_is_asked_for_stops_both(
    both: Path, cache: Path, tmp_path: Path
) -> None:
    def stopped(_: object) -> str:
        if os.environ["RANK"] == "1":
            signal_at_write(8, signal.SIGINT)
        return start(tmp_path / "run", plain(cache))

    found = in_two(stopped, join=False)
    assert all(isinstance(each, InterruptedRun) for each in found), found
    assert status(tmp_path / "run")["status"] == "interrupted"
    interrupts._requested.clear()
    assert started(tmp_path / "run", cache) == ["finished", "finished"]
    assert rows(tmp_path / "run") == rows(both)


def test_a_folder_in_which_nothing_was_done_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("refused", "begun"):
        folder = tmp_path / "runs" / "prune" / name
        (folder / ".hydra").mkdir(parents=True)
        (folder / "status.json").write_text("{}")
    (tmp_path / "runs" / "prune" / "begun" / "results.jsonl").touch()
    drop_refused(tmp_path / "runs" / "prune" / "refused")
    drop_refused(tmp_path / "runs" / "prune" / "begun")
    drop_refused(tmp_path / "runs" / "prune" / "missing")
    assert [entry.name for entry in (tmp_path / "runs" / "prune").iterdir()] == ["begun"]
    alone = tmp_path / "else" / "eval" / "refused"
    alone.mkdir(parents=True)
    drop_refused(alone)
    assert not (tmp_path / "else").exists()
    here = tmp_path / "here"
    (here / "eval" / "refused").mkdir(parents=True)
    monkeypatch.chdir(here)
    drop_refused(here / "eval" / "refused")
    assert here.exists() and not list(here.iterdir())
    drop_refused(Path("."))
    assert here.exists()


def test_a_folder_that_was_half_emptied_is_mistaken_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.csv", "progress.jsonl", "results.jsonl", "run.json", "state.safetensors"]
    names += ["state.safetensors.previous", "status.json", "zz"]
    for name in names:
        (tmp_path / name).touch()
    left: list[set[str]] = []
    true_unlink = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        true_unlink(path, missing_ok)
        left.append({entry.name for entry in tmp_path.iterdir()})

    monkeypatch.setattr(Path, "unlink", unlink)
    empty(tmp_path)
    assert len(left) == len(names) and not left[-1]
    for names_left in left[:-1]:
        assert "run.json" in names_left, "it would be a folder of other files"
        assert "status.json" not in names_left, "it would be taken for a finished run"
    done = [len({"progress.jsonl", "state.safetensors"} & each) for each in left]
    assert done[:4] == [2, 1, 1, 0], "steps whose rows are gone would be taken for done"
