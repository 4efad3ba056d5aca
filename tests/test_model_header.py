"""What a model file says of its making, read from its header alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from audioprune import checkpoint, model_header, packing, provenance
from audioprune.model_header import MOVED, read_facts


def test_every_moved_corpus_exists_where_the_table_says() -> None:
    now = {target.rpartition(".")[0] for target in provenance.corpora()}
    assert set(MOVED.values()) <= now


def test_an_older_file_names_its_corpus_under_todays_name(tmp_path: Path) -> None:
    said = {
        "model_config": {"name": "fdnn"},
        "data": {"_target_": "audioprune.data.sol.tinysol", "root": "x"},
    }
    header = json.dumps({"__metadata__": {"audioprune": json.dumps(said)}}).encode()
    file = tmp_path / "old.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    assert read_facts(file)["data"] == {
        "_target_": "audioprune.data.notes.studio_online.tinysol",
        "root": "x",
    }


def test_a_file_is_read_once_as_long_as_it_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    read = model_header._packed_facts
    monkeypatch.setattr(
        model_header, "_packed_facts", lambda stream: opened.append(1) or read(stream)
    )

    def write(width: int) -> None:
        packing.pack(
            tmp_path / "model.apz", {"w": torch.zeros(3)}, config={"model": {"width": width}}
        )

    write(4)
    first = read_facts(tmp_path / "model.apz")
    first["model"]["width"] = 7  # what a caller does to its facts changes nobody else's
    assert read_facts(tmp_path)["model"] == {"width": 4} and len(opened) == 1
    write(5)
    assert read_facts(tmp_path)["model"] == {"width": 5} and len(opened) == 2


def test_a_file_of_a_run_says_what_the_run_says_now(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "model.safetensors", {}, {"model_config": {"name": "fdnn"}})
    assert "data" not in read_facts(tmp_path)
    for name in ("first", "second one"):
        config = {"data": {"name": name}, "task": {"name": "irm"}}
        (tmp_path / "run.json").write_text(json.dumps({"config": config}))
        facts = read_facts(tmp_path)
        assert facts["data"] == {"name": name} and facts["of_run"]
