"""A folder in the layout of a hub is written and read without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from made_enhancers import ARGUMENTS, enhancer_file
from toys import ToyModel

import audioprune
from audioprune.errors import CheckpointError, OutputError
from audioprune.files import sha256_file


def test_a_loaded_network_becomes_a_folder_and_back(tmp_path: Path) -> None:
    model = audioprune.load(enhancer_file(tmp_path / "m.apz"))
    audioprune.quantize(model, bits=4)
    folder = audioprune.save_hub(model, tmp_path / "hub", licence="mit", scores={"stoi": 91.25})
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: audioprune") and "license: mit" in card
    assert "pipeline_tag: audio-to-audio" in card and "| stoi | 91.25 |" in card
    facts = json.loads((folder / "config.json").read_text())
    assert facts["bytes_file"] == (folder / "model.apz").stat().st_size
    assert facts["sha256"] == sha256_file(folder / "model.apz")
    assert facts["model"]["width"] == ARGUMENTS["width"] and facts["sample_rate"] == 16000
    frames = torch.rand(1, 4, 161)
    assert torch.equal(audioprune.load(folder)(frames), model(frames))


def test_scores_of_a_run_are_those_of_its_packed_file(tmp_path: Path) -> None:
    enhancer_file(tmp_path / "model.apz")
    rows = [
        {"key": "a/size", "kind": "size", "file": "uncompressed.safetensors"},
        {"key": "a/x", "kind": "score", "metrics": {"stoi": 99.0}},
        {"key": "b/size", "kind": "size", "file": "model.apz"},
        {"key": "b/x", "kind": "score", "metrics": {"stoi": 80.0, "pesq": None}},
        {"key": "b/y", "kind": "score", "metrics": {"stoi": 90.0}},
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = audioprune.save_hub(tmp_path, tmp_path / "hub")
    assert json.loads((folder / "config.json").read_text())["scores"] == {"stoi": 85.0}
    assert (folder / "model.apz").read_bytes() == (tmp_path / "model.apz").read_bytes()


def test_a_card_of_ones_own_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    audioprune.save_hub(ToyModel(4), tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    found = audioprune.load(tmp_path, model=ToyModel(4))
    assert isinstance(found, ToyModel)


def test_what_is_no_packed_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="expected a folder"):
        audioprune.save_hub(ToyModel(4), tmp_path / "file")
    with pytest.raises(CheckpointError, match="packed model"):
        audioprune.save_hub(tmp_path, tmp_path / "hub")


def test_weights_that_another_program_left_in_a_hub_folder(tmp_path: Path) -> None:
    model = ToyModel(4)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    found = audioprune.load(tmp_path, model=ToyModel(4))
    assert torch.equal(found.first.weight, model.first.weight)
