"""Whole command lines: sweeps, exit codes, a user's model, checkpoints, interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from speech_trees import noise_tree, speech_tree
from tiny_runs import MYNET

from audioprune import cli
from audioprune.commands.sweeps import tuning
from audioprune.errors import ConfigError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    speech_tree(folder / "speech", speakers=2, utterances=1)
    noise_tree(folder / "noise", seconds=2.0)
    return folder


@pytest.fixture
def line(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Overrides that make any verb a matter of a second, in a fresh current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(corpus / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    GlobalHydra.instance().clear()
    yield [
        *(
            "model.width=4",
            "model.depth=2",
            "data=noisy_mixtures",
            f"data.speech_root={corpus}/speech",
            f"data.noise_root={corpus}/noise",
        ),
        *(
            "data.babble_share=0",
            "data.train_mixtures=4",
            "data.valid_mixtures=2",
            "data.test_mixtures=1",
            "data.test_snr_db=[-5]",
        ),
        "training.epochs=1",
        *(
            "scoring.metrics=[si_sdr]",
            "scoring.latency_repeats=0",
            "scoring.audio_items=0",
            "runtime.metric_workers=0",
        ),
        *("runtime.device=cpu", f"runtime.folder={tmp_path}/runs"),
    ]
    GlobalHydra.instance().clear()


def _results(folder: Path) -> list[dict]:
    return [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]


def test_a_sweep_lists_its_failures_and_the_second_one_is_cached(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("boom.py").write_text("def Boom(**_):\n    raise ValueError('no such network')\n")
    sweep = ["-m", *line, "seed=0,1", "model._target_=audioprune.models.fdnn.FDNN,boom.Boom"]
    assert cli.run_verb("train", sweep) == 1
    text = capfd.readouterr().err
    assert "sweep: 4 jobs, 2 finished now, 0 already finished, 2 failed" in text
    failures = [row for row in text.splitlines() if row.startswith("  FAILED ")]
    assert len(failures) == 2 and all(
        "boom.Boom: cannot build boom.Boom: no such network" in row for row in failures
    )
    assert "Traceback" not in text and "Error executing" not in text
    assert cli.run_verb("train", sweep) == 1
    assert "sweep: 4 jobs, 0 finished now, 2 already finished, 2 failed" in capfd.readouterr().err
    assert len([path for path in (tmp_path / "runs" / "train").iterdir() if path.is_dir()]) == 4


def test_a_sweep_and_single_runs_share_their_folders(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("train", [*line, "seed=1"]) == 0
    assert cli.run_verb("train", ["-m", *line, "seed=0,1"]) == 0
    assert "sweep: 2 jobs, 1 finished now, 1 already finished, 0 failed" in capfd.readouterr().err


@pytest.mark.slow
def test_a_sweep_in_processes_reports_alike_and_shares_a_training(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    processes = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    # Both good jobs begin with the same training: one of the two processes waits for the other.
    sweep = ["-m", *line, "scale=a,b", "checkpoint=null,/nowhere.apz", *processes]
    assert cli.run_verb("train", sweep) == 1
    text = capfd.readouterr().err
    (shared,) = (tmp_path / "runs" / "shared").iterdir()
    assert [path.name for path in shared.iterdir()] == ["state.safetensors"]
    assert text.count(f"train: taken from {shared}") == 1
    assert "sweep: 4 jobs, 2 finished now, 0 already finished, 2 failed" in text
    assert (
        len(
            [
                row
                for row in text.splitlines()
                if row.startswith("  FAILED ") and "does not exist" in row
            ]
        )
        == 2
    )


def _pretend(
    config: Any, folder: Path, overrides: list[str], differs: list[str], swept: bool
) -> str:
    """Write the rows that a run of a sparsity would have: small is bad, 0.5 fails."""
    sparsity = float(config.pipeline.sparsity)
    if sparsity == 0.5:
        raise ConfigError("this one cannot be built")
    if (folder / "results.jsonl").exists():
        return "cached"
    found = []
    for step, variant, lost, size in (
        ("d", "uncompressed", 0.0, 1e6),
        ("c", "compressed", sparsity**2, 1e6 * (1 - sparsity)),
    ):
        score = {"condition": "a", "metrics": {"si_sdr": 9 - lost}}
        found += [
            {"key": f"{step}/a", "kind": "score", "variant": variant, **score},
            {"key": f"{step}/size", "kind": "size", "variant": variant, "bytes_file": size},
        ]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return "finished"


TUNED = [
    *("+tune=smallest", "tune.metric=si_sdr", "tune.max_drop=0.7", "pipeline=magnitude"),
    *("pipeline.levels=8", "training.finetune_epochs=1"),
]


@pytest.mark.slow
def test_a_sweep_that_tunes_ends_with_its_front_and_goes_on(
    line: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    from audioprune.commands import experiments

    monkeypatch.setattr(experiments, "run", _pretend)
    swept = ["-m", *TUNED, *line, "pipeline.sparsity=choice(0.5,0.6,0.8,0.9)", "tune.seed=7"]
    assert cli.run_verb("prune", [*swept, "tune.trials=4"]) == 0
    first = capfd.readouterr()
    (folder,) = (tmp_path / "runs" / "tune").iterdir()
    assert "this one cannot be built" in first.out and "smallest with SI-SDR" in first.out
    assert "pipeline.sparsity=0.6" in first.out.splitlines()[-1], "0.9 loses 0.81 dB"
    assert {"front.png", "front.svg", "front.csv", "trials.csv"} <= {
        path.name for path in folder.iterdir()
    }
    tried = tuning.read_journal(folder / "trials.jsonl")
    done = {number: each for number, each in tried.items() if each["state"] == "COMPLETE"}
    failed = [number for number in tried if number not in done]
    assert len(tried) == 4 and failed and first.out.count("failed: this one") == len(failed)
    # The same command tries the failed ones again, with what they had, and no finished one.
    assert cli.run_verb("prune", [*swept, "tune.trials=4"]) == 0
    again = tuning.read_journal(folder / "trials.jsonl")
    assert {number: again[number] for number in done} == done and len(again) == 4
    assert all(again[number]["params"] == tried[number]["params"] for number in failed)
    assert f"sweep: {len(failed)} jobs" in capfd.readouterr().err
    assert not list((tmp_path / "runs" / "prune").glob(".jobs*"))


@pytest.mark.slow
def test_six_real_trials_end_with_their_front(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    swept = ["-m", *TUNED, *line, "pipeline.sparsity=choice(0.1,0.3,0.5,0.7)", "tune.trials=6"]
    code = cli.run_verb("prune", swept)
    (folder,) = (tmp_path / "runs" / "tune").iterdir()
    assert (folder / "front.png").stat().st_size > 10_000
    text = capfd.readouterr().out
    assert "6 of 6 trials finished" in text and code == ("smallest with" not in text)
    assert len(list((tmp_path / "runs" / "shared").iterdir())) == 1


def test_a_plain_sweep_returns_its_objective(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    from audioprune.commands import experiments

    monkeypatch.setattr(experiments, "run", _pretend)
    optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2"]
    swept = ["-m", *optuna, *line, "pipeline=magnitude", "pipeline.sparsity=choice(0.75)"]
    assert cli.run_verb("prune", [*swept, "objective=bytes_file"]) == 0
    best = (tmp_path / "runs" / "prune" / "optimization_results.yaml").read_text()
    assert "best_value: 250000.0" in best
    assert "sweep: 2 jobs, 1 finished now, 1 already finished" in capfd.readouterr().err
    assert cli.run_verb("prune", swept) == 2
    assert "expected objective=NAME, got none" in capfd.readouterr().err
    assert cli.run_verb("prune", [*swept, "objective=bytes_filee"]) == 1
    text = capfd.readouterr().err
    assert "no trial of this sweep finished" in text and "closest: bytes_file" in text
    swept.append("hydra.sweeper.storage='sqlite:///x.db'")
    assert cli.run_verb("prune", [*swept, "objective=bytes_file"]) in (0, 2)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tune.metric=stoi"], "tune.max_drop: expected how much worse stoi may become (points"),
        (["tune.max_drop=1", "pipeline=train"], "expected keys to try for pipeline 'train'"),
    ],
)
def test_a_sweep_that_could_find_nothing_is_refused_at_once(
    line: list[str], capfd: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    swept = ["-m", "+tune=smallest", "pipeline=magnitude", *line, *words]
    assert cli.run_verb("prune", swept) == 2
    text = capfd.readouterr().err
    assert told in text and "sweep:" not in text


@pytest.mark.slow
def test_a_sweep_by_submitit_shares_a_training(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=9"]
    assert cli.run_verb("train", ["-m", *line, "scale=a,b", *launcher]) == 0
    assert "sweep: 2 jobs, 2 finished now" in capfd.readouterr().err
    assert len(list((tmp_path / "runs" / "shared").iterdir())) == 1


@pytest.mark.parametrize(
    ("verb", "changes", "code", "message"),
    [
        ("train", ["data.speech_root=/nowhere"], 3, "/nowhere"),
        ("eval", ["checkpoint=/nowhere.apz"], 4, "does not exist"),
        ("quantize", [], 2, "expected checkpoint="),
        ("train", ["runtime.folder=FILE/runs"], 5, "cannot write"),
        (
            "train",
            ["model=lstm", "training.epochs=2", "training.learning_rate=1e30"],
            6,
            "lower training.learning_rate",
        ),
        ("train", ["model._target_=nowhere.Net"], 2, "cannot build nowhere.Net"),
    ],
)
def test_failures_are_one_line_and_a_code(
    line: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    changes: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert (
        cli.run_verb(
            verb, [*line, *(change.replace("FILE", str(tmp_path / "file")) for change in changes)]
        )
        == code
    )
    text = capfd.readouterr().err
    errors = [row for row in text.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in text and "Error executing" not in text and "HYDRA" not in text


def test_a_trace_is_shown_on_request(
    line: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert cli.run_verb("eval", [*line, "checkpoint=/nowhere.apz"]) == 4
    assert "Traceback" in capfd.readouterr().err
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    assert cli.run_verb("eval", [*line, "checkpoint=/nowhere.apz"]) == 4
    assert "Traceback" not in capfd.readouterr().err and "HYDRA_FULL_ERROR" not in os.environ


def test_notes_about_data_are_plain_lines(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("train", line) == 0
    found = capfd.readouterr()
    assert "HYDRA" not in found.err + found.out
    notes = [row for row in found.err.splitlines() if "validation" in row]
    assert len(notes) == len(set(notes)) and "finished" in found.err
    folder = next((tmp_path / "runs" / "train").iterdir()).relative_to(tmp_path)
    assert f"next    audioprune prune checkpoint={folder}\n" in found.err
    assert "FDNN" in found.out and "|" not in found.out and "wrote" not in found.err


@pytest.mark.slow
def test_a_users_model_in_the_current_folder_is_compressed(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("mynet_here.py").write_text(MYNET)
    sys.path.insert(0, str(tmp_path))
    import mynet_here

    torch.manual_seed(0)
    torch.save(mynet_here.MyNet().state_dict(), "weights.pt")
    sys.path.remove(str(tmp_path))
    del sys.modules["mynet_here"]
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("name: mynet\n_target_: mynet_here.MyNet\n")
    mine = [
        f"--config-dir={tmp_path}/conf",
        "model=mine",
        *(item for item in line if not item.startswith("model.")),
    ]
    chosen = [
        "pipeline=magnitude",
        "pipeline.sparsity=0.5",
        "pipeline.levels=8",
        "training.finetune_epochs=1",
        "checkpoint=weights.pt",
    ]
    assert cli.run_verb("prune", [*mine, *chosen]) == 0, capfd.readouterr().err
    folder = next((tmp_path / "runs" / "prune").iterdir())
    size = next(row for row in _results(folder) if row["key"] == "compressed/size")
    assert size["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert cli.run_verb("eval", [*mine, f"checkpoint={folder}"]) == 0
    capfd.readouterr()
    assert (
        cli.run_verb(
            "eval",
            [*(item for item in line if not item.startswith("model.")), f"checkpoint={folder}"],
        )
        == 4
    )
    assert "model=mynet_here:MyNet" in capfd.readouterr().err


def test_a_packed_file_is_scored_with_its_own_task(line: list[str], tmp_path: Path) -> None:
    common = [item for item in line if not item.startswith("model.")]
    small = ["model=lstm", "model.width=4", "model.depth=1"]
    assert cli.run_verb("train", [*common, *small]) == 0
    trained = next((tmp_path / "runs" / "train").iterdir())
    assert (
        cli.run_verb("quantize", [*common, f"checkpoint={trained}", "pipeline.levels=65536"]) == 0
    )
    packed = next((tmp_path / "runs" / "quantize").iterdir())
    assert cli.run_verb("eval", [*common, f"checkpoint={packed}/model.apz"]) == 0
    scored = next((tmp_path / "runs" / "eval").iterdir())

    def scores(folder: Path, variant: str) -> list[float]:
        found = [
            row for row in _results(folder) if row["kind"] == "score" and row["variant"] == variant
        ]
        return [row["metrics"]["si_sdr"] for row in found]

    assert (
        scores(trained, "uncompressed")
        == scores(packed, "compressed")
        == scores(scored, "file")
        != []
    )
    size = next(row for row in _results(scored) if row["kind"] == "size")
    assert size["bytes_file"] == (packed / "model.apz").stat().st_size and size["label"] == "LSTM"


def test_a_file_is_scored_on_its_own_corpus_wherever_it_is(
    line: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(next(item for item in line if "speech_root" in item).partition("=")[2], "here")
    data = [item for item in line if item.startswith("data") and "speech_root" not in item]
    runtime = [
        item for item in line if item.startswith(("runtime.", "scoring.latency", "scoring.audio"))
    ]
    assert (
        cli.run_verb(
            "train",
            [
                *(item for item in line if not item.startswith("data")),
                *data,
                "data.speech_root=here",
                "seed=3",
            ],
        )
        == 0
    )
    trained = next((tmp_path / "runs" / "train").iterdir())
    Path("here").rename("there")
    assert cli.run_verb("eval", [f"checkpoint={trained}", *runtime]) == 3
    assert "here: expected the folder of the corpus noisy_mixtures" in capfd.readouterr().err
    assert cli.run_verb("eval", [f"checkpoint={trained}", "data.speech_root=there", *runtime]) == 0
    scored = next(
        folder
        for folder in (tmp_path / "runs" / "eval").iterdir()
        if (folder / "results.jsonl").exists()
    )
    own, found = (
        {row["condition"]: row for row in _results(each) if row["kind"] == "score"}
        for each in (trained, scored)
    )
    keys = (
        "metrics",
        "std",
        "n",
        "failures",
        "corpus",
        "corpus_fingerprint",
        "seed",
        "scale",
        "label",
    )
    assert (
        [{key: row[key] for key in keys} for row in found.values()]
        == [{key: row[key] for key in keys} for row in own.values()]
        != []
    )
    assert "was trained on" not in capfd.readouterr().err


def _press_ctrl_c(runs: Path, pid: int, ended: Callable[[], bool] = lambda: False) -> None:
    """Interrupt a process as soon as a run below a folder has trained an epoch."""
    deadline = time.monotonic() + 60
    while not list(runs.glob("*/training/train/log.jsonl")) and not ended():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(pid, signal.SIGINT)


def _stopped(runs: Path, text: str) -> Path:
    """Return the folder of the one run that was interrupted in its midst."""
    assert "everything finished is saved, the same command resumes it" in text
    assert "Traceback" not in text and "defect" not in text
    folders = [path for path in runs.iterdir() if path.is_dir()]
    assert len(folders) == 1, "a stopped sweep begins no further job"
    assert json.loads((folders[0] / "status.json").read_text())["status"] == "interrupted"
    epochs = len((folders[0] / "training" / "train" / "log.jsonl").read_text().splitlines())
    assert 0 < epochs < 60
    return folders[0]


@pytest.mark.parametrize("sweep", [False, True])
def test_ctrl_c_ends_with_130_and_the_same_command_resumes(
    line: list[str], tmp_path: Path, sweep: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    runs, line = tmp_path / "runs" / "train", [*line, "training.epochs=60"]
    hand = threading.Thread(target=_press_ctrl_c, args=(runs, os.getpid()))
    hand.start()
    code = cli.run_verb("train", [*(["-m", "seed=0,1"] if sweep else []), *line])
    hand.join()
    assert code == 130
    folder = _stopped(runs, capfd.readouterr().err)
    if not sweep:
        assert cli.run_verb("train", line) == 0
        assert json.loads((folder / "status.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_in_a_process_of_its_own(line: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "audioprune.cli", "train", "-m", "seed=0,1", *line]
    child = subprocess.Popen(
        [*command, "training.epochs=60"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path,
    )  # fmt: skip
    _press_ctrl_c(tmp_path / "runs" / "train", child.pid, lambda: child.poll() is not None)
    _, text = child.communicate(timeout=60)
    assert child.returncode == 130, text
    _stopped(tmp_path / "runs" / "train", text)
