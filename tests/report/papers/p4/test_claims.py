"""The claims of Chen word by word: every branch of every verdict, with what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.report.claims import Claim
from audioprune.report.papers.p4.networks import P4Evidence
from audioprune.report.papers.p4.paper import PAPER
from audioprune.report.papers.p4.printed import published_sparsities
from audioprune.report.published import read_reported
from audioprune.report.runs.job import Job

SCALE = "desk; scenes; width 8"
REPORTED = read_reported(None, "p4")
AS_CLAIMED = "the whole interval over seeds is as claimed"
NOT_AS_CLAIMED = "no part of the interval over seeds is as claimed"
GAINS = "A network trained by HSPG into group sparsity is more accurate than the dense baseline"
LARGER = "Larger lambda, higher group sparsity"
SPARSER = "Higher group sparsity, higher accuracy"
PROX = "HSPG finds more zero groups than the proximal method at the same numbers"
LITERAL = "The learning rate and lambda on the slides give the group sparsity that they print"
FASTER = "Structured pruning speeds the network up"
TOY = "The final objective of HSPG is as low as that of any method, with the most zero groups"
PUBLISHED = {
    GAINS: "VGG +3.44 / +0.73, DenseNet +6.88 / +3.78, ResNet +5.09 / +6.41 points (tut2017 / "
    "tut2018, lambda 0.001)",
    LARGER: "0.0001: 3.55 to 17.29 %; 0.001: 50.12 to 71.25 %",
    SPARSER: "two lambdas: 6 of 6 cells, 1.96 to 4.48 points",
    PROX: "Poor against #1",
    LITERAL: "50.12 to 71.25 % at lambda 0.001",
    FASTER: "no number",
    TOY: "#1 and #1",
}


def judge(jobs, reported):
    """Judge all claims of the paper by some jobs."""
    return PAPER.claims.judge(P4Evidence(tuple(jobs), reported))


def _jobs(
    pipeline,
    accuracy=0.8,
    method="hspg",
    sparsity=None,
    seeds=(0, 1, 2),
    lmbda=0.001,
    scale=SCALE,
    left=(400, 0.4),
    name="",
    **config,
):
    """Return one network over its seeds; without a sparsity it is dense."""
    found = []
    for seed in seeds:
        train = {"kind": "train", "method": method, "lmbda": lmbda, "reach": 2.0, "label": "VGG"}
        rows = [{"key": "train", **train}]
        shared = {"label": "VGG", "model": "vgg", "seed": seed, "scale": scale}
        dense = [("uncompressed", 1000, 1.0)]
        for variant, params, latency in (
            dense if sparsity is None else [("pruned", 1000, 1.0), ("trimmed", *left)]
        ):
            state = {**shared, "variant": variant}
            score = {
                "metrics": {"accuracy": accuracy},
                "noise": None,
                "snr_db": None,
                "condition": "test",
                "split": "test",
            }
            rows.append({"key": f"{variant}/test", "kind": "score", **state, **score})
            size = {
                "params": params,
                "macs_per_second": 2000 * params,
                "latency_ms_per_s": latency,
            }
            rows.append({"key": f"{variant}/size", "kind": "size", **state, **size})
        if sparsity is not None:
            rows.append(
                {
                    "key": "groups",
                    "kind": "groups",
                    "filter_sparsity": sparsity,
                    "group_sparsity": sparsity / 2,
                }
            )
        folder = f"{name or pipeline}{seed}"
        flat = {
            "pipeline.name": pipeline,
            "model.name": "vgg",
            "data.name": "scenes",
            "training.epochs": 350,
            **config,
        }
        found.append(
            Job(
                Path(folder),
                folder,
                "prune",
                "0",
                "vgg",
                pipeline,
                seed,
                scale,
                flat,
                rows=tuple(rows),
                corpus="scenes",
            )
        )
    return found


def _judged(claim: str, *jobs: Job) -> list[Claim]:
    return [found for found in judge(jobs, REPORTED) if found.claim == claim]


def _claim(
    claim: str,
    status: str,
    numbers: str,
    reason: str = "",
    model: str = "VGG",
    seeds: int = 3,
    scale: str = SCALE,
) -> Claim:
    return Claim(claim, model, status, numbers, PUBLISHED[claim], seeds, scale, reason)


def _missing(claim: str, numbers: str, model: str = "VGG") -> Claim:
    return _claim(claim, "not measured", numbers, model=model, seeds=0, scale="-")


def test_without_a_run_every_claim_says_what_is_missing() -> None:
    assert judge([], REPORTED) == [_missing(TOY, "scripts/optimizer_toy.py not run", "toy")]
    assert judge(_jobs("p4_baseline", method="sgd"), REPORTED) == [
        _missing(GAINS, "baseline or HSPG not run"),
        _missing(LARGER, "not two values of lambda run"),
        _missing(SPARSER, "not two values of sparsity run"),
        _missing(PROX, "no pair of HSPG and ProxSG with one lambda"),
        _missing(LITERAL, "p4_literal not run"),
        _missing(FASTER, "HSPG not run"),
        _missing(TOY, "scripts/optimizer_toy.py not run", "toy"),
    ]
    assert _judged(GAINS, *_jobs("p4_reach", sparsity=0.5)) == [
        _missing(GAINS, "baseline or HSPG not run")
    ]


@pytest.mark.parametrize("method", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("accuracy", "status", "reason"),
    [
        (0.8, "held", AS_CLAIMED),
        (0.7, "did not hold", NOT_AS_CLAIMED),
        (0.6, "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_the_gain_over_the_baseline(method, accuracy, status, reason) -> None:
    jobs = [
        *_jobs("p4_baseline", 0.7, method, lmbda=0.0),
        *_jobs("p4_reach", accuracy, sparsity=0.5),
    ]
    numbers = f"{100 * accuracy:.1f} ± 0.0 % at 50.0 % zero filters, baseline 70.0 ± 0.0 %"
    assert _judged(GAINS, *jobs) == [_claim(GAINS, status, numbers, reason)]


def test_one_seed_has_no_deviation_and_seeds_are_those_of_both() -> None:
    jobs = [
        *_jobs("p4_baseline", 0.7, "sgd", seeds=(0, 1)),
        *_jobs("p4_reach", 0.8, sparsity=0.5, seeds=(0,)),
    ]
    reason = "an interval over seeds needs at least 3 of them"
    numbers = "80.0 % at 50.0 % zero filters, baseline 70.0 ± 0.0 %"
    assert _judged(GAINS, *jobs) == [
        _claim(GAINS, "one seed: not judged", numbers, reason, seeds=1)
    ]


def test_the_network_of_published_sparsity_is_compared() -> None:
    jobs = [*_jobs("p4_baseline", 0.7, "sgd")]
    for name, sparsity in (("a", 0.39), ("b", 0.81), ("c", 0.8), ("d", 0.4)):
        jobs += _jobs(
            "p4_reach",
            0.8,
            sparsity=sparsity,
            seeds=(0,),
            name=name,
            **{"pipeline.reach": sparsity},
        )
    assert "at 40.0 % zero filters" in _judged(GAINS, *jobs)[0].numbers
    outside = [job for job in jobs if job.name[0] in "pab"]
    assert "at 39.0 % zero filters" in _judged(GAINS, *outside)[0].numbers
    upper = [job for job in jobs if job.name[0] in "pac"]
    assert "at 80.0 % zero filters" in _judged(GAINS, *upper)[0].numbers


def test_the_baseline_that_differs_in_nothing_is_the_partner() -> None:
    jobs = [
        *_jobs("p4_baseline", 0.5, "sgd", name="a", **{"training.epochs": 9}),
        *_jobs("p4_baseline", 0.7, "sgd", name="b"),
    ]
    (claim,) = _judged(GAINS, *jobs, *_jobs("p4_reach", 0.8, sparsity=0.5))
    assert claim.status == "held" and claim.numbers.endswith("baseline 70.0 ± 0.0 %")
    (claim,) = _judged(GAINS, *jobs[:3], *_jobs("p4_reach", 0.8, sparsity=0.5))
    assert (claim.status, claim.reason) == (
        "not comparable",
        "the settings differ (training.epochs 350 | 9)",
    )


def test_training_numbers_of_the_pipeline_and_widths_are_compared() -> None:
    changes = {
        "pipeline.settings.rate": 0.1,
        "scale": SCALE.replace("8", "16"),
        "training.epochs": 1,
    }
    jobs = [*_jobs("p4_baseline", 0.7, "sgd", **changes), *_jobs("p4_reach", 0.8, sparsity=0.5)]
    (claim,) = _judged(GAINS, *jobs)
    assert claim.scale == f"{SCALE} | {SCALE.replace('8', '16')}"
    assert claim.reason == (
        "the settings differ (training.epochs 350 | 1); the settings differ (settings.rate none "
        "| 0.1); the widths differ (8 | 16)"
    )


def _sweep(
    first: float, second: float, accuracies=(0.7, 0.8), lambdas=(0.001, 0.002)
) -> list[Job]:
    jobs = _jobs(
        "p4_reach",
        accuracies[0],
        sparsity=first,
        lmbda=lambdas[0],
        name="a",
        **{"pipeline.reach": 1.0},
    )
    return jobs + _jobs(
        "p4_reach",
        accuracies[1],
        sparsity=second,
        lmbda=lambdas[1],
        name="b",
        **{"pipeline.reach": 2.0},
    )


@pytest.mark.parametrize(
    ("first", "second", "status", "reason"),
    [
        (0.4, 0.6, "held", "as claimed in 0.001 to 0.002"),
        (0.6, 0.4, "did not hold", NOT_AS_CLAIMED),
        (0.4, 0.4, "did not hold", NOT_AS_CLAIMED),
        (0.4, 0.0, "not comparable", "no filter is zero"),
    ],
)
def test_a_larger_lambda_gives_more_zero_filters(first, second, status, reason) -> None:
    numbers = f"lambda 0.001: {100 * first:.1f} %; lambda 0.002: {100 * second:.1f} %"
    assert _judged(LARGER, *_sweep(first, second)) == [_claim(LARGER, status, numbers, reason)]


@pytest.mark.parametrize(
    ("accuracies", "status", "reason"),
    [
        ((0.7, 0.8), "held", "as claimed in 0.4 to 0.6"),
        ((0.8, 0.7), "did not hold", NOT_AS_CLAIMED),
        ((0.8, 0.8), "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_sparser_networks_are_more_accurate(accuracies, status, reason) -> None:
    told = [f"{100 * accuracy:.1f} ± 0.0 %" for accuracy in accuracies]
    numbers = f"40.0 %: {told[0]}; 60.0 %: {told[1]}"
    assert _judged(SPARSER, *_sweep(0.4, 0.6, accuracies)) == [
        _claim(SPARSER, status, numbers, reason)
    ]


def test_two_networks_of_one_lambda_are_no_step() -> None:
    jobs = _sweep(0.4, 0.6) + _jobs(
        "p4_reach", 0.9, sparsity=0.7, lmbda=0.002, name="c", **{"pipeline.reach": 3.0}
    )
    (claim,) = _judged(LARGER, *jobs)
    assert (claim.status, claim.reason) == (
        "not comparable",
        "0.002 to 0.002: two networks have the same lambda",
    )
    assert _judged(LARGER, *_sweep(0.4, 0.6, lambdas=(0.002, 0.002))) == [
        _missing(LARGER, "not two values of lambda run")
    ]
    assert _judged(SPARSER, *_sweep(0.4, 0.4)) == [
        _missing(SPARSER, "not two values of sparsity run")
    ]


def test_sweeps_that_differ_otherwise_say_in_what() -> None:
    jobs = _jobs("p4_reach", 0.8, sparsity=0.5, name="a") + _jobs(
        "p4_reach", 0.9, sparsity=0.6, name="b", **{"training.epochs": 1}
    )
    reason = "the settings differ (training.epochs 350 | 1)"
    numbers = "lambda 0.001: 50.0 %; lambda 0.001: 60.0 %"
    assert _judged(LARGER, *jobs) == [_claim(LARGER, "not comparable", numbers, reason)]
    numbers = "50.0 %: 80.0 ± 0.0 %; 60.0 %: 90.0 ± 0.0 %"
    assert _judged(SPARSER, *jobs) == [_claim(SPARSER, "not comparable", numbers, reason)]


def test_every_receptive_field_is_judged_by_itself() -> None:
    jobs = [*_jobs("p4_baseline", 0.7, "sgd", **{"model.rho": 3})]
    for rho in (3, 5):
        jobs += _jobs("p4_reach", 0.8, sparsity=0.5, name=f"x{rho}", **{"model.rho": rho})
        jobs += _jobs(
            "p4_reach",
            0.9,
            sparsity=0.6,
            name=f"y{rho}",
            lmbda=0.002,
            **{"model.rho": rho, "pipeline.reach": 9.0},
        )
    jobs += _jobs("p4_proxsg", 0.7, "proxsg", sparsity=0.2, **{"model.rho": 3})
    jobs += _jobs("p4_literal", 0.7, sparsity=0.6, **{"model.rho": 3})
    names = ["VGG (model.rho=3)", "VGG (model.rho=5)"]
    for claim in (GAINS, LARGER, SPARSER, FASTER):
        assert [found.model for found in _judged(claim, *jobs)] == names
    assert {found.model for claim in (PROX, LITERAL) for found in _judged(claim, *jobs)} == {
        "VGG (model.rho=3)"
    }


@pytest.mark.parametrize(
    ("prox", "status", "reason"),
    [
        (0.4, "held", AS_CLAIMED),
        (0.59, "did not hold", NOT_AS_CLAIMED),
        (0.6, "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_hspg_against_the_proximal_method(prox, status, reason) -> None:
    jobs = [
        *_jobs("p4_reach", 0.8, sparsity=0.6),
        *_jobs("p4_proxsg", 0.75, "proxsg", sparsity=prox),
    ]
    numbers = f"HSPG 30.0 %, ProxSG {50 * prox:.1f} %; accuracy 80.0 ± 0.0 %, 75.0 ± 0.0 %"
    assert _judged(PROX, *jobs) == [_claim(PROX, status, numbers, reason)]


def test_only_one_lambda_is_compared_with_the_proximal_method() -> None:
    other = _jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.2, lmbda=0.00101)
    assert _judged(PROX, *_jobs("p4_reach", sparsity=0.6), *other) == [
        _missing(PROX, "no pair of HSPG and ProxSG with one lambda")
    ]
    unknown = _jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.2, lmbda=None)
    assert _judged(PROX, *_jobs("p4_reach", sparsity=0.6), *unknown)[0].status == "not measured"
    near = _jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.2, lmbda=0.001 * (1 + 5e-7))
    assert _judged(PROX, *_jobs("p4_reach", sparsity=0.6), *near)[0].status == "held"


def test_like_networks_are_preferred_and_unlike_ones_say_why() -> None:
    unlike = _jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.2, name="x", **{"training.epochs": 1})
    like = _jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.2, name="y")
    (claim,) = _judged(PROX, *_jobs("p4_reach", sparsity=0.6), *unlike, *like)
    assert claim.status == "held"
    (claim,) = _judged(PROX, *_jobs("p4_reach", sparsity=0.6), *unlike)
    assert (claim.status, claim.reason) == (
        "not comparable",
        "the settings differ (training.epochs 350 | 1)",
    )
    none = [*_jobs("p4_reach", sparsity=0.0), *_jobs("p4_proxsg", 0.75, "proxsg", sparsity=0.0)]
    assert _judged(PROX, *none)[0].reason == "neither has a zero group"


@pytest.mark.parametrize(
    ("sparsity", "status", "reason"),
    [
        (0.5, "held", AS_CLAIMED),
        (0.719, "held", AS_CLAIMED),
        (0.49, "did not hold", NOT_AS_CLAIMED),
        (0.73, "did not hold", NOT_AS_CLAIMED),
    ],
)
def test_the_setting_of_the_slides(sparsity, status, reason) -> None:
    numbers = f"{100 * sparsity:.1f} % zero filters, reach 2, 65.0 ± 0.0 %"
    assert _judged(LITERAL, *_jobs("p4_literal", 0.65, sparsity=sparsity)) == [
        _claim(LITERAL, status, numbers, reason)
    ]


@pytest.mark.parametrize(
    ("lmbda", "epochs", "reason"),
    [
        (0.002, 350, "lambda 0.002, not 0.001"),
        (None, 350, "lambda unknown, not 0.001"),
        (0.001, 20, "20 epochs, the slides have 350"),
        (0.001, None, "unknown epochs, the slides have 350"),
    ],
)
def test_another_setting_than_that_of_the_slides(lmbda, epochs, reason) -> None:
    (claim,) = _judged(
        LITERAL,
        *_jobs("p4_literal", 0.65, sparsity=0.6, lmbda=lmbda, **{"training.epochs": epochs}),
    )
    assert (claim.status, claim.reason) == ("not comparable", reason)


def test_slides_without_a_setting_ask_for_no_epochs() -> None:
    jobs = _jobs("p4_literal", 0.65, sparsity=0.6, **{"training.epochs": 3})
    told = {key: value for key, value in REPORTED.items() if key != "setting"}
    assert [claim.status for claim in judge(jobs, told) if claim.claim == LITERAL] == ["held"]


def test_printed_sparsities_of_one_lambda() -> None:
    assert published_sparsities(REPORTED)[0.001] == (50.12, 71.25)
    assert published_sparsities(REPORTED) == {0.001: (50.12, 71.25), 0.0001: (3.55, 17.29)}


@pytest.mark.parametrize(
    ("left", "status", "numbers", "reason"),
    [
        ((400, 0.5), "held", "parameters / 2.50, MACs / 2.50, latency / 2.00", AS_CLAIMED),
        (
            (400, 1.0),
            "did not hold",
            "parameters / 2.50, MACs / 2.50, latency / 1.00",
            NOT_AS_CLAIMED,
        ),
        (
            (1000, 0.5),
            "not comparable",
            "parameters / 1.00, MACs / 1.00, latency / 2.00",
            "no parameter was removed",
        ),
        (
            (400, None),
            "not measured",
            "parameters / 2.50, MACs / 2.50",
            "no seed has the numbers of both sides",
        ),
        ((0, None), "not measured", "not measured", "no seed has the numbers of both sides"),
    ],
)
def test_structured_pruning_in_numbers(left, status, numbers, reason) -> None:
    assert _judged(FASTER, *_jobs("p4_reach", sparsity=0.5, left=left)) == [
        _claim(FASTER, status, numbers, reason)
    ]


def _toy(hspg=(0.44, 0.75), rivals=((0.44, 0.5), (0.5, 0.75)), seeds=(0, 1, 2), missing=()) -> Job:
    named = [
        ("HSPG", "hspg", hspg),
        *((f"R{n}", f"r{n}", numbers) for n, numbers in enumerate(rivals)),
        ("Best", "optimum", (0.1, 1.0)),
    ]
    rows = [
        {
            "kind": "toy",
            "name": name,
            "method": method,
            "seed": seed,
            "objective": objective,
            "group_sparsity": share,
        }
        for name, method, (objective, share) in named
        for seed in seeds
        if (name, seed) not in missing
    ]
    return Job(Path("toy"), "toy", scale="toy", rows=tuple(rows))


OTHERS = "others: R0 F 0.4400, 50 % zero groups; R1 F 0.5000, 75 % zero groups"


@pytest.mark.parametrize(
    ("hspg", "status", "reason"),
    [
        ((0.44, 0.75), "held", "as claimed in all of objective, zero groups"),
        ((0.4444, 0.75), "held", "as claimed in all of objective, zero groups"),
        ((0.4445, 0.75), "did not hold", f"objective: {NOT_AS_CLAIMED}"),
        ((0.44, 0.74), "did not hold", f"zero groups: {NOT_AS_CLAIMED}"),
    ],
)
def test_the_toy_in_numbers(hspg, status, reason) -> None:
    numbers = f"HSPG F {hspg[0]:.4f}, {100 * hspg[1]:.0f} % zero groups; {OTHERS}"
    expected = Claim(f"{TOY} (HSPG)", "toy", status, numbers, "#1 and #1", 3, "toy", reason)
    assert judge([Job(Path("x"), "x", scale="other"), _toy(hspg)], REPORTED) == [expected]


def test_seeds_that_a_rival_lacks_are_not_compared() -> None:
    (claim,) = judge([_toy(missing=(("R1", 2),))], REPORTED)
    assert (claim.status, claim.seeds) == ("two seeds: not judged", 3)
    (claim,) = judge([_toy(rivals=())], REPORTED)
    assert claim.status == "not measured"


def test_the_table_of_claims_says_how_to_read_it() -> None:
    table = PAPER.claims.table(P4Evidence((), REPORTED))
    assert (table.name, len(table.rows)) == ("p4_claims", 1)
    assert table.caption == "Claims of Tianyi Chen (presentation slides) and what our runs say"
    assert table.notes[1:] == (
        "Baseline and costs are compared with the first network of the sweep that has 40 to 80 "
        "% zero filters, or else its first.",
        "Networks are compared that share corpus, training and width; numbers are paired by seed.",
    )
