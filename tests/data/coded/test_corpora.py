from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audioprune.data.coded.alignment import measure_lag
from audioprune.data.coded.corpora import coded_folder, coded_synthetic, vctk
from audioprune.data.coded.corpus import CodedSpeech
from audioprune.errors import ConfigError

SPEAKERS = {"speakers": 2, "valid_speakers": 1, "test_speakers": 2}
TINY = {
    "minutes": 0.04,
    "valid_minutes": 0.02,
    "test_minutes": 0.04,
    "utterance_s": [1.0, 1.2],
    **SPEAKERS,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that all tests of this module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(cache: Path) -> CodedSpeech:
    """Return a tiny corpus of coded made-up voices."""
    pytest.importorskip("av", reason="needs audioprune[codec]")
    corpus = coded_synthetic(cache_dir=str(cache), segment=2048, **TINY)
    corpus.prepare()
    return corpus


def test_the_embedded_corpus(made: CodedSpeech, cache: Path) -> None:
    assert made.scale().startswith("synthetic_voices, ") and made.scale().endswith(
        " 2 speakers, aac-24k"
    )
    facts = made.describe()
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [
        2,
        1,
        2,
    ] and facts["codec"]["lag"] == 0
    assert facts["codec"]["payload_kbps"] == pytest.approx(25, abs=3) and facts["voices"][
        "recipe"
    ]["speakers"] == (2, 1, 2)
    item = made.tests()["aac-24k"][0]
    clean, coded = item["clean"].numpy(), item["noisy"].numpy()
    assert measure_lag(clean, coded, 16000).samples == 0
    assert 5 < 10 * np.log10(np.square(clean).sum() / np.square(coded - clean).sum()) < 30
    again = coded_synthetic(cache_dir=str(cache), segment=2048, **TINY)
    assert again.fingerprint() == made.fingerprint() and again.train()[3]["noisy"].equal(
        made.train()[3]["noisy"]
    )
    assert (
        coded_synthetic(cache_dir=str(cache), segment=2048, kbps=16.0, **TINY).fingerprint()
        != made.fingerprint()
    )


def test_decoded_elsewhere_is_the_same_corpus_as_coded_here(
    made: CodedSpeech, cache: Path, tmp_path: Path
) -> None:
    for pair in (*made.train().pairs, *made.valid().sources, *made.tests()["aac-24k"].sources):
        place = (tmp_path / pair.clean.relative).with_suffix(".wav")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(pair.noisy.path.read_bytes())
    root = made.describe()["voices"]["root"]
    other = coded_folder(
        root, coded_root=tmp_path, label="aac-24k", cache_dir=str(cache), segment=2048
    )
    for mine, theirs in (
        (made.train(), other.train()),
        (made.tests()["aac-24k"], other.tests()["aac-24k"]),
    ):
        assert len(mine) == len(theirs)
        for index in range(len(mine)):
            assert mine[index]["id"] == theirs[index]["id"] and mine[index]["noisy"].equal(
                theirs[index]["noisy"]
            )


def test_vctk(cache: Path, made: CodedSpeech, tmp_path: Path) -> None:
    names = iter(["p226", "p227", "p232", "p257", "p287"])
    for path in sorted(Path(made.describe()["voices"]["root"]).rglob("*_000.flac")):
        speaker = next(names)
        place = tmp_path / "wav48_silence_trimmed" / speaker / f"{speaker}_001_mic1.flac"
        place.parent.mkdir(parents=True)
        samples, _ = soundfile.read(str(path))
        soundfile.write(str(place), np.repeat(samples, 3), 48000)
    corpus = vctk(tmp_path, cache_dir=str(cache), segment=2048, codec="opus", kbps=16)
    facts = corpus.describe()
    assert [facts[split]["speakers"] for split in ("train", "valid", "test")] == [1, 2, 2]
    assert (
        list(facts["conditions"]) == ["opus-16k"]
        and facts["name"] == "vctk"
        and facts["voices"]["split"] == "valentini"
    )
    assert corpus.train()[0]["clean"].abs().max() > 0 and any(
        "resampled to 16000" in note for note in corpus.notes
    )
    assert {(item["speaker"], item["gender"]) for item in corpus.tests()["opus-16k"]} == {
        ("p232", "M"),
        ("p257", "F"),
    }
    assert corpus.tests()["opus-16k"][0]["id"] in (
        "000000_p257_001_mic1",
        "000000_p287_001_mic1",
        "000000_p232_001_mic1",
    )
    assert len(corpus.tests()["opus-16k"][0]["clean"]) == len(
        corpus.tests()["opus-16k"][0]["noisy"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utterance_s": [1.0]}, "two values"),
        ({"codec": "opuss"}, "closest: opus"),
        ({"kbps": 1.0}, "kbps from 6"),
        ({"minutes": 0}, "minutes"),
        ({"segment": -1}, "segment"),
        ({"codec": "opus", "sample_rate": 32000}, "that opus codes"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        coded_synthetic(**options)


def test_real_excerpts(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs audioprune[codec]")
    corpus = vctk(
        shared_data / "VCTK-Corpus-0.92", split="holdout", cache_dir=str(tmp_path), test_items=2
    )
    facts = corpus.describe()
    assert (
        facts["codec"]["payload_kbps"] == pytest.approx(24.8, abs=1) and facts["codec"]["lag"] == 0
    )
    for index in range(2):
        item = corpus.tests()["aac-24k"][index]
        assert measure_lag(item["clean"].numpy(), item["noisy"].numpy(), 16000).samples == 0
