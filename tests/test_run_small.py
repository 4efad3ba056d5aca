"""The scheduler of the tier small: its jobs, hours, and what it does about failures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import run_small  # noqa: E402
from scripts.run_small import Job, command_of, jobs_of, minutes_told, present, run_all, told  # noqa: E402

PLAN = {
    "seeds": [0, 1],
    "jobs": [
        {"paper": "p2", "command": "prune experiment=p2/a", "minutes": 30},
        {"paper": "p4", "command": "prune experiment=p4/b pipeline=x", "minutes": 6},
    ],
}


def test_all_jobs_of_a_seed_come_before_the_next_seed() -> None:
    jobs = jobs_of(PLAN, {"prune experiment=p2/a": 12.0}, ())
    assert [job.words[-1] for job in jobs] == ["seed=0", "seed=0", "seed=1", "seed=1"]
    assert [(job.minutes, job.measured) for job in jobs[:2]] == [(12.0, True), (6.0, False)]
    assert [job.paper for job in jobs_of(PLAN, {}, ("p4",))] == ["p4", "p4"]


def test_hours_are_told_and_missing_presets_are_named(tmp_path: Path) -> None:
    (tmp_path / "p2").mkdir()
    (tmp_path / "p2" / "a.yaml").touch()
    jobs, absent = present(jobs_of(PLAN, {}, ()), tmp_path)
    assert len(jobs) == 2 and absent == ["p4/b"]
    text = told(jobs, absent, 2)
    assert "2 jobs, 1.0 core-hours, about 0.5 hours with 2 at once" in text
    assert "minutes of 0 jobs are measured" in text and "no such preset: p4/b" in text


def test_rows_tell_the_minutes_of_a_command_whatever_its_seed(tmp_path: Path) -> None:
    (tmp_path / "p2").mkdir()
    heads = [
        {
            "kind": "run",
            "command": f"audioprune prune experiment=p2/a seed={seed}",
            "state": {"seconds": s},
        }
        for seed, s in ((0, 60), (1, 600), (2, 120))
    ]
    lines = [json.dumps(head, separators=(",", ":")) for head in heads]
    (tmp_path / "p2" / "rows.jsonl").write_text("\n".join(lines) + "\n")
    assert minutes_told(tmp_path) == {"prune experiment=p2/a": 2.0}


def test_a_job_has_one_thread_low_priority_and_the_folder_of_its_paper() -> None:
    words = command_of(Job("p2", ("prune", "experiment=p2/a", "seed=1"), 1.0, False), Path("/r"))
    assert words[:3] == ["nice", "-n", "10"] and words[4:7] == [
        "prune",
        "experiment=p2/a",
        "seed=1",
    ]
    assert {"runtime.folder=/r/p2", "runtime.threads=1"} <= set(words)


def test_a_job_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def command(job: Job, runs: Path) -> list[str]:
        code = 3 if job.words[-1] == "seed=0" else 0
        return ["sh", "-c", f'echo "$OMP_NUM_THREADS {job.name}"; exit {code}']

    jobs = jobs_of(PLAN, {}, ())
    ended = run_all(jobs, tmp_path, 2, command)
    assert [(job.words[-1], code) for job, code, _ in ended] == [
        ("seed=0", 3), ("seed=0", 3), ("seed=1", 0), ("seed=1", 0),
    ]  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "jobs.jsonl").read_text().splitlines()]
    assert sorted(line["code"] for line in lines) == [0, 0, 3, 3]
    logs = [path.read_text() for path in (tmp_path / "logs").iterdir()]
    assert len(logs) == 4 and all(text.startswith("1 prune-experiment_") for text in logs)


def test_a_dry_run_runs_nothing(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(run_small, "run_all", lambda *a: pytest.fail("a dry run ran"))
    assert run_small.main(["jobs=4", "papers=p2", "--dry-run"]) == 0
    assert "core-hours" in capsys.readouterr().out
    assert run_small.main(["what=1"]) == 2


def test_the_hours_on_the_page_are_those_of_the_plan() -> None:
    plan = yaml.safe_load(run_small.PLAN.read_text(encoding="utf-8"))
    hours = sum(job.minutes for job in jobs_of(plan, {}, ())) / 60
    page = (ROOT / "docs" / "papers" / "index.md").read_text(encoding="utf-8")
    assert f"all of it is {hours:.1f} core-hours" in page


def test_every_entry_of_the_plan_is_a_command_of_a_preset() -> None:
    plan = yaml.safe_load(run_small.PLAN.read_text(encoding="utf-8"))
    for job in jobs_of(plan, {}, ()):
        assert job.words[0] in ("prune", "train") and job.preset.startswith(f"{job.paper}/")
        assert (ROOT / "conf" / "experiment" / f"{job.preset}.yaml").is_file(), job.preset
        for word in job.words[1:-1]:
            key, _, value = word.partition("=")
            if key == "pipeline":
                assert (ROOT / "conf" / "pipeline" / f"{value}.yaml").is_file(), value
