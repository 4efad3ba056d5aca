from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import HOSTILE, speech_tree, write

from audioprune.data.coded.corpora import coded_folder
from audioprune.data.coded.corpus import CodedSpeech
from audioprune.errors import ConfigError, DataError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return clean speech and files that stand for decoded ones: half as loud."""
    clean = speech_tree(tmp_path / HOSTILE / "clean")
    for path in clean.rglob("*.wav"):
        samples, rate = soundfile.read(str(path))
        write(tmp_path / "coded" / path.relative_to(clean), 0.5 * samples, rate, "FLOAT")
    return clean, tmp_path / "coded"


def _corpus(folders: tuple[Path, Path], tmp_path: Path, **options) -> CodedSpeech:
    return coded_folder(
        folders[0],
        coded_root=folders[1],
        cache_dir=str(tmp_path / "cache"),
        label="evs",
        **{"segment": 4000, **options},
    )


def test_items(folders: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = _corpus(folders, tmp_path)
    train, valid, tests = corpus.train(), corpus.valid(), corpus.tests()
    assert (
        list(tests) == ["evs"]
        and (len(valid), len(tests["evs"])) == (8, 8)
        and corpus.sample_rate == 16000
    )
    assert len(train) == 4 * (len(range(0, 7200, 2000)) + 1 + len(range(0, 8800, 2000)) + 1)
    for item in (train[0], valid[3], tests["evs"][7]):
        assert (
            item["noise"] == "evs"
            and item["snr_db"] is None
            and item["noisy"].shape == item["clean"].shape
        )
        assert (
            np.allclose(2 * item["noisy"], item["clean"], atol=1e-4)
            and 0.01 < float(item["clean"].abs().max()) < 0.9
        )
    assert len(train[0]["clean"]) == 4000 and len(valid[3]["clean"]) in (11200, 12800)
    batch = corpus.collate([valid[0], valid[4]])
    assert batch["noisy"].shape == batch["clean"].shape and batch["lengths"].tolist() == [
        len(valid[0]["clean"]),
        len(valid[4]["clean"]),
    ]
    assert {valid[index]["id"].partition("_")[2].partition("_")[0] for index in range(4)} == {
        f"valid{number}" for number in range(4)
    }


def test_numbers_of_items(folders: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = _corpus(
        folders, tmp_path, train_segments=5, valid_items=2, test_items=4, max_test_s=0.25
    )
    assert (len(corpus.train()), len(corpus.valid()), len(corpus.tests()["evs"])) == (5, 2, 4)
    assert corpus.scale() == "speech_folder, 6 s, 4 speakers, evs, 5 segments an epoch"
    first, again = corpus.valid()[1], _corpus(folders, tmp_path, max_test_s=0.25).valid()[1]
    assert len(first["clean"]) == 4000 and first["clean"].equal(again["clean"])


def test_facts_and_manifest(folders: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = _corpus(folders, tmp_path)
    facts = corpus.describe()
    assert facts["scale"] == corpus.scale() == "speech_folder, 6 s, 4 speakers, evs"
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [4, 4, 4]
    assert facts["train"]["segments"] == len(corpus.train())
    assert (
        facts["codec"]["label"] == "evs"
        and facts["conditions"] == {"evs": 8}
        and facts["voices"] == {"root": str(folders[0])}
    )
    json.dumps(facts)
    lines = corpus.write_manifest(tmp_path / "m.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert (
        len(records) == 25
        and records[0]["fingerprint"] == corpus.fingerprint()
        and records[0]["rules"]["segment"] == 4000
    )
    assert (
        records[1]["split"] == "train"
        and records[1]["noisy"]["path"] == records[1]["clean"]["path"]
        and records[1]["noise"] == "evs"
    )


def test_the_fingerprint_follows_rules_and_audio(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    prints = {
        _corpus(folders, tmp_path, **options).fingerprint()
        for options in ({}, {"seed": 1}, {"stride": 1.0}, {"segment": 4001})
    }
    assert len(prints) == 4 and _corpus(folders, tmp_path).fingerprint() in prints
    victim = next(folders[1].rglob("*.wav"))
    samples, rate = soundfile.read(str(victim))
    write(victim, 0.9 * samples, rate, "FLOAT")
    assert _corpus(folders, tmp_path).fingerprint() not in prints


def test_bad_files(folders: tuple[Path, Path], tmp_path: Path) -> None:
    victims = sorted(folders[1].rglob("*.wav"))
    victims[0].unlink()
    with pytest.raises(DataError, match="1 bad files: .*no file of that name.*on_bad_file=skip"):
        _corpus(folders, tmp_path).prepare()
    corpus = _corpus(folders, tmp_path, on_bad_file="skip")
    corpus.prepare()
    assert (
        any("1 bad files are left out" in note for note in corpus.notes)
        and len(corpus.describe()["skipped"]) == 1
    )
    for path in folders[1].glob("test/*/*.wav"):
        path.unlink()
    with pytest.raises(DataError, match="found none for test"):
        _corpus(folders, tmp_path, on_bad_file="skip").prepare()


def test_the_same_audio_in_training_and_test_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    source = next(folders[0].glob("train/*/*.wav"))
    for root in folders:
        (root / "test" / "test0" / "copy_9.wav").write_bytes(
            (root / source.relative_to(folders[0])).read_bytes()
        )
    with pytest.raises(DataError, match="different audio in training and test"):
        _corpus(folders, tmp_path).prepare()


@pytest.mark.parametrize(
    "options", [{"on_bad_file": "ignore"}, {"memory_mb": -1.0}, {"memory_mb": float("nan")}]
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        coded_folder("x", **options)
