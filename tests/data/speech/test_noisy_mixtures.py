"""The corpus of noisy mixtures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import HOSTILE, noise_tree, speech_tree, tone, write

from audioprune.data.speech.noisy_mixtures import NoisyMixtures
from audioprune.errors import ConfigError, DataError


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    base = tmp_path / HOSTILE
    return speech_tree(base / "speech"), noise_tree(base / "noise")


def _corpus(trees: tuple[Path, Path], tmp_path: Path, **options) -> NoisyMixtures:
    return NoisyMixtures(*trees, cache_dir=str(tmp_path / "cache"), **options)


def test_sizes_conditions_and_scale(trees, tmp_path: Path) -> None:
    corpus = _corpus(trees, tmp_path)
    assert (len(corpus.train()), len(corpus.valid())) == (8, 8)
    names = [f"{noise}_{snr}dB" for noise in ("babble", "cafeteria") for snr in (-5, 0, 5)]
    assert list(corpus.tests()) == names and {len(items) for items in corpus.tests().values()} == {
        8
    }
    item = corpus.tests()["cafeteria_5dB"][0]
    assert (item["noise"], item["snr_db"]) == ("cafeteria", 5.0)
    facts = corpus.describe()
    assert (
        facts["train"]["speakers"] == 4
        and facts["test"]["noises"] == ["babble", "cafeteria"]
        and facts["conditions"] == names
    )
    assert facts["train"]["hours"] == pytest.approx(8 * 0.75 / 3600, abs=1e-4)
    assert corpus.scale() == "noisy_mixtures, 6 s, 4 speakers, 8 mixtures an epoch"
    json.dumps(facts, allow_nan=False)
    sized = _corpus(trees, tmp_path, train_mixtures=50, valid_mixtures=3, test_mixtures=11)
    assert (len(sized.train()), len(sized.valid()), len(sized.tests()["babble_0dB"])) == (
        50,
        3,
        11,
    )
    assert sized.scale() == "noisy_mixtures, 6 s, 4 speakers, 50 mixtures an epoch"
    assert (
        _corpus(trees, tmp_path, train_mixtures=3, fresh_each_epoch=False)
        .scale()
        .endswith(", 3 mixtures")
    )


def test_speakers_and_noise_files_are_disjoint(trees, tmp_path: Path) -> None:
    corpus = _corpus(trees, tmp_path, train_mixtures=60, valid_mixtures=30)
    sets = {
        "train": [corpus.train()],
        "valid": [corpus.valid()],
        "test": list(corpus.tests().values()),
    }
    records = {
        name: [items.mixture(i).record for items in found for i in range(len(items))]
        for name, found in sets.items()
    }
    speakers = {name: {record["speaker"] for record in found} for name, found in records.items()}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values())) == 12
    noises = {
        name: {part["path"] for record in found for part in record["noise"]}
        for name, found in records.items()
    }
    assert noises["test"] == {
        f"test/{name}.wav" for name in ("babble_1", "babble_2", "cafeteria_1")
    }
    assert not noises["test"] & (noises["train"] | noises["valid"])


def test_two_corpora_are_the_same_bits_and_say_when_they_are_not(trees, tmp_path: Path) -> None:
    first, second = (
        _corpus(trees, tmp_path, babble_share=0.2),
        _corpus(trees, tmp_path, babble_share=0.2),
    )
    assert (
        np.array_equal(first.train()[5]["noisy"], second.train()[5]["noisy"])
        and first.fingerprint() == second.fingerprint()
    )
    for options in ({"babble_share": 0.3}, {"seed": 1}, {"train_mixtures": 9}, {"segment_s": 0.5}):
        assert (
            _corpus(trees, tmp_path, **{"babble_share": 0.2, **options}).fingerprint()
            != first.fingerprint()
        )
    write(trees[0] / "train" / "train0" / "train0_0.wav", tone(0.7, 5))
    assert _corpus(trees, tmp_path, babble_share=0.2).fingerprint() != first.fingerprint()


def test_memory_does_not_change_items(trees, tmp_path: Path) -> None:
    large, none = _corpus(trees, tmp_path), _corpus(trees, tmp_path, memory_mb=0)
    assert all(
        np.array_equal(large.train()[index]["noisy"], none.train()[index]["noisy"])
        for index in range(8)
    )


def test_manifest_names_every_file_and_test_mixture(trees, tmp_path: Path) -> None:
    corpus = _corpus(trees, tmp_path, test_mixtures=2, valid_mixtures=2)
    path = corpus.write_manifest(tmp_path / "manifest.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kinds = [record["kind"] for record in records]
    assert (kinds.count("corpus"), kinds.count("file"), kinds.count("mixture")) == (
        1,
        24 + 9,
        2 + 6 * 2,
    )
    speech = next(
        record for record in records if record["kind"] == "file" and record["role"] == "speech"
    )
    assert {"split", "group", "path", "sha256", "duration_s"} <= set(speech) and len(
        speech["sha256"]
    ) == 64
    mixture = records[-1]
    assert (
        mixture["condition"] == "cafeteria_5dB"
        and mixture["seed"]
        and mixture["noise"][0]["start"] >= 0
    )
    clean = soundfile.read(trees[0] / mixture["speech"]["path"])[0]
    noise = soundfile.read(trees[1] / mixture["noise"][0]["path"])[0][
        mixture["noise"][0]["start"] :
    ][: len(clean)]
    noise *= np.sqrt(np.sum(clean**2) / np.sum(noise**2)) * 10 ** (-mixture["snr_db"] / 20)
    noisy = corpus.tests()["cafeteria_5dB"][mixture["index"]]["noisy"].numpy()
    assert np.allclose((clean + noise) / np.sqrt(np.mean((clean + noise) ** 2)), noisy, atol=1e-4)
    assert path.read_bytes() == corpus.write_manifest(tmp_path / "again.jsonl").read_bytes()


def test_bad_files_stop_or_are_skipped_and_listed(trees, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (trees[0] / "train" / "train0" / name).write_bytes(b"junk")
    with pytest.raises(DataError, match="found 2 bad files") as error:
        _corpus(trees, tmp_path).prepare()
    assert all(
        name in str(error.value) for name in ("a.wav", "b.wav", "on_bad_file=skip")
    ) and "\n" not in str(error.value)
    corpus = _corpus(trees, tmp_path, on_bad_file="skip")
    assert len(corpus.train()) == 8 and len(corpus.describe()["skipped"]) == 2
    assert any("2 bad files are left out" in note for note in corpus.notes)


def test_silent_and_short_files_are_left_out_and_counted(trees, tmp_path: Path) -> None:
    write(trees[0] / "train" / "train0" / "silent.wav", np.zeros(16000))
    write(trees[0] / "train" / "train0" / "short.wav", tone(0.1, 1))
    write(trees[1] / "train" / "silent_1.wav", np.zeros(16000))
    corpus = _corpus(trees, tmp_path)
    assert len(corpus.train()) == 8 and corpus.describe()["train"]["noise_files"] == 3
    text = " ".join(corpus.notes)
    assert "speech: 2 silent or short files" in text and "noise: 1 silent" in text


def test_the_same_audio_in_training_and_test_is_refused(trees, tmp_path: Path) -> None:
    samples = (tone(0.8, 77) * 32768).astype(np.int16)
    write(trees[0] / "train" / "train0" / "copy.wav", samples)
    write(trees[0] / "test" / "test0" / "copied.flac", samples)
    with pytest.raises(DataError, match="different audio in training and test") as error:
        _corpus(trees, tmp_path).prepare()
    assert "copy.wav" in str(error.value) and "copied.flac" in str(error.value)


def test_other_rates_and_channels_are_converted_with_one_note(tmp_path: Path) -> None:
    speech, noise = speech_tree(tmp_path / "speech", splits=()), noise_tree(tmp_path / "noise")
    for number in range(3):
        write(
            speech / "all0" / f"x{number}.wav",
            np.stack([tone(0.7, 300 + number, 8000)] * 2, axis=1),
            8000,
        )
    corpus = _corpus(
        (speech, noise), tmp_path, split={"train": ["all0"], "valid": ["all1"], "test": ["all2"]}
    )
    assert {len(item["noisy"]) for item in map(corpus.train().__getitem__, range(5))} == {
        11200,
        12800,
    }
    assert [note for note in corpus.notes if "resampled" in note] == [
        "speech: 3 of 9 files are resampled to 16000 Hz (3 from 8000 Hz)"
    ]
    assert sum("averaged to mono" in note for note in corpus.notes) == 1


def test_separate_test_noise(tmp_path: Path) -> None:
    speech, noise = speech_tree(tmp_path / "speech"), noise_tree(tmp_path / "noise")
    corpus = NoisyMixtures(
        speech, noise / "train", test_noise_root=noise / "test", cache_dir=str(tmp_path / "cache")
    )
    facts = corpus.describe()
    assert facts["train"]["noises"] == ["fan", "rain", "wind"] and facts["test"]["noises"] == [
        "babble",
        "cafeteria",
    ]
    split = NoisyMixtures(
        speech, noise, test_noise_root=noise / "test", cache_dir=str(tmp_path / "cache")
    )
    assert split.describe()["train"]["noises"] == ["fan", "rain", "wind"]
    with pytest.raises(ConfigError, match="apart from noise_root"):
        NoisyMixtures(speech, noise / "test", test_noise_root=str(noise / "test") + "/")
    inside = noise_tree(tmp_path / "all" / "noise").rename(tmp_path / "all" / "sounds")
    with pytest.raises(DataError, match="different audio in training and test"):
        NoisyMixtures(
            speech,
            inside / "train" / "..",
            test_noise_root=inside / "train",
            cache_dir=str(tmp_path / "cache"),
        ).prepare()


def test_a_split_without_speech_is_refused(tmp_path: Path) -> None:
    speech, noise = (
        speech_tree(tmp_path / "speech", splits=("train", "test")),
        noise_tree(tmp_path / "noise"),
    )
    for path in (speech / "test").rglob("*.wav"):
        write(path, np.zeros(16000))
    with pytest.raises(
        DataError, match="expected speech for all three splits, found none for test"
    ):
        _corpus((speech, noise), tmp_path).prepare()


def test_symlinked_relative_and_slashed_roots(
    trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(trees[0])
    monkeypatch.chdir(tmp_path)
    corpus = NoisyMixtures("link/", str(trees[1]) + "/", cache_dir="cache")
    assert np.array_equal(corpus.train()[0]["noisy"], _corpus(trees, tmp_path).train()[0]["noisy"])
    assert corpus.fingerprint() == _corpus(trees, tmp_path).fingerprint()


@pytest.mark.parametrize(
    "options",
    [
        {"on_bad_file": "ignore"},
        {"speaker_from": "names"},
        {"train_mixtures": 0},
        {"test_mixtures": 2.5},
        {"train_snr_db": [0.0]},
        {"fractions": [0.5, 0.5, 0.5]},
        {"memory_mb": -1.0},
        {"memory_mb": float("nan")},
        {"babble_share": 2.0},
    ],
)
def test_wrong_options_are_refused_before_any_work(options: dict) -> None:
    with pytest.raises(ConfigError, match="expected|unknown"):
        NoisyMixtures("nowhere", "nowhere", **options)


def test_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "wsj0-mix-sources"
    corpus = NoisyMixtures(
        root / "speech",
        root / "noise",
        cache_dir=str(tmp_path / "cache"),
        test_mixtures=2,
        max_test_s=2.0,
    )
    assert list(corpus.tests()) == [
        f"{noise}_{snr}dB" for noise in ("babble", "cafeteria") for snr in (-5, 0, 5)
    ]
    listed = NoisyMixtures(
        root / "speech",
        root / "noise",
        split=root / "speech.csv",
        cache_dir=str(tmp_path / "cache"),
    )
    assert (len(listed.train()), len(listed.valid())) == (52, 6)
