"""Verdicts: the interval over seeds, every condition missed once, and what is judged when all are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.report import verdicts
from audioprune.report.results import Job
from audioprune.report.verdicts import Bound, Side, Verdict, all_cells, conditions_of, interval, judge, paired

CONFIG = {"data.name": "speech", "data.seed": 0, "training.epochs": 20, "model.name": "fdnn"}


def _side(name: str, seeds=(0, 1, 2), config=(), fingerprint: str = "aa", width: int = 64, **more) -> Side:
    jobs = [
        Job(Path(f"{name}{seed}"), name, seed=seed, scale=f"desk; width {width}", fingerprint=fingerprint, config=CONFIG | dict(config))
        for seed in seeds
    ]
    return Side(name, tuple(jobs), **more)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert found.mean == 2 and found.high - found.mean == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert found.width == pytest.approx(2 * 4.302653 / 3**0.5, rel=1e-6) and found.seeds == 3
    assert interval([1.0]) is None


def test_differences_are_paired_by_seed() -> None:
    assert paired({0: 3.0, 1: 5.0, 2: None, 7: 1.0}, {1: 4.0, 0: 1.0, 2: 9.0}) == {0: 2.0, 1: 1.0}


@pytest.mark.parametrize(
    ("values", "bound", "status"),
    [
        ([1.0, 1.1, 1.2], Bound(above=0.0), "held"),
        ([-1.0, -1.1, -1.2], Bound(above=0.0), "did not hold"),
        ([-1.0, 0.1, 1.2], Bound(above=0.0), "not shown"),
        ([1.0, 1.1, 1.2], Bound(at_most=2.0), "held"),
        ([1.0, 1.1, 1.2], Bound(at_most=1.05), "not shown"),
        ([1.0, 1.1, 1.2], Bound(at_most=0.5), "did not hold"),
        ([2.0, 2.0, 2.0], Bound(at_most=2.0), "held"),
        ([2.0, 2.0, 2.0], Bound(below=2.0), "did not hold"),
        ([2.0, 2.0, 2.0], Bound(at_least=2.0, at_most=3.0), "held"),
        ([2.0, 2.0, 2.0], Bound(at_least=2.5, at_most=3.0), "did not hold"),
        ([-279.0, 0.0, 229.0], Bound(at_most=1e4, margin=100.0), "not comparable"),
        ([5.0], Bound(above=0.0), "one seed: not judged"),
        ([5.0, 5.1], Bound(above=0.0), "two seeds: not judged"),
        ([], Bound(above=0.0), "not measured"),
    ],
)
def test_statuses(values, bound: Bound, status: str) -> None:
    assert judge(values, bound).status == status


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (_side("b", fingerprint="bb"), "the corpora differ"),
        (_side("b", config={"training.epochs": 130}), "training.epochs 20 | 130"),
        (_side("b", width=48), "the widths differ (64 | 48)"),
        (_side("b", config={"model.depth": 3}), "the models differ (model.depth none | 3)"),
        (_side("b", seeds=(0, 1, 3)), "the seeds differ"),
        (_side("b", removed=0.0), "nothing was removed from b"),
    ],
)
def test_what_is_not_comparable(other: Side, words: str) -> None:
    sides = (_side("a"), other)
    found = judge([1.0, 1.1, 1.2], Bound(above=0.0), conditions_of(*sides), sides)
    assert found.status == "not comparable" and words in found.reason


def test_a_model_from_a_file_is_compared_by_its_own_width() -> None:
    given = _side("b", config={"model.width": 2048, "checkpoint": "x.safetensors"})
    assert conditions_of(_side("a", config={"model.width": 64}), given) == ()


def test_equal_conditions_are_comparable() -> None:
    sides = (_side("a"), _side("b", removed=0.8, config={"model.name": "fdnn_b"}))
    assert conditions_of(*sides) == ()
    assert judge([1.0, 1.1, 1.2], Bound(above=0.0), conditions_of(*sides), sides).status == "held"
    apart = (_side("a"), _side("b", config={"pipeline.lambda_1": 1.0, "pipeline.lr": 0.1}))
    found = conditions_of(*apart, within=("training", "pipeline"), apart=("lambda_1",))
    assert len(found) == 1 and "pipeline.lr none | 0.1" in found[0] and "lambda_1" not in found[0]


@pytest.mark.parametrize("values", [[5.0], [1.0, 1.1, 1.2]])
def test_a_model_no_better_than_its_input_shows_nothing(values) -> None:
    found = judge(values, Bound(above=0.0), sides=(_side("a", no_better="no better than mixture"),))
    assert found == Verdict("not shown", "a is no better than mixture")


def test_a_claim_holds_where_it_holds_in_all_its_cells() -> None:
    held, lost = Verdict(verdicts.HELD, "x"), Verdict(verdicts.NOT_HELD, "y")
    assert all_cells({"-5 dB": held, "0 dB": held}, ("-5 dB", "0 dB")).status == "held"
    assert all_cells({"-5 dB": held, "0 dB": lost}) == Verdict("did not hold", "0 dB: y")
    assert all_cells({"-5 dB": held}, ("-5 dB", "0 dB")) == Verdict("not measured", "0 dB not measured")
    assert all_cells({"a": Verdict(verdicts.NOT_SHOWN, "z"), "b": held}).status == "not shown"
    assert all_cells({}).status == "not measured"
