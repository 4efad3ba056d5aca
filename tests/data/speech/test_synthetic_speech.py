"""Artificial noisy speech: its layout, its files by the seed, and what happens to damaged ones."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_trees import HOSTILE

from audioprune.data.speech.noise_synthesis import NOISES
from audioprune.data.speech.noisy_mixtures import NoisyMixtures
from audioprune.data.speech.synthetic_speech import Recipe, SyntheticSpeech, pieces
from audioprune.errors import ConfigError, DataError

TINY = {
    "minutes": 0.1,
    "valid_minutes": 0.02,
    "test_minutes": 0.03,
    "speakers": 3,
    "valid_speakers": 1,
    "test_speakers": 2,
    "utterance_s": [1.0, 1.5],
    "noise_s": 1.0,
    "noises": 3,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SyntheticSpeech:
    """Return a tiny corpus, made once."""
    folder = tmp_path_factory.mktemp("made")
    corpus = SyntheticSpeech(folder / HOSTILE, cache_dir=str(folder / "cache"), **TINY)
    corpus.prepare()
    return corpus


def _copy(made: SyntheticSpeech, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.folder.root, tmp_path / "copy"))


def _hashes(made: SyntheticSpeech) -> dict[str, str]:
    return {
        record["path"]: record["sha256"] for record in made.manifest() if record["kind"] == "file"
    }


def test_it_is_written_in_the_layout_of_any_corpus(made: SyntheticSpeech, tmp_path: Path) -> None:
    root = made.folder.root
    assert sorted(path.name for path in (root / "speech" / "train").iterdir()) == [
        "speaker000",
        "speaker001",
        "speaker002",
    ]
    assert (
        len(list((root / "speech" / "train").rglob("*.flac"))) == 5
        and len(list((root / "noise" / "train").iterdir())) == 3 + 12
    )
    names = [f"{noise}_{number}.flac" for noise in ("babble", "cafeteria") for number in (1, 2)]
    assert sorted(path.name for path in (root / "noise" / "test").iterdir()) == names
    info = soundfile.info(next(root.rglob("*.flac")))
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    plain = NoisyMixtures(root / "speech", root / "noise", cache_dir=str(tmp_path))
    assert plain.fingerprint() == made.fingerprint() and list(plain.tests()) == list(made.tests())
    assert np.array_equal(plain.train()[0]["noisy"], made.train()[0]["noisy"])


def test_facts(made: SyntheticSpeech) -> None:
    facts = made.describe()
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [3, 1, 2]
    assert facts["conditions"] == [
        f"{noise}_{snr}dB" for noise in ("babble", "cafeteria") for snr in (-5, 0, 5)
    ]
    assert (
        made.scale().startswith("synthetic_speech, ")
        and " 3 speakers, " in made.scale()
        and facts["recipe"]["seed"] == 0
    )
    assert made.sample_rate == 16000 and len(made.valid()) == 1
    assert made.collate([made.train()[0], made.train()[1]])["noisy"].shape[0] == 2


def test_an_intact_corpus_is_not_made_again_and_a_damaged_one_is(
    made: SyntheticSpeech, tmp_path: Path
) -> None:
    root = _copy(made, tmp_path)
    victim = next((root / "speech" / "test").rglob("*.flac"))
    before, original = victim.stat().st_mtime_ns, victim.read_bytes()
    SyntheticSpeech(root, cache_dir=str(tmp_path / "c"), **TINY).prepare()
    assert victim.stat().st_mtime_ns == before
    victim.unlink()
    SyntheticSpeech(root, cache_dir=str(tmp_path / "c"), **TINY).prepare()
    assert victim.read_bytes() == original
    victim.write_bytes(original[:-50] + bytes(50))
    SyntheticSpeech(root, cache_dir=str(tmp_path / "c"), **TINY).prepare()
    assert victim.read_bytes() == original
    assert [path.name for path in tmp_path.iterdir() if ".tmp." in path.name] == []


def test_other_peoples_folders_and_recipes_are_left_alone(
    made: SyntheticSpeech, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    with pytest.raises(
        DataError, match="expected an empty folder or an earlier synthetic_speech corpus"
    ):
        SyntheticSpeech(mine, cache_dir=str(tmp_path / "c"), **TINY).prepare()
    assert (mine / "thesis.txt").read_text() == "precious"
    root = _copy(made, tmp_path)
    with pytest.raises(DataError, match="found another seed"):
        SyntheticSpeech(root, seed=7, cache_dir=str(tmp_path / "c"), **TINY).prepare()


def test_the_default_place_is_in_the_cache_and_named_after_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUDIOPRUNE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    places = {SyntheticSpeech(seed=seed).folder.root for seed in (0, 1)} | {
        SyntheticSpeech(minutes=3.0).folder.root
    }
    assert len(places) == 3 and all(
        place.parent == tmp_path / "audioprune" / "synthetic_speech" for place in places
    )
    assert not any(tmp_path.iterdir())


def test_other_voices_and_noises_leave_the_test_set_as_it_is() -> None:
    pytest.importorskip("espeakng_loader")
    sizes = {"minutes": (0.1, 0.05, 0.03), "utterance_s": (1.0, 1.5), "noise_s": 1.0}
    plain = Recipe(seed=0, speakers=(24, 3, 2), noises=3, **sizes)
    other = Recipe(seed=0, speakers=(4, 2, 2), noises=3, voices="both", variety="rich", **sizes)
    wanted, found = pieces(plain), pieces(other)
    tests = [place for place in wanted if "/test/" in place]
    assert tests == [place for place in found if "/test/" in place]
    assert all(np.array_equal(wanted[place](), found[place]()) for place in tests)
    assert plain.facts().keys() < other.facts().keys()
    speakers = {place.split("/")[2] for place in found if place.startswith("speech/train")}
    assert speakers == {"speaker2000", "speaker2001", "espeak2000", "espeak2001"}
    made = found["speech/train/espeak2000/espeak2000_000.flac"]()
    assert np.isfinite(made).all() and made.std() > 0.01


def _make(root: str, cache: str, done: multiprocessing.Queue) -> None:
    done.put(SyntheticSpeech(root, cache_dir=cache, **TINY).fingerprint())


def test_the_bytes_do_not_depend_on_the_number_of_threads(
    made: SyntheticSpeech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    other = SyntheticSpeech(tmp_path / "other", cache_dir=str(tmp_path / "c"), **TINY)
    other.prepare()
    assert _hashes(other) == _hashes(made)


@pytest.mark.slow
def test_two_processes_may_make_it_at_once(made: SyntheticSpeech, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    workers = [
        context.Process(target=_make, args=(str(tmp_path / "shared"), str(tmp_path / "c"), done))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    assert {done.get(timeout=60) for _ in workers} == {made.fingerprint()}
    for worker in workers:
        worker.join(timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "shared"]


def test_default_recipe_has_the_promised_size() -> None:
    corpus = SyntheticSpeech()
    names = list(pieces(corpus.recipe))
    speech = [name for name in names if name.startswith("speech/")]
    places = {tuple(name.split("/")[1:3]) for name in speech}
    speakers = {
        split: {speaker for where, speaker in places if where == split}
        for split in ("train", "valid", "test")
    }
    assert [len(found) for found in speakers.values()] == [24, 3, 6] and len(
        set.union(*speakers.values())
    ) == 33
    assert len([name for name in speech if "/train/" in name]) == 240
    assert len([name for name in names if name.startswith("noise/train/")]) == len(NOISES) + 12


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"minutes": 0},
        {"minutes": float("nan")},
        {"speakers": 0},
        {"utterance_s": [4.0, 3.0]},
        {"utterance_s": [1.0]},
        {"noise_s": 0.1},
        {"noises": 99},
        {"babble_share": 3.0},
    ],
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        SyntheticSpeech(**options)


def test_a_marker_that_lies_is_not_believed(made: SyntheticSpeech, tmp_path: Path) -> None:
    root = _copy(made, tmp_path)
    marker = root / "synthetic_speech.json"
    content = json.loads(marker.read_text())
    content["files"] = {name: "0" * 64 for name in content["files"]}
    marker.write_text(json.dumps(content))
    assert not SyntheticSpeech(root, cache_dir=str(tmp_path / "c"), **TINY).folder.is_intact()
    marker.write_text("{")
    assert not SyntheticSpeech(root, cache_dir=str(tmp_path / "c"), **TINY).folder.is_intact()


def test_the_seed_decides_every_file(made: SyntheticSpeech, tmp_path: Path) -> None:
    # The last test: the background voices of another seed push those of the corpus out of memory.
    again = SyntheticSpeech(tmp_path / "again", cache_dir=str(tmp_path), **TINY)
    assert _hashes(again) == _hashes(made) and again.fingerprint() == made.fingerprint()
    here, other = (
        {name: piece() for name, piece in pieces(_least(seed)).items()} for seed in (0, 1)
    )
    assert all(not np.array_equal(other[name], here[name]) for name in here)
    assert len({audio.tobytes() for audio in here.values()}) == len(here)


def _least(seed: int) -> Recipe:
    return Recipe(seed, (0.02, 0.02, 0.02), (1, 1, 1), (1.0, 1.0), 1.0, 1)
