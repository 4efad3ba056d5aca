"""The verbs that train nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from speech_trees import speech_tree
from torch import nn

from audioprune.commands import tools
from audioprune.errors import ConfigError, DataError

FDNN = {
    "name": "fdnn",
    "_target_": "audioprune.models.fdnn.FDNN",
    "bins": 161,
    "width": 8,
    "depth": 1,
}


class Odd(nn.Module):
    """Multiplies by a parameter outside any layer."""

    frames_per_second, time_dim = 100.0, 1

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.table = nn.Parameter(torch.ones(5, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) @ self.table

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 10, 5)


def _info(
    capsys: pytest.CaptureFixture[str],
    model: dict,
    form: str = "json",
    checkpoint: str | None = None,
) -> str:
    tools.info(OmegaConf.create({"model": model, "checkpoint": checkpoint, "format": form}))
    return capsys.readouterr().out


def test_info_counts_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(_info(capsys, FDNN))
    params = 161 * 8 + 8 + 8 * 161 + 161
    assert (
        facts["params"] == params
        and facts["macs_per_second"] == 100 * 2 * 161 * 8
        and facts["uncounted"] == []
    )
    table = _info(capsys, FDNN, "table")
    assert f"{params:,}" in table and "MiB as fp32" in table and "leave out" not in table


def test_info_counts_models_of_several_inputs_and_their_synthesizer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {
        "_target_": "audioprune.models.ddsp.DDSP",
        "hidden": 8,
        "latent": 2,
        "encoder_width": 4,
        "partials": 5,
    }
    facts = json.loads(_info(capsys, model))
    assert facts["macs_per_second"] > 0 and facts["synthesis_flops_per_second"] > 16_000 * 5 * 6
    assert "the synthesizer takes about" in _info(capsys, model, "table")


def test_info_says_what_it_could_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(_info(capsys, {"_target_": f"{__name__}.Odd"}))["uncounted"] == ["table"]
    assert "MACs leave out what the model computes with table" in _info(
        capsys, {"_target_": f"{__name__}.Odd"}, "table"
    )


def test_info_reads_a_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from audioprune.models.fdnn import FDNN as Model

    model = Model(width=8, depth=1)
    with torch.no_grad():
        next(model.parameters()).zero_()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    facts = json.loads(_info(capsys, FDNN, checkpoint=str(tmp_path / "w.pt")))
    assert facts["params"] - facts["nonzero"] >= 161 * 8


def test_info_needs_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="ToyModel: expected example_input"):
        _info(capsys, {"_target_": "toys.ToyModel"})


def test_data_check_lists_every_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech_tree(tmp_path / "s", speakers=1)
    config = OmegaConf.create(
        {"action": "check", "root": str(tmp_path / "s"), "out": None, "data": {}}
    )
    tools.data(config)
    capsys.readouterr()
    (tmp_path / "s" / "bad.wav").write_bytes(b"")
    (tmp_path / "s" / "text.wav").write_text("no audio")
    with pytest.raises(DataError, match="2 bad files of"):
        tools.data(config)
    found = capsys.readouterr().out
    assert "bad.wav" in found and "text.wav" in found


def test_data_manifest_names_every_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speech_trees import noise_tree

    speech_tree(tmp_path / "s", speakers=1, utterances=1)
    noise_tree(tmp_path / "n", seconds=2.0)
    data = {
        "name": "x",
        "_target_": "audioprune.data.speech.noisy_mixtures.NoisyMixtures",
        "cache_dir": str(tmp_path / "c"),
    }
    data |= {
        "speech_root": str(tmp_path / "s"),
        "noise_root": str(tmp_path / "n"),
        "train_mixtures": 2,
        "test_snr_db": [0.0],
    }
    tools.data(
        OmegaConf.create(
            {"action": "manifest", "root": None, "out": str(tmp_path / "m.jsonl"), "data": data}
        )
    )
    assert all(json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines())
    assert "wrote" in capsys.readouterr().out


def _check_corpus(tmp_path: Path, **keys: str) -> None:
    data = {
        "name": "x",
        "root": str(tmp_path / "x"),
        "cache_dir": str(tmp_path / "c"),
        "duration_s": 0.1,
        **keys,
    }
    data["_target_"] = "audioprune.data.notes.folder.note_folder"
    tools.data(OmegaConf.create({"action": "check", "root": None, "out": None, "data": data}))


def test_data_check_names_leaks_of_a_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from note_trees import write_tone

    for number, split in enumerate(("train", "valid", "test")):
        write_tone(tmp_path / "x" / split / "piano" / "p060.wav", 60, phase=0.5 * number)
    _check_corpus(tmp_path, split="official")
    told = capsys.readouterr().out
    assert "take 'piano 060 100' is in train" in told and told.endswith(
        "0 leaks between splits, 1 suspected\n"
    )
    write_tone(tmp_path / "x" / "test" / "piano" / "p061.wav", 60, phase=0.0)
    with pytest.raises(DataError, match="1 files hold the same audio as a file of another split"):
        _check_corpus(tmp_path, split="official")
    assert "p061.wav: in test, holds the same audio as" in capsys.readouterr().out


def test_data_check_counts_leaks_apart_from_bad_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech_tree(tmp_path / "s", speakers=1)
    first = tmp_path / "s" / "train" / "train0" / "train0_0.wav"
    (tmp_path / "s" / "test" / "test0" / "other.wav").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="0 bad files of 7, 1 leaks between splits"):
        tools.data(
            OmegaConf.create(
                {"action": "check", "root": str(tmp_path / "s"), "out": None, "data": {}}
            )
        )
    assert "holds the same audio as" in capsys.readouterr().out


def test_doctor_names_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    tools.doctor(OmegaConf.create({"format": "table"}))
    assert "torch>=" in capsys.readouterr().out
    import importlib.metadata as metadata

    true_version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.0.1" if name == "numba" else true_version(name)
    )
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match=r"expected numba, folder .*cache, missing or too old"):
        tools.doctor(OmegaConf.create({"format": "json"}))
    checks = {row["name"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["import torchaudio"]["ok"]
    assert (
        checks["numba"]["found"] == "0.0.1" and not checks["numba"]["ok"] and checks["torch"]["ok"]
    )


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
    tools.listen(
        OmegaConf.create({"action": "export", "out": str(tmp_path / "t1"), "data": data, **keys})
    )
    assert f"wrote {tmp_path / 't1' / 't1.html'}" in capsys.readouterr().out
    columns = "session_test_id,session_uuid,trial_id,rating_stimulus,rating_score"
    (tmp_path / "r.csv").write_text(f"{columns}\nt1,u1,i1,A,40\nt1,u1,i1,noisy,30\nt1,u1,i1,A,x\n")
    stats = {
        "action": "stats",
        "out": str(tmp_path / "stats"),
        "data": data,
        **keys,
        "results": str(tmp_path / "r.csv"),
    }
    tools.listen(OmegaConf.create(stats))
    said = capsys.readouterr()
    assert "left out r.csv:4" in said.err and "A - noisy" in said.out and "n/a" in said.out
    assert (tmp_path / "stats" / "listening_means-t1.png").exists()


def test_listen_needs_results() -> None:
    with pytest.raises(ConfigError, match="expected results=FILE"):
        tools.listen(OmegaConf.create({"action": "stats", "results": None, "out": None}))
