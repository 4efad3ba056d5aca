"""The first items stay, in memory, and with them what a task reads of a set."""

from __future__ import annotations

import tiny_runs
import torch

from audioprune.experiment.rehearsal.few_items import Counts, few_of


def test_the_first_items_and_conditions_stay() -> None:
    corpus = tiny_runs.TinySpeech()
    few, seconds = few_of(corpus, Counts(5, 2, 1), ["*_0dB", "*dB", "rain"])
    assert [len(few.train()), len(few.valid())] == [5, 2] and seconds > 0
    assert {name: len(items) for name, items in few.tests().items()} == {
        "white_-5dB": 1,
        "white_0dB": 1,
    }
    assert torch.equal(few.valid()[1]["noisy"], corpus.valid()[1]["noisy"])
    assert few.train()[0] is few.train()[0]  # read once
    assert len(corpus.train()) == 12 and few.fingerprint() == corpus.fingerprint()
    first, _ = few_of(corpus, Counts(1))
    assert list(first.tests()) == ["white_-5dB"]
