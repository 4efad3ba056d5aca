"""Each kind of corpus keeps together what belongs together, and names what leaks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from note_trees import tinysol_tree, write_tone
from scene_trees import class_folder, tut_2018, write_clip
from speech_trees import RATE, noise_tree, speech_tree, tone, write

from audioprune.data.coded.corpora import coded_folder
from audioprune.data.notes.folder import note_folder
from audioprune.data.notes.studio_online import list_sol
from audioprune.data.scenes.corpora import ClassFolder, TutScenes
from audioprune.data.speech.noisy_mixtures import NoisyMixtures
from audioprune.data.speech.paired_folder import PairedFolder
from audioprune.dsp import resample
from audioprune.errors import DataError


def _named(findings: list[Any]) -> str:
    assert all("\n" not in finding.line() for finding in findings)
    return " | ".join(finding.line() for finding in findings)


def _mixtures(tmp_path: Path, **options: Any) -> NoisyMixtures:
    return NoisyMixtures(
        tmp_path / "speech", tmp_path / "noise", cache_dir=str(tmp_path / "cache"), **options
    )


def test_noise_copies_stay_on_one_side_when_they_are_shared_out(tmp_path: Path) -> None:
    speech_tree(tmp_path / "speech", speakers=1)
    for number in range(6):
        write(tmp_path / "noise" / f"n{number}.wav", tone(1.0, number))
    whole = {
        record["path"]: record["split"]
        for record in _mixtures(tmp_path).manifest()
        if record.get("role") == "noise"
    }
    test = next(name for name, split in whole.items() if split == "test")
    names = sorted(set(whole) - {test})
    samples = tone(1.0, int(test[1]))
    write(tmp_path / "noise" / names[0], 0.3 * samples)
    write(tmp_path / "noise" / names[1], resample(samples.astype(np.float32), RATE, 8000), 8000)
    corpus = _mixtures(tmp_path)
    records = [record for record in corpus.manifest() if record.get("role") == "noise"]
    same = [record for record in records if record["path"] in (test, names[0], names[1])]
    assert (
        len({record["split"] == "test" for record in same}) == 1
        and len({record["together"] for record in same}) == 1
    )
    assert not corpus.leaks()


def test_speakers_with_the_same_audio_get_one_split(tmp_path: Path) -> None:
    speech_tree(tmp_path / "speech", (), speakers=6)
    noise_tree(tmp_path / "noise", 1.0)
    placed = {
        entry["group"]: entry["split"]
        for entry in _mixtures(tmp_path).manifest()
        if entry.get("role") == "speech"
    }
    one, other = (
        next(name for name, split in placed.items() if split == wanted)
        for wanted in ("test", "train")
    )
    shutil.copy(
        tmp_path / "speech" / one / f"{one}_0.wav", tmp_path / "speech" / other / "again.wav"
    )
    records = [entry for entry in _mixtures(tmp_path).manifest() if entry.get("role") == "speech"]
    assert len({entry["split"] for entry in records if entry["group"] in (one, other)}) == 1
    assert {entry["together"] for entry in records if entry["group"] in (one, other)} == {
        min(one, other)
    }


def test_given_folders_of_a_corpus_are_suspected_or_refused(tmp_path: Path) -> None:
    speech_tree(tmp_path / "speech", speakers=1)
    noise_tree(tmp_path / "noise", 1.0)
    for name, level in (("train/metro_0.wav", 1.0), ("test/metro_1.wav", 0.5)):
        write(tmp_path / "noise" / name, level * tone(1.0, 9))
    told = _named(_mixtures(tmp_path).leaks())
    assert (
        "recording 'metro' is in train (metro_0.wav) and test (metro_1.wav)" in told
        and "sounds like a copy of" in told
    )
    for split in ("train", "valid"):
        write(tmp_path / "speech" / split / f"{split}0" / "same.wav", tone(1.0, 50))
    with pytest.raises(
        DataError,
        match="expected different audio in training and test, got .*same.wav, in valid, holds the "
        "same audio as",
    ):
        _mixtures(tmp_path).prepare()


def test_the_manifest_prints_the_rules_and_what_each_file_is_kept_with(tmp_path: Path) -> None:
    speech_tree(tmp_path / "speech", (), speakers=4)
    for name in ("metro_0", "metro_1", "rain_0", "fan_0"):
        seed = len(name) + ord(name[-1]) + ord(name[0])
        write(tmp_path / "noise" / f"{name}.wav", tone(1.0, seed))
    head, *records = _mixtures(tmp_path).manifest()
    told = " ".join(head["split_rules"])
    for part in (
        "files of one recording stay together",
        "speech: speakers are folders; shares of the speakers by seed 0",
        "noise: noise files are recordings by their names; shares of the recordings by seed 0",
    ):
        assert part in told
    together = {
        record["path"]: record["together"] for record in records if record["kind"] == "file"
    }
    assert (
        together["metro_0.wav"] == together["metro_1.wav"] == "metro"
        and together["all0/all0_0.wav"] == "all0"
    )


def test_pairs_and_coded_speech_name_speakers_and_rules(tmp_path: Path) -> None:
    for number in range(6):
        for side, level in (("clean", 1.0), ("noisy", 0.7)):
            write(tmp_path / "pairs" / side / f"p287_{number:03d}.wav", level * tone(0.6, number))
    pairs = PairedFolder(
        tmp_path / "pairs", speaker_from="file", cache_dir=str(tmp_path / "cache")
    )
    assert "speaker 'p287' is in train" in _named(pairs.leaks())
    head, *records = pairs.manifest()
    assert "files: speakers are not known" in head["split_rules"][1] and {
        record["together"] for record in records
    } > {"p287_000"}
    speech_tree(tmp_path / "speech", (), speakers=4)
    shutil.copytree(tmp_path / "speech", tmp_path / "coded")
    coded = coded_folder(
        tmp_path / "speech",
        coded_root=tmp_path / "coded",
        label="x",
        segment=4096,
        cache_dir=str(tmp_path / "cache"),
        speaker="^(?P<speaker>[a-z]+[0-9])/",
    )
    head, *records = coded.manifest()
    assert "speakers by the pattern" in head["split_rules"][1] and coded.leaks() == []
    assert {record["together"] for record in records} == {"all0", "all1", "all2", "all3"}


def test_pairs_of_the_same_speech_get_one_split(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / "clean" / f"u{number}.wav", tone(0.6, number % 4))
        write(tmp_path / "noisy" / f"u{number}.wav", tone(0.6, 100 + number))
    corpus = PairedFolder(tmp_path, speaker_from="file", cache_dir=str(tmp_path / "cache"))
    splits = {
        Path(record["clean"]["path"]).stem: record["split"]
        for record in corpus.manifest()
        if record["kind"] == "pair"
    }
    assert (
        all(splits[f"u{number}"] == splits[f"u{number + 4}"] for number in range(4))
        and len(set(splits.values())) == 3
    )


def _scenes(root: Path, tmp_path: Path, kind: type = ClassFolder, **options: Any) -> Any:
    return kind(
        root,
        mels=8,
        duration_s=0.3,
        sample_rate=16000,
        cache_dir=str(tmp_path / "cache"),
        **options,
    )


def test_clips_of_one_location_stay_together_in_a_folder_of_classes(tmp_path: Path) -> None:
    for place, label in enumerate(("airport", "public_square")):
        for location in range(4):
            for segment in range(3):
                name = f"{label}-oslo-{10 * place + location}-{segment}-a.wav"
                write_clip(
                    tmp_path / "x" / label / name,
                    100 * place + 10 * location + segment,
                    sample_rate=16000,
                    channels=1,
                )
    head, *records = _scenes(tmp_path / "x", tmp_path).manifest()
    kept: dict[str, set[str]] = {}
    for record in records:
        kept.setdefault(record["recording"], set()).add(record["split"])
    assert len(kept) == 8 and all(len(splits) == 1 for splits in kept.values())
    assert "shares of each class's recordings by seed 0" in head["split_rules"][1]


def test_the_same_clip_under_two_names_gets_one_split(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        for clip in range(8):
            write_clip(
                tmp_path / "x" / label / f"{label}_{clip}.wav",
                10 * len(label) + clip % 4,
                sample_rate=16000,
                channels=1,
            )
    splits = {
        record["path"]: record["split"]
        for record in _scenes(tmp_path / "x", tmp_path).manifest()
        if record["kind"] == "clip"
    }
    for label in ("dog", "rain"):
        assert all(
            splits[f"{label}/{label}_{clip}.wav"] == splits[f"{label}/{label}_{clip + 4}.wav"]
            for clip in range(4)
        )
    assert set(splits.values()) == {"train", "valid", "test"}


def test_too_few_recordings_of_a_class_are_not_split_by_files(tmp_path: Path) -> None:
    for label in ("dog", "rain"):
        for clip in range(6):
            write_clip(
                tmp_path / "x" / label / f"{'bella' if clip < 3 else 'rex'}_{clip}.wav",
                clip + len(label),
                sample_rate=16000,
            )
    with pytest.raises(
        DataError,
        match="expected at least 3 recordings of class dog to split them, got dog/bella, dog/rex",
    ):
        _scenes(tmp_path / "x", tmp_path).prepare()


def test_recordings_in_given_folders_are_suspected(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "x", ("train", "valid", "test"), recordings=2)
    for number, split in enumerate(("train", "test")):
        write_clip(
            root / split / "dog" / f"rex_{number}.wav", 900 + number, sample_rate=22050, channels=1
        )
        write_clip(root / split / "rain" / "1.wav", 910 + number, sample_rate=22050, channels=1)
    corpus = _scenes(root, tmp_path)
    (finding,) = corpus.leaks()
    assert "recording 'dog/rex' is in train (rex_0.wav) and test (rex_1.wav)" in finding.reason
    assert corpus.manifest()[0]["split_rules"][1] == "recordings by auto; folders give the splits"


def test_locations_of_tut_are_kept_together_and_named(tmp_path: Path) -> None:
    corpus = _scenes(tut_2018(tmp_path / "x"), tmp_path, TutScenes, year=2018)
    records = corpus.manifest()
    assert "city and location" in records[0]["split_rules"][1] and corpus.leaks() == []
    train, valid = (
        {record["recording"] for record in records[1:] if record["split"] == split}
        for split in ("train", "valid")
    )
    assert (
        valid
        and not train & valid
        and valid
        <= {f"paris-{10 * place + location}" for place in range(3) for location in range(3)}
    )


def test_takes_and_louder_copies_of_a_note_stay_together(tmp_path: Path) -> None:
    for pitch in range(60, 70):
        for take in range(3):
            write_tone(
                tmp_path / "x" / "piano" / f"p{pitch:03d}_take{take}.wav",
                pitch,
                phase=0.3 * take + pitch,
            )
    corpus = note_folder(tmp_path / "x", cache_dir=str(tmp_path / "cache"), duration_s=0.1)
    head, *records = corpus.manifest()
    splits = {Path(record["path"]).stem: record["split"] for record in records}
    assert all(
        len({splits[f"p{pitch:03d}_take{take}"] for take in range(3)}) == 1
        for pitch in range(60, 70)
    )
    assert len({record["together"] for record in records}) == 10 and set(splits.values()) == {
        "train",
        "valid",
        "test",
    }
    assert (
        "takes of one instrument, pitch and velocity stay together" in head["split_rules"][0]
        and corpus.leaks() == []
    )


def test_the_same_audio_in_official_splits_of_notes_is_named(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid", "test")):
        write_tone(tmp_path / "x" / split / "piano" / "p060.wav", 60, phase=0.5 * number)
        write_tone(tmp_path / "x" / split / "piano" / f"p07{number}.wav", 70 + number)
    shutil.copy(tmp_path / "x/train/piano/p070.wav", tmp_path / "x/test/piano/p072.wav")
    told = note_folder(
        tmp_path / "x", split="official", cache_dir=str(tmp_path / "cache"), duration_s=0.1
    ).leaks()
    assert [finding.severity for finding in told] == ["error", "warning"]
    assert (
        "p072.wav" in told[0].line()
        and "take 'piano 060 100' is in train (p060.wav) and valid (p060.wav) and test"
        in told[1].reason
    )


def test_a_transposed_note_stays_with_the_note_that_it_was_made_from(tmp_path: Path) -> None:
    rows = [
        ("Violin", "ordinario", name, pitch, "ff")
        for name, pitch in (("A4", 69), ("A#4", 70), ("G#4", 68))
    ]
    root = tinysol_tree(tmp_path / "x", rows)
    folder = root / "audio" / "Winds" / "Violin" / "ordinario"
    (root / "annotation" / "TinySOL_metadata.csv").unlink()
    (folder / "Vi-ord-A#4-ff-N-N.wav").rename(folder / "Vi-ord-A#4-ff-4c-R100u.wav")
    (folder / "Vi-ord-G#4-ff-N-N.wav").rename(folder / "Vi-ord-G#4-ff-4c-R100d.wav")
    assert {note.take for note in list_sol(root).notes} == {"Violin 069 127"}
    assert {note.pitch for note in list_sol(root).notes} == {68, 69, 70}


def test_manifests_are_json(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "x", ("train", "valid", "test"), recordings=2)
    path = _scenes(root, tmp_path).write_manifest(tmp_path / "m.jsonl")
    assert json.loads(path.read_text().splitlines()[0])["split_rules"]


def test_a_note_at_two_velocities_from_one_sample_stays_together(tmp_path: Path) -> None:
    for pitch in range(60, 68):
        for velocity, level in ((50, 0.3), (100, 1.0)):
            write(tmp_path / "pipe" / f"p{pitch:03d}_v{velocity}.wav", level * tone(0.6, pitch))
    _, *records = note_folder(
        tmp_path, cache_dir=str(tmp_path / "cache"), duration_s=0.6
    ).manifest()
    splits = {Path(record["path"]).stem: record["split"] for record in records}
    assert (
        all(splits[f"p{pitch:03d}_v50"] == splits[f"p{pitch:03d}_v100"] for pitch in range(60, 68))
        and len(set(splits.values())) == 3
    )
