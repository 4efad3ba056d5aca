"""Files whose names are not UTF-8, from the check over a run to the report.

They work, or one line says what to rename.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from speech_trees import noise_tree, speech_tree

from audioprune import cli
from audioprune.files import write_atomic

ODD = os.fsdecode(b"\xe9")
SPLITS = ("speech", "noise", "train", "valid", "test")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Speech and noises; every file and every speaker has a byte in its name that is no text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    folder = tmp_path / "corpus"
    speech_tree(folder / "speech", speakers=2, utterances=1)
    noise_tree(folder / "noise", seconds=2.0)
    for path in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
        if path.name not in SPLITS:
            path.rename(path.with_name(path.name[:3] + ODD + path.name[3:]))
    yield folder
    GlobalHydra.instance().clear()


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_names_that_are_not_utf8_go_all_the_way(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (corpus / "speech" / "train" / f"bad{ODD}.wav").write_bytes(b"")
    assert cli.run_verb("data", ["action=check", f"root={corpus}"]) == 3
    assert "bad\\udce9.wav: an empty file" in capfd.readouterr().out
    (corpus / "speech" / "train" / f"bad{ODD}.wav").unlink()
    data = [
        "data=noisy_mixtures",
        f"data.speech_root={corpus}/speech",
        f"data.noise_root={corpus}/noise",
        "data.babble_share=0",
    ]
    data += [
        "data.train_mixtures=4",
        "data.valid_mixtures=2",
        "data.test_mixtures=1",
        "data.test_snr_db=[-5]",
    ]
    assert cli.run_verb("data", ["action=manifest", f"out={tmp_path}/m.jsonl", *data]) == 0, (
        capfd.readouterr().err
    )
    assert any(row.get("group") == f"tes{ODD}t0" for row in _rows(tmp_path / "m.jsonl"))
    line = [
        *data,
        "model.width=4",
        "model.depth=2",
        "training.epochs=1",
        "scoring.metrics=[si_sdr]",
        "scoring.latency_repeats=0",
    ]
    line += [
        "scoring.audio_items=1",
        "runtime.metric_workers=0",
        "runtime.device=cpu",
        f"runtime.folder={tmp_path}/runs",
    ]
    assert cli.run_verb("train", line) == 0, capfd.readouterr().err
    run = next((tmp_path / "runs" / "train").iterdir())
    assert f"bab{ODD}ble" in {row.get("noise") for row in _rows(run / "results.jsonl")}
    assert len(list(run.glob("audio/**/*.flac"))) >= 2
    assert cli.run_verb("report", [f"runs={tmp_path}/runs", f"out={tmp_path}/report"]) == 0
    found = capfd.readouterr()
    assert (
        "bab\\udce9ble" in found.out
        and "Logging error" not in found.err
        and "Traceback" not in found.err
    )
    assert "bab\\udce9ble" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_command_line_that_is_not_utf8_is_refused_in_one_line(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("data", ["action=check", f"root={corpus}/{ODD}"]) == 2
    text = capfd.readouterr().err
    assert (
        text.startswith("error: expected a command line in UTF-8, got 'root=")
        and text.count("\n") == 1
    )


def test_texts_with_such_names_are_written_as_utf8(tmp_path: Path) -> None:
    assert (
        write_atomic(tmp_path / "a.txt", f"caf{ODD} é").read_text(encoding="utf-8")
        == "caf\\udce9 é"
    )
