"""Made signals have the counts, lengths and rates of the corpus that they stand for."""

from __future__ import annotations

import pytest
import torch

from audioprune.data.coded.corpora import vctk
from audioprune.data.made import PUBLISHED, MadeCorpus, made_corpus
from audioprune.data.notes.nsynth import nsynth
from audioprune.data.scenes.corpora import TutScenes
from audioprune.data.speech.wsj0_mix import Wsj0Mix
from audioprune.errors import ConfigError
from audioprune.protocols import Corpus, Labelled, NamesNotes, Shares

NONE = "not-there"


def _rms(signal: torch.Tensor) -> float:
    return float(signal.square().mean().sqrt())


def _wsj0(**options: object) -> MadeCorpus:
    return made_corpus("wsj0_mix", Wsj0Mix(NONE, f"{NONE}/a", f"{NONE}/b", **options))


def test_mixtures_have_the_numbers_of_the_paper() -> None:
    corpus = _wsj0()
    assert isinstance(corpus, Corpus) and isinstance(corpus, Shares)
    assert len(corpus.train()) == 320_000 and len(corpus.valid()) == 846
    assert {len(items) for items in corpus.tests().values()} == {846}
    assert len(corpus.tests()) == 6 and "babble_-5dB" in corpus.tests()
    item = corpus.tests()["babble_5dB"][3]
    assert item["snr_db"] == 5.0 and len(item["noisy"]) == 90_000  # 500 h of 320,000 at 16 kHz
    noise = item["noisy"] - item["clean"]
    assert 20 * torch.log10(torch.tensor(_rms(item["clean"]) / _rms(noise))) == pytest.approx(
        5, abs=0.01
    )
    assert torch.equal(corpus.train()[319_999]["noisy"], _wsj0().train()[319_999]["noisy"])
    with pytest.raises(IndexError, match="below 846, got 846"):
        corpus.valid()[846]
    assert corpus.collate([corpus.valid()[0]])["noisy"].shape == (1, 90_000)


def test_what_the_configuration_declares_comes_first() -> None:
    corpus = _wsj0(train_mixtures=50, test_mixtures=7, segment_s=2.0, max_test_s=3.0)
    assert len(corpus.train()) == 50 and {len(each) for each in corpus.tests().values()} == {7}
    assert len(corpus.train()[0]["clean"]) == 32_000 and len(corpus.valid()[0]["clean"]) == 48_000


def test_coded_speech_is_cut_into_segments() -> None:
    corpus = made_corpus("vctk", vctk(NONE))
    # 2.9 s are 46,784 samples: starts every 8,192 up to the last 16,384
    assert len(corpus.train()) == 10_802 * 5
    assert len(corpus.train()[0]["noisy"]) == corpus.shared()["frame_length"] == 16_384
    assert list(corpus.tests()) and all(len(each) == 824 for each in corpus.tests().values())


def test_notes_have_pitches_families_and_instruments() -> None:
    corpus = made_corpus("nsynth", nsynth(NONE, segment_s=0.5))
    assert isinstance(corpus, NamesNotes) and len(corpus.families) == 11
    sizes = [len(corpus.train()), len(corpus.valid()), len(corpus.tests()["test"])]
    assert sizes == [8_048, 1_006, 1_006]
    note = corpus.tests()["test"][200]
    assert len(note["audio"]) == 64_000 and corpus.shared()["item_samples"] == 8_000
    assert 9 <= note["pitch"] <= 119 and note["family"] < 11


def test_scenes_have_features_of_the_configured_shape() -> None:
    corpus = made_corpus("tut2018", TutScenes(NONE, year=2018, hold_out=False, mels=64))
    assert [len(corpus.train()), len(corpus.valid())] == [6_122, 612]
    assert len(made_corpus("tut2018", TutScenes(NONE, year=2018)).train()) == 6_122 - 612
    items = corpus.tests()["test"]
    assert isinstance(items, Labelled) and len(items.classes) == 10 and len(items) == 2_518
    assert items[0]["features"].shape == (2, 64, 431)
    assert {items[index]["label"] for index in range(20)} == set(range(10))


def test_a_corpus_without_published_size_needs_its_files() -> None:
    with pytest.raises(ConfigError, match="data=mine: expected its files, or a corpus of publis"):
        made_corpus("mine", Wsj0Mix(NONE, f"{NONE}/a", f"{NONE}/b"))
    assert all(each.source for each in PUBLISHED.values())
