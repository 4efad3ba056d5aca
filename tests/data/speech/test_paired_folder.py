"""The corpus of recordings that exist twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from speech_trees import RATE, tone, write, write_pair

from audioprune.data.speech.paired_folder import PairedFolder
from audioprune.errors import ConfigError, DataError


def _corpus(root: Path, tmp_path: Path, **options) -> PairedFolder:
    return PairedFolder(root, cache_dir=str(tmp_path / "cache"), **options)


def test_voicebank_layout(voicebank: Path, tmp_path: Path) -> None:
    corpus = _corpus(voicebank, tmp_path)
    assert (len(corpus.train()), len(corpus.valid())) == (6, 2)
    assert {name: len(items) for name, items in corpus.tests().items()} == {"recorded": 4}
    item = corpus.tests()["recorded"][1]
    assert item["id"] == "000001_p9_1" and item["snr_db"] is None and item["noise"] == "recorded"
    assert (item["speaker"], item["gender"]) == ("p9", "")
    noisy = item["noisy"].numpy().astype(np.float64)
    assert np.sqrt(np.mean(noisy**2)) == pytest.approx(1, abs=1e-5)
    clean, mixed = tone(0.7, 101), tone(0.7, 101) + 0.5 * tone(0.7, 5101)
    assert np.allclose(item["clean"].numpy(), clean / np.sqrt(np.mean(mixed**2)), atol=2e-3)
    facts = corpus.describe()
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [3, 1, 1]
    assert corpus.scale() == "paired_folder, 4 s, 3 speakers"
    assert (
        corpus.fingerprint()
        == _corpus(voicebank, tmp_path).fingerprint()
        != _corpus(voicebank, tmp_path, seed=1).fingerprint()
    )
    assert (
        _corpus(voicebank, tmp_path, train_mixtures=1).scale() == "paired_folder, 1 s, 1 speaker"
    )
    chosen = _corpus(voicebank, tmp_path, valid_speakers=["p2"])
    assert {
        item["id"].partition("_")[2][:2] for item in (chosen.valid()[i] for i in range(2))
    } == {"p2"}


def test_all_pairs_may_be_test_items(voicebank: Path, tmp_path: Path) -> None:
    corpus = _corpus(voicebank, tmp_path, split="test")
    assert (len(corpus.train()), len(corpus.valid())) == (0, 0)
    assert {name: len(items) for name, items in corpus.tests().items()} == {"recorded": 12}
    assert corpus.scale() == "paired_folder, 12 test pairs"
    assert corpus.fingerprint() != _corpus(voicebank, tmp_path).fingerprint()
    assert corpus.describe()["test"]["utterances"] == 12 and corpus.leaks() == []


def test_conditions_from_a_list(voicebank: Path, tmp_path: Path) -> None:
    log = voicebank / "log_testset.txt"
    log.write_text("p9_0 bus 2.5\np9_1 bus 7.5\np9_2 cafe 2.5\np9_3 bus 2.5\n")
    corpus = _corpus(voicebank, tmp_path, conditions=log)
    assert {name: len(items) for name, items in corpus.tests().items()} == {
        "bus_2.5dB": 2,
        "bus_7.5dB": 1,
        "cafe_2.5dB": 1,
    }
    item = corpus.tests()["bus_2.5dB"][1]
    assert (item["noise"], item["snr_db"]) == ("bus", 2.5)
    log.write_text("p9_0 bus 2.5\n")
    with pytest.raises(DataError, match="expected a line for every test file"):
        _corpus(voicebank, tmp_path, conditions=log).prepare()


def test_missing_partners_and_other_lengths_are_listed(voicebank: Path, tmp_path: Path) -> None:
    (voicebank / "clean_trainset_wav" / "p0_0.wav").unlink()
    write(voicebank / "clean_trainset_wav" / "p1_0.wav", tone(0.6, 1))
    write(voicebank / "clean_testset_wav" / "p9_0.wav", tone(0.7, 1, 8000), 8000)
    with pytest.raises(DataError, match="found 3 bad files") as error:
        _corpus(voicebank, tmp_path).prepare()
    for part in (
        "p0_0.wav (no clean file",
        "11200 samples, its clean file 9600 samples",
        "16000 Hz, its clean file 8000 Hz",
    ):
        assert part in str(error.value)
    corpus = _corpus(voicebank, tmp_path, on_bad_file="skip")
    assert len(corpus.train()) + len(corpus.valid()) == 6 and len(corpus.tests()["recorded"]) == 3
    assert len(corpus.describe()["skipped"]) == 3


def test_pairs_of_two_lengths_are_cut_when_asked(voicebank: Path, tmp_path: Path) -> None:
    clean = tone(0.7, 101)
    write(
        voicebank / "clean_testset_wav" / "p9_1.wav", clean[:-160]
    )  # 10 ms, as codecs leave them
    write(
        voicebank / "clean_testset_wav" / "p9_2.wav",
        np.concatenate([tone(0.7, 102), np.zeros(800)]),
    )
    with pytest.raises(
        DataError,
        match="found 2 bad files.*11200 samples, its clean file 11040 samples; "
        "data.lengths=shortest cuts both",
    ):
        _corpus(voicebank, tmp_path).prepare()
    corpus = _corpus(voicebank, tmp_path, lengths="shortest")
    items = corpus.tests()["recorded"]
    assert [(len(items[n]["noisy"]), len(items[n]["clean"])) for n in range(4)] == [
        (11200, 11200),
        (11040, 11040),
        *[(11200, 11200)] * 2,
    ]
    assert (
        "2 of 12 pairs differ by up to 50 ms; both files are cut to the shorter"
        in corpus.describe()["notes"]
    )
    with pytest.raises(
        DataError, match=r"found 1 bad files.*0.05 s apart, more than data.length_tolerance_s=0.02"
    ):
        _corpus(voicebank, tmp_path, lengths="shortest", length_tolerance_s=0.02).prepare()
    strict = _corpus(voicebank, tmp_path, on_bad_file="skip")
    assert len(strict.tests()["recorded"]) == 2 and strict.fingerprint() != corpus.fingerprint()


def test_the_rule_of_lengths_is_no_other_corpus_where_all_are_equal(
    voicebank: Path, tmp_path: Path
) -> None:
    corpora = [_corpus(voicebank, tmp_path, lengths=lengths) for lengths in ("equal", "shortest")]
    assert (
        corpora[0].fingerprint() == corpora[1].fingerprint()
        and corpora[1].notes == corpora[0].notes
    )


def test_one_speaker_is_refused_unless_files_are_shared_out(tmp_path: Path) -> None:
    for number in range(6):
        write_pair(tmp_path / "x", ("clean", "noisy"), f"p287_{number}.wav", number)
    with pytest.raises(DataError, match="data.speaker_from=file"):
        _corpus(tmp_path / "x", tmp_path).prepare()
    corpus = _corpus(tmp_path / "x", tmp_path, speaker_from="file")
    assert len(corpus.train()) == 4 and corpus.scale() == "paired_folder, 3 s, 4 files"
    assert any("every file counts as a speaker" in note for note in corpus.notes)
    roots = {"noisy_root": tmp_path / "x" / "noisy", "clean_root": tmp_path / "x" / "clean"}
    both = PairedFolder(**roots, speaker_from="file", cache_dir=str(tmp_path / "cache"))
    assert both.train()[0]["noisy"].equal(corpus.train()[0]["noisy"])


def test_silent_pairs_are_left_out_and_doubled_audio_is_refused(
    voicebank: Path, tmp_path: Path
) -> None:
    for side in ("clean", "noisy"):
        write(voicebank / f"{side}_trainset_wav" / "p0_7.wav", np.zeros(RATE))
    corpus = _corpus(voicebank, tmp_path)
    assert len(corpus.train()) + len(corpus.valid()) == 8 and any(
        "2 silent or short" in note for note in corpus.notes
    )
    for side in ("clean", "noisy"):
        (voicebank / f"{side}_testset_wav" / "p9_7.wav").write_bytes(
            (voicebank / f"{side}_trainset_wav" / "p1_0.wav").read_bytes()
        )
    with pytest.raises(DataError, match="different audio in training and test"):
        _corpus(voicebank, tmp_path).prepare()


def test_manifest_and_collate(voicebank: Path, tmp_path: Path) -> None:
    corpus = _corpus(voicebank, tmp_path, train_mixtures=2)
    records = [
        json.loads(line)
        for line in corpus.write_manifest(tmp_path / "m.jsonl").read_text().splitlines()
    ]
    assert (
        len(records) == 13
        and records[1]["kind"] == "pair"
        and len(records[1]["clean"]["sha256"]) == 64
    )
    assert len(corpus.train()) == 2
    assert corpus.collate([corpus.train()[index] for index in range(2)])["noisy"].shape == (
        2,
        11200,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"root": "a", "noisy_root": "b", "clean_root": "c"},
        {"noisy_root": "b"},
        {"root": "a", "on_bad_file": "x"},
        {"root": "a", "train_mixtures": 0},
        {"root": "a", "segment_s": 0.0},
        {"root": "a", "speaker_from": "x"},
        {"root": "a", "lengths": "longest"},
        {"root": "a", "length_tolerance_s": -1.0},
    ],
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        PairedFolder(**options)


def test_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    corpus = _corpus(shared_data / "vctk_demand_pairs", tmp_path, speaker_from="file")
    assert len(corpus.train()) + len(corpus.valid()) + len(corpus.tests()["recorded"]) == 6
