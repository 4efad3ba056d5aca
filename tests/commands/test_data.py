"""What ``audioprune data`` checks and lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from speech_trees import speech_tree

from audioprune.commands import data as verb
from audioprune.errors import DataError


def test_data_check_lists_every_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech_tree(tmp_path / "s", speakers=1)
    config = OmegaConf.create(
        {"action": "check", "root": str(tmp_path / "s"), "out": None, "data": {}}
    )
    verb.run(config)
    capsys.readouterr()
    (tmp_path / "s" / "bad.wav").write_bytes(b"")
    (tmp_path / "s" / "text.wav").write_text("no audio")
    with pytest.raises(DataError, match="2 bad files of"):
        verb.run(config)
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
    verb.run(
        OmegaConf.create(
            {"action": "manifest", "root": None, "out": str(tmp_path / "m.jsonl"), "data": data}
        )
    )
    assert all(json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines())
    told = capsys.readouterr()
    assert "wrote" in told.err and "noises" in told.out and "{" not in told.out


def _check_corpus(tmp_path: Path, **keys: str) -> None:
    data = {
        "name": "x",
        "root": str(tmp_path / "x"),
        "cache_dir": str(tmp_path / "c"),
        "duration_s": 0.1,
        **keys,
    }
    data["_target_"] = "audioprune.data.notes.folder.note_folder"
    verb.run(OmegaConf.create({"action": "check", "root": None, "out": None, "data": data}))


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
        verb.run(
            OmegaConf.create(
                {"action": "check", "root": str(tmp_path / "s"), "out": None, "data": {}}
            )
        )
    assert "holds the same audio as" in capsys.readouterr().out
