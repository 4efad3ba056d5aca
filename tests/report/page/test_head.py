"""The head of a page: what was compared, on what, when, and how to repeat it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRun

from audioprune.report.page.head import head_of, title_of
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs

Make = Callable[..., FakeRun]


@pytest.fixture
def head(make_run: Make, tmp_path: Path):
    for seed in (0, 1):
        task = {"_target_": "audioprune.tasks.Enhancement"}
        run = make_run(f"r{seed}", seed=seed, task=task).scores("mixture", 0.5, 1.0)
        run.scores("uncompressed", 0.7, 2.0).size("uncompressed")
        run.scores("compressed", 0.69, 2.0).size("compressed", paper=400)
        hydra = run.folder / ".hydra"
        hydra.mkdir()
        (hydra / "overrides.yaml").write_text(f"- seed={seed}\n- runtime.threads=1\n- 'a=b c'\n")
        machine = {"python": "3.11.7", "cores": 2 + seed, "versions": {"torch": "2.13"}}
        (run.folder / "env.json").write_text(json.dumps(machine))
        os.utime(run.folder / "status.json", (0, 86400 * (seed + 1)))
    failed = make_run("failed", model="lstm").status("failed", "why")
    os.utime(failed.folder / "status.json", (0, 0))
    jobs = load_jobs(tmp_path / "runs")
    found = final(entries(jobs))
    return head_of(jobs, found), title_of(jobs, found)


def test_it_says_what_was_compared_on_what_and_when(head) -> None:
    found, title = head
    assert title == "LSTM, FDNN: before and after compression"
    assert found.about.startswith("These networks take noise out of recorded speech. Compression")
    assert found.compared == "Compared: FDNN uncompressed and compressed."
    assert len(found.corpora) == 1
    assert found.corpora[0].tested == "tested on babble, cafeteria at -5, 0, 5 dB"
    assert found.date == "3 January 1970, 00:00 UTC"
    assert len(found.verdicts) == 1 and len(found.meanings) == 2
    assert found.meanings[0].startswith("STOI says how much of speech is understood")


def test_it_says_how_to_repeat_it_and_with_what(head) -> None:
    found, _ = head
    assert found.commands == (
        "audioprune prune seed=0 'a=b c'",
        "audioprune prune seed=1 'a=b c'",
    )
    assert found.environment == (("python", "3.11.7"), ("cores", "2, 3"), ("torch", "2.13"))
