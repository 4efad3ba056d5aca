"""A preset of each paper, started by torchrun in two processes, ends like one process does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

QUICK = (
    *("scoring.latency_repeats=0", "scoring.audio_items=0", "runtime.metric_workers=0"),
    *("runtime.device=cpu", "runtime.threads=1", "runtime.share=false", "training.epochs=1"),
)
MADE = (
    *("data.minutes=0.1", "data.valid_minutes=0.05", "data.test_minutes=0.05"),
    *("data.speakers=2", "data.valid_speakers=1", "data.test_speakers=1"),
)
MIXED = (
    *(*MADE, "data.utterance_s=[1,1.2]", "data.noise_s=2", "data.train_mixtures=8"),
    *("data.valid_mixtures=2", "data.test_mixtures=1", "data.test_snr_db=[-5]"),
    *("data.babble_share=0", "model.width=4", "training.batch_size=4"),
    *("scoring.metrics=[si_sdr]", "pipeline.max_iterations=1", "pipeline.sensitivity_items=1"),
    *("pipeline.levels=4", "training.finetune_epochs=1", "training.precision=fp32"),
)
PRESETS = {
    "p2": ("experiment=p2/fdnn_demo", "pipeline=p2_unstructured", *MIXED),
    "p4": (
        *("experiment=p4/resnet_2017_desk", "training.steps=4", "model.width=4"),
        *("data.clips_per_class=2", "data.test_clips_per_class=1"),
    ),
    "p3": (
        *("experiment=p3/ddsp_nsynth_desk", "model=ddsp_tiny", "training.steps=4"),
        *("pipeline.rewind=2it", "pipeline.rounds=1", "training.optimizer=sgd"),
    ),
    "p1": (
        *("experiment=p1/dcae10_desk", "training.steps=2", "scoring.metrics=[si_sdr]"),
        *(*MADE, "training.batch_size=4", "pipeline=train"),
    ),
}


def _run(folder: Path, words: tuple[str, ...], launcher: list[str]) -> list[dict[str, Any]]:
    command = [*launcher, "-m", "audioprune.cli", "prune", *words, *QUICK]
    given = {**os.environ, "AUDIOPRUNE_CACHE": str(folder.parent / "cache")}
    done = subprocess.run(
        [*command, f"runtime.folder={folder}"],
        capture_output=True,
        text=True,
        env=given,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = folder.glob("prune/*/results.jsonl")
    assert not list(file.parent.glob(".processes/*"))
    return [json.loads(line) for line in file.read_text().splitlines()]


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("paper", PRESETS)
def test_a_preset_runs_in_two_processes(tmp_path: Path, paper: str) -> None:
    python = [sys.executable]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={_port()}"]
    alone = _run(tmp_path / "alone", PRESETS[paper], python)
    both = _run(tmp_path / "both", PRESETS[paper], [*python, *torchrun])
    assert [(row["kind"], row["key"]) for row in both] == [
        (row["kind"], row["key"]) for row in alone
    ]
    for ours, wanted in zip(both, alone, strict=True):
        for column in ("steps", "params", "epochs"):
            assert ours.get(column) == wanted.get(column)
        if "best" in wanted:
            assert ours["best"] == pytest.approx(wanted["best"], rel=1e-2)
