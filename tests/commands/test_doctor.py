"""What ``audioprune doctor`` finds on this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from audioprune.commands import doctor
from audioprune.errors import ConfigError


def test_doctor_names_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    doctor.run(OmegaConf.create({"format": "table"}))
    assert re.search(r"^ok +torch +>=2", capsys.readouterr().out, re.MULTILINE)
    doctor.run(OmegaConf.create({"format": "csv"}))
    assert capsys.readouterr().out.startswith("ok,name,wanted,found,for\nTrue,torch,")
    import importlib.metadata as metadata

    true_version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.0.1" if name == "numba" else true_version(name)
    )
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match=r"expected numba, folder .*cache, missing or too old"):
        doctor.run(OmegaConf.create({"format": "json"}))
    checks = {row["name"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["import torchaudio"]["ok"]
    assert (
        checks["numba"]["found"] == "0.0.1" and not checks["numba"]["ok"] and checks["torch"]["ok"]
    )
    assert checks["import torchaudio"]["ok"]
