"""Verdicts: the interval over seeds, every condition missed once, the table of claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.report import claims
from audioprune.report.claims import (
    HELD,
    NOT_MEASURED,
    Bound,
    Claim,
    Side,
    Verdict,
    all_cells,
    any_measured,
    claim_of,
    claims_table,
    conditions_of,
    judge,
    ready,
    same_corpus,
    same_seeds,
    same_settings,
    same_width,
    something_removed,
    width_of,
)
from audioprune.report.runs.intervals import interval, paired
from audioprune.report.runs.job import Job

CONFIG = {"data.name": "speech", "data.seed": 0, "training.epochs": 20, "model.name": "fdnn"}


def _side(
    name: str, seeds=(0, 1, 2), config=(), fingerprint: str = "aa", width: int = 64, **more
) -> Side:
    jobs = [
        Job(
            Path(f"{name}{seed}"),
            name,
            seed=seed,
            scale=f"desk; width {width}",
            fingerprint=fingerprint,
            config=CONFIG | dict(config),
        )
        for seed in seeds
    ]
    return Side(name, tuple(jobs), **more)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert found.mean == 2 and found.high - found.mean == pytest.approx(
        4.302653 / 3**0.5, rel=1e-6
    )
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
    found = judge(
        values, Bound(above=0.0), sides=(_side("a", no_better="no better than mixture"),)
    )
    assert found == Verdict("not shown", "a is no better than mixture")


def test_a_claim_holds_where_it_holds_in_all_its_cells() -> None:
    held, lost = Verdict(claims.HELD, "x"), Verdict(claims.NOT_HELD, "y")
    assert all_cells({"-5 dB": held, "0 dB": held}, ("-5 dB", "0 dB")).status == "held"
    assert all_cells({"-5 dB": held, "0 dB": lost}) == Verdict("did not hold", "0 dB: y")
    assert all_cells({"-5 dB": held}, ("-5 dB", "0 dB")) == Verdict(
        "not measured", "0 dB not measured"
    )
    assert all_cells({"a": Verdict(claims.NOT_SHOWN, "z"), "b": held}).status == "not shown"
    assert all_cells({}).status == "not measured"


FEW = "an interval over seeds needs at least 3 of them"


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ([], Bound(above=0.0), Verdict("not measured", "no seed has the numbers of both sides")),
        ({}, Bound(above=0.0), Verdict("not measured", "no seed has the numbers of both sides")),
        ({0: 1.0}, Bound(above=0.0), Verdict("one seed: not judged", FEW)),
        ({0: 1.0, 1: 1.0}, Bound(above=0.0), Verdict("two seeds: not judged", FEW)),
        (
            {0: 1.0, 1: 1.0, 2: 1.0},
            Bound(above=0.0),
            Verdict("held", "the whole interval over seeds is as claimed"),
        ),
        (
            [1.0] * 3,
            Bound(above=1.0),
            Verdict("did not hold", "no part of the interval over seeds is as claimed"),
        ),
        (
            [1.0] * 3,
            Bound(at_least=1.0),
            Verdict("held", "the whole interval over seeds is as claimed"),
        ),
        (
            [-1.0, 0.0, 1.0],
            Bound(at_least=0.0),
            Verdict("not shown", "the interval over seeds reaches both ways"),
        ),
        (
            [-1.0, 0.0, 1.0],
            Bound(below=0.0),
            Verdict("not shown", "the interval over seeds reaches both ways"),
        ),
        (
            [-1.0, 0.0, 1.0],
            Bound(above=0.0, margin=4.5),
            Verdict("not comparable", "the interval over seeds is 4.97 wide, more than 4.5"),
        ),
        (
            [-1.0, 0.0, 1.0],
            Bound(above=0.0, margin=5.0),
            Verdict("not shown", "the interval over seeds reaches both ways"),
        ),
        (
            [1.0] * 3,
            Bound(above=0.0, margin=0.0),
            Verdict("held", "the whole interval over seeds is as claimed"),
        ),
    ],
)
def test_every_verdict_says_why(values, bound: Bound, expected: Verdict) -> None:
    assert judge(values, bound) == expected


def test_what_is_missed_comes_before_all_else() -> None:
    idle = (
        _side("a", no_better="no better than x"),
        _side("b"),
        _side("c", no_better="no better than y"),
    )
    assert ready(1, ["one", "", "two", "one"], idle) == Verdict("not comparable", "one; two")
    assert ready(1, ["", ""], (*idle, idle[0])) == Verdict(
        "not shown", "a is no better than x; c is no better than y"
    )
    assert [ready(seeds) for seeds in (0, 1, 2, 3)] == [
        Verdict("one seed: not judged", FEW),
        Verdict("one seed: not judged", FEW),
        Verdict("two seeds: not judged", FEW),
        None,
    ]


def test_cells_say_which_of_them_decides() -> None:
    held, lost, same = (
        Verdict("held", "x"),
        Verdict("did not hold", "y"),
        Verdict("did not hold", "y"),
    )
    assert all_cells({"a": held}) == Verdict("held", "as claimed in a")
    assert all_cells({"a": held, "b": held}) == Verdict("held", "as claimed in all of a, b")
    assert all_cells({}) == Verdict("not measured", "no cell not measured")
    assert all_cells({"a": held}, ("a", "b", "c")) == Verdict("not measured", "b, c not measured")
    assert all_cells({"a": lost, "b": same}) == Verdict("did not hold", "y")
    assert all_cells({"a": lost, "b": held, "c": same}) == Verdict("did not hold", "a: y; c: y")
    assert all_cells({"a": lost, "b": Verdict("did not hold", "z")}) == Verdict(
        "did not hold", "a: y; b: z"
    )
    order = (
        "not measured",
        "not comparable",
        "one seed: not judged",
        "two seeds: not judged",
        "did not hold",
        "not shown",
    )
    for place in range(len(order)):
        cells = {status: Verdict(status, status) for status in (*reversed(order[place:]), "held")}
        assert all_cells(cells) == Verdict(order[place], f"{order[place]}: {order[place]}")


def test_every_condition_says_what_differs() -> None:
    many = {f"training.k{n}": n for n in range(6)}
    four = ", ".join(f"training.k{n} none | {n}" for n in range(4))
    assert (
        same_settings(_side("a"), _side("b", config=many))
        == f"the settings differ ({four} and 2 more)"
    )
    three = dict(list(many.items())[:4])
    assert same_settings(_side("a"), _side("b", config=three)) == f"the settings differ ({four})"
    unlike = {
        "training.name": "x",
        "training.seed": 3,
        "model.depth": 1,
        "task.loss": "l1",
        "training.a.b": 1,
    }
    assert (
        same_settings(_side("a"), _side("b", config=unlike))
        == "the settings differ (task.loss none | l1, training.a.b none | 1)"
    )
    assert same_settings(_side("a"), _side("b", config=unlike), apart=("b", "task.loss")) == ""
    assert (
        same_settings(_side("a"), _side("b", config=unlike), within=("task",))
        == "the settings differ (task.loss none | l1)"
    )
    assert same_width(_side("a"), _side("b", width=48)) == "the widths differ (64 | 48)"
    assert (
        same_width(_side("a"), _side("b", config=unlike))
        == "the models differ (model.depth none | 1)"
    )
    assert (
        width_of(_side("a").jobs[0]) == "64" and width_of(Job(Path("x"), "x", scale="desk")) == ""
    )
    assert same_seeds(_side("a"), _side("b", seeds=(2, 1, 0))) == ""
    assert (
        same_seeds(_side("a"), _side("b", seeds=(3, 1)))
        == "the seeds differ (a: 0, 1, 2 | b: 1, 3)"
    )
    assert same_corpus(_side("a"), _side("b")) == "" and same_corpus(
        _side("a"), _side("b", fingerprint="bb")
    ).startswith("the corpora differ (")


def test_what_was_removed_from_each_side() -> None:
    none = _side("a", removed=0.0)
    assert (
        something_removed(none, _side("b", removed=0.1), _side("c"))
        == "nothing was removed from a"
    )
    assert (
        something_removed(none, none, _side("b", removed=float("nan")))
        == "nothing was removed from a and b"
    )
    assert something_removed(_side("a")) == ""


def test_conditions_are_told_in_their_order() -> None:
    other = _side(
        "b", seeds=(5,), fingerprint="bb", width=48, config={"training.epochs": 1}, removed=0.0
    )
    found = conditions_of(_side("a"), other)
    starts = (
        "the corpora differ",
        "the settings differ",
        "the widths differ",
        "the seeds differ",
        "nothing was removed",
    )
    assert len(found) == 5 and all(
        text.startswith(start) for text, start in zip(found, starts, strict=True)
    )
    assert len(conditions_of(_side("a"), other, width=False)) == 4


def test_intervals_in_words() -> None:
    found = interval([1.0, 2.0, 3.0])
    assert (
        found.text() == "+2.00 [-0.48, +4.48]"
        and found.text(100, 0, " points") == "+200 [-48, +448] points"
    )
    assert interval([1.0, 3.0], level=0.5).width == pytest.approx(
        2.0
    )  # t(0.75, 1) = 1, standard error 1
    assert interval(iter([2.0, 2.0])).seeds == 2 and interval([]) is None


def test_a_claim_takes_status_and_reason_of_its_verdict() -> None:
    expected = Claim("c", "m", "held", "n", "p", 3, "desk", "r")
    assert claim_of("c", "m", Verdict("held", "r"), "n", "p", seeds=3, scale="desk") == expected
    assert claim_of("c", "m", Verdict("held"), "n", "p") == Claim(
        "c", "m", "held", "n", "p", 0, "-", ""
    )


def test_seeds_without_a_number_are_not_paired() -> None:
    assert paired({0: None, 1: 2.0, 2: 1.0}, {0: 1.0, 1: 0.0, 2: None, 3: 1.0}) == {1: 2.0}


def test_a_claim_as_a_row() -> None:
    bare, whole = (
        Claim("a", "b", HELD, "c", "d"),
        Claim("a", "b", HELD, "c", "d", 3, "desk; x", "e"),
    )
    table = claims_table("t", [bare, whole], {"authors": "A", "venue": "V"}, ["n"])
    assert (table.name, table.caption, table.notes[1:]) == (
        "t",
        "Claims of A (V) and what our runs say",
        ("n",),
    )
    texts = {"claim": "a", "model": "b", "status": HELD, "numbers": "c", "published": "d"}
    assert table.rows == (
        {**texts, "seeds": "-", "scale": "-", "reason": "-"},
        {**texts, "seeds": 3, "scale": "desk; x, not a reproduction", "reason": "e"},
    )
    assert any_measured(table) and not any_measured(
        claims_table(
            "t", [Claim("a", "b", NOT_MEASURED, "c", "d")], {"authors": "A", "venue": "V"}
        )
    )
