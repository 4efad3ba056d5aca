"""Listening tests on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from audioprune.commands import listen
from audioprune.errors import ConfigError


def test_listen_makes_a_test_and_reads_its_ratings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from listening_parts import model_file

    data = {"name": "x", "_target_": "listening_parts.corpus"}
    systems = {"A": str(model_file(tmp_path / "a.safetensors"))}
    keys = {
        "test": "custom",
        "systems": systems,
        "model": None,
        "items": 1,
        "seed": 0,
        "duration_s": [0.1, 9.0],
    }
    keys |= {
        "conditions": ["*"],
        "loudness_lufs": -23.0,
        "title": "",
        "page": True,
        "webmushra": False,
        "results": None,
        "threads": 1,
    }
    listen.run(
        OmegaConf.create({"action": "export", "out": str(tmp_path / "t1"), "data": data, **keys})
    )
    assert f"page    {tmp_path / 't1' / 't1.html'}\n" in capsys.readouterr().err
    columns = "session_test_id,session_uuid,trial_id,rating_stimulus,rating_score"
    (tmp_path / "r.csv").write_text(f"{columns}\nt1,u1,i1,A,40\nt1,u1,i1,noisy,30\nt1,u1,i1,A,x\n")
    stats = {
        "action": "stats",
        "out": str(tmp_path / "stats"),
        "data": data,
        **keys,
        "results": str(tmp_path / "r.csv"),
    }
    listen.run(OmegaConf.create(stats))
    said = capsys.readouterr()
    assert "left out r.csv:4" in said.err and "A - noisy" in said.out and "n/a" in said.out
    assert (tmp_path / "stats" / "listening_means-t1.png").exists()


def test_listen_needs_results() -> None:
    with pytest.raises(ConfigError, match="expected results=FILE"):
        listen.run(OmegaConf.create({"action": "stats", "results": None, "out": None}))
