"""The GPU check runs on the CPU at tiny sizes, and every result is on disk as it ends."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import gpu_check  # noqa: E402
from scripts.gpu.experiments import NETWORKS  # noqa: E402
from scripts.gpu.parts import Skipped  # noqa: E402

TINY = ("--device", "cpu", "--tiny")


def _results(path: Path) -> dict[tuple[str, str], dict]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(row["part"], row.get("name", "")): row for row in rows}


def test_every_part_of_it_runs_here(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    assert gpu_check.main([*TINY, "--networks", "fdnn", "--out", str(out)]) == 0
    found = _results(out)
    assert found["machine", ""]["device"] == "cpu"
    differences = found["parity", "fdnn"]["differences"]
    assert len(differences) == 5 and set(differences.values()) == {0.0}
    assert found["packing", "fdnn"]["bytes"] > 100
    assert found["throughput", "fdnn"]["bf16"]["audio_s_per_s"] > 0
    assert found["pipelines", "fdnn"]["bytes_file"] > 100
    assert found["processes", "fdnn"]["skipped"] == "expected two CUDA devices"


@pytest.mark.slow
def test_a_network_with_a_discriminator_has_parity_too(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    words = ["--networks", "dcae", "--parts", "parity", "--out", str(out)]
    assert gpu_check.main([*TINY, *words]) == 0
    assert _results(out)["parity", "dcae"]["differences"]["training step"] == 0.0


@pytest.mark.slow
def test_all_networks(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    words = ["--parts", "parity,throughput", "--out", str(out), "--seconds", "3000"]
    assert gpu_check.main([*TINY, *words]) == 0
    found = _results(out)
    assert all(found[part, name]["ok"] for part in ("parity", "throughput") for name in NETWORKS)


def test_a_failure_and_a_limit_are_results(tmp_path: Path) -> None:
    log = gpu_check.Log(tmp_path / "log.jsonl", time.monotonic() + 1000)
    log.begin({"part": "machine"})

    def skip() -> dict:
        raise Skipped("no device")

    log.run("parity", "slow", 1.05, lambda: time.sleep(5) or {})
    log.run("parity", "wrong", 60, lambda: {"x": 1 / 0})
    log.run("parity", "none", 60, skip)
    log.run("parity", "right", 60, lambda: {"x": 1})
    found = _results(log.path)
    assert "expected an end within 1 s, got none" in found["parity", "slow"]["error"]
    assert found["parity", "wrong"]["error"] == "ZeroDivisionError: division by zero"
    assert found["parity", "none"]["ok"] is None and found["parity", "right"]["x"] == 1
    assert (log.passed, log.failed, log.skipped) == (1, 2, 1)


def test_a_device_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "x")]) == 2
    assert "expected a CUDA device, this machine has none" in capsys.readouterr().out
    assert not (tmp_path / "x").exists()
