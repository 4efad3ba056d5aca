"""Rows of results: written as the file always held them, and read whatever they lack."""

from __future__ import annotations

import json
import math

import pytest

from audioprune.experiment.results import Results
from audioprune.experiment.rows import (
    QualityRow,
    SizeRow,
    SparsityRow,
    TrainRow,
    finite_or_none,
)

STAMP = {"corpus": "synthetic_speech", "corpus_fingerprint": "0f"}


def _score() -> QualityRow:
    measured = {"noise": "babble", "snr_db": -5.0, "metrics": {"stoi": 0.7}, "n": 4}
    return QualityRow(
        key="test/babble_-5dB",
        label="FDNN",
        variant="pruned",
        model="fdnn",
        scale="desk",
        seed=1,
        split="test",
        condition="babble_-5dB",
        more={**measured, "n_valid": {"stoi": 3}},
    )


def test_the_file_keeps_the_order_of_the_fields(tmp_path) -> None:
    size = SizeRow(key="e/size", label="FDNN", variant="pruned", params=4, nonzero=2, file="m.apz")
    results = Results(tmp_path / "results.jsonl", STAMP)
    results.put(_score(), size)
    first, second = (tmp_path / "results.jsonl").read_text().splitlines()
    assert list(json.loads(first)) == [
        *("key", "kind", "label", "variant", "model", "scale", "seed", "split", "condition"),
        *("noise", "snr_db", "metrics", "n", "n_valid", "corpus", "corpus_fingerprint", "check"),
    ]
    assert list(json.loads(second)) == [
        *("key", "kind", "label", "variant", "model", "params", "nonzero", "sparsity"),
        *("bytes_fp32", "bytes_paper", "bytes_ideal", "bytes_file", "macs_per_second"),
        *("latency_ms_per_s", "scale", "seed", "file", "corpus", "corpus_fingerprint", "check"),
    ]
    assert '"params": 4,' in second and '"latency_ms_per_s": null' in second


def test_prunings_and_trainings_keep_their_order_too() -> None:
    pruned = SparsityRow(key="p", label="FDNN", iteration=1, more={"alpha_1": 0.1}).as_dict()
    assert list(pruned) == [
        *("key", "kind", "label", "iteration", "remaining_share", "nonzero", "removed_share"),
        *("density_per_tensor", "alpha_1"),
    ]
    trained = TrainRow(key="t", label="FDNN", more={"lambda_1": 0.0}).as_dict()
    assert list(trained) == [
        *("key", "kind", "label", "epochs", "steps", "monitor", "best", "best_epoch", "kept"),
        *("kept_epoch", "keep", "seconds", "lambda_1"),
    ]


def test_what_was_written_is_read(tmp_path) -> None:
    results = Results(tmp_path / "results.jsonl", STAMP)
    results.put(_score())
    row = QualityRow.read(results.rows["test/babble_-5dB"])
    assert (row.corpus, row.corpus_fingerprint) == ("synthetic_speech", "0f")
    assert (row.noise, row.snr_db, row.metric("stoi"), row.is_test) == ("babble", -5.0, 0.7, True)
    assert (row.counted("n", "stoi"), row.counted("n_valid", "stoi")) == (4, 3)
    assert row.as_dict() == _score().as_dict()


def test_a_task_may_name_its_input_itself() -> None:
    row = QualityRow(key="k", label="Mixture", variant="mixture", more={"label": "Coded", "n": 1})
    assert list(row.as_dict())[:3] == ["key", "kind", "label"]
    assert row.as_dict()["label"] == "Coded"


@pytest.mark.parametrize("kind", [QualityRow, SizeRow, SparsityRow, TrainRow])
def test_a_row_without_anything_is_read(kind) -> None:
    row = kind.read({})
    assert row.key == "" and row.get("nothing") is None and row.number("nothing") is None
    with pytest.raises(KeyError):
        row["nothing"]


def test_what_is_no_number_is_none() -> None:
    row = SizeRow.read({"params": "many", "nonzero": math.inf, "sparsity": True, "extra": 3})
    assert (row.params, row.nonzero, row.sparsity) == (None, None, None)
    assert row.number("extra") == 3.0 and row["extra"] == 3 and row.is_written
    assert not SizeRow.read({}).is_written
    assert [finite_or_none(value) for value in (1, 0.5, True, "1", None, math.nan)] == [
        *(1.0, 0.5),
        *(None,) * 4,
    ]


def test_a_row_without_noise_goes_by_its_condition() -> None:
    assert QualityRow.read({"condition": "notes", "noise": None}).noise == "notes"
    assert SparsityRow.read({"iteration": "x"}).iteration == 0
