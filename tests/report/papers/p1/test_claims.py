"""The claims of Plain & Biswas word by word: every branch of every verdict, with what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from audioprune.experiment.rows import QualityRow, SizeRow
from audioprune.report.claims import Claim, Verdict
from audioprune.report.papers.p1.changes import Change, more_better
from audioprune.report.papers.p1.claims import _as_well, _effective, _halves
from audioprune.report.papers.p1.listeners import _by_listeners
from audioprune.report.papers.p1.paper import PAPER
from audioprune.report.papers.p1.systems import (
    DCAE,
    DCAE_10,
    DCAE_PR,
    POST,
    Layer,
    P1Evidence,
    System,
)
from audioprune.report.runs.entry import Entry
from audioprune.report.runs.job import Job

SCALE = "desk; coded; width 0.125"
KEYS = ("enhances", "reduction", "deeper", "during", "smaller")
REPORTED = {
    "claims": {key: {"text": f"the {key}", "source": f"slide {key}"} for key in KEYS},
    "authors": "Plain & Biswas",
    "venue": "2020",
    "notes": ["A  note\n of two lines"],
}
ENHANCES = (
    "The enhancer improves coded speech (more stand-in metrics gain than lose, beyond the "
    "interval)"
)
REDUCTION = (
    "Nearly 50 % of the weights go with nearly no loss (no stand-in metric falls beyond the 95 "
    "% interval of the unpruned gain)"
)
DEEPER = "Deeper layers end sparser than outer ones, the bottleneck apart"
DURING = (
    "Pruning during training is more effective than pruning after it (sparser, or clearly "
    "better at about the same sparsity)"
)
SMALLER = (
    "The pruned model does at least as well as the unpruned smaller one, with fewer non-zero "
    "weights"
)
AS_CLAIMED = "the whole interval over seeds is as claimed"
NOT_AS_CLAIMED = "no part of the interval over seeds is as claimed"


def judge(systems, reported, ratings=None):
    """Judge all claims of the paper by some systems and ratings."""
    return PAPER.claims.judge(P1Evidence((), reported, systems, ratings))


def _system(
    kind,
    gain=0.06,
    nonzero=2000,
    sparsity=0.0,
    seeds=(0, 1, 2),
    epochs=10,
    config=(),
    scale=SCALE,
    layers=None,
    told="",
):
    pruned = kind in (DCAE_PR, POST)
    rows = [{"kind": "train", "epochs": epochs}]
    if layers:
        weights = dict.fromkeys(layers, 100)
        rows.append(
            {"kind": "weights", "sparsity_per_tensor": layers, "weights_per_tensor": weights}
        )
    jobs = tuple(
        Job(
            Path(f"{kind}{seed}"),
            kind,
            seed=seed,
            scale=scale,
            config=dict(config),
            rows=tuple(rows),
        )
        for seed in seeds
    )
    gains = {} if gain is None else {"stoi": gain}
    cell = {"metrics": {"stoi": 0.8}, "gain": gains, "gain_ci95": {"stoi": 0.01}}
    scores = tuple({("aac", None): cell} for _ in seeds)
    size = {"nonzero": nonzero, "sparsity": sparsity}
    variant = "pruned" if pruned else "uncompressed"
    entry = Entry(
        kind,
        variant,
        scale=scale,
        seeds=tuple(seeds),
        jobs=jobs,
        scores=tuple({key: QualityRow.read(row) for key, row in per.items()} for per in scores),
        sizes=(SizeRow.read(size),) * len(seeds),
    )
    return System(kind, entry, told)


def _judged(claim: str, *systems: System) -> list[Claim]:
    return [found for found in judge(systems, REPORTED) if found.claim == claim]


def _claim(
    claim: str, key: str, status: str, numbers: str, reason: str = "", model: str = DCAE_PR, **more
) -> Claim:
    facts = {"seeds": 3, "scale": SCALE} | more
    return Claim(claim, model, status, numbers, f"the {key} (slide {key})", reason=reason, **facts)


def _missing(claim: str, key: str, numbers: str, model: str = DCAE_PR) -> Claim:
    return Claim(claim, model, "not measured", numbers, f"the {key} (slide {key})")


def test_without_a_run_every_claim_says_what_is_missing() -> None:
    assert judge([], REPORTED) == [
        _missing(ENHANCES, "enhances", "DCAE not run", DCAE),
        _missing(REDUCTION, "reduction", "no pruned model was run"),
        _missing(DEEPER, "deeper", "no sparsity of layers was recorded"),
        _missing(DURING, "during", "DCAE_pr not run"),
        _missing(SMALLER, "smaller", "no pruned model was run"),
    ]


def test_a_pruned_model_alone_says_what_is_missing() -> None:
    system = _system(DCAE_PR, sparsity=0.5, told="frequency=2")
    assert judge([system], REPORTED)[1:] == [
        _missing(REDUCTION, "reduction", "DCAE not run", "DCAE_pr (frequency=2)"),
        _missing(DEEPER, "deeper", "no sparsity of layers was recorded"),
        _missing(DURING, "during", "p1_post not run"),
        _missing(SMALLER, "smaller", "DCAE_10 not run", "DCAE_pr (frequency=2)"),
    ]


def test_models_without_a_common_metric_say_so() -> None:
    systems = [
        _system(DCAE_PR, sparsity=0.5),
        *(_system(kind, None) for kind in (DCAE, DCAE_10, POST)),
    ]
    common = "no metric was measured for both with one seed"
    assert judge(systems, REPORTED) == [
        _missing(ENHANCES, "enhances", "no gain over the coded input was recorded", DCAE),
        _missing(REDUCTION, "reduction", common),
        _missing(REDUCTION, "reduction", common, POST),
        _missing(DEEPER, "deeper", "no sparsity of layers was recorded"),
        _missing(DURING, "during", "sparsity or scores of one seed are missing"),
        _missing(SMALLER, "smaller", common),
    ]


def test_models_without_a_recorded_size_say_so() -> None:
    pruned = _system(DCAE_PR, nonzero=None, sparsity=None)
    systems = [pruned, _system(DCAE), _system(DCAE_10), _system(POST, sparsity=0.5)]
    common = "no metric was measured for both with one seed"
    assert _judged(REDUCTION, *systems[:2]) == [_missing(REDUCTION, "reduction", common)]
    assert _judged(DURING, *systems) == [
        _missing(DURING, "during", "sparsity or scores of one seed are missing")
    ]
    assert _judged(SMALLER, *systems) == [_missing(SMALLER, "smaller", common)]


@pytest.mark.parametrize(
    ("gain", "status", "counts", "end"),
    [
        (0.06, "held", "clearly better on 1, clearly worse on 0", ""),
        (-0.06, "did not hold", "clearly better on 0, clearly worse on 1", ""),
        (0.01, "not shown", "clearly better on 0, clearly worse on 0", ": neither way"),
    ],
)
def test_the_enhancer_is_judged_by_its_metrics(gain, status, counts, end) -> None:
    numbers = (
        f"{counts} of 1 metrics: STOI {gain:+.4f} [{gain:+.4f}, {gain:+.4f}] (recordings 0.0100)"
    )
    expected = _claim(ENHANCES, "enhances", status, numbers, f"{counts} metrics{end}", DCAE)
    assert _judged(ENHANCES, _system(DCAE, gain)) == [expected]


def test_one_seed_has_no_interval() -> None:
    (claim,) = _judged(ENHANCES, _system(DCAE, 0.06, seeds=(4,)))
    numbers = (
        "clearly better on 0, clearly worse on 0 of 1 metrics: STOI +0.0600 (recordings 0.0100)"
    )
    reason = "an interval over seeds needs at least 3 of them"
    assert claim == _claim(
        ENHANCES, "enhances", "one seed: not judged", numbers, reason, DCAE, seeds=1
    )


def test_two_enhancers_are_two_claims_and_one_without_gains_hides_none() -> None:
    without = _system(DCAE, None, told="a=1")
    found = _judged(ENHANCES, without, _system(DCAE))
    assert [(claim.model, claim.status) for claim in found] == [
        ("DCAE (a=1)", "not measured"),
        ("DCAE", "held"),
    ]


@pytest.mark.parametrize(
    ("gain", "nonzero", "status", "reason"),
    [
        (0.06, 1098, "held", "as claimed in all of STOI, share removed"),
        (0.0502, 1000, "held", "as claimed in all of STOI, share removed"),
        (0.05, 1060, "did not hold", f"STOI: {NOT_AS_CLAIMED}"),
        (0.06, 1102, "did not hold", f"share removed: {NOT_AS_CLAIMED}"),
        (0.06, 2000, "did not hold", f"share removed: {NOT_AS_CLAIMED}"),
    ],
)
def test_nearly_half_goes_with_nearly_no_loss(gain, nonzero, status, reason) -> None:
    change = f"{gain - 0.0601:+.4f}"
    numbers = (
        f"{100 - nonzero / 20:.1f} % fewer non-zeros; STOI {change} [{change}, {change}] "
        f"(recordings 0.0100)"
    )
    found = _judged(REDUCTION, _system(DCAE_PR, gain, nonzero, 0.5), _system(DCAE, 0.0601))
    assert found == [_claim(REDUCTION, "reduction", status, numbers, reason)]


def test_a_loss_within_the_recordings_is_none() -> None:
    found = _judged(REDUCTION, _system(DCAE_PR, 0.055, 1060, 0.47), _system(DCAE, 0.06))
    numbers = "47.0 % fewer non-zeros; STOI -0.0050 [-0.0050, -0.0050] (recordings 0.0100)"
    assert found == [
        _claim(REDUCTION, "reduction", "held", numbers, "as claimed in all of STOI, share removed")
    ]


def test_seeds_and_scales_of_both_sides_are_told() -> None:
    other = "desk; coded, 2 min; width 0.125"
    (claim,) = _judged(
        REDUCTION,
        _system(DCAE_PR, 0.06, 1000, 0.5, seeds=(1, 2, 3, 4)),
        _system(DCAE, scale=other),
    )
    assert (claim.seeds, claim.scale, claim.status) == (
        2,
        f"{SCALE} | {other}",
        "two seeds: not judged",
    )


@pytest.mark.parametrize("kind", [DCAE, POST, DCAE_10])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config": {"training.epochs": 3}}, "the settings differ (training.epochs none | 3)"),
        ({"scale": SCALE.replace("0.125", "0.5")}, "the widths differ (0.125 | 0.5)"),
    ],
)
def test_every_comparison_needs_like_models(kind, changes, reason) -> None:
    claim = {DCAE: REDUCTION, POST: DURING, DCAE_10: SMALLER}[kind]
    found = _judged(
        claim, _system(DCAE_PR, 0.06, 1000, 0.5), _system(kind, sparsity=0.4, **changes)
    )
    if kind == DCAE_10 and "scale" in changes:
        assert found[0].status == "held"  # the networks differ in width: that is the claim
    else:
        assert (found[0].status, found[0].reason) == ("not comparable", reason)


def _tensors(inner: float, outer: float, neck: float) -> dict[str, float]:
    shares = (outer, outer, inner, neck)
    found = {f"enc_blocks.{n}.conv.weight": share for n, share in enumerate(shares)}
    return found | {
        f"dec_blocks.{n}.deconv.weight": share
        for n, share in enumerate((inner, inner, outer, outer))
    }


@pytest.mark.parametrize("kind", [DCAE_PR, POST])
@pytest.mark.parametrize(
    ("inner", "outer", "status", "reason"),
    [
        (0.8, 0.2, "held", AS_CLAIMED),
        (0.1, 0.2, "did not hold", NOT_AS_CLAIMED),
        (0.2, 0.2, "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_deeper_layers_are_compared_with_outer_ones(kind, inner, outer, status, reason) -> None:
    system = _system(kind, sparsity=0.5, layers=_tensors(inner, outer, 0.05))
    numbers = (
        f"inner half {100 * inner:.1f} %, outer half {100 * outer:.1f} %, bottleneck 5.0 %"
        "; the schedule itself says which layers are pruned"
    )
    assert _judged(DEEPER, system) == [_claim(DEEPER, "deeper", status, numbers, reason, kind)]


def test_layers_of_a_model_without_halves_are_passed_over() -> None:
    other = _system(DCAE_PR, sparsity=0.5, layers={"conv.weight": 0.5})
    (claim,) = _judged(DEEPER, other, _system(POST, sparsity=0.5, layers=_tensors(0.8, 0.2, 0.0)))
    assert (claim.model, claim.status) == (POST, "held")
    nothing = _system(DCAE_PR, sparsity=0.0, layers=_tensors(0.8, 0.2, 0.0))
    assert _judged(DEEPER, nothing)[0].reason == "nothing was removed from DCAE_pr"


def _layers(encoder, decoder) -> list[Layer]:
    named = [
        *(("enc", n, x) for n, x in enumerate(encoder)),
        *(("dec", n, x) for n, x in enumerate(decoder)),
    ]
    return [Layer(f"{side}{n}", 1, 0.1, share, 0.1) for side, n, share in named]


def test_halves_are_counted_from_outside() -> None:
    # Depths 0, 1, 2 of the encoder and 3, 2, 1, 0 of the decoder; beyond 1.5 is inside.
    assert _halves(_layers((0.1, 0.2, 0.7, 0.9), (0.6, 0.5, 0.3, 0.0))) == pytest.approx(
        (0.6, 0.15, 0.9)
    )
    # Five layers: depth 2 is not beyond 4 / 2.
    assert _halves(_layers((0, 0, 0.5, 1, 0.3), (1, 1, 0.5, 0, 0))) == pytest.approx(
        (1, 1 / 6, 0.3)
    )
    assert _halves(_layers((0.1,) * 3, (0.1,) * 3)) is None
    assert _halves(_layers((0.1,) * 4, (0.1,) * 5)) is None
    unknown = [Layer("encoder.last", 1, 0.1, 9.0, 0.1), Layer("decoder.last", 1, 0.1, 9.0, 0.1)]
    assert _halves([*_layers((0.1,) * 4, (0.1,) * 4), *unknown]) == pytest.approx((0.1, 0.1, 0.1))


def _change(value: float, half: float = 0.01) -> Change:
    return Change("stoi", {0: value, 1: value, 2: value}, half)


def test_a_change_beyond_the_recordings_is_clear() -> None:
    statuses = [
        (c.better.status, c.worse.status, c.kept.status)
        for c in map(_change, (0.02, 0.01, 0.0, -0.01, -0.02))
    ]
    assert statuses == [
        ("held", "did not hold", "held"),
        ("did not hold", "did not hold", "held"),
        ("did not hold", "did not hold", "held"),
        ("did not hold", "did not hold", "held"),
        ("did not hold", "held", "did not hold"),
    ]
    assert _change(0.02).mean == pytest.approx(0.02)
    assert Change("lsd", {0: 1.5}, 0.25).text == "LSD +1.5000 (recordings 0.2500)"


def test_the_way_of_the_metrics_is_told() -> None:
    assert more_better(2, 1) == Verdict("held", "clearly better on 2, clearly worse on 1 metrics")
    assert more_better(0, 3) == Verdict(
        "did not hold", "clearly better on 0, clearly worse on 3 metrics"
    )
    assert more_better(1, 1) == Verdict(
        "not shown", "clearly better on 1, clearly worse on 1 metrics: neither way"
    )


@pytest.mark.parametrize(
    ("ahead", "change", "expected"),
    [
        (0.02, 0.05, Verdict("held", "clearly better on 1, clearly worse on 0 metrics")),
        (-0.02, -0.05, Verdict("did not hold", "clearly better on 0, clearly worse on 1 metrics")),
        (
            0.0,
            0.0,
            Verdict("not shown", "clearly better on 0, clearly worse on 0 metrics: neither way"),
        ),
        (0.03, 0.05, Verdict("held", AS_CLAIMED)),
        (0.03, 0.0, Verdict("held", AS_CLAIMED)),
        (-0.03, -0.05, Verdict("did not hold", NOT_AS_CLAIMED)),
        (
            0.03,
            -0.05,
            Verdict("not shown", "sparser but worse: neither is clearly more effective"),
        ),
        (
            -0.03,
            0.05,
            Verdict("not shown", "better but less sparse: neither is clearly more effective"),
        ),
        (
            -0.03,
            0.0,
            Verdict("not shown", "better but less sparse: neither is clearly more effective"),
        ),
    ],
)
def test_more_effective_is_sparser_or_better(ahead, change, expected) -> None:
    assert _effective(dict.fromkeys((0, 1, 2), ahead), [_change(change)]) == expected


def test_pruning_during_training_in_numbers() -> None:
    systems = (
        _system(DCAE_PR, 0.06, sparsity=0.5, epochs=10),
        _system(POST, 0.06, sparsity=0.25, epochs=12),
    )
    numbers = (
        "sparsity 50.0 against 25.0 %; epochs 10 against 12; clearly better on 0, clearly worse "
        "on 0 of 1 metrics: "
        "STOI +0.0000 [+0.0000, +0.0000] (recordings 0.0100)"
    )
    assert _judged(DURING, *systems) == [_claim(DURING, "during", "held", numbers, AS_CLAIMED)]
    nothing = (_system(DCAE_PR, 0.06, sparsity=0.0), _system(POST, 0.06, sparsity=0.0))
    assert _judged(DURING, *nothing)[0].numbers.startswith("sparsity 0.0 against 0.0 %; ")
    untrained = [
        replace(s, entry=replace(s.entry, jobs=tuple(replace(j, rows=()) for j in s.entry.jobs)))
        for s in systems
    ]
    assert "; epochs 0 against 0; " in _judged(DURING, *untrained)[0].numbers


@pytest.mark.parametrize(
    ("better", "worse", "change", "expected"),
    [
        (2, 1, -0.05, Verdict("held", "as claimed")),
        (1, 2, 0.05, Verdict("did not hold", "clearly better on 1, clearly worse on 2 metrics")),
        (1, 1, 0.05, Verdict("held", "as claimed")),
        (1, 1, -0.05, Verdict("not shown", "the intervals leave a loss open")),
    ],
)
def test_as_well_is_better_or_kept(better, worse, change, expected) -> None:
    found = _as_well(dict.fromkeys((0, 1, 2), -100.0), [_change(change)], better, worse)
    assert found == {"non-zeros": Verdict("held", AS_CLAIMED), "quality": expected}
    same = _as_well(dict.fromkeys((0, 1, 2), 0.0), [_change(change)], better, worse)
    assert same["non-zeros"] == Verdict("did not hold", NOT_AS_CLAIMED)


def test_the_smaller_model_in_numbers() -> None:
    found = _judged(SMALLER, _system(DCAE_PR, 0.08, 1060, 0.47), _system(DCAE_10, 0.06, 1780))
    numbers = (
        "1,060 against 1,780 non-zeros; clearly better on 1, clearly worse on 0 of 1 metrics: "
        "STOI +0.0200 [+0.0200, +0.0200] (recordings 0.0100)"
    )
    assert found == [
        _claim(SMALLER, "smaller", "held", numbers, "as claimed in all of non-zeros, quality")
    ]
    wider = _system(DCAE_10, 0.06, 1780, config={"model.width": 0.5})
    (claim,) = _judged(SMALLER, _system(DCAE_PR, 0.08, 1060, 0.47), wider)
    assert (claim.status, claim.reason) == ("not comparable", "the widths differ (1.0 | 0.5)")


def _row(low, high, n=3, **more):
    return {"listener_low": low, "listener_high": high, "listener_n": n, "n": 3 * n, **more}


TOO_FEW = Verdict("not measured", "an interval over listeners takes 3 of them")
BELOW = Verdict("did not hold", "the whole interval over listeners lies below 0")
OPEN = "the interval over listeners leaves a loss of {} points open"


@pytest.mark.parametrize(
    ("row", "above", "expected"),
    [
        (_row(1.0, 2.0, n=2), True, TOO_FEW),
        (_row(None, 2.0), True, TOO_FEW),
        (_row(1.0, None), False, TOO_FEW),
        (_row(-3.0, -1.0), True, BELOW),
        (_row(-3.0, -1.0), False, BELOW),
        (_row(0.5, 2.0), True, Verdict("held", "the interval over listeners lies above 0")),
        (
            _row(0.0, 2.0),
            True,
            Verdict("not shown", "the interval over listeners reaches both ways"),
        ),
        (
            _row(-1.0, 0.0),
            True,
            Verdict("not shown", "the interval over listeners reaches both ways"),
        ),
        (
            _row(-10.0, 0.0),
            False,
            Verdict("held", "the interval over listeners leaves no loss of 10 points open"),
        ),
        (_row(-10.6, 3.0), False, Verdict("not shown", OPEN.format(11))),
    ],
)
def test_listeners_judge_by_their_interval(row, above, expected) -> None:
    assert _by_listeners(row, above) == expected


def test_every_question_to_listeners_is_asked() -> None:
    pairs = ((DCAE, "coded"), (DCAE_PR, DCAE), (DCAE_PR, DCAE_10), (DCAE_10, DCAE))
    rows = [
        _row(-1.0, 5.0, first=a, second=b, listeners="all", test="t2", mean=2.0) for a, b in pairs
    ]
    rows += [_row(-1.0, 5.0, first=DCAE, second="coded", listeners="expert", test="t3", mean=2.0)]
    rows += [
        _row(None, 5.0, first=DCAE, second="coded", listeners="all", test="t4", mean=-2.0, n=1)
    ]
    told = "points, 3 listeners, interval -1.0 to +5.0"
    kept = "the interval over listeners leaves no loss of 10 points open"
    titles = (
        "Listeners rate the enhancer above the coded input",
        "Listeners do not rate the pruned model below the unpruned one",
        "Listeners do not rate the pruned model below the smaller one",
    )
    facts = {"model": "t2", "seeds": 0, "scale": "9 ratings"}
    both = "the interval over listeners reaches both ways"
    few = {"model": "t4", "seeds": 0, "scale": "3 ratings"}
    assert judge([], REPORTED, {"differences": rows})[5:] == [
        _claim(titles[0], "enhances", "not shown", f"DCAE - coded: +2.0 {told}", both, **facts),
        _claim(
            titles[0],
            "enhances",
            "not measured",
            "DCAE - coded: -2.0 points, 1 listeners",
            TOO_FEW.reason,
            **few,
        ),
        _claim(titles[1], "reduction", "held", f"DCAE_pr - DCAE: +2.0 {told}", kept, **facts),
        _claim(titles[2], "smaller", "held", f"DCAE_pr - DCAE_10: +2.0 {told}", kept, **facts),
    ]


def test_the_table_of_claims_says_how_to_read_it() -> None:
    row = _row(None, None, first=DCAE, second="coded", listeners="all", test="t2", mean=2.0)
    table = PAPER.claims.table(P1Evidence((), REPORTED, (), {"differences": [row]}))
    assert table.name == "p1_claims" and len(table.rows) == 6
    assert table.caption == "Claims of Plain & Biswas (2020) and what our runs say"
    assert table.notes == (
        "A status speaks of our runs at their scale, not of the paper.",
        "Changes of metrics are positive where the first model is better, and stand with their "
        "interval over seeds; recordings is half "
        "the 95 % interval of the second's gain over the recordings, which a change must exceed.",
        "A note of two lines.",
    )


@pytest.mark.parametrize("kind", [DCAE, POST, DCAE_10])
def test_a_model_no_better_than_its_input_shows_nothing(kind) -> None:
    claim = {DCAE: REDUCTION, POST: DURING, DCAE_10: SMALLER}[kind]
    system = _system(DCAE_PR, 0.06, 1000, 0.5)
    mixture = {
        "kind": "score",
        "variant": "mixture",
        "noise": "aac",
        "snr_db": None,
        "metrics": {"stoi": 0.9},
    }
    jobs = tuple(replace(job, rows=(*job.rows, mixture)) for job in system.entry.jobs)
    idle = replace(system, entry=replace(system.entry, jobs=jobs))
    (found,) = _judged(claim, idle, _system(kind, 0.06, sparsity=0.4))
    assert (found.status, found.reason) == ("not shown", "DCAE_pr is no better than mixture")
